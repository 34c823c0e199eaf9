//! `licentia keys list`.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::KeyDatabase;
use crate::app::keys::StoredKeys;
use crate::cli::{print, warn};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::domain::license::signing_key::{KeyRecord, KeyState, signing};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::keys::{KeyRing, bundle};

/// A key in the list.
struct Listed {
    kid: String,
    state: KeyState,
    from: Option<Timestamp>,
    file: Option<String>,
    record: Option<KeyRecord>,
}

/// `licentia keys list`.
pub fn run(config: &Config, as_json: bool) -> Result<ExitCode> {
    let (ring, now) = (KeyRing::load(config)?, SystemClock.now());
    // Without a database, nothing was published yet.
    let stored = KeyDatabase::read_if_there(config)?;
    let published = stored.as_ref().and_then(|stored| stored.bundle.as_ref());
    warn(bundle::end_warning(published, now).as_slice());
    let keys = listed(ring.as_ref(), stored, now);
    if as_json {
        let keys: Vec<_> = keys.iter().map(Listed::to_json).collect();
        return print(format_args!("{:#}\n", json!({ "keys": keys })));
    }
    if keys.is_empty() {
        let directory = config.keys_dir.display();
        return print(format_args!(
            "There are no keys in {directory}. `licentia serve` or `licentia keys generate` \
             creates one.\n"
        ));
    }
    print(keys.iter().map(Listed::to_line).collect::<String>())
}

fn listed(ring: Option<&KeyRing>, stored: Option<StoredKeys>, now: Timestamp) -> Vec<Listed> {
    let file = |kid: &str| {
        let shown = |file: &Path| file.to_string_lossy().into_owned();
        match ring?.key(kid) {
            Some(key) => {
                let file = key.file.as_deref().map(shown);
                Some(file.unwrap_or_else(|| "the environment".to_owned()))
            }
            None => ring?.revoked_file(kid).map(shown),
        }
    };
    let is_revoked = |kid: &str| ring.is_some_and(|ring| ring.revoked_file(kid).is_some());
    let StoredKeys { records, bundle, .. } = stored.unwrap_or_default();
    let has_bundle = bundle.is_some();
    let held = ring.map(KeyRing::held).unwrap_or_default();
    let signs = signing(&records, &held, has_bundle, now).map(|record| record.kid.clone());
    let is_known = |kid: &str| records.iter().any(|record| record.kid == kid);
    let unpublished = ring.into_iter().flat_map(|ring| ring.states(now));
    let unpublished = unpublished.filter(|(key, _)| !is_known(&key.kid)).map(|(key, state)| {
        let is_waiting = !records.is_empty();
        Listed {
            kid: key.kid.clone(),
            state: if is_waiting { KeyState::Next } else { state },
            from: Some(key.named_time).filter(|_| !is_waiting),
            file: file(&key.kid),
            record: None,
        }
    });
    let unpublished: Vec<_> = unpublished.collect();
    let of_records = records.into_iter().map(|record| Listed {
        state: if is_revoked(&record.kid) {
            KeyState::Revoked
        } else {
            record.state(signs.as_deref(), has_bundle, now)
        },
        from: record.ready_from(has_bundle),
        file: file(&record.kid),
        kid: record.kid.clone(),
        record: Some(record),
    });
    of_records.chain(unpublished).collect()
}

impl Listed {
    fn to_json(&self) -> serde_json::Value {
        let text = |time: Option<Timestamp>| time.map(|time| time.to_string());
        let record = self.record.as_ref();
        json!({
            "kid": self.kid,
            "state": self.state,
            "signs_from": text(self.from),
            "file": self.file,
            "published_at": text(record.map(|record| record.published_at)),
            "bundled_at": text(record.and_then(|record| record.bundled_at)),
            "ends_at": text(record.and_then(|record| record.ends_at)),
            "revoked_at": text(record.and_then(|record| record.revoked_at)),
        })
    }

    fn to_line(&self) -> String {
        let file = self.file.as_deref().unwrap_or("its private part is not here");
        format!("{:<7}  {}  {}  {file}\n", self.state.as_str(), self.kid, self.times())
    }

    /// Returns the times that matter in this state, as text.
    fn times(&self) -> String {
        let record = self.record.as_ref();
        let time = |time: Option<Timestamp>| time.map_or("unknown".to_owned(), |at| at.to_string());
        match (self.state, self.from) {
            (KeyState::Revoked, _) => match record.and_then(|record| record.revoked_at) {
                Some(at) => format!("revoked at {at}"),
                // The database was restored from an older backup.
                None => format!("not in the database yet: run licentia keys revoke {}", self.kid),
            },
            (KeyState::Retired, _) => {
                format!("until {}", time(record.and_then(|record| record.ends_at)))
            }
            (_, Some(from)) => format!("from {from}"),
            (_, None) if record.is_none() => {
                "not published yet: signs a day after a server has found it".to_owned()
            }
            (KeyState::Signing, None) => "not in the key bundle: sign a new bundle".to_owned(),
            (_, None) => "a day after the signed key bundle has it".to_owned(),
        }
    }
}
