//! Text that names a person or lets its holder in. [`Email`](crate::domain::contact::Email),
//! [`DisplayName`](crate::domain::contact::DisplayName) and
//! [`LicenseToken`](crate::domain::license::LicenseToken) hide themselves as well; random secrets
//! are in [`crate::domain::secret`].

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::column::{Column, ColumnType, Parameter, Value};

/// A text whose `Debug` does not show it, so that a name, an address or a license is never logged
/// by mistake (security_40).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Private(String);

impl Private {
    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Private {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Private {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Private(…)")
    }
}

impl Parameter for Private {
    const TYPE: ColumnType = String::TYPE;

    fn to_value(&self) -> Value {
        self.0.to_value()
    }
}

impl Column for Private {
    fn from_value(value: Value) -> Result<Self, String> {
        String::from_value(value).map(Self)
    }
}
