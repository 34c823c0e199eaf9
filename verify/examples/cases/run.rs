//! Runs a case of the test vectors. `docs/license-format.md` describes their format.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use licentia_verify::{KeySet, Request};
use serde_json::{Map, Value, json};

/// Runs every vector file in a folder, in the order of their names. Returns the number of cases.
///
/// # Errors
/// The first difference, or the reason why a file is not a file of cases.
pub fn folder(folder: &Path) -> Result<usize, String> {
    let entries = folder.read_dir().map_err(|error| format!("{}: {error}", folder.display()))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_json = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    let mut paths: Vec<PathBuf> = paths.filter(is_json).collect();
    paths.sort();
    let mut count = 0;
    for path in paths {
        count += file(&path).map_err(|problem| format!("{}: {problem}", path.display()))?;
    }
    if count == 0 { Err(format!("{}: it has no cases", folder.display())) } else { Ok(count) }
}

fn file(path: &Path) -> Result<usize, String> {
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    let content: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    let cases = content.get("cases").unwrap_or(&content);
    let cases = cases.as_array().ok_or("it has no array of cases")?;
    for case in cases {
        let name = case["name"].as_str().unwrap_or("without a name");
        check(case).map_err(|problem| format!("case {name:?}: {problem}"))?;
    }
    Ok(cases.len())
}

/// Compares each verdict of a case with the expected one.
fn check(case: &Value) -> Result<(), String> {
    let mut memory = Value::Null;
    for (place, step) in steps(case)?.into_iter().enumerate() {
        let got = one(&step, &mut memory).and_then(|got| compare(&step["expect"], &got));
        got.map_err(|problem| match case.get("steps") {
            Some(_) => format!("step {}: {problem}", place + 1),
            None => problem,
        })?;
    }
    Ok(())
}

fn compare(expect: &Value, got: &Value) -> Result<(), String> {
    let expect = expect.as_object().ok_or("it has no \"expect\"")?;
    for (member, expected) in expect {
        let mut got = got[member].clone();
        if member == "memory" && expected.is_object() {
            let text = got.as_str().unwrap_or("null");
            got = serde_json::from_str(text).map_err(|error| format!("memory: {error}"))?;
        }
        if *expected != got {
            return Err(format!("member {member:?}: expected {expected}, got {got}"));
        }
    }
    Ok(())
}

/// Returns the verdict on a case, with the new memory. For a case with steps, the verdict on each.
///
/// # Errors
/// The reason why it is not a case.
pub fn verdict(case: &Value) -> Result<Value, String> {
    let mut memory = Value::Null;
    let verdicts = steps(case)?.into_iter().map(|step| one(&step, &mut memory));
    let mut verdicts = verdicts.collect::<Result<Vec<Value>, String>>()?;
    match case.get("steps") {
        Some(_) => Ok(json!({ "steps": verdicts })),
        None => verdicts.pop().ok_or_else(|| "it has no steps".to_owned()),
    }
}

/// Returns the steps of a case, each with the members that it inherits. A case without steps is the
/// only one.
fn steps(case: &Value) -> Result<Vec<Map<String, Value>>, String> {
    let case = case.as_object().ok_or("it is not an object")?;
    let Some(steps) = case.get("steps") else { return Ok(vec![case.clone()]) };
    let steps = steps.as_array().ok_or("\"steps\" is not an array")?;
    let inherited = case.iter().filter(|(name, _)| *name != "steps");
    let inherited: Map<String, Value> =
        inherited.map(|(name, value)| (name.clone(), value.clone())).collect();
    let steps = steps.iter().enumerate().map(|(place, step)| {
        let mut whole = inherited.clone();
        // Only the first step inherits the memory. Later ones have that of the step before.
        if place > 0 {
            whole.remove("memory");
        }
        whole.extend(step.as_object().ok_or("a step is not an object")?.clone());
        Ok(whole)
    });
    steps.collect()
}

/// Returns the verdict on one step, and remembers its memory for the next step.
fn one(step: &Map<String, Value>, memory: &mut Value) -> Result<Value, String> {
    let text = |name: &str| match step.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(format!("{name:?} is not a string")),
    };
    let number = |name: &str| match step.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(number) => whole(number).map(Some).ok_or(format!("{name:?} is not a whole number")),
    };
    let time = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let given = step.get("memory").unwrap_or(memory).clone();
    let request = Request {
        keys: text("keys")?,
        status: text("status")?,
        max_status_age: number("max_status_age")?.map(Duration::from_secs),
        memory: given.as_str(),
        build: number("build")?.map(time),
        device: text("device")?,
        ..Request::new(
            text("license")?.unwrap_or_default(),
            time(number("now")?.ok_or("it has no \"now\"")?),
        )
    };
    let (verdict, new_memory) = trust(step, text("issuer")?)?.verdict(&request);
    let mut verdict = serde_json::to_value(verdict).map_err(|error| error.to_string())?;
    *memory = Value::String(new_memory);
    verdict["memory"] = memory.clone();
    Ok(verdict)
}

/// Returns a number of a case; 0 for a negative one.
fn whole(number: &Value) -> Option<u64> {
    number.as_u64().or_else(|| number.as_i64().map(|_| 0)).filter(|number| *number < 1 << 60)
}

fn trust(case: &Map<String, Value>, issuer: Option<&str>) -> Result<KeySet, String> {
    let audience = case.get("audience").and_then(Value::as_str).unwrap_or_default();
    let trust = case.get("trust").ok_or("it has no \"trust\"")?;
    let keys = match (trust.get("jwks"), trust.get("root")) {
        (Some(jwks), None) => KeySet::from_jwks(&jwks.to_string(), audience),
        (None, Some(root)) => KeySet::from_root(&root.to_string(), audience),
        _ => return Err("its \"trust\" is not a JWKS or a root".into()),
    };
    let keys = keys.map_err(|error| error.to_string())?;
    Ok(match issuer {
        Some(issuer) => keys.issued_by(issuer),
        None => keys,
    })
}
