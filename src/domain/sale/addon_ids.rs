//! The add-ons of a license or an order, by their ids: a column that holds a JSON list.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::domain::column::text_columns;
use crate::domain::sale::plan::Slug;

/// The ids of add-ons.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddonIds(pub BTreeSet<Slug>);

impl AddonIds {
    /// Returns the ids as texts, sorted.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

impl<'a> FromIterator<&'a Slug> for AddonIds {
    fn from_iter<T: IntoIterator<Item = &'a Slug>>(ids: T) -> Self {
        Self(ids.into_iter().cloned().collect())
    }
}

/// Writes the stored form.
impl fmt::Display for AddonIds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string(&self.texts()).map_err(|_| fmt::Error)?;
        formatter.write_str(&text)
    }
}

/// A text that is not the stored form of [`AddonIds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a list of add-ons")]
pub struct InvalidAddonIds;

impl FromStr for AddonIds {
    type Err = InvalidAddonIds;

    fn from_str(text: &str) -> Result<Self, InvalidAddonIds> {
        let texts: Vec<String> = serde_json::from_str(text).map_err(|_| InvalidAddonIds)?;
        let ids = texts.iter().map(|text| text.parse().map_err(|_| InvalidAddonIds));
        ids.collect::<Result<_, _>>().map(Self)
    }
}

text_columns!(AddonIds);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_were_stored() {
        let ids: AddonIds = "[\"pdf\",\"cad\"]".parse().unwrap();
        assert_eq!(ids.to_string(), "[\"cad\",\"pdf\"]");
        assert_eq!("[]".parse(), Ok(AddonIds::default()));
        for wrong in ["", "7", "[7]", "[\"a b\"]"] {
            assert_eq!(wrong.parse::<AddonIds>(), Err(InvalidAddonIds), "{wrong}");
        }
    }
}
