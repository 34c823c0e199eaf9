//! `license.json`: a license, and what travels with it. Mails attach it, and every verifier accepts
//! it in place of a license.

use serde::Serialize;

/// The name of the file.
pub const LICENSE_FILE: &str = "license.json";

/// The content of a `license.json`. There is no `Debug`: it contains the license.
#[derive(Clone, Copy, Serialize)]
pub struct LicenseFile<'a> {
    /// The license token.
    pub license: &'a str,
    /// The key bundle, for apps that pin the root key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<&'a str>,
    /// The status list that the license names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<&'a str>,
}

impl LicenseFile<'_> {
    /// Returns the text of the file.
    #[must_use]
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).map(|text| text + "\n").unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_finds_the_license_in_the_file() {
        let file = LicenseFile { license: "a.b.c", keys: None, status: None };
        assert_eq!(file.to_text(), "{\"license\":\"a.b.c\"}\n");
        let text = LicenseFile { keys: Some("d.e"), status: Some("f.g"), ..file }.to_text();
        let expected = r#"{"license":"a.b.c","keys":"d.e","status":"f.g"}"#;
        assert_eq!(text, format!("{expected}\n"));
        assert_eq!(licentia_verify::license_token(&text).as_deref(), Ok("a.b.c"));
    }
}
