use std::collections::BTreeSet;
use std::time::SystemTime;

use licentia_verify::{Code, State};
use serde_json::{Map, Value};

use super::*;

/// Returns every step of every vector, with the members that it inherits.
fn steps() -> Vec<Map<String, Value>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("verify/vectors");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|name| name == "json"));
    let mut all = Vec::new();
    for file in files {
        let cases: Vec<Map<String, Value>> =
            serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        for mut case in cases {
            let steps = case.remove("steps").unwrap_or_else(|| serde_json::json!([{}]));
            for (place, step) in steps.as_array().unwrap().iter().enumerate() {
                let mut whole = case.clone();
                // Only the first step has the memory. The verdicts of the others are not compared.
                whole.extend(step.as_object().unwrap().clone());
                whole.insert("is_first".into(), (place == 0).into());
                all.push(whole);
            }
        }
    }
    all
}

fn trust(step: &Map<String, Value>) -> KeySet {
    let (trust, audience) = (&step["trust"], step["audience"].as_str().unwrap());
    let keys = match trust.get("root") {
        Some(root) => KeySet::from_root(&root.to_string(), audience),
        None => KeySet::from_jwks(&trust["jwks"].to_string(), audience),
    };
    match step.get("issuer").and_then(Value::as_str) {
        Some(issuer) => keys.unwrap().issued_by(issuer),
        None => keys.unwrap(),
    }
}

fn request(step: &Map<String, Value>) -> Request<'_> {
    let text = |name: &str| step.get(name).and_then(Value::as_str);
    let seconds = |name: &str| step.get(name).and_then(Value::as_u64).map(Duration::from_secs);
    // A negative age counts as 0.
    let age = step.get("max_status_age").and_then(Value::as_i64);
    let now = SystemTime::UNIX_EPOCH + seconds("now").unwrap_or_default();
    Request {
        keys: text("keys"),
        status: text("status"),
        max_status_age: age.map(|age| Duration::from_secs(age.max(0).unsigned_abs())),
        memory: text("memory"),
        build: seconds("build").map(|build| SystemTime::UNIX_EPOCH + build),
        device: text("device"),
        ..Request::new(text("license").unwrap_or_default(), now)
    }
}

#[test]
fn every_vector_is_explained() {
    let (mut codes, mut states) = (BTreeSet::new(), BTreeSet::new());
    let steps = steps();
    assert!(steps.len() > 1_000, "{}", steps.len());
    for step in &steps {
        let (trust, request) = (trust(step), request(step));
        let checked = trust.check(&request);
        let explained = explained(Some(&trust), &request, Some(checked), step["audience"].as_str());
        let (verdict, _) = explained.check.as_ref().unwrap();
        if step["is_first"] == true {
            let expected = &step["expect"];
            let got = serde_json::to_value(verdict).unwrap();
            for member in ["valid", "state", "code", "features", "limits", "changes_at"] {
                assert_eq!(got[member], expected[member], "{}", step["name"]);
            }
        }
        codes.extend(verdict.code.map(Code::as_str));
        states.extend(verdict.state.map(State::as_str));
        let Explanation { license, verdict: sentences, next } = &explained.explanation;
        assert!(!license.is_empty() && next.len() == 1, "{}", step["name"]);
        let named = verdict.state.map(State::as_str).or(verdict.code.map(Code::as_str));
        assert!(sentences[0].contains(named.unwrap()), "{sentences:?}");
        assert!(verdict.code.is_none() || sentences.len() >= 3, "{sentences:?}");
        for sentence in license.iter().chain(sentences).chain(next) {
            assert!(sentence.ends_with('.'), "{}: {sentence:?}", step["name"]);
            assert!(!sentence.contains(char::is_control), "{}: {sentence:?}", step["name"]);
        }
        if let Some(time) = verdict.changes_at {
            assert!(next[0].contains(&Timestamp::from(time).to_string()), "{next:?}");
        }
    }
    assert_eq!(codes.len(), Code::ALL.len(), "{codes:?}");
    assert_eq!(states.len(), 4);
}

#[test]
fn a_time_is_seconds_or_rfc_3339_and_never_out_of_range() {
    for (text, seconds) in [
        ("1795186800", 1_795_186_800),
        ("2026-11-20T15:00:00Z", 1_795_186_800),
        ("2026-11-20T16:00:00.9+01:00", 1_795_186_800),
        ("0", 0),
        ("-5", 0),
        ("1969-12-31T23:59:59Z", 0),
        ("99999999999999999999", 253_402_300_799),
        ("-99999999999999999999", 0),
    ] {
        assert_eq!(time(text).map(Timestamp::epoch_seconds), Ok(seconds), "{text}");
    }
    for text in ["", "-", "soon", "1.5", "+5", "2026-11-20", "1e9"] {
        assert!(time(text).is_err(), "{text:?}");
    }
}
