//! Repeated requests. A client sends an `Idempotency-Key` with a request, and the same key when it
//! repeats the request because the response was lost. This file decides what a request with a key
//! gets (draft-ietf-httpapi-idempotency-key-header-07). [`crate::flows::idempotency`] applies it.

use std::str::FromStr;

use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::domain::account::password::Password;
use crate::domain::column::{ColumnType, Parameter, Value as ColumnValue, row};
use crate::domain::ids::CustomerId;
use crate::domain::private::Private;
use crate::domain::secret::{KeyedHash, encode};
use crate::domain::time::Timestamp;

/// How long a response is kept. Clients repeat a request within minutes.
pub const KEPT_FOR: TimeDelta = TimeDelta::days(1);

/// How long a request may run: ten seconds longer than the server allows (`REQUEST_TIMEOUT` in
/// `http/edge.rs`), so that two with the same key never run at once.
pub const LEASE: TimeDelta = TimeDelta::seconds(40);

/// The longest key, in characters. A UUID has 36.
pub const MAX_KEY: usize = 255;

/// The salt of a password in a fingerprint, in bytes.
const SALT: usize = 16;

/// The value of the header `Idempotency-Key`. It is a secret: together with the request it gives
/// access to the response.
#[derive(Clone, Debug)]
pub struct IdempotencyKey(SecretString);

/// The value of the header is not a valid idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use 1 to {MAX_KEY} printable ASCII characters, for example a random UUID")]
pub struct InvalidKey;

impl FromStr for IdempotencyKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let is_printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        let has_length = (1..=MAX_KEY).contains(&text.len());
        if is_printable && has_length { Ok(Self(text.into())) } else { Err(InvalidKey) }
    }
}

/// The hash of operation, credential and key: what a repeated request has in common with the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHash(String);

impl RequestHash {
    /// Returns the hash of a request. `credential` is what the caller authenticates with; it is
    /// empty for a public operation.
    #[must_use]
    pub fn new(operation: &str, credential: &[u8], key: &IdempotencyKey) -> Self {
        // No part has a zero byte: none can be in a header.
        let parts = [operation.as_bytes(), credential, key.0.expose_secret().as_bytes()];
        let hash = parts
            .iter()
            .fold(Sha256::new(), |hash, part| hash.chain_update(part).chain_update([0]));
        Self(encode(&hash.finalize()))
    }

    /// Returns the salt for a password in the fingerprint of a request.
    #[must_use]
    pub fn salt(&self) -> [u8; SALT] {
        let digest = Sha256::digest(&self.0);
        std::array::from_fn(|index| digest[index])
    }
}

impl Parameter for RequestHash {
    const TYPE: ColumnType = String::TYPE;

    fn to_value(&self) -> ColumnValue {
        self.0.to_value()
    }
}

/// A request body without its password.
pub struct Body {
    /// The rest of the body.
    rest: Vec<u8>,
    /// The password. It must be hashed slowly before it becomes part of a fingerprint: a fast hash
    /// would let anyone who has the database try passwords.
    pub password: Option<Password>,
}

impl Body {
    /// Takes the password out of a JSON body.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let Ok(mut value) = serde_json::from_slice::<Value>(bytes) else {
            return Self { rest: bytes.to_vec(), password: None };
        };
        let password = value.as_object_mut().and_then(|members| members.remove("password"));
        let password =
            password.as_ref().and_then(Value::as_str).map(|text| Password::new(text.to_owned()));
        Self { rest: value.to_string().into_bytes(), password }
    }

    /// Returns the HMAC of path, password hash and body under the idempotency key. Equal
    /// fingerprints mean the same request. `password_hash` is the slow hash of the password.
    #[must_use]
    pub fn fingerprint(&self, key: &IdempotencyKey, path: &str, password_hash: &str) -> KeyedHash {
        let parts = [path.as_bytes(), password_hash.as_bytes(), self.rest.as_slice()];
        KeyedHash::new(key.0.expose_secret().as_bytes(), &parts)
    }
}

/// A response that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResponse {
    /// The HTTP status.
    pub status: u16,
    /// The JSON body; empty if there is none.
    pub body: Private,
}

/// A request that begins.
pub struct NewRequest<'a> {
    /// The hash of operation, credential and key.
    pub request_hash: &'a RequestHash,
    /// The fingerprint.
    pub fingerprint: &'a KeyedHash,
    /// Identifies this attempt.
    pub lease_token: &'a str,
    /// Until when it may run.
    pub leased_until: Timestamp,
    /// When it is forgotten.
    pub kept_until: Timestamp,
    /// The customer whose data the response has, if that is known.
    pub customer_id: Option<&'a CustomerId>,
}

row! {
    /// A request with a key, as it is stored.
    #[derive(Clone, Debug)]
    pub struct KeyedRequest {
        /// The fingerprint.
        pub fingerprint: KeyedHash,
        /// Identifies the attempt that runs or ran last.
        pub lease_token: String,
        /// Until when it may run; `None` when it has ended.
        pub leased_until: Option<Timestamp>,
        /// The id of what it created.
        pub created_id: Option<String>,
        /// The status of its response.
        pub status: Option<i64>,
        /// The body of its response.
        pub body: Option<Private>,
        /// When it is forgotten.
        pub kept_until: Timestamp,
    }
}

/// The decision about a request with a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is carried out: it is the first, or the first is forgotten.
    Begin,
    /// It is carried out again, because the first one ended without a response. What the first one
    /// created is not created again.
    Resume {
        /// The id of what was created, if anything was.
        created_id: Option<String>,
    },
    /// It gets the response of the first.
    Replay {
        /// The id of what the first created.
        created_id: Option<String>,
        /// The response.
        response: StoredResponse,
    },
    /// It is refused: the first still runs.
    Running,
    /// It is refused: it is another request than the first.
    Mismatch,
}

impl KeyedRequest {
    /// Decides about a further request with the same hash.
    #[must_use]
    pub fn decide(self, fingerprint: &KeyedHash, now: Timestamp) -> Decision {
        let status = self.status.and_then(|status| u16::try_from(status).ok());
        if self.kept_until <= now {
            Decision::Begin
        } else if self.fingerprint != *fingerprint {
            Decision::Mismatch
        } else if let Some(status) = status {
            let body = self.body.unwrap_or_else(|| String::new().into());
            Decision::Replay {
                created_id: self.created_id,
                response: StoredResponse { status, body },
            }
        } else if self.leased_until.is_some_and(|until| until > now) {
            Decision::Running
        } else {
            Decision::Resume { created_id: self.created_id }
        }
    }
}

/// Returns whether a response is kept. One that refuses the request itself is not, so that the
/// client can correct it and send it with the same key; nor is one that a retry may change.
#[must_use]
pub fn is_kept(status: u16) -> bool {
    match status {
        400 | 401 | 408 | 413 | 415 | 422 | 429 => false,
        status => (200..500).contains(&status),
    }
}

/// The field of a response with a session token. Only its hash is stored elsewhere, so it is not
/// kept here either.
pub const SESSION_TOKEN: &str = "access_token";

/// Returns a response body without its session token, and the customer whose data it has.
#[must_use]
pub fn storable(body: &str) -> (Private, Option<String>) {
    let Ok(mut value) = serde_json::from_str::<Value>(body) else {
        return (body.to_owned().into(), None);
    };
    let owner =
        ["/customer_id", "/customer/customer_id"].iter().find_map(|path| value.pointer(path));
    let owner = owner.and_then(Value::as_str).map(str::to_owned);
    if let Some(token) = value.get_mut(SESSION_TOKEN) {
        *token = Value::Null;
    }
    (value.to_string().into(), owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_186_800;

    fn key(text: &str) -> IdempotencyKey {
        text.parse().unwrap()
    }

    fn fingerprint(body: &str) -> KeyedHash {
        Body::parse(body.as_bytes()).fingerprint(&key("k"), "/", "")
    }

    fn stored() -> KeyedRequest {
        KeyedRequest {
            fingerprint: fingerprint("{}"),
            lease_token: "1".into(),
            leased_until: Some(Timestamp::saturating(NOW + 1)),
            created_id: None,
            status: None,
            body: None,
            kept_until: Timestamp::saturating(NOW + 1),
        }
    }

    fn decide(stored: KeyedRequest, body: &str) -> Decision {
        stored.decide(&fingerprint(body), Timestamp::saturating(NOW))
    }

    #[test]
    fn a_request_runs_once_and_then_gets_the_first_response() {
        assert_eq!(decide(stored(), "{}"), Decision::Running);
        let created_id = Some("lic_1".to_owned());
        let ended = KeyedRequest { leased_until: None, created_id: created_id.clone(), ..stored() };
        assert_eq!(
            decide(ended.clone(), "{}"),
            Decision::Resume { created_id: created_id.clone() }
        );
        let body: Private = "{}".to_owned().into();
        let answered = KeyedRequest { status: Some(201), body: Some(body.clone()), ..ended };
        let response = StoredResponse { status: 201, body };
        assert_eq!(decide(answered, "{}"), Decision::Replay { created_id, response });
    }

    #[test]
    fn another_request_with_the_key_is_refused_until_the_first_is_forgotten() {
        assert_eq!(decide(stored(), "{\"a\":1}"), Decision::Mismatch);
        let kept_until = Timestamp::saturating(NOW);
        assert_eq!(decide(KeyedRequest { kept_until, ..stored() }, "{\"a\":1}"), Decision::Begin);
    }

    #[test]
    fn the_fingerprint_depends_on_key_path_password_and_the_meaning_of_the_body() {
        let of = |key_text: &str, path: &str, password: &str, body: &str| {
            Body::parse(body.as_bytes()).fingerprint(&key(key_text), path, password)
        };
        let first = of("k", "/a", "h", "{\"a\": 1, \"password\": \"x\"}");
        assert_eq!(
            first,
            of("k", "/a", "h", "{\"password\":\"y\",\"a\":1}"),
            "only its hash counts"
        );
        for other in [
            of("l", "/a", "h", "{\"a\":1}"),
            of("k", "/b", "h", "{\"a\":1}"),
            of("k", "/a", "i", "{\"a\":1}"),
            of("k", "/a", "h", "{\"a\":2}"),
            of("k", "/a", "h", "a"),
            of("k", "/ah", "", "{\"a\":1}"),
        ] {
            assert_ne!(first, other);
        }
        assert_ne!(RequestHash::new("a", b"b", &key("k")), RequestHash::new("ab", b"", &key("k")));
    }

    #[test]
    fn a_key_is_printable_and_of_limited_length() {
        for good in ["k", "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", &"k".repeat(MAX_KEY)] {
            assert!(good.parse::<IdempotencyKey>().is_ok(), "{good}");
        }
        for bad in ["", "ü", "a\u{7f}", "a\tb", &"k".repeat(MAX_KEY + 1)] {
            assert!(bad.parse::<IdempotencyKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_stored_body_has_no_session_token_and_names_its_customer() {
        let body = "{\"access_token\":\"lses_x\",\"customer\":{\"customer_id\":\"cust_1\"}}";
        let (stored, owner) = storable(body);
        assert!(!stored.as_str().contains("lses_"), "{}", stored.as_str());
        assert_eq!(owner.as_deref(), Some("cust_1"));
        assert_eq!(storable("{\"customer_id\":\"cust_2\"}").1.as_deref(), Some("cust_2"));
        assert_eq!(storable(""), (String::new().into(), None));
    }
}
