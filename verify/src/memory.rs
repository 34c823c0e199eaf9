//! What an app remembers from one verdict to the next: a text that it stores. It may lose the text.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::bundle::Bundle;
use crate::json::{self, Json, Members, Problem};
use crate::status_list::StatusList;
use crate::{Claims, StatusReference};

/// The longest memory that is read, in bytes. A longer one counts as lost.
const MAX_MEMORY_BYTES: usize = 256 * 1024;

/// The version of the text.
const MEMORY_VERSION: u64 = 1;

/// How far a clock may be behind what is remembered, in seconds.
const ROLLED_BACK_SECONDS: i64 = 60 * 60;

/// How far from the clock the `iat` of a license may be that shows that the clock is right.
const HEALING_SECONDS: i64 = 24 * 60 * 60;

/// The facts that a device remembers. Times are seconds since 1970; 0 is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Memory {
    v: u64,
    /// The latest time of the device at a verdict.
    time: i64,
    /// The latest `iat` in anything that verified.
    signed: i64,
    /// The `seq` of the newest key bundle.
    pub(crate) keys_seq: u64,
    /// The highest `seq` of a license, by customer.
    seq: BTreeMap<String, u64>,
    /// The newest status lists, by their URI.
    lists: BTreeMap<String, RememberedList>,
}

/// A status list as a device remembers it: the indexes of its own licenses that are revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct RememberedList {
    iat: i64,
    revoked: BTreeSet<u64>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            v: MEMORY_VERSION,
            time: 0,
            signed: 0,
            keys_seq: 0,
            seq: BTreeMap::new(),
            lists: BTreeMap::new(),
        }
    }
}

impl Memory {
    /// Returns the memory in a text. One that cannot be read is lost: it is empty.
    pub(crate) fn from_text(text: Option<&str>) -> Self {
        let text = text.filter(|text| text.len() <= MAX_MEMORY_BYTES);
        let members = text.and_then(|text| json::object(text.as_bytes()).ok());
        members.and_then(|members| Self::read(&members).ok()).unwrap_or_default()
    }

    fn read(members: &Members<'_>) -> Result<Self, Problem> {
        if members.number("v")? != MEMORY_VERSION {
            return Err(Problem::wrong("v", "a known version"));
        }
        let lists = members.object("lists")?.entries().map(|(uri, list)| {
            let list = list.as_object().ok_or_else(|| Problem::wrong(uri, "an object"))?;
            Ok((uri.to_owned(), RememberedList::read(list)?))
        });
        Ok(Self {
            v: MEMORY_VERSION,
            time: members.time("time")?,
            signed: members.time("signed")?,
            keys_seq: members.number("keys_seq")?,
            seq: members.numbers("seq")?,
            lists: lists.collect::<Result<_, _>>()?,
        })
    }

    /// Returns the text to store.
    pub(crate) fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Returns what is remembered of time.
    pub(crate) fn clock(&self) -> Clock {
        Clock { time: self.time, signed: self.signed }
    }

    /// Returns the `iat` of the newest list with this URI.
    pub(crate) fn list_iat(&self, uri: &str) -> Option<i64> {
        self.lists.get(uri).map(|list| list.iat)
    }

    pub(crate) fn is_revoked(&self, reference: &StatusReference) -> bool {
        self.lists.get(&reference.uri).is_some_and(|list| list.revoked.contains(&reference.idx))
    }

    /// Remembers a bundle that counts.
    pub(crate) fn learn_bundle(&mut self, bundle: &Bundle) {
        self.keys_seq = self.keys_seq.max(bundle.seq);
        self.signed = self.signed.max(bundle.iat);
    }

    /// Remembers a license that verified, and the time. Returns when the clock is right again, if
    /// it was set back. `given` is the memory before this verdict.
    pub(crate) fn learn_license(
        &mut self,
        claims: &Claims,
        now: i64,
        given: &Clock,
    ) -> Option<i64> {
        let right_at = given.right_at(now).filter(|_| !given.is_healed_by(claims, now));
        let is_healed = given.right_at(now).is_some() && right_at.is_none();
        self.time = if is_healed { now } else { self.time.max(now) };
        self.signed = self.signed.max(claims.iat);
        let seq = self.seq.entry(claims.sub.clone()).or_default();
        *seq = claims.seq.max(*seq);
        right_at
    }

    /// Remembers a list that counts for a license.
    pub(crate) fn learn_list(&mut self, list: &StatusList, reference: &StatusReference) {
        self.signed = self.signed.max(list.iat);
        let remembered = self.lists.entry(reference.uri.clone()).or_default();
        remembered.iat = list.iat;
        // The newer list decides. It says nothing about an index beyond its end.
        remembered.revoked.retain(|idx| list.is_revoked(*idx).unwrap_or(true));
        if list.is_revoked(reference.idx) == Some(true) {
            remembered.revoked.insert(reference.idx);
        }
    }
}

/// The remembered times.
pub(crate) struct Clock {
    time: i64,
    signed: i64,
}

impl Clock {
    /// Returns the time at which the clock is right again, if it was set back.
    fn right_at(&self, now: i64) -> Option<i64> {
        let right_at = self.time.max(self.signed) - ROLLED_BACK_SECONDS;
        (now < right_at).then_some(right_at)
    }

    /// Returns whether a license shows that the clock is right, although it was ahead before.
    fn is_healed_by(&self, claims: &Claims, now: i64) -> bool {
        claims.iat > self.signed && (claims.iat - now).abs() <= HEALING_SECONDS
    }
}

impl RememberedList {
    fn read(members: &Members<'_>) -> Result<Self, Problem> {
        let revoked = members.array("revoked")?.iter().map(Json::as_number).collect::<Option<_>>();
        let revoked = revoked.ok_or_else(|| Problem::wrong("revoked", "an array of numbers"))?;
        Ok(Self { iat: members.time("iat")?, revoked })
    }
}
