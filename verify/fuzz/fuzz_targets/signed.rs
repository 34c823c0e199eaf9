//! Claims with valid signatures, so that the fuzzer reaches the rules behind them. The parts are
//! separated by NUL: the claims of the license, of the bundle and of the list, the memory, and the
//! list's zlib stream. An empty bundle or list stands for a good one.

#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer, SigningKey};
use libfuzzer_sys::fuzz_target;
use licentia_verify::{KeySet, Request};
use sha2::{Digest, Sha256};

/// The product, the device, the list and the time of the vectors.
const AUDIENCE: &str = "acme-app";
const DEVICE: &str = "nRwGJ4Re3aFdZDB8swFL0T3eg9g3nzsgl2sAEvRHnVw";
const LIST: &str = "https://acme.example/status/1";
const NOW: u64 = 1_800_000_000;

/// Signs the license and the list.
static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("signing key 1"));
/// Signs the bundle.
static ROOT: LazyLock<Key> = LazyLock::new(|| Key::new("root key"));
static TRUST: LazyLock<KeySet> =
    LazyLock::new(|| KeySet::from_root(&ROOT.jwk(""), AUDIENCE).expect("the root is usable"));

/// A key of the vectors (verify/vectors/README.md says how it is made).
struct Key {
    key: SigningKey,
    x: String,
    kid: String,
}

impl Key {
    fn new(name: &str) -> Self {
        let key =
            SigningKey::from_bytes(&Sha256::digest(format!("licentia vectors: {name}")).into());
        let x = URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes());
        let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        Self { key, x, kid: URL_SAFE_NO_PAD.encode(Sha256::digest(members)) }
    }

    /// Returns the public key, with other members.
    fn jwk(&self, members: &str) -> String {
        let Self { x, kid, .. } = self;
        format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{x}"{members}}}"#)
    }

    fn sign(&self, typ: &str, claims: &[u8]) -> String {
        let header = format!(r#"{{"alg":"EdDSA","typ":"{typ}","kid":"{}"}}"#, self.kid);
        let parts = [header.as_bytes(), claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        let signed = parts.join(".");
        let signature = self.key.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }
}

fn good_bundle() -> String {
    let key = KEY.jwk(r#","nbf":0,"exp":null"#);
    format!(r#"{{"iss":"i","iat":0,"exp":null,"seq":1,"revoked":[],"keys":[{key}]}}"#)
}

fn list(zlib: &[u8]) -> String {
    let lst = URL_SAFE_NO_PAD.encode(zlib);
    format!(r#"{{"sub":"{LIST}","iat":{NOW},"status_list":{{"bits":1,"lst":"{lst}"}}}}"#)
}

fuzz_target!(|data: &[u8]| {
    let mut parts = data.splitn(5, |byte| *byte == 0);
    let mut next = || parts.next().unwrap_or_default();
    let (license, bundle, status, memory, zlib) = (next(), next(), next(), next(), next());
    let or = |part: &[u8], good: &dyn Fn() -> String| {
        if part.is_empty() { good().into_bytes() } else { part.to_vec() }
    };
    let license = KEY.sign("license+jwt", license);
    let keys = ROOT.sign("license-keys+jwt", &or(bundle, &good_bundle));
    let status = KEY.sign("statuslist+jwt", &or(status, &|| list(zlib)));
    let memory = String::from_utf8_lossy(memory);

    let request = Request {
        keys: Some(&keys),
        status: Some(&status),
        max_status_age: Some(Duration::from_secs(86_400)),
        memory: Some(&memory),
        device: Some(DEVICE),
        ..Request::new(&license, SystemTime::UNIX_EPOCH + Duration::from_secs(NOW))
    };
    let (verdict, new_memory) = TRUST.verdict(&request);
    assert_eq!(verdict.valid, verdict.state.is_some());
    assert!(verdict.changes_at.is_none_or(|change| change > request.now));
    let again = TRUST.verdict(&Request { memory: Some(&new_memory), ..request }).1;
    assert_eq!(again, new_memory, "a repeated verdict leaves the memory as it is");
});
