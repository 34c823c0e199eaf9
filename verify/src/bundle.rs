//! The key bundle: the vendor's keys with their times, signed by the root key that an app pins.

use std::collections::BTreeSet;

use ed25519_dalek::VerifyingKey;

use crate::json::{Json, Members, Problem};
use crate::jws::{self, Kind};
use crate::keys::{Keys, Times, TrustedKey, ed25519_key, kid};
use crate::{MAX_BUNDLE_BYTES, Rejection};

/// The `typ` of a key bundle.
pub const BUNDLE_TYPE: &str = "license-keys+jwt";

const BUNDLE: Kind = Kind { typ: BUNDLE_TYPE, max_bytes: MAX_BUNDLE_BYTES };

/// A key bundle that is signed by the root and has not expired.
pub(crate) struct Bundle {
    pub(crate) iat: i64,
    pub(crate) exp: Option<i64>,
    pub(crate) seq: u64,
    pub(crate) keys: Keys,
}

/// The key that signs bundles, and nothing else.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    pub(crate) kid: String,
    pub(crate) key: TrustedKey,
}

impl Bundle {
    /// Returns the bundle that counts among these texts: the one with the highest `seq`, of equal
    /// ones the first. One whose `seq` is below `least_seq` does not count.
    pub(crate) fn newest(
        texts: &[impl AsRef<str>],
        root: &Root,
        least_seq: u64,
        now: i64,
    ) -> Option<Self> {
        let bundles = texts.iter().filter_map(|text| Self::open(text.as_ref(), root));
        bundles
            .filter(|bundle| bundle.seq >= least_seq && bundle.exp.is_none_or(|exp| now < exp))
            .reduce(|first, next| if next.seq > first.seq { next } else { first })
    }

    fn open(text: &str, root: &Root) -> Option<Self> {
        let unknown = |kid: &str| Rejection::UnknownKey { kid: kid.to_owned() };
        let (claims, _) = jws::open(text, &BUNDLE, |kid| {
            if kid == root.kid { Ok(&root.key) } else { Err(unknown(kid)) }
        })
        .ok()?;
        Self::read(&jws::members(&claims).ok()?, root).ok()
    }

    fn read(members: &Members<'_>, root: &Root) -> Result<Self, Problem> {
        members.filled("iss")?;
        let keys = timed_keys(members, Some(&root.key.key))?;
        Ok(Self {
            iat: members.time("iat")?,
            exp: members.nullable_time("exp")?,
            seq: members.number("seq")?,
            keys,
        })
    }
}

/// Returns the keys of a bundle with their times, without the root, and the revoked ones.
pub(crate) fn timed_keys(
    members: &Members<'_>,
    root: Option<&VerifyingKey>,
) -> Result<Keys, Problem> {
    let mut keys = Keys::default();
    let entries = members.array("keys")?.iter().filter_map(Json::as_object);
    for (kid, key) in entries.filter_map(timed_key).filter(|(_, key)| Some(&key.key) != root) {
        if !keys.insert(kid, key) {
            return Err(Problem::wrong("keys", "a set of keys with different kids"));
        }
    }
    keys.revoked = members.texts("revoked")?.into_iter().collect::<BTreeSet<_>>();
    Ok(keys)
}

/// Returns the key of an entry; `None` for one that is not usable.
fn timed_key(entry: &Members<'_>) -> Option<(String, TrustedKey)> {
    let key = ed25519_key(entry).ok()??;
    let times = Times { nbf: entry.time("nbf").ok()?, exp: entry.nullable_time("exp").ok()? };
    Some((kid(entry)?.to_owned(), TrustedKey { key, times: Some(times) }))
}
