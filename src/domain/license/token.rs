//! The text of a license, and whether it is the token of a stored one.

use std::fmt;

use licentia_verify::{Claims, Rejection, license_token};

use crate::domain::column::{Column, ColumnType, Parameter, Value};

/// The text of a license token, which may be anything until it is verified. Its holder can refresh
/// the license with it, so `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct LicenseToken(String);

impl LicenseToken {
    /// Returns the token with this text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the token in this text, which somebody may have pasted or opened: without quotes and
    /// line breaks, or out of a `license.json`. Nothing is verified.
    ///
    /// # Errors
    /// [`Rejection::TooLarge`] or [`Rejection::Malformed`] for a `license.json` without a license.
    pub fn read(&self) -> Result<Self, Rejection> {
        license_token(&self.0).map(|token| Self(token.into_owned()))
    }

    /// Returns the claims, if the token has those of a license. Nothing is verified.
    #[must_use]
    pub fn claims(&self) -> Option<Claims> {
        let inspected = licentia_verify::inspect(&self.0).ok()?;
        serde_json::from_value(inspected.claims.into()).ok()
    }

    /// Returns whether this is the token of a stored license, or one that a refresh signed later:
    /// it differs in the time of signing, and in nothing else. Whoever has the key could make the
    /// latter too, but it is worth no more than the stored one.
    #[must_use]
    pub fn is_of(&self, stored: &Self) -> bool {
        self == stored || self.is_signed_again(stored).unwrap_or(false)
    }

    fn is_signed_again(&self, stored: &Self) -> Option<bool> {
        let kid =
            |token: &Self| Some(licentia_verify::inspect(&token.0).ok()?.header["kid"].clone());
        let (own, first) = (self.claims()?, stored.claims()?);
        let is_later = own.iat == own.nbf && own.iat > first.iat;
        let (iat, nbf) = (own.iat, own.nbf);
        Some(is_later && own == Claims { iat, nbf, ..first } && kid(self)? == kid(stored)?)
    }

    /// Returns the whole token, a credential.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for LicenseToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LicenseToken(…)")
    }
}

impl Parameter for LicenseToken {
    const TYPE: ColumnType = String::TYPE;

    fn to_value(&self) -> Value {
        self.0.to_value()
    }
}

impl Column for LicenseToken {
    fn from_value(value: Value) -> Result<Self, String> {
        String::from_value(value).map(Self)
    }
}
