//! The invariant M of histories that sell units: nobody's limits exceed what was paid, and
//! everybody's reach it once nothing is owed.

use licentia::domain::license::{Basis, IssuedLicense, Phase, Source};
use licentia::domain::time::Timestamp;

use crate::checks::WRONG_CLOCK;
use crate::history::History;
use crate::truth::Truth;
use crate::units::{PDF, Paid, Share, TEAM};

/// The largest age of what Stripe said when a license is issued because of it, in seconds. A server
/// may pause in between.
const OLDEST_STATE: i64 = 3600;

/// The pages that the add-on grants by the plans file.
const PAGES: u64 = 500;

/// Checks that the license says what was paid for: the plan, the units, the add-on and the updates.
/// This is checked only if nothing is owed.
pub fn current(
    history: &mut History,
    who: usize,
    held: Option<&IssuedLicense>,
    (truth, paid): (&Truth, &Paid),
) {
    let now = history.world.now();
    let works = |license: &&IssuedLicense| {
        let phase = license.term().phase(Timestamp::saturating(now));
        license.revoked_at.is_none() && phase != Phase::Over && license.source == Source::Paid
    };
    let held = held.filter(works).map(|license| share(history, license, now));
    let most = paid.most_units_now(TEAM, now);
    if let Some(held) = held.as_ref().filter(|held| held.basis == "subscription")
        && held.rank == 2
        && held.units > most
        && !paid.may_be_of_a_trial((now, now))
    {
        history.violation(format!("M: {who} paid for {most} units and has {held:?} at {now}"));
    }
    let Some(shares) = paid.certain(truth, now) else { return };
    // The greatest one by the order of the fields of `Share` is due.
    let due = shares.last().cloned();
    if held != due {
        let what = format!("M: {who} paid for {due:?} and has {held:?} at {now}; of {shares:?}");
        history.violation(what);
    }
}

/// Returns the content of a license, in the form of the oracle.
fn share(history: &History, license: &IssuedLicense, now: i64) -> Share {
    let updates_until = license.updates_until.map_or(i64::MAX, Timestamp::epoch_seconds);
    Share {
        covers_now: updates_until > now,
        rank: history.ground.plans.rank(&license.plan),
        units: i64::from(license.quantity),
        updates_until,
        has_pdf: !license.addons.0.is_empty(),
        basis: license.basis.as_str(),
    }
}

/// Checks that a license never said more than was paid when it was issued.
pub fn ever(history: &mut History, who: usize, license: &IssuedLicense, all: &[Paid]) {
    if license.source != Source::Paid {
        return;
    }
    let issued = license.issued_at.epoch_seconds();
    let (earliest, latest) = (issued - WRONG_CLOCK - OLDEST_STATE, issued + WRONG_CLOCK);
    let said = share(history, license, issued);
    let is_per_unit = matches!(license.plan.as_str(), "team" | "studio");
    let exceeds = |paid: &Paid| {
        if license.basis == Basis::Subscription && paid.may_be_of_a_trial((earliest, latest)) {
            return None;
        }
        let perpetual = paid.most_perpetual(latest, license.plan == "starter");
        let most = match license.basis {
            Basis::Subscription => paid.most_units(TEAM, (earliest, latest)),
            Basis::Fallback => paid.most_units_ever(TEAM, latest),
            Basis::Once => perpetual.map_or(0, |(units, _)| units),
        };
        let latest_updates = match license.basis {
            Basis::Subscription => Some(i64::MAX),
            Basis::Fallback => paid.latest_fallback(latest),
            Basis::Once => perpetual.map(|(_, until)| until),
        };
        let pdf = match license.basis {
            Basis::Fallback => paid.most_units_ever(PDF, latest),
            _ => paid.most_units(PDF, (earliest, latest)),
        };
        let lacks_units = is_per_unit && said.units > most;
        let lacks_pdf = said.has_pdf && pdf <= 0 && !paid.had_pdf_once(latest);
        (lacks_units || lacks_pdf || Some(said.updates_until) > latest_updates)
            .then(|| format!("{most} units, updates until {latest_updates:?}, {pdf} add-ons"))
    };
    let reasons: Vec<String> = all.iter().map_while(exceeds).collect();
    if reasons.len() == all.len() {
        let seq = license.seq;
        let what = format!("M: {who}: license {seq} at {issued} said {said:?}, paid: {reasons:?}");
        history.violation(what);
    }
    let limits = limits(license);
    let wanted = (is_per_unit.then(|| u64::from(license.quantity)), said.has_pdf.then_some(PAGES));
    if limits != wanted {
        let seq = license.seq;
        let what = format!("M: {who}: license {seq} ({said:?}) has the limits {limits:?}");
        history.violation(what);
    }
}

/// Returns the seats and the pages that a license token states.
fn limits(license: &IssuedLicense) -> (Option<u64>, Option<u64>) {
    let token = licentia_verify::inspect(license.token.expose()).ok();
    let limit = |name: &str| token.as_ref().and_then(|one| one.claims["limits"][name].as_u64());
    (limit("seats"), limit("pages"))
}
