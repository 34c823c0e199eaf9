//! Any text in every place: the license, the bundle, the list and the memory, separated by NUL.

#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use licentia_verify::{KeySet, Request, inspect, license_token};

const ROOT: &str =
    r#"{"kty":"OKP","crv":"Ed25519","x":"gTl3Dqh9F19Wo1Rmw0x-zMuNipG07jeiXfYPW4_Js5Q"}"#;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.split('\0');
    let mut next = || parts.next().unwrap_or_default();
    let (license, keys, status, memory) = (next(), next(), next(), next());
    let root = KeySet::from_root(ROOT, "acme-app").expect("the root is usable");
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_186_800);
    let request = Request {
        keys: Some(keys),
        status: Some(status),
        memory: Some(memory),
        ..Request::new(license, now)
    };
    let (verdict, new_memory) = root.verdict(&request);
    assert_eq!(verdict.valid, verdict.state.is_some());
    let again = root.verdict(&Request { memory: Some(&new_memory), ..request }).1;
    assert_eq!(again, new_memory, "the memory is read as it was written");
    drop((license_token(license), inspect(license), KeySet::from_jwks(license, "acme-app")));
});
