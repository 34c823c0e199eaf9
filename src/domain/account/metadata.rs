//! The metadata of a customer: free-form texts that support keeps. They are never mailed, and never
//! in a license.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::domain::column::text_columns;

/// The most keys, and the most characters of a key and of a value: Stripe's limits
/// (<https://docs.stripe.com/api/metadata>).
const MAX_KEYS: usize = 50;
const MAX_KEY_CHARACTERS: usize = 40;
const MAX_VALUE_CHARACTERS: usize = 500;

/// The metadata of a customer.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Metadata(BTreeMap<String, String>);

/// Metadata that is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMetadata {
    /// It has too many keys.
    #[error("it has more than {MAX_KEYS} keys")]
    Keys,
    /// A key is empty or too long.
    #[error("a key has 1 to {MAX_KEY_CHARACTERS} characters")]
    Key,
    /// A value is too long.
    #[error("a value has at most {MAX_VALUE_CHARACTERS} characters")]
    Value,
    /// It is not an object of texts.
    #[error("it is not an object of texts")]
    Shape,
}

impl Metadata {
    /// Returns the metadata with these values.
    ///
    /// # Errors
    /// [`InvalidMetadata`] beyond a limit.
    pub fn new(
        values: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, InvalidMetadata> {
        let values: BTreeMap<_, _> = values.into_iter().collect();
        if values.len() > MAX_KEYS {
            return Err(InvalidMetadata::Keys);
        }
        for (key, value) in &values {
            if !(1..=MAX_KEY_CHARACTERS).contains(&key.chars().count()) {
                return Err(InvalidMetadata::Key);
            }
            if value.chars().count() > MAX_VALUE_CHARACTERS {
                return Err(InvalidMetadata::Value);
            }
        }
        Ok(Self(values))
    }

    /// Returns the values by key.
    #[must_use]
    pub fn values(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

/// Does not show the values: they may name people.
impl fmt::Debug for Metadata {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Metadata({} keys)", self.0.len())
    }
}

/// Writes the stored form, as JSON.
impl fmt::Display for Metadata {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&serde_json::to_string(&self.0).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for Metadata {
    type Err = InvalidMetadata;

    fn from_str(text: &str) -> Result<Self, InvalidMetadata> {
        let values: BTreeMap<String, String> =
            serde_json::from_str(text).map_err(|_| InvalidMetadata::Shape)?;
        Self::new(values)
    }
}

text_columns!(Metadata);

#[cfg(test)]
mod tests {
    use super::*;

    fn made(keys: usize, key: &str, value: &str) -> Result<Metadata, InvalidMetadata> {
        Metadata::new((0..keys).map(|number| (format!("{key}{number:02}"), value.to_owned())))
    }

    #[test]
    fn the_limits_are_those_of_stripe_in_characters() {
        let (key, value) = ("ä".repeat(38), "ü".repeat(500));
        let most = made(50, &key, &value).unwrap();
        assert_eq!(most.to_string().parse(), Ok(most));
        assert_eq!(made(51, "a", ""), Err(InvalidMetadata::Keys));
        assert_eq!(made(1, &"ä".repeat(39), ""), Err(InvalidMetadata::Key));
        assert_eq!(made(1, "a", &"ü".repeat(501)), Err(InvalidMetadata::Value));
        let empty = Metadata::new([(String::new(), String::new())]);
        assert_eq!(empty, Err(InvalidMetadata::Key));
        assert_eq!("[]".parse::<Metadata>(), Err(InvalidMetadata::Shape));
        assert_eq!("{}".parse::<Metadata>(), Ok(Metadata::default()));
    }
}
