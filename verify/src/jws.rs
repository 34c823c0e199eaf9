//! Signed documents: JWS in compact form (RFC 7515, section 7.1), signed with Ed25519.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::Signature;

use crate::json::{self, Members};
use crate::keys::TrustedKey;
use crate::{Algorithm, Rejection};

/// A kind of signed document.
pub(crate) struct Kind {
    /// The `typ` in the header.
    pub(crate) typ: &'static str,
    /// The longest accepted text.
    pub(crate) max_bytes: usize,
}

/// Returns what a document says, as text, if it was signed by the key that `find` returns for its
/// `kid`, and that key.
///
/// # Errors
/// The first rule that the document violates, or the rejection from `find`.
pub(crate) fn open<'k>(
    token: &str,
    kind: &Kind,
    find: impl FnOnce(&str) -> Result<&'k TrustedKey, Rejection>,
) -> Result<(Vec<u8>, &'k TrustedKey), Rejection> {
    let parts = Parts::read(token, kind.max_bytes)?;
    let header = parts.header()?;
    if !header.string("typ").is_some_and(|typ| typ.eq_ignore_ascii_case(kind.typ)) {
        return Err(Rejection::WrongType);
    }
    if header.has("crit") {
        return Err(Rejection::CriticalHeader);
    }
    if header.string("alg").and_then(Algorithm::from_name).is_none() {
        return Err(Rejection::UnsupportedAlgorithm);
    }
    let no_kid = Rejection::Malformed("its header names no key (\"kid\")");
    let key = find(header.string("kid").ok_or(no_kid)?)?;
    let signature = Signature::from_slice(&parts.signature).map_err(|_| Rejection::BadSignature)?;
    key.key
        .verify_strict(parts.signed.as_bytes(), &signature)
        .map_err(|_| Rejection::BadSignature)?;
    drop(header);
    Ok((parts.claims, key))
}

/// Returns the members of the claims of a document.
///
/// # Errors
/// [`Rejection::Malformed`] when they are not a JSON object.
pub(crate) fn members(claims: &[u8]) -> Result<Members<'_>, Rejection> {
    json::object(claims).map_err(|_| {
        Rejection::Malformed("its claims are not a JSON object without repeated members")
    })
}

/// The three parts of a token. All but the signed text are decoded.
pub(crate) struct Parts<'a> {
    signed: &'a str,
    pub(crate) header: Vec<u8>,
    pub(crate) claims: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Parts<'a> {
    pub(crate) fn read(token: &'a str, max_bytes: usize) -> Result<Self, Rejection> {
        if token.len() > max_bytes {
            return Err(Rejection::TooLarge);
        }
        let malformed = || Rejection::Malformed("it does not have three parts");
        let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, claims) = signed.split_once('.').ok_or_else(malformed)?;
        if claims.contains('.') {
            return Err(malformed());
        }
        let (header, claims) = (decode(header)?, decode(claims)?);
        Ok(Self { signed, header, claims, signature: decode(signature)? })
    }

    pub(crate) fn header(&self) -> Result<Members<'_>, Rejection> {
        json::object(&self.header).map_err(|_| {
            Rejection::Malformed("its header is not a JSON object without repeated members")
        })
    }
}

fn decode(part: &str) -> Result<Vec<u8>, Rejection> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| Rejection::Malformed("a part of it is not strict base64url"))
}
