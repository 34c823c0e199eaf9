//! `changes_at` is the next change, and memory does not depend on how often a verdict is asked for:
//! for random licenses, bundles, lists, memories and clocks.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use common::{
    DAY, LIST, NOW, at, bundle, bundle_claims, claims, header, list, list_claims, listed, root,
    sign, with,
};
use licentia_verify::{Code, KeySet, Request, State, Verdict};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

/// The texts of an app, and when it verifies them.
#[derive(Clone, Debug)]
struct Scene {
    license: String,
    bundle: String,
    list: Option<String>,
    max_status_age: Option<Duration>,
    memory: Option<String>,
    build: Option<SystemTime>,
    device: Option<&'static str>,
    now: i64,
}

/// What a change changes.
type Effect = (bool, Option<State>, Vec<String>, BTreeMap<String, u64>);

fn effect(verdict: &Verdict) -> Effect {
    (verdict.valid, verdict.state, verdict.features.clone(), verdict.limits.clone())
}

impl Scene {
    fn verdict_at(&self, keys: &KeySet, now: i64) -> (Verdict, String) {
        keys.verdict(&Request {
            keys: Some(&self.bundle),
            status: self.list.as_deref(),
            max_status_age: self.max_status_age,
            memory: self.memory.as_deref(),
            build: self.build,
            device: self.device,
            ..Request::new(&self.license, at(now.max(0)))
        })
    }
}

/// Returns a time near the others, often the same as another.
fn near() -> impl Strategy<Value = i64> {
    (-40_i64..=40, select(vec![0, 0, 0, 1, -1, 60, 3600]))
        .prop_map(|(days, seconds)| NOW + days / 4 * DAY + seconds)
}

fn license() -> impl Strategy<Value = String> {
    let end = (near(), prop::option::of(near()))
        .prop_map(|(end, grace)| json!({ "license_expires": end, "grace_until": grace }));
    let forever = Just(json!({ "license_expires": null, "grace_until": null }));
    let limited = json!({ "mode": "limited", "features": ["export"], "limits": { "seats": 1 } });
    let on_end = vec![json!({ "mode": "stop" }), json!({ "mode": "warn" }), limited];
    let optional = (
        prop::option::of(select(on_end)),
        prop::option::of(0_u64..20),
        prop::option::of((0_u64..70).prop_map(listed)),
        prop::option::weighted(0.1, near()),
        prop::option::weighted(0.1, Just(json!({ "jkt": "device" }))),
    );
    let times = (near(), near(), near(), prop_oneof![3 => end, 1 => forever]);
    (times, optional).prop_map(|((iat, nbf, exp, end), optional)| {
        let claims =
            with(claims(), &json!({ "iat": iat - 5 * DAY, "nbf": nbf - 5 * DAY, "exp": exp }));
        let mut claims = with(claims, &end);
        let (on_end, warn_days, status, updates_until, cnf) = optional;
        for (name, value) in [
            ("on_end", on_end),
            ("warn_days", warn_days.map(Value::from)),
            ("status", status),
            ("updates_until", updates_until.map(Value::from)),
            ("cnf", cnf),
        ] {
            if let Some(value) = value {
                claims[name] = value;
            }
        }
        sign(&header(), &claims)
    })
}

fn a_bundle() -> impl Strategy<Value = String> {
    let exp = prop_oneof![1 => Just(Value::Null), 3 => near().prop_map(Value::from)];
    (near(), exp, 1_u64..5).prop_map(|(iat, exp, seq)| {
        let claims = with(bundle_claims(), &json!({ "iat": iat, "exp": exp, "seq": seq }));
        let times = json!({ "nbf": 0, "exp": null });
        bundle(&with(claims, &json!({ "keys": [with(common::jwk(1), &times)] })))
    })
}

fn a_list() -> impl Strategy<Value = String> {
    (near(), prop::collection::vec(0_usize..64, 0..20))
        .prop_map(|(iat, revoked)| list(&with(list_claims(&revoked), &json!({ "iat": iat }))))
}

fn memory() -> impl Strategy<Value = String> {
    let lists = (near(), prop::collection::vec(0_u64..70, 0..10))
        .prop_map(|(iat, revoked)| json!({ LIST: { "iat": iat, "revoked": revoked } }));
    let lists = prop_oneof![lists, Just(json!({}))];
    (near(), near(), 0_u64..4, lists).prop_map(|(time, signed, keys_seq, lists)| {
        json!({
            "v": 1, "time": time - 5 * DAY, "signed": signed - 5 * DAY, "keys_seq": keys_seq,
            "seq": {}, "lists": lists,
        })
        .to_string()
    })
}

fn scene() -> impl Strategy<Value = Scene> {
    let max_age = prop::option::of(select(vec![0, 1, 3600, 86_400, 10 * 86_400, u64::MAX]));
    let app = (
        max_age,
        prop::option::of(memory()),
        prop::option::of(near()),
        prop::option::of(select(vec!["device", "other"])),
    );
    (license(), a_bundle(), prop::option::of(a_list()), app, near()).prop_map(
        |(license, bundle, list, (max_age, memory, build, device), now)| Scene {
            license,
            bundle,
            list,
            max_status_age: max_age.map(Duration::from_secs),
            memory,
            build: build.map(at),
            device,
            now,
        },
    )
}

fn seconds(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_verdict_changes_at_its_time_and_not_before(scene in scene()) {
        let keys = root();
        let (verdict, memory) = scene.verdict_at(&keys, scene.now);
        let effect_at = |now| effect(&scene.verdict_at(&keys, now).0);
        let Some(change) = verdict.changes_at.map(seconds) else {
            return Ok(());
        };
        prop_assert!(change > scene.now);
        for before in [change - 1, (scene.now + change) / 2] {
            prop_assert_eq!(effect_at(before), effect(&verdict), "at {}", before);
        }
        if verdict.code == Some(Code::NotYetValid) {
            let then = scene.verdict_at(&keys, change).0;
            prop_assert_ne!(then.code, Some(Code::NotYetValid));
        } else {
            prop_assert_ne!(effect_at(change), effect(&verdict));
        }
        let signed: Value = serde_json::from_str(&memory).unwrap();
        // A bundle or list from the future shows that the clock is behind, but not at once.
        if verdict.valid && signed["signed"].as_i64().unwrap() <= scene.now {
            // An app gives the memory that it was given last.
            let later = Scene { memory: Some(memory), ..scene.clone() };
            for now in [change - 1, change, change + 1, change + DAY] {
                prop_assert_eq!(effect(&later.verdict_at(&keys, now).0), effect_at(now));
            }
        }
    }

    #[test]
    fn a_verdict_without_a_next_change_stays(scene in scene(), later in 1..100 * DAY) {
        let keys = root();
        let (verdict, _) = scene.verdict_at(&keys, scene.now);
        if verdict.changes_at.is_some() {
            return Ok(());
        }
        let then = scene.verdict_at(&keys, scene.now + later).0;
        // Once over, only keys and a list that are too old end what remains.
        let is_outdated = matches!(then.code, Some(Code::UnknownKey | Code::StaleStatus));
        prop_assert!(effect(&then) == effect(&verdict) || verdict.valid && is_outdated);
    }

    #[test]
    fn a_warning_comes_with_every_state_but_active_and_never_with_an_invalid_license(
        scene in scene(),
    ) {
        let (verdict, _) = scene.verdict_at(&root(), scene.now);
        prop_assert_eq!(verdict.valid, verdict.state.is_some());
        prop_assert_eq!(verdict.code.is_none(), verdict.state == Some(State::Active));
        prop_assert!(verdict.state.is_none_or(|state| verdict.warn || state == State::Active));
        prop_assert!(verdict.valid || !verdict.warn && verdict.features.is_empty());
        prop_assert!(verdict.valid || verdict.limits.is_empty());
    }

    #[test]
    fn a_repeated_verdict_leaves_the_memory_as_it_is(scene in scene()) {
        let keys = root();
        let (_, memory) = scene.verdict_at(&keys, scene.now);
        let again = Scene { memory: Some(memory.clone()), ..scene.clone() };
        prop_assert_eq!(again.verdict_at(&keys, scene.now).1, memory);
    }
}
