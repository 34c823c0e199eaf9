//! The texts that an app is given: cleaned of what mail programs, editors and shells add, and
//! `license.json`, which has a license and what travels with it.

use std::borrow::Cow;

use crate::{MAX_BUNDLE_BYTES, MAX_LIST_BYTES, MAX_TOKEN_BYTES, Rejection, Request, json};

/// The longest accepted `license.json`, in bytes.
const MAX_FILE_BYTES: usize = MAX_TOKEN_BYTES + MAX_BUNDLE_BYTES + MAX_LIST_BYTES;

/// The documents of a request. A bundle or a list that is given separately comes before the one in
/// `license.json`.
pub(crate) struct Documents<'a> {
    pub(crate) license: Result<Cow<'a, str>, Rejection>,
    pub(crate) bundles: Vec<Cow<'a, str>>,
    pub(crate) lists: Vec<Cow<'a, str>>,
}

impl<'a> Documents<'a> {
    pub(crate) fn of(request: &Request<'a>) -> Self {
        let mut documents = Self::read(request.license);
        documents.bundles.splice(0..0, request.keys.map(clean));
        documents.lists.splice(0..0, request.status.map(clean));
        documents
    }

    /// Returns the documents in the text of a license, which is a token or `license.json`.
    fn read(text: &'a str) -> Self {
        let text = clean(text);
        if text.starts_with('{') {
            return Self::from_file(&text);
        }
        Self { license: Ok(text), bundles: Vec::new(), lists: Vec::new() }
    }

    fn from_file(text: &str) -> Self {
        let rejected =
            |rejection| Self { license: Err(rejection), bundles: Vec::new(), lists: Vec::new() };
        if text.len() > MAX_FILE_BYTES {
            return rejected(Rejection::TooLarge);
        }
        let Ok(file) = json::object(text.as_bytes()) else {
            return rejected(Rejection::Malformed("its JSON is not valid"));
        };
        let cleaned = |name| file.string(name).map(|text| Cow::Owned(clean(text).into_owned()));
        let no_license = Rejection::Malformed("its member \"license\" is not a string");
        Self {
            license: cleaned("license").ok_or(no_license),
            bundles: cleaned("keys").into_iter().collect(),
            lists: cleaned("status").into_iter().collect(),
        }
    }
}

/// Returns the license token in a text: a token, perhaps with quotes and line breaks, or
/// `license.json`. Nothing is verified.
///
/// # Errors
/// [`Rejection::TooLarge`] or [`Rejection::Malformed`] for a `license.json` that is not valid.
pub fn license_token(text: &str) -> Result<Cow<'_, str>, Rejection> {
    Documents::read(text).license
}

/// Returns a text without blanks at its ends, without up to two pairs of quotes around it, and
/// without line breaks (and the blanks next to them) inside.
fn clean(text: &str) -> Cow<'_, str> {
    let mut text = text.trim_matches(is_blank);
    for _ in 0..2 {
        let Some(inner) = unquoted(text) else { break };
        text = inner.trim_matches(is_blank);
    }
    let has_break = text.as_bytes().contains(&b'\n') || text.as_bytes().contains(&b'\r');
    if has_break { Cow::Owned(joined(text)) } else { Cow::Borrowed(text) }
}

/// Returns what is between two quotes. Any two make a pair, because languages pair them
/// differently: „…“, “…”, »…«.
fn unquoted(text: &str) -> Option<&str> {
    text.strip_prefix(is_quote)?.strip_suffix(is_quote)
}

/// Returns a text without its runs of blanks that have a line break.
fn joined(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(is_blank) {
        let (before, from) = rest.split_at(start);
        let after = from.trim_start_matches(is_blank);
        let blanks = &from[..from.len() - after.len()];
        joined.push_str(before);
        joined.push_str(if blanks.contains(is_break) { "" } else { blanks });
        rest = after;
    }
    joined + rest
}

fn is_break(letter: char) -> bool {
    matches!(letter, '\r' | '\n')
}

/// Returns whether a letter is a line break, a space, a tab, a BOM, an NBSP or a ZWSP.
fn is_blank(letter: char) -> bool {
    is_break(letter) || matches!(letter, ' ' | '\t' | '\u{feff}' | '\u{a0}' | '\u{200b}')
}

fn is_quote(letter: char) -> bool {
    matches!(letter, '"' | '\'' | '`' | '“' | '”' | '„' | '‘' | '’' | '«' | '»')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_quotes_and_line_breaks_are_removed() {
        for text in [
            "a.b",
            " a.b\r\n",
            "\u{feff}a.b\u{200b}\u{a0}\t",
            "\"a.b\"",
            "'a.b'",
            "„a.b“",
            "“a.b”",
            "»a.b«",
            "`'a.b'`",
            " \" ‘a.b’ \" ",
            "a\n.b",
            "a \r\n\t .\n\n b",
            "\"\na.b\n\"",
        ] {
            assert_eq!(clean(text), "a.b", "{text:?}");
        }
    }

    #[test]
    fn everything_else_remains() {
        for text in ["a b", "a\tb\u{a0}c", "'a", "a'", "\u{2028}a", "a\u{b}b", "\"", "a\"b"] {
            assert_eq!(clean(text), text, "{text:?}");
        }
        assert_eq!(clean("'''a'''"), "'a'");
        assert_eq!(clean("''"), "");
    }

    #[test]
    fn a_license_file_has_a_license_and_what_travels_with_it() {
        let documents = Documents::read(
            "{\"license\": \" 'a.\\n b'\", \"keys\": \"k\n  \", \"status\": null, \"x\": [1e9]}",
        );
        assert_eq!(documents.license.as_deref(), Ok("a.b"));
        assert_eq!(documents.bundles, ["k"]);
        assert!(documents.lists.is_empty());
        for text in ["{}", "{", "{\"license\":1}", "{\"license\":\"a\",\"license\":\"a\"}"] {
            assert!(matches!(license_token(text), Err(Rejection::Malformed(_))), "{text}");
        }
        let large = format!("{{\"license\":\"{}\"}}", "a".repeat(MAX_FILE_BYTES));
        assert_eq!(license_token(&large), Err(Rejection::TooLarge));
    }
}
