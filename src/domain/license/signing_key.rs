//! The signing keys as the database records them: which key signs at a time, and since when each is
//! published. The private parts are in [`crate::keys`].

use chrono::TimeDelta;
use licentia_verify::Jwk;
use serde::Serialize;

use crate::domain::column::row;
use crate::domain::time::{SKEW, Timestamp};

/// How long clients and proxies may use the key set and the key bundle without asking again, in
/// seconds: a minute, so that a changed key is seen soon. Asking again costs little
/// (`If-None-Match`).
pub const CACHE_SECONDS: i64 = 60;

/// The time within which every running server notices a new, retired or revoked key.
pub const NOTICED_WITHIN: TimeDelta = TimeDelta::minutes(1);

/// How long a key is published before it signs: longer than the caches and the minute in which
/// servers notice it, so that no license has a key that an app cannot get. A day, because apps
/// fetch the key set daily.
pub const PUBLISHED_BEFORE_SIGNING: TimeDelta = TimeDelta::days(1);

const _: () = assert!(
    PUBLISHED_BEFORE_SIGNING.num_seconds()
        > CACHE_SECONDS + NOTICED_WITHIN.num_seconds() + SKEW.num_seconds()
);

/// How long after its retirement or revocation a key may sign: on a server that has not noticed
/// yet, with a clock that is ahead.
pub const SIGNS_AFTER_ITS_END: TimeDelta = TimeDelta::minutes(10);

row! {
    /// A signing key.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct KeyRecord {
        /// The RFC 7638 thumbprint.
        pub kid: String,
        /// Counts up with each key: of the keys that may sign, the newest one does.
        pub number: i64,
        /// The 32 bytes, base64url; `None` for a key that was lost before it was published here.
        pub public_key: Option<String>,
        /// Since when the servers publish it.
        pub published_at: Timestamp,
        /// The earliest time at which it signs: a day after it was published, unless it signs at
        /// once. [`KeyRecord::ready_from`] also waits for the key bundle.
        pub signs_from: Timestamp,
        /// The claim `nbf` in the bundle.
        pub not_before: Timestamp,
        /// Since when a bundle has it.
        pub bundled_at: Option<Timestamp>,
        /// The claim `exp` in the bundle. A key with an end no longer signs.
        pub ends_at: Option<Timestamp>,
        /// The time of its revocation.
        pub revoked_at: Option<Timestamp>,
    }
}

/// The state of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// Published; signs later.
    Next,
    /// Signs now.
    Signing,
    /// No longer signs, but is not retired: its file is still needed.
    Former,
    /// Has an end; its licenses still verify.
    Retired,
    /// Its licenses no longer verify.
    Revoked,
}

impl KeyState {
    /// Returns the state as text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Signing => "signing",
            Self::Former => "former",
            Self::Retired => "retired",
            Self::Revoked => "revoked",
        }
    }
}

/// A key whose private part a server has.
#[derive(Clone, Copy, Debug)]
pub struct HeldKey<'a> {
    /// The key.
    pub kid: &'a str,
    /// Whether it signs instead of newer keys: the setting `signing_key`.
    pub is_preferred: bool,
}

/// A key that has no record yet.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The RFC 7638 thumbprint.
    pub kid: String,
    /// The 32 bytes, base64url.
    pub public_key: String,
    /// The time in its file's name.
    pub named_time: Timestamp,
    /// When it signed its first license; `None` if it signed none.
    pub first_issue: Option<Timestamp>,
}

impl KeyRecord {
    /// Returns the record of a key that is revoked at `now` and has none: no server has published
    /// it, or the database is older. It signed its first license at `first_issue`, if it is known.
    #[must_use]
    pub fn of_revoked(
        kid: String,
        public_key: Option<String>,
        first_issue: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        Self {
            kid,
            number: 0,
            public_key,
            published_at: now,
            signs_from: now,
            not_before: first_issue.unwrap_or(now) - SKEW,
            bundled_at: None,
            ends_at: None,
            revoked_at: Some(now),
        }
    }

    /// Returns whether it may sign at some time: it is neither retired nor revoked.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.ends_at.is_none() && self.revoked_at.is_none()
    }

    /// Returns the time from which it signs; `None` if a key bundle exists and does not have it, so
    /// that apps which trust the root would refuse its licenses.
    #[must_use]
    pub fn ready_from(&self, has_bundle: bool) -> Option<Timestamp> {
        if !has_bundle {
            return Some(self.signs_from);
        }
        let bundled_at = self.bundled_at?;
        let announced =
            if self.signs_at_once() { bundled_at } else { bundled_at + PUBLISHED_BEFORE_SIGNING };
        Some(self.signs_from.max(announced))
    }

    /// Returns whether it signs without having been announced: the first key, or one that replaces
    /// a lost key.
    fn signs_at_once(&self) -> bool {
        self.signs_from < self.published_at + PUBLISHED_BEFORE_SIGNING
    }

    /// Returns the corrected record of a key that a server sees at `now` and did not see when it
    /// last read the records, in `before`. `None` if its times may be right: it says that it was
    /// published, or added to the bundle, after that. Otherwise a clock that is behind has written
    /// them, and the key would sign too early on servers whose clock is right.
    #[must_use]
    pub fn corrected(
        &self,
        last_read: Timestamp,
        before: Option<&Self>,
        now: Timestamp,
    ) -> Option<Self> {
        if self.signs_at_once() {
            return None;
        }
        let is_early = |time: Timestamp| time + SKEW < last_read;
        let is_new = before.is_none() && is_early(self.published_at);
        let was_bundled = before.is_some_and(|before| before.bundled_at.is_some());
        let is_new_in_bundle = !was_bundled && self.bundled_at.is_some_and(is_early);
        let announced = now + PUBLISHED_BEFORE_SIGNING;
        match (is_new, is_new_in_bundle) {
            (true, in_bundle) => Some(Self {
                published_at: now,
                signs_from: self.signs_from.max(announced),
                bundled_at: if in_bundle { Some(now) } else { self.bundled_at },
                ..self.clone()
            }),
            (false, true) => Some(Self { bundled_at: Some(now), ..self.clone() }),
            (false, false) => None,
        }
    }

    /// Returns the record of a key that is retired at `now` and signed its last license at
    /// `last_issue`. Its end is not before that license, even if the clock is behind; a license of
    /// a clock that is far ahead does not count.
    #[must_use]
    pub fn retired(self, last_issue: Option<Timestamp>, now: Timestamp) -> Self {
        let known = last_issue.map_or(now, |last| last.min(now + PUBLISHED_BEFORE_SIGNING));
        Self { ends_at: Some(now.max(known) + SIGNS_AFTER_ITS_END), ..self }
    }

    fn is_ready(&self, has_bundle: bool, now: Timestamp) -> bool {
        self.is_usable() && self.ready_from(has_bundle).is_some_and(|from| from <= now)
    }

    /// Returns its public part; `None` if it is unknown.
    #[must_use]
    pub fn jwk(&self) -> Option<Jwk> {
        self.public_key.clone().map(|x| public_jwk(x, self.kid.clone()))
    }

    /// Returns its state. `signing` is the key that signs.
    #[must_use]
    pub fn state(&self, signing: Option<&str>, has_bundle: bool, now: Timestamp) -> KeyState {
        match () {
            () if self.revoked_at.is_some() => KeyState::Revoked,
            () if signing == Some(self.kid.as_str()) => KeyState::Signing,
            () if self.is_usable() && !self.is_ready(has_bundle, now) => KeyState::Next,
            () if self.ends_at.is_some() => KeyState::Retired,
            () => KeyState::Former,
        }
    }
}

/// Returns a public Ed25519 key as a JWK.
#[must_use]
pub fn public_jwk(x: String, kid: String) -> Jwk {
    Jwk {
        kty: "OKP".into(),
        crv: "Ed25519".into(),
        x,
        kid,
        alg: None,
        public_key_use: Some("sig".into()),
    }
}

/// Returns the key that signs at `now`, of those that this server has: the preferred or else the
/// newest one that has been published long enough. While there is none, the oldest one signs:
/// without another key, nobody could sign. `None` if every key is retired or revoked.
#[must_use]
pub fn signing<'a>(
    records: &'a [KeyRecord],
    held: &[HeldKey<'_>],
    has_bundle: bool,
    now: Timestamp,
) -> Option<&'a KeyRecord> {
    let held = |record: &KeyRecord| held.iter().find(|key| key.kid == record.kid);
    let usable = || {
        let usable = records.iter().filter(|record| record.is_usable());
        usable.filter_map(move |record| held(record).map(|key| (key.is_preferred, record)))
    };
    let ready = usable().filter(|(_, record)| record.is_ready(has_bundle, now));
    ready
        .max_by_key(|(is_preferred, record)| (*is_preferred, record.number))
        .or_else(|| usable().min_by_key(|(_, record)| record.number))
        .map(|(_, record)| record)
}

/// Returns whether any other key is ready to sign at `now`, on whichever server.
#[must_use]
pub fn another_is_ready(
    records: &[KeyRecord],
    kid: &str,
    has_bundle: bool,
    now: Timestamp,
) -> bool {
    let mut others = records.iter().filter(|record| record.kid != kid);
    others.any(|record| record.is_ready(has_bundle, now))
}

/// Returns the records of keys that have none, in their order. Without any record, older servers
/// have published these keys, or they are the first ones: they sign from the time that their file
/// names. Otherwise a key is announced first, unless it is `at_once`.
#[must_use]
pub fn register(
    new: Vec<NewKey>,
    known: &[KeyRecord],
    at_once: Option<&str>,
    now: Timestamp,
) -> Vec<KeyRecord> {
    let last = known.iter().map(|record| record.number).max().unwrap_or(0);
    let announced = now + PUBLISHED_BEFORE_SIGNING;
    let new = new.into_iter().zip(last + 1..);
    new.map(|(key, number)| {
        let is_old = known.is_empty() && key.named_time <= now;
        let signs_from = match () {
            () if at_once == Some(key.kid.as_str()) => now,
            () if is_old => key.named_time,
            // A first key with a name from a clock that was ahead signs too: there is no other.
            () => key.named_time.max(announced),
        };
        // After a backup was restored, the key may have signed licenses that are not in it. A key
        // signs no earlier than a day before the time in its name, when it was made.
        let made = if known.is_empty() { now } else { key.named_time - PUBLISHED_BEFORE_SIGNING };
        let first = key.first_issue.unwrap_or(now).min(signs_from).min(made).min(now);
        KeyRecord {
            number,
            published_at: now,
            signs_from,
            not_before: first - SKEW,
            public_key: Some(key.public_key),
            kid: key.kid,
            bundled_at: None,
            ends_at: None,
            revoked_at: None,
        }
    })
    .collect()
}

#[cfg(test)]
mod tests;
