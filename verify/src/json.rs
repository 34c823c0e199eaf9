//! A strict parser of JSON, for everything that this crate reads.
//!
//! It keeps numbers as text: `1.0` and `1` are different, and no digit is lost. serde_json cannot
//! promise that, because its numbers depend on the features that the app enables. It refuses
//! repeated members, which have no defined meaning (RFC 8259, section 4): with two parsers, a
//! signed document could have two meanings (RFC 8725, section 2.4).

use std::borrow::Cow;

mod members;

pub(crate) use members::{Members, Problem};

/// The most objects and arrays within each other.
const MAX_DEPTH: usize = 64;

/// A JSON value that borrows from its text.
#[derive(Debug, PartialEq)]
pub(crate) enum Json<'a> {
    Null,
    Bool(bool),
    /// The number as it is written.
    Number(&'a str),
    Text(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    Object(Members<'a>),
}

/// Returns the members of a text that is one JSON object.
///
/// # Errors
/// The reason why it is not one.
pub(crate) fn object(bytes: &[u8]) -> Result<Members<'_>, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8")?;
    let mut parser = Parser { text, at: 0 };
    let value = parser.value(0)?;
    parser.skip_blanks();
    match value {
        Json::Object(members) if parser.at == text.len() => Ok(members),
        Json::Object(_) => Err("something follows the JSON object"),
        _ => Err("it is not a JSON object"),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    /// Parses a value that is inside of `depth` objects and arrays.
    fn value(&mut self, depth: usize) -> Result<Json<'a>, &'static str> {
        self.skip_blanks();
        match self.peek() {
            Some(b'{' | b'[') if depth == MAX_DEPTH => Err("it is nested too deeply"),
            Some(b'{') => self.object(depth + 1).map(Json::Object),
            Some(b'[') => self.array(depth + 1).map(Json::Array),
            Some(b'"') => self.string().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => self.number().map(Json::Number),
            Some(b'n') => self.word("null", Json::Null),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            _ => Err("it is not JSON"),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Members<'a>, &'static str> {
        let mut members = Members::default();
        self.at += 1;
        self.skip_blanks();
        if self.take(b'}') {
            return Ok(members);
        }
        loop {
            self.skip_blanks();
            if self.peek() != Some(b'"') {
                return Err("a member has no name");
            }
            let name = self.string()?;
            self.skip_blanks();
            if !self.take(b':') {
                return Err("a member has no value");
            }
            let value = self.value(depth)?;
            members.push(name, value);
            self.skip_blanks();
            if self.take(b'}') {
                let is_repeated = members.have_repeated_name();
                return if is_repeated { Err("a member is repeated") } else { Ok(members) };
            }
            if !self.take(b',') {
                return Err("an object does not end");
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Json<'a>>, &'static str> {
        let mut items = Vec::new();
        self.at += 1;
        self.skip_blanks();
        if self.take(b']') {
            return Ok(items);
        }
        loop {
            items.push(self.value(depth)?);
            self.skip_blanks();
            if self.take(b']') {
                return Ok(items);
            }
            if !self.take(b',') {
                return Err("an array does not end");
            }
        }
    }

    fn number(&mut self) -> Result<&'a str, &'static str> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self) -> Result<(), &'static str> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err("a number has no digits") } else { Ok(()) }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, &'static str> {
        self.at += 1;
        let mut text = Cow::Borrowed("");
        loop {
            let start = self.at;
            while self.peek().is_some_and(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
                self.at += 1;
            }
            let plain = &self.text[start..self.at];
            if text.is_empty() {
                text = Cow::Borrowed(plain)
            } else {
                text += plain
            }
            match self.next() {
                Some(b'"') => return Ok(text),
                Some(b'\\') => text.to_mut().push(self.escaped()?),
                _ => return Err("a string does not end, or has a control character"),
            }
        }
    }

    /// Parses what follows a backslash.
    fn escaped(&mut self) -> Result<char, &'static str> {
        Ok(match self.next() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let first = self.hex()?;
                let mut units = vec![first];
                if (0xD800..0xDC00).contains(&first) && self.take(b'\\') && self.take(b'u') {
                    units.push(self.hex()?);
                }
                let mut decoded = char::decode_utf16(units);
                match (decoded.next(), decoded.next()) {
                    (Some(Ok(letter)), None) => letter,
                    _ => return Err("a string has half of a surrogate pair"),
                }
            }
            _ => return Err("a string has an unknown escape"),
        })
    }

    fn hex(&mut self) -> Result<u16, &'static str> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).unwrap_or_default();
        let digits = std::str::from_utf8(digits).unwrap_or_default();
        if digits.len() != 4 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err("a string has an unknown escape");
        }
        self.at += 4;
        u16::from_str_radix(digits, 16).map_err(|_| "a string has an unknown escape")
    }

    fn word(&mut self, word: &str, value: Json<'a>) -> Result<Json<'a>, &'static str> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err("it is not JSON");
        }
        self.at += word.len();
        Ok(value)
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// Passes the byte, if it is the next one.
    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_object(text: &str) -> bool {
        object(text.as_bytes()).is_ok()
    }

    #[test]
    fn every_form_of_json_is_parsed() {
        let text = r#" { "a" : [ null, true , false, -0.5E+7, 1e9, 0, "" ] , "b\u0041\uD83D\uDE00" :
            "\"\\\/\b\f\n\r\t\u00e9x", "c": {}, "d": [] } "#;
        let members = object(text.as_bytes()).unwrap();
        let items = vec![
            Json::Null,
            Json::Bool(true),
            Json::Bool(false),
            Json::Number("-0.5E+7"),
            Json::Number("1e9"),
            Json::Number("0"),
            Json::Text("".into()),
        ];
        assert_eq!(members.get("a"), Some(&Json::Array(items)));
        let text = Json::Text("\"\\/\u{8}\u{c}\n\r\t\u{e9}x".into());
        assert_eq!(members.get("bA\u{1F600}"), Some(&text));
        assert_eq!(members.get("c"), Some(&Json::Object(Members::default())));
    }

    #[test]
    fn everything_else_is_refused() {
        let wrong = [
            "",
            "{",
            "[]",
            "null",
            "{}x",
            "{} {}",
            "\u{feff}{}",
            "{\"a\"}",
            "{\"a\":}",
            "{a:1}",
            "{\"a\":1,}",
            "{,}",
            "{\"a\":[1,]}",
            "{\"a\":[1 2]}",
            "{\"a\":01}",
            "{\"a\":+1}",
            "{\"a\":1.}",
            "{\"a\":.5}",
            "{\"a\":1e}",
            "{\"a\":-}",
            "{\"a\":NaN}",
            "{\"a\":Infinity}",
            "{\"a\":nul}",
            "{\"a\":True}",
            "{\"a\":'b'}",
            "{\"a\":\"\n\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12\"}",
            "{\"a\":\"\\u+123\"}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\\ud800\\u0041\"}",
            "{\"a\":\"\\udc00\"}",
            "{\"a\":\"b}",
            "{\"a\":\"\\",
            "{\"a\":1,\"a\":1}",
            "{\"a\":1,\"\\u0061\":1}",
            "{\"b\":[{\"a\":1,\"a\":1}]}",
            "{\"a\":\"\\u00é\"}",
            "{} // end",
            "{\u{a0}}",
        ];
        for text in wrong {
            assert!(!is_object(text), "{text}");
        }
        assert!(object(b"{\"a\":\"\xed\xa0\x80\"}").is_err());
    }

    #[test]
    fn a_repeated_member_is_found_in_an_object_of_any_size() {
        for count in [2, 31, 32, 33, 34, 1_000] {
            let members: Vec<_> = (0..count).map(|n| format!("\"{n}\":{n}")).collect();
            assert!(is_object(&format!("{{{}}}", members.join(","))), "{count}");
            for (place, repeated) in [(0, count - 1), (count - 1, 0), (count / 2, count / 2 - 1)] {
                let mut members = members.clone();
                members[place] = format!("\"{repeated}\":1");
                assert!(!is_object(&format!("{{{}}}", members.join(","))), "{count}: {place}");
            }
        }
    }

    #[test]
    fn sixty_four_levels_are_the_most() {
        let nested = |levels| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(is_object(&nested(63)));
        assert!(!is_object(&nested(64)));
        assert!(!is_object(&nested(100_000)));
    }
}
