//! Checks the mails: every license is mailed, arrives at its customer, and is the one that works
//! (C).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use chrono::TimeDelta;
use licentia::domain::license::{IssuedLicense, Phase, Source};
use licentia::domain::time::Timestamp;
use licentia::error::Result;

use crate::checks::{MANY, WRONG_CLOCK};
use crate::database::{self, Item};
use crate::history::History;
use crate::world::Arrived;

/// The kinds of mail that may be sent several times about a license, and need not attach it.
const NOTICES: [&str; 5] =
    ["payment_problem", "cancellation", "receipt", "resent", "payment_begins"];

/// The kinds of mail that are not sent if what they say is no longer true.
const MAY_BE_SKIPPED: [&str; 9] = [
    "verify",
    "verify_address",
    "address_changed",
    "reset",
    "address_undone",
    "trial_ending",
    "trial_ended",
    "license_ended",
    "payment_begins",
];

/// Checks all mails.
pub async fn all(history: &mut History) -> Result<()> {
    let mails = database::mails(&history.ground.store).await?;
    let arrived = history.world.mails.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut owners = BTreeMap::new();
    for who in 0..history.people.len() {
        let Some(id) = history.people[who].customer_id.clone() else { continue };
        let licenses = history.ground.store.read().await?.licenses_of(&id, i64::MAX, MANY).await?;
        every_license_is_mailed(history, who, &licenses, &mails);
        for license in licenses {
            owners.insert(license.license_id.to_string(), (who, license));
        }
    }
    let mut mailed = BTreeSet::new();
    for (mail, license_id) in mails {
        match arrived.get(&mail.id) {
            Some(arrived) => reads(history, &mail, &license_id, arrived, &owners),
            None if mail.done && !MAY_BE_SKIPPED.contains(&&*mail.kind) => {
                history.violation(format!("C: {} is noted as sent, and never arrived", mail.id));
            }
            None => {}
        }
        let once = !NOTICES.contains(&&*mail.kind);
        if once && !mailed.insert((license_id.clone(), mail.kind.clone())) {
            history.violation(format!("E: {license_id} is mailed twice by {}", mail.kind));
        }
    }
    Ok(())
}

/// Refreshed licenses are not mailed: they repeat the previous one, and an app fetched them.
fn every_license_is_mailed(
    history: &mut History,
    who: usize,
    licenses: &[IssuedLicense],
    mails: &[(Item, String)],
) {
    let says = |license: &IssuedLicense| (license.source, license.plan.clone(), license.term());
    for (place, license) in licenses.iter().enumerate() {
        let before = licenses.get(place + 1);
        let refreshed = before.is_some_and(|before| {
            // The two times may be from different servers' clocks.
            let running = before
                .revoked_at
                .is_none_or(|at| at + TimeDelta::seconds(2 * WRONG_CLOCK) > license.issued_at);
            says(before) == says(license) && running
        });
        let mailed = mails.iter().any(|(_, about)| *about == license.license_id.as_str());
        if !refreshed && !mailed {
            let (seq, plan, at) = (license.seq, &license.plan, license.issued_at);
            history.violation(format!("C: {who}: license {seq} ({plan}) of {at} was never mailed"));
        }
        let plans = &history.ground.plans;
        let is_trial = plans.is_same_plan(&license.plan, plans.trial().id.as_str());
        if license.source == Source::Trial && !is_trial {
            let what = format!("B: {who}: a trial of {}", license.plan);
            history.violation(what);
        }
    }
}

/// Checks that a mail reached the right customer with the right license.
fn reads(
    history: &mut History,
    mail: &Item,
    license_id: &str,
    arrived: &Arrived,
    owners: &BTreeMap<String, (usize, IssuedLicense)>,
) {
    let address = arrived.address();
    let Some(token) = &arrived.license else {
        let about = owners.get(license_id).map(|(_, license)| license);
        let worked = about.is_some_and(|license| {
            let then = Timestamp::saturating(arrived.at - WRONG_CLOCK);
            license.revoked_at.is_none_or(|at| at > then + TimeDelta::seconds(2 * WRONG_CLOCK))
                && license.term().phase(then + TimeDelta::seconds(2 * WRONG_CLOCK)) != Phase::Over
        });
        let may_lack = NOTICES.contains(&&*mail.kind) || MAY_BE_SKIPPED.contains(&&*mail.kind);
        if worked && !may_lack {
            let what = format!("C: {} ({}) arrived without its license", mail.id, mail.kind);
            history.violation(what);
        }
        return;
    };
    let carried = owners
        .values()
        .find(|(_, license)| license.token.expose() == token.as_str())
        .map(|(who, _)| *who);
    // A deleted customer has no licenses any more. A sign-up without a response has no known
    // customer.
    let is_of = |who: usize| history.people[who].mailboxes.contains(address);
    let unknown = history
        .people
        .iter()
        .enumerate()
        .any(|(who, person)| is_of(who) && (person.leaving || person.customer_id.is_none()));
    if !unknown && !carried.is_some_and(is_of) {
        let what = format!("C: {} ({}) reached {address} with {carried:?}'s", mail.id, mail.kind);
        history.violation(what);
    }
}
