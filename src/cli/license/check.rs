//! `licentia license verify` and `explain`: the verdict of the crate `licentia-verify` on a
//! license, as JSON or in sentences. Neither needs a configuration or a database.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use chrono::DateTime;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use licentia_verify::{Checked, Claims, Companion, KeySet, Request, Verdict, license_token};
use serde::Serialize;
use serde_json::Value;

use super::memory::MemoryFile;
use super::texts::{self, Problem};
use crate::cli::{NO, WRONG_CALL, complain, print, print_json, warn};
use crate::clock::{Clock, SystemClock};
use crate::domain::license::explanation::{
    Explanation, Facts, claims_in, explain, explain_checked, not_used,
};
use crate::domain::private::Private;
use crate::domain::time::Timestamp;
use crate::error::Result;

#[cfg(test)]
mod tests;

/// The license, and what an app knows when it verifies it.
#[derive(Debug, Args)]
pub struct Given {
    /// The vendor's public keys, as published at /.well-known/jwks.json
    #[arg(long, value_name = "FILE", conflicts_with = "root")]
    jwks: Option<PathBuf>,
    /// The public part of the vendor's root key (a JWK), for an app that pins it
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    /// The key bundle, as published at /.well-known/license-keys; for --root
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// The status list that the license names
    #[arg(long, value_name = "FILE")]
    status: Option<PathBuf>,
    /// The age from which a status list is too old, in seconds [default: any list, or none, will
    /// do]
    #[arg(long, value_name = "SECONDS")]
    max_status_age: Option<u64>,
    /// The memory of the app. It is read and written back, and need not exist yet
    #[arg(long, value_name = "FILE")]
    memory: Option<PathBuf>,
    /// The time at which the app's build was made, as seconds since 1970 or like
    /// 2026-11-20T15:00:00Z [default: unknown, so every build counts as covered]
    #[arg(long, value_name = "TIME", value_parser = time)]
    build: Option<Timestamp>,
    /// The RFC 7638 thumbprint of the device's key
    #[arg(long, value_name = "THUMBPRINT", value_parser = NonEmptyStringValueParser::new())]
    device: Option<String>,
    /// The product that the license must be issued for
    #[arg(long, value_name = "AUD", value_parser = NonEmptyStringValueParser::new())]
    audience: Option<String>,
    /// The issuer that the license must have [default: any with these keys]
    #[arg(long, value_name = "ISS", value_parser = NonEmptyStringValueParser::new())]
    issuer: Option<String>,
    /// The time of the verification, as seconds since 1970 or like 2026-11-20T15:00:00Z [default:
    /// now]
    #[arg(long, value_name = "EPOCH", value_parser = time, allow_hyphen_values = true)]
    now: Option<Timestamp>,
    /// The license or `license.json`: its text, a file that has it, or `-` for standard input
    license: Private,
}

/// The texts of [`Given`].
struct Texts {
    license: String,
    keys: Option<String>,
    status: Option<String>,
    memory: Option<MemoryFile>,
}

/// A verification and its explanation, as JSON.
#[derive(Serialize)]
struct Printed<'a> {
    #[serde(flatten)]
    verdict: &'a Verdict,
    /// The code again, under the name that it has in the API.
    reason: Option<licentia_verify::Code>,
    message: Option<String>,
    claims: Option<&'a Claims>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<Explanation>,
}

/// The contents of a license of which nothing was checked, as JSON.
#[derive(Serialize)]
struct Unchecked<'a> {
    verified: bool,
    claims: Option<&'a Claims>,
    explanation: Explanation,
}

/// Parses seconds since 1970, or a time of RFC 3339. A time out of range becomes the nearest one.
fn time(text: &str) -> std::result::Result<Timestamp, String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let beyond = if text.starts_with('-') { i64::MIN } else { i64::MAX };
        return Ok(Timestamp::saturating(text.parse().unwrap_or(beyond)));
    }
    DateTime::parse_from_rfc3339(text)
        .map(|time| Timestamp::saturating(time.timestamp()))
        .map_err(|_| "use seconds since 1970, or a time such as 2026-11-20T15:00:00Z".to_owned())
}

impl Given {
    /// `licentia license verify`.
    pub fn verify(self) -> Result<ExitCode> {
        let checked = self.texts().and_then(|texts| {
            let trust =
                self.trust(&texts)?.ok_or("give the vendor's keys with --jwks or --root")?;
            let checked = trust.check(&self.request(&texts));
            self.remember(&trust, &texts, &checked).map(|()| checked)
        });
        let checked = match checked {
            Ok(checked) => checked,
            Err(problem) => return Ok(wrong_call(problem)),
        };
        let verdict = Verdict::from(&checked);
        warn(&self.not_used(&checked));
        print_json(&printed(&verdict, &checked, None))?;
        Ok(exit_code(&verdict))
    }

    /// `licentia license explain`.
    pub fn explain(self, as_json: bool) -> Result<ExitCode> {
        let read = self.texts().and_then(|texts| {
            let trust = self.trust(&texts)?;
            let request = self.request(&texts);
            let checked = trust.as_ref().map(|trust| trust.check(&request));
            if let (Some(trust), Some(checked)) = (&trust, &checked) {
                self.remember(trust, &texts, checked)?;
            }
            let explained = explained(trust.as_ref(), &request, checked, self.audience.as_deref());
            Ok(explained)
        });
        match read {
            Ok(explained) => explained.print(as_json),
            Err(problem) => Ok(wrong_call(problem)),
        }
    }

    /// Returns which documents were not used, as warnings. Those of a `license.json` need not be.
    fn not_used(&self, checked: &Checked) -> Vec<String> {
        let asked = |companion, is_given: bool| match companion {
            Companion::NotRead if !is_given => Companion::NotGiven,
            companion => companion,
        };
        let bundle = asked(checked.bundle, self.keys.is_some());
        let list = asked(checked.list, self.status.is_some());
        not_used(bundle, list, checked.claims())
    }

    fn texts(&self) -> std::result::Result<Texts, Problem> {
        let read = |path: &Option<PathBuf>, advice| {
            path.as_ref().map(|path| texts::file(path, advice)).transpose()
        };
        Ok(Texts {
            license: texts::license(self.license.as_str())?,
            keys: read(&self.keys, "download it from the server's /.well-known/license-keys")?,
            status: read(&self.status, "download it from the address that the license names")?,
            memory: self.memory.as_deref().map(MemoryFile::read).transpose()?,
        })
    }

    /// Returns the keys that the app trusts; `None` if no keys were given. Without an audience, the
    /// license's own product is taken.
    fn trust(&self, texts: &Texts) -> std::result::Result<Option<KeySet>, Problem> {
        let own =
            || claims_in(&texts.license).map(|claims| claims.aud).filter(|aud| !aud.is_empty());
        let audience = self.audience.clone().or_else(own).unwrap_or_else(|| "unknown".to_owned());
        let trust = match (&self.jwks, &self.root) {
            (Some(path), _) => texts::jwks(path, &audience)?,
            (None, Some(path)) => texts::root(path, &audience)?,
            (None, None) => return Ok(None),
        };
        Ok(Some(match &self.issuer {
            Some(issuer) => trust.issued_by(issuer),
            None => trust,
        }))
    }

    fn request<'a>(&'a self, texts: &'a Texts) -> Request<'a> {
        let now = self.now.unwrap_or_else(|| SystemClock.now());
        Request {
            keys: texts.keys.as_deref(),
            status: texts.status.as_deref(),
            max_status_age: self.max_status_age.map(Duration::from_secs),
            memory: texts.memory.as_ref().map(MemoryFile::memory),
            build: self.build.map(Timestamp::to_system_time),
            device: self.device.as_deref(),
            ..Request::new(&texts.license, now.to_system_time())
        }
    }

    /// Writes the memory back, if it has changed. A bundle and a list of the app that the memory
    /// refuses from now on are replaced by those that count.
    fn remember(
        &self,
        trust: &KeySet,
        texts: &Texts,
        checked: &Checked,
    ) -> std::result::Result<(), Problem> {
        let Some(file) = &texts.memory else { return Ok(()) };
        let token = license_token(&texts.license).unwrap_or_default();
        let carried: Value = serde_json::from_str(texts.license.trim()).unwrap_or_default();
        let keys = [texts.keys.as_deref(), carried["keys"].as_str()];
        let lists = [texts.status.as_deref(), carried["status"].as_str()];
        // With the new memory, only the newest ones count.
        let request = Request {
            memory: Some(&checked.memory),
            ..Request::new(&token, self.request(texts).now)
        };
        let counts = |keys, status| trust.check(&Request { keys, status, ..request });
        let bundle = keys.into_iter().flatten().find(|keys| {
            let checked = counts(Some(*keys), None);
            checked.bundle == Companion::Counts
        });
        let list = lists.into_iter().flatten().find(|list| {
            let checked = counts(bundle, Some(*list));
            checked.list == Companion::Counts
        });
        let documents = [bundle.map(|text| ("keys", text)), list.map(|text| ("status", text))];
        let documents: Vec<_> = documents.into_iter().flatten().collect();
        file.store(&checked.memory, &documents)
    }
}

/// A license with its sentences, and the verdict if it was checked.
struct Explained {
    explanation: Explanation,
    check: Option<(Verdict, Checked)>,
    /// The claims of the license, verified or not.
    claims: Option<Claims>,
}

/// Returns a license with its sentences. `checked` is the result of `request`.
fn explained(
    trust: Option<&KeySet>,
    request: &Request<'_>,
    checked: Option<Checked>,
    audience: Option<&str>,
) -> Explained {
    let explanation = match (trust, &checked) {
        (Some(trust), Some(checked)) => explain_checked(trust, request, checked, audience),
        _ => explain(&Facts { claims: claims_in(request.license).as_ref(), check: None }),
    };
    let check = checked.map(|checked| (Verdict::from(&checked), checked));
    let verified = check.as_ref().and_then(|(_, checked)| checked.claims().cloned());
    let claims = verified.or_else(|| claims_in(request.license));
    Explained { explanation, check, claims }
}

impl Explained {
    fn print(self, as_json: bool) -> Result<ExitCode> {
        let code = match &self.check {
            Some((verdict, _)) => exit_code(verdict),
            None if self.claims.is_some() => ExitCode::SUCCESS,
            None => ExitCode::from(NO),
        };
        match &self.check {
            _ if !as_json => print(self.explanation.to_text())?,
            Some((verdict, checked)) => {
                print_json(&printed(verdict, checked, Some(self.explanation)))?
            }
            None => print_json(&Unchecked {
                verified: false,
                claims: self.claims.as_ref(),
                explanation: self.explanation,
            })?,
        };
        Ok(code)
    }
}

fn printed<'a>(
    verdict: &'a Verdict,
    checked: &'a Checked,
    explanation: Option<Explanation>,
) -> Printed<'a> {
    Printed {
        verdict,
        reason: verdict.code,
        message: checked.license.as_ref().err().map(ToString::to_string),
        claims: checked.claims(),
        explanation,
    }
}

fn exit_code(verdict: &Verdict) -> ExitCode {
    if verdict.valid { ExitCode::SUCCESS } else { ExitCode::from(NO) }
}

fn wrong_call(problem: Problem) -> ExitCode {
    complain(problem);
    ExitCode::from(WRONG_CALL)
}
