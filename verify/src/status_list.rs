//! The status list: which licenses of a vendor are revoked, one bit for each
//! (draft-ietf-oauth-status-list-21).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_COMPUTE_ADLER32, TINFL_FLAG_PARSE_ZLIB_HEADER,
    TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use crate::json::{Json, Members, Problem};
use crate::jws::{self, Kind};
use crate::keys::Keys;
use crate::{MAX_LIST_BYTES, Rejection, StatusReference};

/// The `typ` of a status list.
pub const STATUS_LIST_TYPE: &str = "statuslist+jwt";

/// The longest list, inflated: 2^20 bits.
const MAX_INFLATED_BYTES: usize = (1 << 20) / 8;

const STATUS_LIST: Kind = Kind { typ: STATUS_LIST_TYPE, max_bytes: MAX_LIST_BYTES };

/// A status list that was signed by a key of the vendor.
pub(crate) struct StatusList {
    pub(crate) iat: i64,
    bits: Vec<u8>,
}

impl StatusList {
    /// Returns the list that counts for a license among these texts: the one with the latest `iat`,
    /// of equal ones the first. One that is older than `least_iat` does not count.
    pub(crate) fn newest(
        texts: &[impl AsRef<str>],
        keys: &Keys,
        reference: &StatusReference,
        least_iat: Option<i64>,
    ) -> Option<Self> {
        let lists = texts.iter().filter_map(|text| Self::open(text.as_ref(), keys, reference));
        lists
            .filter(|list| least_iat.is_none_or(|least| list.iat >= least))
            .reduce(|first, next| if next.iat > first.iat { next } else { first })
    }

    /// Returns whether the bit with this index is set; `None` beyond the end of the list.
    pub(crate) fn is_revoked(&self, idx: u64) -> Option<bool> {
        let byte = usize::try_from(idx / 8).ok().and_then(|place| self.bits.get(place))?;
        Some(byte >> (idx % 8) & 1 == 1)
    }

    /// Returns whether a text is a list whose key is not among these.
    pub(crate) fn has_unknown_key(text: &str, keys: &Keys) -> bool {
        let opened = jws::open(text, &STATUS_LIST, |kid| keys.find(kid));
        matches!(opened, Err(Rejection::UnknownKey { .. }))
    }

    fn open(text: &str, keys: &Keys, reference: &StatusReference) -> Option<Self> {
        let (claims, key) = jws::open(text, &STATUS_LIST, |kid| keys.find(kid)).ok()?;
        let members = jws::members(&claims).ok()?;
        let list = Self::read(&members, &reference.uri).ok()?;
        (key.signs_at(list.iat) && list.is_revoked(reference.idx).is_some()).then_some(list)
    }

    fn read(members: &Members<'_>, uri: &str) -> Result<Self, Problem> {
        if members.string("sub") != Some(uri) {
            return Err(Problem::wrong("sub", "the license's list"));
        }
        members.optional("exp", Members::time)?;
        members.optional("ttl", Members::number)?;
        let list = members.object("status_list")?;
        if list.number("bits")? != 1 {
            return Err(Problem::wrong("bits", "1"));
        }
        let compressed = list.get("lst").and_then(Json::as_str);
        let compressed = compressed.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let bits = compressed.as_deref().and_then(inflate);
        let bits = bits.ok_or_else(|| Problem::wrong("lst", "a list in the format of zlib"))?;
        Ok(Self { iat: members.time("iat")?, bits })
    }
}

/// Returns what is compressed in the format of zlib, if it has a correct checksum, nothing follows
/// it, and it is not longer than [`MAX_INFLATED_BYTES`].
fn inflate(compressed: &[u8]) -> Option<Vec<u8>> {
    let flags = TINFL_FLAG_PARSE_ZLIB_HEADER
        | TINFL_FLAG_COMPUTE_ADLER32
        | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let mut bytes = vec![0; MAX_INFLATED_BYTES];
    let mut state = Box::<DecompressorOxide>::default();
    let (status, read, written) = decompress(&mut state, compressed, &mut bytes, 0, flags);
    bytes.truncate(written);
    (status == TINFLStatus::Done && read == compressed.len()).then_some(bytes)
}

#[cfg(test)]
#[path = "../tests/common/zlib.rs"]
mod zlib;

#[cfg(test)]
mod tests {
    use super::zlib::stored;
    use super::*;

    #[test]
    fn a_list_may_have_exactly_its_size() {
        for size in [1, MAX_INFLATED_BYTES - 1, MAX_INFLATED_BYTES] {
            assert_eq!(inflate(&stored(&vec![7; size])).map(|bytes| bytes.len()), Some(size));
        }
        assert_eq!(inflate(&stored(&vec![7; MAX_INFLATED_BYTES + 1])), None);
    }

    #[test]
    fn the_form_of_zlib_is_checked() {
        let list = stored(&[1, 2, 3]);
        assert_eq!(inflate(&list), Some(vec![1, 2, 3]));
        assert_eq!(inflate(&[list.clone(), vec![0]].concat()), None, "something follows");
        for end in 0..list.len() {
            assert_eq!(inflate(&list[..end]), None, "cut off at {end}");
        }
        let mut checksum = list.clone();
        *checksum.last_mut().unwrap() ^= 1;
        assert_eq!(inflate(&checksum), None);
        assert_eq!(inflate(&list[2..]), None, "no header");
        let dictionary = [&[0x78, 0x20 | 0x1b], &list[2..]].concat();
        assert_eq!(inflate(&dictionary), None);
    }
}
