//! Parses the MIME that mails of a licensing backend use: nested parts, base64, quoted-printable,
//! and encoded words in headers. Other charsets than UTF-8 are not supported.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The most nested parts; real mails have three levels.
const MAX_DEPTH: usize = 8;

/// A mail, or a part of one.
#[derive(Debug, Default)]
pub struct Part {
    /// The headers, in order, decoded.
    pub headers: Vec<(String, String)>,
    /// The content type in lower case, without parameters.
    pub content_type: String,
    /// Its parts, if it has any.
    pub parts: Vec<Part>,
    /// The decoded content, if it has no parts.
    pub content: Vec<u8>,
}

impl Part {
    /// Parses a mail.
    pub fn parse(raw: &[u8]) -> Self {
        Self::parse_at(raw, 0)
    }

    fn parse_at(raw: &[u8], depth: usize) -> Self {
        let (head, body) = split_head(raw);
        let headers = parse_headers(&String::from_utf8_lossy(head));
        let full_type = header(&headers, "Content-Type").to_owned();
        let content_type = full_type.split(';').next().unwrap_or_default().trim();
        let content_type = content_type.to_ascii_lowercase();
        let mut part = Self { content_type, ..Self::default() };
        match parameter(&full_type, "boundary") {
            Some(boundary) if depth < MAX_DEPTH => {
                part.parts = split_parts(body, &boundary)
                    .into_iter()
                    .map(|inner| Self::parse_at(inner, depth + 1))
                    .collect();
            }
            _ => part.content = decode(body, header(&headers, "Content-Transfer-Encoding")),
        }
        part.headers = headers;
        part
    }

    /// Returns the content as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).replace("\r\n", "\n")
    }

    /// Returns the file name of an attachment; none if the part is not attached.
    pub fn file_name(&self) -> Option<String> {
        let disposition = header(&self.headers, "Content-Disposition");
        let attached = disposition.trim_start().to_ascii_lowercase().starts_with("attachment");
        attached.then(|| parameter(disposition, "filename").unwrap_or_else(|| "unnamed".to_owned()))
    }
}

/// Returns a header's value; empty if it is missing.
pub fn header<'a>(headers: &'a [(String, String)], name: &str) -> &'a str {
    let found = headers.iter().find(|(candidate, _)| candidate.eq_ignore_ascii_case(name));
    found.map_or("", |(_, value)| value)
}

fn split_head(raw: &[u8]) -> (&[u8], &[u8]) {
    if raw.starts_with(b"\r\n") {
        return (&[], &raw[2..]);
    }
    let end = raw.windows(4).position(|window| window == b"\r\n\r\n");
    end.map_or((raw, &[]), |end| (&raw[..end], &raw[end + 4..]))
}

fn parse_headers(head: &str) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in head.lines() {
        if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = headers.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }
    for (_, value) in &mut headers {
        *value = decode_words(value);
    }
    headers
}

/// Returns a parameter of a structured header, such as the boundary of a content type.
fn parameter(value: &str, name: &str) -> Option<String> {
    value.split(';').skip(1).find_map(|parameter| {
        let (candidate, value) = parameter.trim().split_once('=')?;
        let fits = candidate.trim().eq_ignore_ascii_case(name);
        fits.then(|| value.trim().trim_matches('"').to_owned())
    })
}

fn split_parts<'a>(body: &'a [u8], boundary: &str) -> Vec<&'a [u8]> {
    let delimiter = format!("--{boundary}").into_bytes();
    let mut parts = Vec::new();
    let mut start = None;
    let mut at = 0;
    while at < body.len() {
        let end =
            body[at..].iter().position(|byte| *byte == b'\n').map_or(body.len(), |n| at + n + 1);
        let line = &body[at..end];
        if line.starts_with(&delimiter) {
            if let Some(start) = start {
                let part: &[u8] = &body[start..at];
                parts.push(part.strip_suffix(b"\r\n").unwrap_or(part));
            }
            start = Some(end);
            if line[delimiter.len()..].starts_with(b"--") {
                break;
            }
        }
        at = end;
    }
    parts
}

fn decode(body: &[u8], encoding: &str) -> Vec<u8> {
    match encoding.trim().to_ascii_lowercase().as_str() {
        "base64" => {
            let packed: Vec<u8> =
                body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
            STANDARD.decode(packed).unwrap_or_else(|_| body.to_vec())
        }
        "quoted-printable" => decode_quoted(body, false),
        _ => body.to_vec(),
    }
}

/// Decodes quoted-printable. In headers, an underscore is a space.
fn decode_quoted(text: &[u8], in_header: bool) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'=' if rest.starts_with(b"\r\n") => rest = &rest[2..],
            b'=' => match rest.get(..2).map(hex::decode) {
                Some(Ok(byte)) => {
                    decoded.extend(byte);
                    rest = &rest[2..];
                }
                _ => decoded.push(b'='),
            },
            b'_' if in_header => decoded.push(b' '),
            byte => decoded.push(*byte),
        }
    }
    decoded
}

/// Decodes encoded words, `=?utf-8?B?…?=` and `=?utf-8?Q?…?=`. White space between two of them does
/// not count.
fn decode_words(value: &str) -> String {
    let mut decoded = String::new();
    let mut rest = value;
    let mut after_word = false;
    while let Some(start) = rest.find("=?") {
        let between = &rest[..start];
        let Some((text, end)) = decode_word(&rest[start..]) else { break };
        if !(after_word && between.trim().is_empty()) {
            decoded.push_str(between);
        }
        decoded.push_str(&text);
        rest = &rest[start + end..];
        after_word = true;
    }
    decoded + rest
}

fn decode_word(text: &str) -> Option<(String, usize)> {
    let mut pieces = text.strip_prefix("=?")?.splitn(3, '?');
    let (charset, encoding, rest) = (pieces.next()?, pieces.next()?, pieces.next()?);
    let (encoded, _) = rest.split_once("?=")?;
    let bytes = match encoding {
        "B" | "b" => STANDARD.decode(encoded).ok()?,
        "Q" | "q" => decode_quoted(encoded.as_bytes(), true),
        _ => return None,
    };
    let length = "=?".len() + charset.len() + 1 + encoding.len() + 1 + encoded.len() + "?=".len();
    Some((String::from_utf8_lossy(&bytes).into_owned(), length))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_mail_with_alternatives_and_an_attachment_comes_apart() {
        let raw = b"Subject: =?utf-8?B?R3LDvMOfZQ==?= =?utf-8?Q?_an_alle?=\r\n\
            Content-Type: multipart/mixed;\r\n boundary=\"outer\"\r\n\r\n\
            --outer\r\nContent-Type: multipart/alternative; boundary=inner\r\n\r\n\
            --inner\r\nContent-Type: text/plain; charset=utf-8\r\n\
            Content-Transfer-Encoding: quoted-printable\r\n\r\nna=C3=AFve and so=\r\n on\r\n\
            --inner\r\nContent-Type: text/html\r\n\r\n<p>Hi</p>\r\n--inner--\r\n\
            --outer\r\nContent-Type: application/jwt\r\n\
            Content-Disposition: attachment; filename=\"license.jwt\"\r\n\
            Content-Transfer-Encoding: base64\r\n\r\nYWJj\r\n--outer--\r\n";
        let mail = crate::Mail::received(1, 0, String::new(), Vec::new(), raw.to_vec());
        assert_eq!(mail.subject(), "Grüße an alle");
        assert_eq!(mail.text.as_deref(), Some("naïve and so on"));
        assert_eq!(mail.html.as_deref(), Some("<p>Hi</p>"));
        assert_eq!(mail.attachments[0].name, "license.jwt");
        assert_eq!(mail.attachments[0].bytes, b"abc");
    }
}
