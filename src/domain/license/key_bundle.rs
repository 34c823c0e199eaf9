//! The content of the key bundle, as `docs/license-format.md` specifies it. Signing it is in
//! [`crate::keys`].

use chrono::TimeDelta;
use licentia_verify::Jwk;
use serde::{Deserialize, Serialize};

use super::BACKDATED;
use super::signing_key::{KeyRecord, public_jwk};
use crate::domain::column::row;
use crate::domain::time::{SKEW, Timestamp};

/// A bundle that ends within this time counts as out of date. The operator may need days to sign
/// the next one with a root key in a safe, and apps that are offline keep the one they have.
pub const ENDS_SOON: TimeDelta = TimeDelta::days(7);

row! {
    /// A published key bundle.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct StoredBundle {
        /// The claim `seq`.
        pub seq: i64,
        /// The signed text.
        pub token: String,
        /// The time at which it was stored.
        pub stored_at: Timestamp,
    }
}

row! {
    /// The public part of the root key, which apps pin.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct RootRecord {
        /// The RFC 7638 thumbprint.
        pub kid: String,
        /// The 32 bytes, base64url.
        pub public_key: String,
    }
}

impl RootRecord {
    /// Returns it as a JWK.
    #[must_use]
    pub fn jwk(&self) -> Jwk {
        public_jwk(self.public_key.clone(), self.kid.clone())
    }
}

/// A key with its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimedKey {
    /// The key.
    #[serde(flatten)]
    pub jwk: Jwk,
    /// The time from which it signs.
    pub nbf: i64,
    /// The time at which it ends; `None` while it has no end.
    pub exp: Option<i64>,
}

/// The part of a bundle that the records of the keys decide.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleContent {
    /// The keys, oldest first.
    pub keys: Vec<TimedKey>,
    /// The ids of the revoked keys.
    pub revoked: Vec<String>,
}

/// The claims of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleClaims {
    /// The issuer.
    pub iss: String,
    /// The time of signing.
    pub iat: i64,
    /// The time at which it ends; `None`: never.
    pub exp: Option<i64>,
    /// Counts up with each bundle.
    pub seq: i64,
    /// The keys.
    #[serde(flatten)]
    pub content: BundleContent,
}

impl BundleClaims {
    /// Returns the end of the bundle if it is near, or has passed.
    #[must_use]
    pub fn near_end(&self, now: Timestamp) -> Option<Timestamp> {
        self.exp.map(Timestamp::saturating).filter(|end| *end <= now + ENDS_SOON)
    }

    /// Returns whether a clock that is ahead has dated the bundle: apps that see it would refuse
    /// what is signed now.
    #[must_use]
    pub fn is_of_the_future(&self, now: Timestamp) -> bool {
        Timestamp::saturating(self.iat) > now + SKEW
    }

    /// Returns the warning that the bundle ends soon or has ended.
    #[must_use]
    pub fn end_warning(&self, now: Timestamp) -> Option<String> {
        let (seq, end) = (self.seq, self.near_end(now)?);
        let what = if end <= now {
            format!("ended at {end}: apps that pin the root refuse licenses (`unknown_key`)")
        } else {
            format!("ends at {end}: then apps that pin the root refuse licenses (`unknown_key`)")
        };
        Some(format!(
            "the key bundle {seq} {what}. Sign a new one with the root key and import it \
             (licentia keys bundle --help)"
        ))
    }
}

impl BundleContent {
    /// Returns the content for these records, whose order does not matter.
    #[must_use]
    pub fn of(records: &[KeyRecord]) -> Self {
        let mut records: Vec<_> = records.iter().collect();
        records.sort_by_key(|record| (record.number, &record.kid));
        let (revoked, trusted): (Vec<_>, Vec<_>) =
            records.into_iter().partition(|record| record.revoked_at.is_some());
        let timed = |record: &KeyRecord| {
            Some(TimedKey {
                jwk: record.jwk()?,
                nbf: record.not_before.epoch_seconds(),
                exp: record.ends_at.map(Timestamp::epoch_seconds),
            })
        };
        Self {
            keys: trusted.into_iter().filter_map(timed).collect(),
            revoked: revoked.into_iter().map(|record| record.kid.clone()).collect(),
        }
    }

    /// Returns the claims of the bundle that follows the one with this `seq`. It never ends, so
    /// that an app without a network works for years. `seq` is at least the time, so that a
    /// database that was restored from a backup uses none twice: apps refuse a lower one than they
    /// have seen.
    #[must_use]
    pub fn claims(self, issuer: &str, last_seq: i64, now: Timestamp) -> BundleClaims {
        BundleClaims {
            iss: issuer.to_owned(),
            iat: (now - BACKDATED).epoch_seconds(),
            exp: None,
            seq: last_seq.saturating_add(1).max(now.epoch_seconds()),
            content: self,
        }
    }

    /// Returns whether it has this key, and does not revoke it.
    #[must_use]
    pub fn trusts(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.jwk.kid == kid) && !self.revokes(kid)
    }

    /// Returns whether it revokes this key.
    #[must_use]
    pub fn revokes(&self, kid: &str) -> bool {
        self.revoked.iter().any(|revoked| revoked == kid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_has_the_keys_with_their_times_and_the_revoked_ones() {
        let at = Timestamp::saturating;
        let first = KeyRecord {
            kid: "k1".into(),
            number: 1,
            public_key: Some("x1".into()),
            published_at: at(1_000),
            signs_from: at(1_000),
            not_before: at(900),
            bundled_at: None,
            ends_at: Some(at(5_000)),
            revoked_at: None,
        };
        let second = KeyRecord { kid: "k2".into(), number: 2, ends_at: None, ..first.clone() };
        let third = KeyRecord { kid: "k3".into(), revoked_at: Some(at(9)), ..second.clone() };
        let lost = KeyRecord { kid: "k0".into(), public_key: None, ..third.clone() };
        let content = BundleContent::of(&[third, second, lost, first]);
        let claims = content.claims("https://acme.example", 6, at(2_000));
        let after = claims.content.clone().claims("https://acme.example", 2_000, at(1_000));
        assert_eq!(after.seq, 2_001);
        let json = serde_json::to_value(&claims).unwrap();
        let key = |kid: &str, exp: serde_json::Value| {
            serde_json::json!({
                "kty": "OKP", "crv": "Ed25519", "x": "x1", "kid": kid, "use": "sig", "nbf": 900,
                "exp": exp,
            })
        };
        assert_eq!(
            json,
            serde_json::json!({
                "iss": "https://acme.example", "iat": 1_940, "exp": null, "seq": 2_000,
                "keys": [key("k1", 5_000.into()), key("k2", serde_json::Value::Null)],
                "revoked": ["k0", "k3"],
            })
        );
        assert_eq!(serde_json::from_value::<BundleClaims>(json).unwrap(), claims);
        assert!(claims.content.trusts("k2") && !claims.content.trusts("k3"));
    }

    #[test]
    fn the_operator_is_warned_a_week_before_a_bundle_ends() {
        let now = Timestamp::saturating(1_000_000);
        let week = ENDS_SOON.num_seconds();
        for (exp, expected) in [
            (None, None),
            (Some(week + 1), None),
            (Some(i64::MAX - 1_000_000), None),
            (Some(week), Some("the key bundle 7 ends at 1970-01-19T13:46:40Z: then apps")),
            (Some(1), Some("the key bundle 7 ends at")),
            (Some(0), Some("the key bundle 7 ended at 1970-01-12T13:46:40Z: apps")),
            (Some(-1_000_000), Some("the key bundle 7 ended at 1970-01-01")),
        ] {
            let exp = exp.map(|exp| now.epoch_seconds() + exp);
            let claims = BundleContent::default().claims("https://acme.example", 6, now);
            let claims = BundleClaims { seq: 7, exp, ..claims };
            let warning = claims.end_warning(now);
            assert_eq!(warning.is_some(), expected.is_some(), "{exp:?}: {warning:?}");
            let (warning, expected) = (warning.unwrap_or_default(), expected.unwrap_or_default());
            assert!(warning.starts_with(expected), "{exp:?}: {warning}");
        }
    }
}
