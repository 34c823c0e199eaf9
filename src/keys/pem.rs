//! Reads a private Ed25519 key from the text of a file or a variable. Such texts pass through
//! editors, shells and secret stores: a byte order mark, a literal `\n`, quotes, spaces in place of
//! line breaks and base64 around the whole text are read. Everything else is refused with its
//! reason.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::DecodePrivateKey;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::error::{Error, Result};

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
const PLAIN: &str = "PRIVATE KEY";
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

/// The length of a line in PEM (RFC 7468, section 2).
const LINE: usize = 64;

/// The DER of the object identifier of Ed25519 (RFC 8410, section 3).
const ED25519: [u8; 5] = [0x06, 0x03, 0x2b, 0x65, 0x70];

/// Shorter DER is a damaged key rather than one of another type.
const MIN_DER: usize = 40;

/// The lengths in bytes of an Ed25519 seed, and of a seed with its public key.
const RAW: [usize; 2] = [32, 64];

/// Returns the key in a text. `shown` names the text in errors.
///
/// # Errors
/// [`Error::Setup`] with the reason, which shows nothing of the key.
pub fn private_key(
    text: &str,
    shown: &str,
    passphrase: Option<&SecretString>,
) -> Result<SigningKey> {
    let refused = |problem: String| Error::setup(format!("the key {shown} {problem}"));
    let pem = pem(text).map_err(|reason| refused(reason.to_owned()))?;
    let is_encrypted = pem.starts_with(&format!("{BEGIN}{ENCRYPTED}"));
    let key = match passphrase {
        Some(passphrase) if is_encrypted => {
            SigningKey::from_pkcs8_encrypted_pem(&pem, passphrase.expose_secret())
        }
        None if is_encrypted => {
            let hint = "is encrypted; set LICENTIA_KEYS_PASSPHRASE or …_FILE";
            return Err(refused(hint.to_owned()));
        }
        _ => SigningKey::from_pkcs8_pem(&pem),
    };
    key.map_err(|_| {
        if is_encrypted {
            return refused(
                "cannot be decrypted with this passphrase: set LICENTIA_KEYS_PASSPHRASE or …_FILE \
                 to the one with which it was encrypted; if it is that one, the file is damaged: \
                 restore it from a backup"
                    .to_owned(),
            );
        }
        let problem = if is_of_another_type(&pem) { "is not an Ed25519 key" } else { "is damaged" };
        refused(format!(
            "{problem}: an Ed25519 key in PKCS#8 PEM is expected; restore it from a backup"
        ))
    })
}

/// Returns whether a text is the public part of a key: a JWK or PEM.
#[must_use]
pub fn is_public(text: &str) -> bool {
    let text = without_wrapping(text);
    let jwk = || serde_json::from_str::<Value>(text).ok();
    text.contains("-----BEGIN PUBLIC KEY-----")
        || jwk().is_some_and(|jwk| jwk.get("kty").is_some() && jwk.get("d").is_none())
}

/// Returns whether a text is a private key: PEM of any kind, or a JWK.
#[must_use]
pub fn is_private(text: &str) -> bool {
    let text = without_wrapping(text);
    let jwk = || serde_json::from_str::<Value>(text).ok();
    text.contains("PRIVATE KEY-----") || jwk().is_some_and(|jwk| jwk.get("d").is_some())
}

/// Returns the texts of the keys in a text that may have several, as `former_signing_keys` does.
pub fn blocks(text: &str) -> Vec<String> {
    let text = without_wrapping(text);
    let unwrapped = (!text.contains(BEGIN)).then(|| unwrapped(text)).flatten();
    let text = unwrapped.as_ref().map_or(text, |text| text.as_str());
    let begins: Vec<_> = text.match_indices(BEGIN).map(|(at, _)| at).collect();
    if begins.is_empty() {
        return vec![text.to_owned()];
    }
    let ends = begins.iter().skip(1).copied().chain([text.len()]);
    begins.iter().zip(ends).map(|(begin, end)| text[*begin..end].to_owned()).collect()
}

/// Returns the clean PEM of one key.
fn pem(text: &str) -> std::result::Result<Zeroizing<String>, &'static str> {
    let text = without_wrapping(text);
    if text.is_empty() {
        return Err("is empty");
    }
    if text.contains(BEGIN) {
        return block(text);
    }
    if text.starts_with('{') {
        return Err("is JSON (a JWK); an Ed25519 key in PKCS#8 PEM is expected");
    }
    if let Some(text) = unwrapped(text) {
        return block(&text);
    }
    let Some(bytes) = decoded(text) else {
        return Err("is damaged: it has no line -----BEGIN PRIVATE KEY-----; restore it from a \
                    backup");
    };
    match bytes.as_slice() {
        der if contains(der, &ED25519) => Ok(written(PLAIN, &STANDARD.encode(der))),
        raw if RAW.contains(&raw.len()) => {
            Err("is a seed without a format; an Ed25519 key in PKCS#8 PEM is expected (openssl \
             genpkey -algorithm ed25519)")
        }
        _ => Err("is base64 of something else; an Ed25519 key in PKCS#8 PEM is expected"),
    }
}

/// Returns the text without a byte order mark, blanks and quotes at its ends.
fn without_wrapping(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\u{feff}' | '"' | '\''))
}

/// Returns the PEM in base64 of it.
fn unwrapped(text: &str) -> Option<Zeroizing<String>> {
    let bytes = decoded(text)?;
    let text = std::str::from_utf8(&bytes).ok()?;
    text.contains(BEGIN).then(|| Zeroizing::new(text.to_owned()))
}

/// Returns the bytes of a base64 text with any line breaks.
fn decoded(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let text = without_breaks(text);
    let engines = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD];
    engines.iter().find_map(|engine| engine.decode(text.as_bytes()).ok()).map(Zeroizing::new)
}

/// Returns the text without blanks and without the line breaks that were written as `\n`.
fn without_breaks(text: &str) -> Zeroizing<String> {
    let text = Zeroizing::new(text.replace("\\r", "").replace("\\n", ""));
    Zeroizing::new(text.chars().filter(|c| !c.is_whitespace() && *c != '\u{feff}').collect())
}

/// Returns the one key in a text with PEM, written anew.
fn block(text: &str) -> std::result::Result<Zeroizing<String>, &'static str> {
    if text.matches(BEGIN).count() > 1 {
        return Err("contains more than one key; use one file for each");
    }
    let rest = text.split_once(BEGIN).map_or("", |(_, rest)| rest);
    let Some((label, rest)) = rest.split_once(DASHES) else {
        return Err("is damaged: its first line is cut off; restore it from a backup");
    };
    match label {
        PLAIN | ENCRYPTED => {}
        "PUBLIC KEY" => return Err("is a public key; the private key is needed"),
        "CERTIFICATE" => return Err("is a certificate; the private key is needed"),
        "OPENSSH PRIVATE KEY" => {
            return Err("has the format of OpenSSH; an Ed25519 key in PKCS#8 PEM is expected \
                        (openssl genpkey -algorithm ed25519)");
        }
        "EC PRIVATE KEY" | "RSA PRIVATE KEY" | "DSA PRIVATE KEY" | "EC PARAMETERS" => {
            return Err("is not an Ed25519 key; make one with: openssl genpkey -algorithm ed25519");
        }
        _ => {
            return Err("is something else than a private key; an Ed25519 key in PKCS#8 PEM is \
                         expected");
        }
    }
    let Some((body, end)) = rest.split_once(END) else {
        return Err("is damaged: it has no line -----END PRIVATE KEY-----; restore it from a \
                    backup");
    };
    if end.split_once(DASHES).is_none_or(|(ended, _)| ended != label) {
        return Err("is damaged: its last line does not match its first; restore it from a backup");
    }
    if body.contains(':') {
        return Err("is encrypted in an old way; convert it with: openssl pkcs8 -topk8");
    }
    Ok(written(label, &without_breaks(body)))
}

fn written(label: &str, body: &str) -> Zeroizing<String> {
    let mut pem = Zeroizing::new(format!("{BEGIN}{label}{DASHES}\n"));
    let characters: Zeroizing<Vec<char>> = Zeroizing::new(body.chars().collect());
    for line in characters.chunks(LINE) {
        pem.extend(line);
        pem.push('\n');
    }
    pem.push_str(&format!("{END}{label}{DASHES}\n"));
    pem
}

/// Returns whether a PEM has the key of another algorithm.
fn is_of_another_type(pem: &str) -> bool {
    let body: String = pem.lines().filter(|line| !line.starts_with(DASHES)).collect();
    STANDARD.decode(body).is_ok_and(|der| der.len() > MIN_DER && !contains(&der, &ED25519))
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
    use ed25519_dalek::pkcs8::{EncodePrivateKey, KeypairBytes};

    use super::*;

    const BODY: &str = "MC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH";

    fn plain() -> String {
        format!("-----BEGIN PRIVATE KEY-----\n{BODY}\n-----END PRIVATE KEY-----\n")
    }

    fn read(text: &str) -> std::result::Result<[u8; 32], String> {
        let key = private_key(text, "K", None).map_err(|error| error.to_string());
        key.map(|key| key.to_bytes())
    }

    #[test]
    fn the_key_of_these_tests_is_written_by_the_library() {
        let key = KeypairBytes { secret_key: [7; 32], public_key: None };
        assert_eq!(*key.to_pkcs8_pem(LineEnding::LF).unwrap(), plain());
    }

    #[test]
    fn a_key_is_read_however_it_was_wrapped() {
        let pem = plain();
        let (first, rest) = BODY.split_at(20);
        for (name, text) in [
            ("as it is", pem.clone()),
            ("without the last line break", pem.trim_end().to_owned()),
            ("with CRLF", pem.replace('\n', "\r\n")),
            ("with CR", pem.replace('\n', "\r")),
            ("with a byte order mark", format!("\u{feff}{pem}")),
            ("with a literal \\n", pem.replace('\n', "\\n")),
            ("with a literal \\r\\n", pem.replace('\n', "\\r\\n")),
            ("with spaces instead of line breaks", pem.replace('\n', " ")),
            ("on one line", pem.replace('\n', "")),
            ("indented", pem.replace('\n', "\n    ")),
            ("with blanks around it", format!("\n\n \t{pem}\n\n")),
            ("in double quotes", format!("\"{}\"", pem.replace('\n', "\\n"))),
            ("in single quotes", format!("'{pem}'")),
            ("with text before it", format!("Bag Attributes\n    friendlyName: k\n{pem}")),
            ("with short lines", pem.replace(BODY, &format!("{first}\n{rest}"))),
            ("base64 of it", STANDARD.encode(&pem)),
            ("base64 with line breaks", STANDARD.encode(&pem).replace('A', "A\n")),
            ("base64url of it", URL_SAFE_NO_PAD.encode(&pem)),
            ("base64 of the DER", BODY.to_owned()),
            ("base64 of it with a byte order mark", STANDARD.encode(format!("\u{feff}{pem}"))),
        ] {
            assert_eq!(read(&text), Ok([7; 32]), "{name}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_its_reason_and_shows_nothing_of_the_key() {
        let pem = plain();
        let labeled = |label: &str| pem.replace("PRIVATE KEY", label);
        let x25519 = BODY.replace("K2Vw", "K2Vu");
        for (name, text, reason) in [
            ("empty", String::new(), "is empty"),
            ("blanks", " \n\t".into(), "is empty"),
            ("half of it", pem[..60].to_owned(), "is damaged: it has no line -----END"),
            ("the first line only", "-----BEGIN PRIVATE KEY".into(), "its first line is cut off"),
            ("without its end", pem.replace("-----END PRIVATE KEY-----", ""), "it has no line"),
            ("another end", pem.replace("END PRIVATE", "END PUBLIC"), "does not match"),
            ("no body", pem.replace(BODY, ""), "is damaged"),
            ("a body that is cut", pem.replace(BODY, &BODY[..40]), "is damaged"),
            ("no base64", pem.replace('M', "*"), "is damaged"),
            ("two keys", format!("{pem}{pem}"), "more than one key"),
            ("a public key", labeled("PUBLIC KEY"), "is a public key"),
            ("a certificate", labeled("CERTIFICATE"), "is a certificate"),
            ("OpenSSH", labeled("OPENSSH PRIVATE KEY"), "the format of OpenSSH"),
            ("RSA", labeled("RSA PRIVATE KEY"), "is not an Ed25519 key"),
            ("EC", labeled("EC PRIVATE KEY"), "is not an Ed25519 key"),
            ("X25519", pem.replace(BODY, &x25519), "is not an Ed25519 key"),
            ("a message", labeled("PGP MESSAGE"), "something else than a private key"),
            (
                "old encryption",
                pem.replace(BODY, &format!("Proc-Type: 4,ENCRYPTED\n\n{BODY}")),
                "is encrypted in an old way",
            ),
            ("encrypted", labeled("ENCRYPTED PRIVATE KEY"), "set LICENTIA_KEYS_PASSPHRASE"),
            ("a JWK", r#"{"kty":"OKP","d":"BwcH"}"#.into(), "is JSON (a JWK)"),
            ("a seed", STANDARD.encode([7; 32]), "is a seed without a format"),
            ("a seed and its public key", STANDARD.encode([7; 64]), "is a seed without a format"),
            ("base64 of nothing known", STANDARD.encode("no key"), "is base64 of something else"),
            ("words", "this is no key!".into(), "has no line -----BEGIN"),
            ("a placeholder", "${SIGNING_KEY}".into(), "has no line -----BEGIN"),
            ("a path", "/run/secrets/key.pem".into(), "has no line -----BEGIN"),
        ] {
            let refused = read(&text).expect_err(name);
            assert!(refused.contains(reason), "{name}: {reason}\nis not in\n{refused}");
            assert!(!refused.contains("BwcH") && !refused.contains("MC4C"), "{name}: {refused}");
        }
    }

    #[test]
    fn several_keys_in_one_text_are_separated() {
        let pem = plain();
        let two = format!("{pem}{pem}");
        for (name, text, count) in [
            ("one", pem.clone(), 1),
            ("two", two.clone(), 2),
            ("two with a literal \\n", two.replace('\n', "\\n"), 2),
            ("two in base64", STANDARD.encode(&two), 2),
            ("one in base64", STANDARD.encode(&pem), 1),
        ] {
            let blocks = blocks(&text);
            assert_eq!(blocks.len(), count, "{name}");
            assert!(blocks.iter().all(|block| read(block) == Ok([7; 32])), "{name}");
        }
    }
}
