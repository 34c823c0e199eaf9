//! What a license says, the verdict on it, and its next change, as sentences for support:
//! `licentia license explain` prints them for any license, and `licentia customer why` for the
//! current one of a customer. The crate `licentia-verify` checks the license; nothing is decided
//! here.

use std::collections::BTreeMap;

use licentia_verify::{
    Checked, Claims, Code, Companion, KeySet, OnEnd, Rejection, Request, State, Verdict, inspect,
};
use serde::Serialize;

use crate::domain::count::counted;
use crate::domain::time::Timestamp;

mod reason;
pub use reason::not_used;
#[cfg(test)]
mod tests;

/// The facts that the sentences are about.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// What the license says, verified or not. `None` if it cannot be read.
    pub claims: Option<&'a Claims>,
    /// The verification. `None` if no keys were given, so that nothing was checked.
    pub check: Option<Check<'a>>,
}

/// A verification, and what it was given.
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    /// The verdict.
    pub verdict: &'a Verdict,
    /// The violated rule, if the license is not valid.
    pub rejection: Option<&'a Rejection>,
    /// What became of the key bundle.
    pub bundle: Companion,
    /// What became of the status list.
    pub list: Companion,
    /// The verdict at the verdict's `changes_at`.
    pub next: Option<&'a Verdict>,
    /// The time on the device.
    pub now: Timestamp,
    /// Whether the keys are those of a root.
    pub has_root: bool,
    /// The product of the app. `None` if it is unknown, so that it was not checked.
    pub audience: Option<&'a str>,
    /// The time of the app's build.
    pub build: Option<Timestamp>,
    /// The thumbprint of the device's key.
    pub device: Option<&'a str>,
}

/// The sentences about a license.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// What the license says.
    pub license: Vec<String>,
    /// The verdict, and the reason for it.
    pub verdict: Vec<String>,
    /// The next change of the verdict.
    pub next: Vec<String>,
}

impl Explanation {
    /// Returns the sentences under their headings.
    #[must_use]
    pub fn to_text(&self) -> String {
        let Self { license, verdict, next } = self;
        let parts = [("The license", license), ("The verdict", verdict), ("The next change", next)];
        let parts = parts.into_iter().filter(|(_, sentences)| !sentences.is_empty());
        let parts = parts.map(|(heading, sentences)| {
            let lines = sentences.iter().map(|sentence| format!("  {sentence}\n"));
            format!("{heading}\n{}", lines.collect::<String>())
        });
        parts.collect::<Vec<_>>().join("\n")
    }
}

/// Returns the claims of a license, verified or not; `None` if they cannot be read.
#[must_use]
pub fn claims_in(license: &str) -> Option<Claims> {
    serde_json::from_value(inspect(license).ok()?.claims.into()).ok()
}

/// Returns the sentences about a license that was checked. `checked` is the result of `request`,
/// and `audience` the product of the app, if it is known.
#[must_use]
pub fn explain_checked(
    trust: &KeySet,
    request: &Request<'_>,
    checked: &Checked,
    audience: Option<&str>,
) -> Explanation {
    let verdict = Verdict::from(checked);
    let next = verdict.changes_at.map(|now| trust.verdict(&Request { now, ..*request }).0);
    let claims = checked.claims().cloned().or_else(|| claims_in(request.license));
    explain(&Facts {
        claims: claims.as_ref(),
        check: Some(Check {
            verdict: &verdict,
            rejection: checked.license.as_ref().err(),
            bundle: checked.bundle,
            list: checked.list,
            next: next.as_ref(),
            now: request.now.into(),
            has_root: trust.has_root(),
            audience,
            build: request.build.map(Timestamp::from),
            device: request.device,
        }),
    })
}

/// Returns the sentences about a license.
#[must_use]
pub fn explain(facts: &Facts<'_>) -> Explanation {
    let mut license = license(facts.claims);
    let Some(check) = &facts.check else {
        let nothing = "Nothing was checked, not even the signature: anyone can write a license \
                       like this. Give the vendor's keys to get the verdict.";
        return Explanation { license, verdict: vec![nothing.to_owned()], next: Vec::new() };
    };
    if facts.claims.is_some() && check.verdict.plan.is_none() {
        license.insert(0, "None of this was verified: anyone can write it.".to_owned());
    }
    Explanation { license, verdict: verdict(check, facts.claims), next: vec![next(check)] }
}

/// Returns what a license says.
fn license(claims: Option<&Claims>) -> Vec<String> {
    let Some(claims) = claims else {
        return vec!["The text cannot be read as a license.".to_owned()];
    };
    let kind = if claims.trial { "It is a trial." } else { "It is a full license, not a trial." };
    let mut sentences = vec![
        format!(
            "It is the license {} of the customer {}, for the product {}.",
            quoted(&claims.jti),
            quoted(&claims.sub),
            quoted(&claims.aud)
        ),
        format!("{} issued it at {}.", quoted(&claims.iss), at(claims.iat)),
        format!("Its plan is {}. {kind}", quoted(&claims.plan)),
        format!("It grants {}.", goods(&claims.features, &claims.limits)),
        end(claims),
        format!(
            "This license token works until {}. An app that is online gets a new one before then.",
            at(claims.exp)
        ),
        format!("When it has ended, or its token has run out, {}.", remains(claims)),
    ];
    if let Some(days) = claims.warn_days.filter(|days| *days > 0) {
        sentences.push(format!("The app warns {} before a change.", counted(days, "day")));
    }
    sentences.push(match claims.updates_until {
        Some(until) => format!(
            "It covers the builds of the app that were made until {}, and none made later.",
            at(until)
        ),
        None => "It covers every build of the app.".to_owned(),
    });
    sentences.push(match &claims.cnf {
        Some(device) => {
            format!("It works only on the device whose key is {}.", quoted(&device.jkt))
        }
        None => "It works on any device.".to_owned(),
    });
    sentences.push(match &claims.status {
        Some(status) => format!(
            "The status list {} says at number {} whether it is revoked.",
            quoted(&status.status_list.uri),
            status.status_list.idx
        ),
        None => "It names no status list, so an app without a network never learns that it is \
                 revoked."
            .to_owned(),
    });
    sentences
}

/// Returns when a license ends.
fn end(claims: &Claims) -> String {
    let Some(end) = claims.license_expires else {
        return "It never ends.".to_owned();
    };
    let subject = if claims.trial { "The trial" } else { "It" };
    match claims.grace_until.filter(|grace| *grace > end) {
        Some(grace) => format!(
            "{subject} ends at {}. After that, everything works until {}, while the vendor waits \
             for the payment.",
            at(end),
            at(grace)
        ),
        None => format!("{subject} ends at {}.", at(end)),
    }
}

/// Returns what remains at the end of a license, as text that follows a comma.
fn remains(claims: &Claims) -> String {
    match &claims.on_end {
        None | Some(OnEnd::Stop) => "nothing of it works any more".to_owned(),
        Some(OnEnd::Warn) => "everything keeps working, with a reminder".to_owned(),
        Some(OnEnd::Limited { features, limits }) => {
            format!("only this remains: {}", goods(features, limits))
        }
    }
}

/// Returns the verdict and its reason.
fn verdict(check: &Check<'_>, claims: Option<&Claims>) -> Vec<String> {
    let verdict = check.verdict;
    let mut sentences = vec![format!("{}.", result(verdict))];
    if let Some(code) = verdict.code {
        sentences.extend(reason::of(code, check, claims));
    }
    if verdict.warn {
        sentences.push("The app should warn the user now.".to_owned());
    }
    sentences.extend(reason::not_used(check.bundle, check.list, claims));
    if check.audience.is_none() && verdict.plan.is_some() {
        let product = "No audience was given, so the product was not checked.";
        sentences.push(product.to_owned());
    }
    sentences
}

/// Returns the result of a verdict, with what works, as a sentence without its full stop.
fn result(verdict: &Verdict) -> String {
    let Some(state) = verdict.state else {
        let code = verdict.code.map_or("unknown", Code::as_str);
        return format!("The license is not valid (code `{code}`)");
    };
    let works = match state {
        State::Active => "everything that it grants works".to_owned(),
        State::Grace => {
            "it has ended, and everything works until the payment arrives or the grace \
                         period ends"
                .to_owned()
        }
        State::Overdue => {
            "everything keeps working, with a reminder, as the vendor promised".to_owned()
        }
        State::Limited => format!(
            "only this remains, as the vendor promised: {}",
            goods(&verdict.features, &verdict.limits)
        ),
    };
    format!("The license is valid (state `{}`): {works}", state.as_str())
}

/// Returns the next change of a verdict.
fn next(check: &Check<'_>) -> String {
    let changes_at = check.verdict.changes_at.map(Timestamp::from);
    match (changes_at, check.next) {
        (Some(time), Some(next)) => {
            let reason = match next.code.filter(|_| !next.valid) {
                Some(code) => format!(": {}", reason::in_short(code)),
                None => String::new(),
            };
            format!(
                "If nothing new is fetched, the verdict changes at {time}, {}. {}{reason}.",
                distance(check.now, time),
                result(next).replacen("The license is", "The license is then", 1)
            )
        }
        (Some(time), None) => format!("The verdict changes at {time}."),
        (None, _) if check.verdict.valid => {
            "Time changes nothing more: it stays like this until the app gets another license."
                .to_owned()
        }
        (None, _) => "Time alone does not change this verdict.".to_owned(),
    }
}

/// Returns features and limits as text.
fn goods(features: &[String], limits: &BTreeMap<String, u64>) -> String {
    let features = match listed(features.iter().map(|name| quoted(name))) {
        None => "no features".to_owned(),
        Some((1, names)) => format!("the feature {names}"),
        Some((_, names)) => format!("the features {names}"),
    };
    let limits = match listed(limits.iter().map(|(name, most)| format!("{} {most}", quoted(name))))
    {
        None => "no limits".to_owned(),
        Some((1, names)) => format!("the limit {names}"),
        Some((_, names)) => format!("the limits {names}"),
    };
    format!("{features}, and {limits}")
}

/// Returns the number of texts, and all of them in one; `None` if there are none.
fn listed(texts: impl Iterator<Item = String>) -> Option<(usize, String)> {
    let texts: Vec<_> = texts.collect();
    (!texts.is_empty()).then(|| (texts.len(), texts.join(", ")))
}

/// Returns a text of a license between backquotes. Characters that a terminal would obey are
/// escaped: anyone can write a license that was not verified.
fn quoted(text: &str) -> String {
    let escape = |letter: char| match letter {
        '"' | '\'' => letter.to_string(),
        '`' => "\\`".to_owned(),
        letter => letter.escape_debug().to_string(),
    };
    format!("`{}`", text.chars().map(escape).collect::<String>())
}

/// Returns the time of a claim as text.
fn at(epoch_seconds: i64) -> Timestamp {
    Timestamp::saturating(epoch_seconds)
}

/// Returns how far away a later time is, in the largest unit of which there are at least two.
fn distance(now: Timestamp, later: Timestamp) -> String {
    let seconds = (later - now).num_seconds().unsigned_abs();
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute")];
    let unit = units.into_iter().find(|(size, _)| seconds / size >= 2);
    let (size, name) = unit.unwrap_or((1, "second"));
    format!("in {}", counted(seconds / size, name))
}
