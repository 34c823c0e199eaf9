//! The test vectors, which every verifier runs. `VECTORS` may name another folder than
//! `verify/vectors`.

#[path = "../examples/cases/run.rs"]
mod run;

use std::path::PathBuf;

use serde_json::{Value, json};

#[test]
fn every_vector_has_its_verdict_license_6() {
    let folder = std::env::var_os("VECTORS").map_or("vectors".into(), PathBuf::from);
    match run::folder(&folder) {
        Ok(count) => println!("{count} cases"),
        Err(difference) => panic!("{difference}"),
    }
}

#[test]
fn what_is_not_a_case_is_an_error() {
    let jwk = json!({
        "kty": "OKP", "crv": "Ed25519", "kid": "a",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    });
    let case = json!({ "trust": { "root": jwk }, "audience": "acme", "license": "x", "now": 0 });
    assert_eq!(run::verdict(&case).unwrap()["code"], "malformed");
    let with = |name: &str, value: Value| {
        let mut case = case.clone();
        case[name] = value;
        run::verdict(&case)
    };
    for (name, wrong) in [
        ("trust", json!({ "jwks": { "keys": [] } })),
        ("trust", json!(null)),
        ("audience", json!("")),
        ("now", json!("1")),
        ("now", json!(1.5)),
        ("license", json!(1)),
        ("steps", json!({})),
        ("steps", json!([1])),
    ] {
        assert!(with(name, wrong.clone()).is_err(), "{name}: {wrong}");
    }
    assert_eq!(with("steps", json!([{}, {}])).unwrap()["steps"].as_array().unwrap().len(), 2);
}
