//! Claims with valid signatures, so that the fuzzer reaches the rules behind them. The parts are
//! separated by NUL: the claims of the license, of the bundle and of the list, the list's zlib
//! stream, and the memory. An empty bundle or list stands for a good one.

#![no_main]

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer, SigningKey};
use libfuzzer_sys::fuzz_target;
use licentia_verify::{KeySet, Request};

const NOW: u64 = 1_795_186_800;

/// Returns the public key number `n`, with other members.
fn jwk(n: u8, members: &str) -> String {
    let x = URL_SAFE_NO_PAD.encode(SigningKey::from_bytes(&[n; 32]).verifying_key().as_bytes());
    format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"key-{n}","x":"{x}"{members}}}"#)
}

/// The claims of a good bundle, without the key.
const BUNDLE: &str = r#"{"iss":"i","iat":0,"exp":null,"seq":1,"revoked":[],"keys":["#;

fn sign(typ: &str, number: u8, claims: &[u8]) -> String {
    let header = format!(r#"{{"alg":"EdDSA","typ":"{typ}","kid":"key-{number}"}}"#);
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = SigningKey::from_bytes(&[number; 32]).sign(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(5, |byte| *byte == 0);
    let mut next = || parts.next().unwrap_or_default();
    let (license, bundle, list, memory, zlib) = (next(), next(), next(), next(), next());
    let good_bundle = format!("{BUNDLE}{}]}}", jwk(1, r#","nbf":0,"exp":null"#));
    let good_list = format!(
        r#"{{"sub":"u","iat":{NOW},"status_list":{{"bits":1,"lst":"{}"}}}}"#,
        URL_SAFE_NO_PAD.encode(zlib)
    );
    let or = |part: &[u8], good: String| {
        if part.is_empty() { good.into_bytes() } else { part.to_vec() }
    };
    let license = sign("license+jwt", 1, license);
    let keys = sign("license-keys+jwt", 2, &or(bundle, good_bundle));
    let status = sign("statuslist+jwt", 1, &or(list, good_list));
    let memory = String::from_utf8_lossy(memory);

    let root = KeySet::from_root(&jwk(2, ""), "acme-app").expect("the root is usable");
    let request = Request {
        keys: Some(&keys),
        status: Some(&status),
        max_status_age: Some(Duration::from_secs(86_400)),
        memory: Some(&memory),
        device: Some("device"),
        ..Request::new(&license, SystemTime::UNIX_EPOCH + Duration::from_secs(NOW))
    };
    let (verdict, new_memory) = root.verdict(&request);
    assert_eq!(verdict.valid, verdict.state.is_some());
    assert!(verdict.changes_at.is_none_or(|change| change > request.now));
    let again = root.verdict(&Request { memory: Some(&new_memory), ..request }).1;
    assert_eq!(again, new_memory, "a repeated verdict leaves the memory as it is");
});
