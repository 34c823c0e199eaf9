//! The reason for each code, and what to do about it.

use licentia_verify::{Claims, Code, Companion, MAX_TOKEN_BYTES, Rejection};

use super::{Check, at, quoted};
use crate::domain::time::Timestamp;

/// The reason why a status list of an unknown key is not used.
const LIST_OF_UNKNOWN_KEY: &str = "The status list does not count: it is signed with a key \
                                       that is not in the key bundle or key set. Get the newest \
                                       one, and give it with the list.";

/// Returns the reason for a code, with what to do about it.
pub(super) fn of(code: Code, check: &Check<'_>, claims: Option<&Claims>) -> Vec<String> {
    let reason = match code {
        Code::TooLarge
        | Code::Malformed
        | Code::WrongType
        | Code::CriticalHeader
        | Code::UnsupportedAlgorithm
        | Code::UnsupportedVersion
        | Code::InvalidClaims => text(code, check.rejection),
        Code::KeyRevoked
        | Code::UnknownKey
        | Code::BadSignature
        | Code::KeyNotValid
        | Code::WrongAudience
        | Code::WrongIssuer => origin(code, check),
        Code::NotYetValid
        | Code::ClockRolledBack
        | Code::Revoked
        | Code::StaleStatus
        | Code::WrongDevice
        | Code::UpdateNotCovered => standing(code, check, claims),
        Code::LicenseExpired | Code::TokenExpired => ended(code, check, claims),
    };
    reason.into_iter().collect()
}

/// Returns the reasons that are in the text of the license.
fn text(code: Code, rejection: Option<&Rejection>) -> Vec<String> {
    let detail = match rejection {
        Some(Rejection::Malformed(detail)) => (*detail).to_owned(),
        Some(Rejection::InvalidClaims(detail)) => detail.clone(),
        _ => String::new(),
    };
    let detail = if detail.is_empty() { detail } else { format!(": {detail}") };
    let texts = match code {
        Code::TooLarge => [
            format!("The text is too long: a license has at most {MAX_TOKEN_BYTES} bytes."),
            "Check that it is only the license, or the file `license.json`.".to_owned(),
        ],
        Code::WrongType => [
            "It is a signed document, but not a license: its `typ` is another one.".to_owned(),
            "Check that it is not a key bundle, a status list or a login token.".to_owned(),
        ],
        Code::CriticalHeader => [
            "Its header demands an extension (`crit`), which no license has.".to_owned(),
            "It is not a license of Licentia.".to_owned(),
        ],
        Code::UnsupportedAlgorithm => [
            "It is not signed with Ed25519, and every license is.".to_owned(),
            "It is not a license of Licentia.".to_owned(),
        ],
        Code::UnsupportedVersion => [
            "It has a later version of the format than this verifier knows.".to_owned(),
            "Use a newer version of the app or of this program.".to_owned(),
        ],
        Code::InvalidClaims => [
            format!("It is signed by the vendor, but its claims are wrong{detail}."),
            "The program that signed it has a fault. The customer needs a new license.".to_owned(),
        ],
        _ => [
            format!("The text is not a license{detail}."),
            "Copy the whole license, or use the file that is attached to the mail.".to_owned(),
        ],
    };
    texts.into()
}

/// Returns the reasons about who signed the license, and for which product.
fn origin(code: Code, check: &Check<'_>) -> Vec<String> {
    let signed = match check.rejection {
        Some(Rejection::KeyRevoked { kid } | Rejection::UnknownKey { kid }) => {
            format!("It is signed with the key {}", quoted(kid))
        }
        _ => "It is signed with a key".to_owned(),
    };
    let found = match check.rejection {
        Some(Rejection::WrongAudience { found } | Rejection::WrongIssuer { found }) => {
            quoted(found)
        }
        _ => "another one".to_owned(),
    };
    let texts = match code {
        Code::KeyRevoked => [
            format!("{signed}, which the vendor revoked."),
            "The customer needs a license that another key signed, and this one cannot be \
             refreshed: log in, or have the new license mailed."
                .to_owned(),
        ],
        Code::UnknownKey if !check.has_root => [
            format!("{signed}, which is not in the key set."),
            "Check that the license is from this vendor, and get the server's newest key set."
                .to_owned(),
        ],
        Code::UnknownKey if check.bundle == Companion::NotGiven => [
            format!("{signed}. With a root key, the vendor's keys are in the key bundle."),
            "No key bundle was given. Get the newest one from the server.".to_owned(),
        ],
        Code::UnknownKey if check.bundle != Companion::Counts => [
            format!("{signed}. With a root key, the vendor's keys are in the key bundle."),
            "No bundle that was given counts. Get the newest one from the server.".to_owned(),
        ],
        Code::UnknownKey => [
            format!("{signed}, which is not in the key bundle."),
            "Check that the license is from this vendor, and get the newest key bundle.".to_owned(),
        ],
        Code::KeyNotValid => [
            "It is dated at a time at which its key was not in use.".to_owned(),
            "If the vendor did not sign it, somebody else has the key. The customer needs a new \
             license."
                .to_owned(),
        ],
        Code::WrongAudience => [
            match check.audience {
                Some(audience) => {
                    format!("It is for the product {found}, not for {}.", quoted(audience))
                }
                None => format!("It is for another product, {found}."),
            },
            "The customer needs a license for this product.".to_owned(),
        ],
        Code::WrongIssuer => [
            format!("It was issued by {found}, not by the required issuer."),
            "The customer needs a license of that issuer.".to_owned(),
        ],
        _ => [
            "The signature does not match: the license was altered or forged.".to_owned(),
            "Copy the whole license again, or send it to the customer again.".to_owned(),
        ],
    };
    texts.into()
}

/// Returns the reasons that depend on the clock, the status list, the device and the build.
fn standing(code: Code, check: &Check<'_>, claims: Option<&Claims>) -> Vec<String> {
    let now = check.now;
    let index = claims.and_then(|claims| claims.status.as_ref());
    let index = index.map_or(String::new(), |status| {
        format!(" (number {} of {})", status.status_list.idx, quoted(&status.status_list.uri))
    });
    let texts = match code {
        Code::NotYetValid => {
            let from = check.verdict.changes_at.map(Timestamp::from);
            let from = from.map_or("later".to_owned(), |from| format!("from {from}"));
            [
                format!("It is valid {from}, and the clock says {now}."),
                "Most likely, the clock of the device is behind. Set it right.".to_owned(),
            ]
        }
        Code::ClockRolledBack => [
            format!("The clock says {now}, which is more than an hour before what the app saw."),
            "Set the clock of the device right. A fresh license helps too, once the clock is right."
                .to_owned(),
        ],
        Code::Revoked if check.list == Companion::Counts => [
            format!("The status list says that the vendor revoked it{index}."),
            "The customer needs another license.".to_owned(),
        ],
        Code::Revoked => [
            format!("An earlier status list said that the vendor revoked it{index}."),
            "The device remembers it. The customer needs another license, or a newer list."
                .to_owned(),
        ],
        Code::StaleStatus => [
            if check.list == Companion::Counts {
                "The status list is older than the app allows.".to_owned()
            } else {
                "The app requires a status list, and there is none that counts.".to_owned()
            },
            "Get the newest status list from the server.".to_owned(),
        ],
        Code::WrongDevice => [
            match check.device {
                Some(device) => format!("This is another device: its key is {}.", quoted(device)),
                None => "It is for one device, and this device is not known.".to_owned(),
            },
            "The customer needs a license for this device.".to_owned(),
        ],
        _ => [
            match (check.build, check.verdict.updates_until.map(Timestamp::from)) {
                (Some(build), Some(until)) => format!(
                    "This build was made at {build}, and the license covers builds until {until}."
                ),
                _ => "The license does not cover this build.".to_owned(),
            },
            "An older build works. The customer can also buy the updates.".to_owned(),
        ],
    };
    texts.into()
}

/// Returns the reasons that a license has ended.
fn ended(code: Code, check: &Check<'_>, claims: Option<&Claims>) -> Vec<String> {
    let Some(claims) = claims else { return vec![format!("Reason: {}.", in_short(code))] };
    if code == Code::TokenExpired {
        let lasts = match claims.license_expires.max(claims.grace_until) {
            Some(end) => format!("The license itself lasts until {}.", at(end)),
            None => "The license itself never ends.".to_owned(),
        };
        return vec![
            format!("Its token ran out at {}, and was not refreshed.", at(claims.exp)),
            format!("{lasts} The app gets a new token when it is online."),
        ];
    }
    let what = if claims.trial { "The trial" } else { "The license" };
    let end =
        claims.license_expires.map_or("an unknown time".to_owned(), |end| at(end).to_string());
    let grace = claims.grace_until.filter(|grace| Some(*grace) > claims.license_expires);
    let grace = match grace {
        Some(grace) if at(grace) > check.now => {
            format!(", and the grace period ends at {}", at(grace))
        }
        Some(grace) => format!(", and the grace period at {}", at(grace)),
        None => String::new(),
    };
    let remedy = if claims.trial {
        "The customer can buy a license."
    } else {
        "Once it is renewed, the app gets a new license."
    };
    vec![format!("{what} ended at {end}{grace}."), remedy.to_owned()]
}

/// Returns the reason for a code in a few words, without a time.
pub(super) fn in_short(code: Code) -> &'static str {
    match code {
        Code::LicenseExpired => "it has ended",
        Code::TokenExpired => "its token has run out, unless it is refreshed",
        Code::UnknownKey => "the key bundle has expired, unless there is a newer one",
        Code::StaleStatus => "the status list is too old, unless there is a newer one",
        Code::Revoked => "it is revoked",
        Code::WrongDevice => "it is for another device",
        Code::UpdateNotCovered => "it does not cover the build",
        Code::NotYetValid | Code::ClockRolledBack => "the clock is wrong",
        Code::TooLarge
        | Code::Malformed
        | Code::WrongType
        | Code::CriticalHeader
        | Code::UnsupportedAlgorithm
        | Code::KeyRevoked
        | Code::BadSignature
        | Code::UnsupportedVersion
        | Code::InvalidClaims
        | Code::KeyNotValid
        | Code::WrongAudience
        | Code::WrongIssuer => "it is not a license that this app accepts",
    }
}

/// Returns which of the documents beside a license were not used, and why. `bundle` and `list` are
/// what became of them, and `claims` those of the license.
#[must_use]
pub fn not_used(bundle: Companion, list: Companion, claims: Option<&Claims>) -> Vec<String> {
    let bundle = match bundle {
        Companion::DoesNotCount => Some(
            "The key bundle does not count: the root did not sign it, it has expired, it is older \
             than one that the device remembers, or it is damaged.",
        ),
        Companion::NotRead => {
            Some("The key bundle was not needed: only an app with a root key uses it.")
        }
        Companion::UnknownKey | Companion::NotGiven | Companion::Counts => None,
    };
    let names_none = claims.is_some_and(|claims| claims.status.is_none());
    let list = match list {
        Companion::DoesNotCount => Some(
            "The status list does not count: it is not the one that the license names, no key of \
             the vendor signed it, it is older than one that the device remembers, or it is \
             damaged.",
        ),
        Companion::UnknownKey => Some(LIST_OF_UNKNOWN_KEY),
        Companion::NotRead if names_none => {
            Some("The status list was not needed: the license names none.")
        }
        Companion::NotRead | Companion::NotGiven | Companion::Counts => None,
    };
    bundle.into_iter().chain(list).map(str::to_owned).collect()
}
