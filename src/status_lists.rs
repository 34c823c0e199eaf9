//! The signed status lists, in memory. [`crate::flows::license::status_list`] fills it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use chrono::TimeDelta;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use crate::domain::license::status_list::StatusList;
use crate::domain::time::Timestamp;

/// How long a list in memory is used before its version is compared with the database. A revocation
/// on another server shows after this time, one on this server at once.
pub const CHECKED_EVERY: TimeDelta = TimeDelta::seconds(2);

/// A signed status list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedList {
    /// The text.
    pub text: Bytes,
    /// The entity tag of the text, with its quotes.
    pub etag: String,
    /// The time in its `iat`.
    pub issued_at: Timestamp,
    /// The version of the list.
    pub version: i64,
    /// The key that signed it.
    pub kid: String,
}

impl SignedList {
    /// Returns the list with this text.
    #[must_use]
    pub fn new(text: String, list: &StatusList, kid: &str) -> Self {
        let hash = Sha256::digest(&text);
        // 128 bits are enough to tell texts apart.
        let etag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&hash[..16]));
        let (issued_at, version) = (list.issued_at, list.version);
        Self { text: text.into(), etag, issued_at, version, kid: kid.to_owned() }
    }
}

/// When a list was compared with the database.
#[derive(Clone, Copy, Debug)]
pub struct Checked {
    /// The time before the database was read.
    pub at: Timestamp,
    /// The commits of this process before the database was read
    /// ([`reached`](crate::fail_point::FailPoints::reached)).
    pub commits: u64,
}

/// The lists that were asked for. There is one for half a million licenses.
#[derive(Default)]
pub struct StatusLists {
    lists: RwLock<HashMap<i64, (Arc<SignedList>, Checked)>>,
    /// Held while a list is signed, so that many requests cause one signature.
    pub turn: Mutex<()>,
}

impl StatusLists {
    /// Returns a list that is as the database has it: it was compared at most [`CHECKED_EVERY`]
    /// ago, and this process has committed nothing since.
    pub fn fresh(&self, list_id: i64, now: Checked) -> Option<Arc<SignedList>> {
        let lists = self.lists.read().unwrap_or_else(PoisonError::into_inner);
        let (list, checked) = lists.get(&list_id)?;
        let is_recent = checked.at <= now.at && now.at < checked.at + CHECKED_EVERY;
        (is_recent && checked.commits == now.commits).then(|| list.clone())
    }

    /// Returns the last known list, whatever the database has.
    pub fn last_known(&self, list_id: i64) -> Option<Arc<SignedList>> {
        let lists = self.lists.read().unwrap_or_else(PoisonError::into_inner);
        lists.get(&list_id).map(|(list, _)| list.clone())
    }

    /// Returns the list if it is the one that the database has, signed by this key, and remembers
    /// that it was compared.
    pub fn confirm(
        &self,
        list: &StatusList,
        kid: &str,
        checked: Checked,
    ) -> Option<Arc<SignedList>> {
        let mut lists = self.lists.write().unwrap_or_else(PoisonError::into_inner);
        let (signed, last_checked) = lists.get_mut(&list.list_id)?;
        if signed.version != list.version || signed.kid != kid {
            return None;
        }
        *last_checked = checked;
        Some(signed.clone())
    }

    /// Stores a list. Returns it.
    pub fn store(&self, list_id: i64, signed: SignedList, checked: Checked) -> Arc<SignedList> {
        let signed = Arc::new(signed);
        let mut lists = self.lists.write().unwrap_or_else(PoisonError::into_inner);
        lists.insert(list_id, (signed.clone(), checked));
        signed
    }
}
