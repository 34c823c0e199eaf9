//! Which license a settlement issues, and which ones it revokes.

use super::Record;
use crate::domain::license::{Entitlement, IssuedLicense, Source};
use crate::domain::sale::entitlement::Assessment;
use crate::domain::sale::plan::Catalog;
use crate::domain::time::Timestamp;

/// What becomes of a customer's licenses.
pub(super) struct Decision<'a> {
    /// Issued as the current license.
    pub issue: Option<Entitlement<'a>>,
    /// Revoked: former licenses too, because the online verdict is asked about any of them.
    pub revoke: Vec<IssuedLicense>,
    /// Whether the current license is among the revoked, because nothing is paid any more.
    pub revokes_current: bool,
}

/// Decides what becomes of a customer's licenses. While the assessment is unclear, none is revoked.
pub(super) fn decide<'a>(
    record: &Record,
    assessment: &Assessment<'a>,
    catalog: &'a Catalog,
    now: Timestamp,
) -> Decision<'a> {
    let current = record.current_license.as_ref();
    let paid = current.filter(|license| license.source == Source::Subscription);
    let entitlement = assessment.entitlement.as_ref();
    let revokes_current = entitlement.is_none()
        && !assessment.is_unclear
        && paid.is_some_and(|license| license.works(now));
    let issue = match entitlement {
        Some(entitlement) => {
            let replaces = replaces(entitlement, current, assessment.is_unclear, catalog, now);
            Some(entitlement).filter(|_| replaces).cloned()
        }
        None if paid.is_some_and(|license| revokes_current || !license.works(now)) => {
            restore_grant(record, catalog, now)
        }
        None => None,
    };
    let revoke = if assessment.is_unclear {
        Vec::new()
    } else {
        let exceeding = record.paid_licenses.iter();
        exceeding.filter(|license| exceeds(license, entitlement, catalog)).cloned().collect()
    };
    Decision { issue, revoke, revokes_current }
}

/// Whether a license that is entitled to takes the place of the current one: it differs, and it is
/// not worth less than a grant.
fn replaces(
    entitlement: &Entitlement<'_>,
    current: Option<&IssuedLicense>,
    is_unclear: bool,
    catalog: &Catalog,
    now: Timestamp,
) -> bool {
    let Some(current) = current.filter(|license| license.revoked_at.is_none()) else { return true };
    let plan = entitlement.plan.id.as_str();
    let (current_rank, rank) = (catalog.rank(&current.plan), catalog.rank(plan));
    match current.source {
        Source::Trial => true,
        Source::Subscription => {
            let is_same = current.plan == plan && current.term() == entitlement.term;
            // While something is unclear, the customer keeps a higher plan.
            let keeps_higher = is_unclear && current.works(now) && current_rank > rank;
            !is_same && !keeps_higher
        }
        Source::Operator => {
            let end = |ends: Option<Timestamp>| ends.unwrap_or(Timestamp::MAX);
            let current_worth = (current_rank, end(current.term().ends()));
            !current.works(now) || current_worth < (rank, end(entitlement.term.ends()))
        }
    }
}

/// Whether a license grants more than the customer is entitled to: a higher plan, or any plan if
/// there is no entitlement. One of the same plan with a later end does not exceed: it grants the
/// same for as long as the entitlement lasts, and is revoked when that is over.
fn exceeds(
    license: &IssuedLicense,
    entitlement: Option<&Entitlement<'_>>,
    catalog: &Catalog,
) -> bool {
    entitlement.is_none_or(|entitlement| {
        catalog.rank(&license.plan) > catalog.rank(entitlement.plan.id.as_str())
    })
}

/// Returns what an operator granted last, if it still works: it becomes current again when nothing
/// paid is left.
fn restore_grant<'a>(
    record: &Record,
    catalog: &'a Catalog,
    now: Timestamp,
) -> Option<Entitlement<'a>> {
    let grant = record.last_grant.as_ref().filter(|grant| grant.works(now))?;
    let plan = catalog.plan(&grant.plan)?;
    Some(Entitlement { plan, source: Source::Operator, term: grant.term() })
}
