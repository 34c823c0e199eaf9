//! Reads the texts that a verification needs: the license, the keys, and what travels with them.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::Path;

use licentia_verify::{BUNDLE_TYPE, KeySet, MAX_JWKS_BYTES, inspect};
use serde_json::Value;

use crate::keys::is_private;

/// The longest file that is read, in bytes. The verifier's own limits are lower; they count after
/// blanks around a text and line breaks are removed.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// A problem with the arguments, and how to fix it.
pub type Problem = String;

/// Returns the text of a file. Bytes that are not UTF-8 are replaced: the verifier refuses the
/// replacement, and says why.
///
/// # Errors
/// The reason why the file cannot be read, with `advice` if there is no such file.
pub fn file(path: &Path, advice: &str) -> Result<String, Problem> {
    let named = |problem: String| format!("{}: {problem}", path.display());
    let opened = fs::File::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => named(format!("there is no such file; {advice}")),
        _ => named(error.to_string()),
    });
    whole(opened?).map_err(named)
}

/// Returns everything that can be read from a source, up to the limit.
fn whole(source: impl Read) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    let read = source.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    match read.map_err(|error| error.to_string())? as u64 {
        0..=MAX_BYTES => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        _ => Err(format!("it is longer than {MAX_BYTES} bytes; is this the right file?")),
    }
}

/// Returns the license that an argument means: a file, `-` for standard input, or the license
/// itself.
///
/// # Errors
/// The reason why it cannot be read.
pub fn license(argument: &str) -> Result<String, Problem> {
    if argument == "-" {
        return whole(std::io::stdin()).map_err(|problem| format!("standard input: {problem}"));
    }
    let path = Path::new(argument);
    if fs::metadata(path).is_ok() || is_path(argument) {
        return file(path, "give a license, the name of a file that has one, or `-`");
    }
    Ok(argument.to_owned())
}

/// Returns whether a text means a file, even if there is none. A license has two full stops, or is
/// JSON, and has no slash.
fn is_path(text: &str) -> bool {
    let is_license = text.contains('{') || text.matches('.').count() == 2;
    let has_extension = Path::new(text).extension().is_some();
    text.contains(['/', '\\']) || (has_extension && !is_license)
}

/// Returns the key set of a JWKS file, for a product.
///
/// # Errors
/// The reason why it is not usable.
pub fn jwks(path: &Path, audience: &str) -> Result<KeySet, Problem> {
    let text = file(path, "download it from the server's /.well-known/jwks.json")?;
    must_be_public(path, &text, "give the server's /.well-known/jwks.json")?;
    KeySet::from_jwks(&text, audience).map_err(|error| {
        let hint = match kind(&text) {
            Some(Kind::Key) => "this is a single key; if it is the root, give it with --root",
            Some(Kind::Bundle) => BUNDLE_HINT,
            Some(Kind::Jwks) | None => "download it again from the server's /.well-known/jwks.json",
        };
        format!("{}: {error}; {hint}", path.display())
    })
}

/// Returns the key set of a root key's file, for a product.
///
/// # Errors
/// The reason why it is not usable.
pub fn root(path: &Path, audience: &str) -> Result<KeySet, Problem> {
    let text = file(path, "`licentia keys root export` writes it")?;
    must_be_public(path, &text, "`licentia keys root export --in FILE` writes its public part")?;
    KeySet::from_root(&text, audience).map_err(|error| {
        let hint = match kind(&text) {
            Some(Kind::Jwks) => "this is a JWKS; give it with --jwks",
            Some(Kind::Bundle) => BUNDLE_HINT,
            Some(Kind::Key) | None => "give the public key that `licentia keys root export` writes",
        };
        format!("{}: {error}; {hint}", path.display())
    })
}

/// Checks that a text is not a private key.
fn must_be_public(path: &Path, text: &str, advice: &str) -> Result<(), Problem> {
    if !is_private(text) {
        return Ok(());
    }
    let path = path.display();
    Err(format!("{path}: this is a private key, which never leaves the vendor; {advice}"))
}

const BUNDLE_HINT: &str = "this is a key bundle; give it with --keys, and the root key with --root";

/// What a file of keys is.
enum Kind {
    Jwks,
    Key,
    Bundle,
}

/// Returns what a file is, by its first look.
fn kind(text: &str) -> Option<Kind> {
    if text.len() > MAX_JWKS_BYTES {
        return None;
    }
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        return match (value.get("keys"), value.get("kty")) {
            (Some(_), _) => Some(Kind::Jwks),
            (None, Some(_)) => Some(Kind::Key),
            (None, None) => None,
        };
    }
    let header = inspect_header(text)?;
    (header.as_str() == Some(BUNDLE_TYPE)).then_some(Kind::Bundle)
}

/// Returns the `typ` of a signed document.
fn inspect_header(text: &str) -> Option<Value> {
    inspect(text).ok()?.header.remove("typ")
}
