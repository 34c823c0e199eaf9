//! Status lists: which licenses are revoked, one bit for each, signed for apps that are offline
//! (draft-ietf-oauth-status-list-21). Verification is in the crate `licentia-verify`.

use std::fmt::Display;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use licentia_verify::StatusReference;
use miniz_oxide::deflate::compress_to_vec_zlib;
use serde::Serialize;

use super::BACKDATED;
use crate::domain::column::row;
use crate::domain::time::{SKEW, Timestamp};

/// The path of all lists. That of a list follows, with its id.
pub const PATH: &str = "/.well-known/license-status";

/// The licenses of a list. Its bits take 128 KiB. Random ones do not compress, and they are encoded
/// twice (`lst`, then the claims): 228 KiB. Verifiers read 256 KiB.
pub const SIZE: u32 = 1 << 20;

/// How many indexes are drawn for a license before a new list is opened. When the list is half
/// full, all of them are taken for one of 65,536 licenses. So a list is closed a little later,
/// without counting its indexes, and until then one or two draws are enough.
pub const DRAWS: usize = 16;

/// The bytes of randomness for [`draws`]: four for each.
pub const DRAW_BYTES: usize = DRAWS * 4;

/// How old a list may be before it is signed again without a change, so that an app can tell a
/// current list from one that is held back.
pub const RENEWED_AFTER: TimeDelta = TimeDelta::hours(1);

/// How long an app should keep a list before it fetches the next one.
const FETCHED_AFTER: TimeDelta = TimeDelta::hours(12);

/// How long a list is current. Licentia's verifiers let the app decide (`max_status_age`), and a
/// list that is over can still revoke; other libraries refuse it.
const LASTS: TimeDelta = TimeDelta::days(7);

/// The level of compression: the smallest result. A list is compressed once for each change.
const COMPRESSION: u8 = 9;

/// The index of a license in a status list: which bit of which list says whether it is revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusIndex {
    /// The list's id.
    pub list_id: i64,
    /// The index, `idx` in the format.
    pub idx: u32,
}

impl StatusIndex {
    /// Returns the claim of a license that has this index in a list of this origin.
    #[must_use]
    pub fn reference(&self, origin: &str) -> StatusReference {
        StatusReference { idx: self.idx.into(), uri: uri(origin, self.list_id) }
    }
}

/// Returns the address of a list. Lists and licenses name it, and verifiers compare the two.
#[must_use]
pub fn uri(origin: &str, list_id: impl Display) -> String {
    format!("{origin}{PATH}/{list_id}")
}

/// Returns whether the list with this address is one of this origin.
#[must_use]
pub fn is_at(list_uri: &str, origin: &str) -> bool {
    list_id(list_uri).is_some_and(|list_id| uri(origin, list_id) == list_uri)
}

/// Returns the id of the list with this address; `None` if it is no list of such a server.
#[must_use]
pub fn list_id(list_uri: &str) -> Option<i64> {
    let (origin_and_path, list_id) = list_uri.rsplit_once('/')?;
    if origin_and_path.ends_with(PATH) { list_id.parse().ok() } else { None }
}

/// Returns indexes, each equally likely: the size is a power of two.
#[must_use]
pub fn draws(random: &[u8; DRAW_BYTES]) -> [u32; DRAWS] {
    let (numbers, _) = random.as_chunks();
    std::array::from_fn(|draw| u32::from_le_bytes(numbers[draw]) % SIZE)
}

row! {
    /// A status list, without its bits.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct StatusList {
        /// The id, at the end of its address.
        pub list_id: i64,
        /// The origin of its address.
        pub origin: String,
        /// Its `iat`. It goes back only if a clock that was ahead dated it (more than `SKEW` in the
        /// future). Otherwise it never does: apps refuse a list that is older than the last one
        /// they saw.
        pub issued_at: Timestamp,
        /// Counts the changes of its bits and of its `iat`.
        pub version: i64,
    }
}

impl StatusList {
    /// Returns whether the list must be signed again at `now` with another `iat`: it is too old,
    /// older than the key that is valid from `valid_from`, or dated by a clock that was ahead.
    #[must_use]
    pub fn is_due(&self, now: Timestamp, valid_from: Timestamp) -> bool {
        let backdated = self.issued_at + BACKDATED;
        backdated + RENEWED_AFTER <= now
            || (backdated < valid_from && backdated < now)
            || self.issued_at > now + SKEW
    }

    /// Returns the claims of the list with these bits set. Indexes beyond the end are left out.
    #[must_use]
    pub fn claims(&self, revoked: impl IntoIterator<Item = u32>) -> StatusListClaims {
        StatusListClaims {
            sub: uri(&self.origin, self.list_id),
            iat: self.issued_at.epoch_seconds(),
            exp: (self.issued_at + LASTS).epoch_seconds(),
            ttl: FETCHED_AFTER.num_seconds(),
            status_list: Bits { bits: 1, lst: compressed(revoked) },
        }
    }
}

/// The claims of a status list.
#[derive(Debug, Serialize)]
pub struct StatusListClaims {
    sub: String,
    iat: i64,
    exp: i64,
    ttl: i64,
    status_list: Bits,
}

#[derive(Debug, Serialize)]
struct Bits {
    bits: u8,
    lst: String,
}

/// Returns the bits of a list: bit `index % 8` of byte `index / 8`, compressed in the format of
/// zlib, as base64url.
fn compressed(revoked: impl IntoIterator<Item = u32>) -> String {
    let mut bits = vec![0; SIZE as usize / 8];
    for index in revoked {
        if let Some(byte) = bits.get_mut(index as usize / 8) {
            *byte |= 1 << (index % 8);
        }
    }
    URL_SAFE_NO_PAD.encode(compress_to_vec_zlib(&bits, COMPRESSION))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn a_list_is_small_and_within_the_limit_of_verifiers_when_every_second_license_is_revoked() {
        let random = Random::seeded(1);
        let sizes = [0, 1_000, SIZE / 2].map(|count| {
            let mut drawn = (0..count.div_ceil(16)).flat_map(|_| draws(&random.bytes()));
            // A signed document encodes its claims once more.
            compressed(drawn.by_ref().take(count as usize)).len() * 4 / 3
        });
        assert!(sizes[0] < 400 && sizes[1] < 5_000, "{sizes:?}");
        assert!(sizes[2] + 1024 < licentia_verify::MAX_LIST_BYTES, "{sizes:?}");
    }

    #[test]
    fn draws_reach_the_whole_list() {
        assert_eq!(draws(&[0xff; DRAW_BYTES]), [SIZE - 1; DRAWS]);
        let random = Random::seeded(2);
        let drawn: Vec<_> = (0..1_000).flat_map(|_| draws(&random.bytes())).collect();
        assert!(drawn.iter().all(|index| *index < SIZE));
        assert!((0..16).all(|part| drawn.iter().any(|index| index / (SIZE / 16) == part)));
    }

    #[test]
    fn the_address_of_a_list_says_its_server_and_its_id() {
        let own = uri("https://acme.example", 7);
        assert_eq!(list_id(&own), Some(7));
        assert!(is_at(&own, "https://acme.example") && !is_at(&own, "https://other.example"));
        for other in ["https://acme.example/status/7", "7", "", &format!("{own}x")] {
            assert_eq!(list_id(other), None, "{other}");
            assert!(!is_at(other, "https://acme.example"), "{other}");
        }
    }

    #[test]
    fn a_list_is_due_after_an_hour_and_for_a_newer_key() {
        let at = Timestamp::saturating;
        let list =
            StatusList { list_id: 1, origin: String::new(), issued_at: at(999_940), version: 1 };
        let is_due = |now, valid_from| list.is_due(at(now), at(valid_from));
        assert!(!is_due(1_000_000, 0) && !is_due(1_003_599, 1_000_000));
        assert!(is_due(1_003_600, 0));
        assert!(is_due(1_000_001, 1_000_001), "signed before the key was");
        assert!(!is_due(999_900, 999_950), "from a clock that is a little ahead");
        assert!(is_due(900_000, 0), "from a clock that was ahead");
    }
}
