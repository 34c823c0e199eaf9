//! Any text in every place: the license, the bundle, the list and the memory, separated by NUL.

#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use licentia_verify::{KeySet, Request, inspect, license_token};

/// The root key, the product, the device and the time of the vectors.
const ROOT: &str =
    r#"{"kty":"OKP","crv":"Ed25519","x":"9RBQdzQS7C-jHL-O0vJzt9RPr8BN4Tqeg4Oy7w6mGY4"}"#;
const AUDIENCE: &str = "acme-app";
const DEVICE: &str = "nRwGJ4Re3aFdZDB8swFL0T3eg9g3nzsgl2sAEvRHnVw";
const NOW: u64 = 1_800_000_000;

static TRUST: LazyLock<KeySet> =
    LazyLock::new(|| KeySet::from_root(ROOT, AUDIENCE).expect("the root is usable"));

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.split('\0');
    let mut next = || parts.next().unwrap_or_default();
    let (license, keys, status, memory) = (next(), next(), next(), next());
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    let request = Request {
        keys: Some(keys),
        status: Some(status),
        memory: Some(memory),
        device: Some(DEVICE),
        ..Request::new(license, now)
    };
    let (verdict, new_memory) = TRUST.verdict(&request);
    assert_eq!(verdict.valid, verdict.state.is_some());
    let again = TRUST.verdict(&Request { memory: Some(&new_memory), ..request }).1;
    assert_eq!(again, new_memory, "the memory is read as it was written");
    drop((license_token(license), inspect(license), KeySet::from_jwks(license, AUDIENCE)));
});
