//! The additions of an operator to a license. They are stored with the license, and every license
//! that continues it (a refresh, a reissue, a restored grant) has it too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::column::text_columns;
use crate::domain::private::Private;
use crate::domain::sale::plan::Slug;
use crate::domain::time::Timestamp;

/// The additions of an operator to a license.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// Features in addition to the plan's.
    pub features: BTreeSet<Slug>,
    /// Limits that replace the plan's limits of the same names.
    pub limits: BTreeMap<Slug, u64>,
    /// The end of the paid term that the license extends: until then it works only as long as the
    /// payment counts.
    pub paid_until: Option<Timestamp>,
    /// A note for support.
    pub note: Option<Private>,
}

/// The stored form, as JSON.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Stored {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    features: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    limits: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paid_until: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<Private>,
}

/// Writes the stored form.
impl fmt::Display for Extras {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stored = Stored {
            features: self.features.iter().map(ToString::to_string).collect(),
            limits: self.limits.iter().map(|(name, limit)| (name.to_string(), *limit)).collect(),
            paid_until: self.paid_until.map(Timestamp::epoch_seconds),
            note: self.note.clone(),
        };
        let text = serde_json::to_string(&stored).map_err(|_| fmt::Error)?;
        formatter.write_str(&text)
    }
}

/// A text that is not the stored form of [`Extras`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not what an operator can add to a license")]
pub struct InvalidExtras;

impl FromStr for Extras {
    type Err = InvalidExtras;

    fn from_str(text: &str) -> Result<Self, InvalidExtras> {
        let stored: Stored = serde_json::from_str(text).map_err(|_| InvalidExtras)?;
        let slug = |name: &str| name.parse::<Slug>().map_err(|_| InvalidExtras);
        let limits = stored.limits.iter().map(|(name, limit)| Ok((slug(name)?, *limit)));
        Ok(Self {
            features: stored.features.iter().map(|name| slug(name)).collect::<Result<_, _>>()?,
            limits: limits.collect::<Result<_, _>>()?,
            paid_until: stored.paid_until.map(Timestamp::saturating),
            note: stored.note,
        })
    }
}

text_columns!(Extras);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extras_are_read_as_they_were_stored() {
        assert_eq!(Extras::default().to_string(), "{}");
        let extras = Extras {
            features: BTreeSet::from(["sso".parse().unwrap()]),
            limits: BTreeMap::from([("seats".parse().unwrap(), 9)]),
            paid_until: Some(Timestamp::saturating(7)),
            note: Some("a \"partner\"".to_owned().into()),
        };
        assert_eq!(extras.to_string().parse(), Ok(extras));
        assert_eq!("{}".parse(), Ok(Extras::default()));
        for wrong in ["", "7", "{\"features\":[\"\"]}", "{\"limits\":{\"a b\":1}}"] {
            assert_eq!(wrong.parse::<Extras>(), Err(InvalidExtras), "{wrong}");
        }
    }
}
