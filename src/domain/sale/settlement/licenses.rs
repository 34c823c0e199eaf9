//! Decides which license a settlement issues, and which ones it revokes. The mail about it is
//! decided in [`super::mail`].

use super::Record;
use crate::domain::license::{Entitlement, IssuedLicense, Source};
use crate::domain::sale::entitlement::Assessment;
use crate::domain::sale::plan::Catalog;
use crate::domain::time::Timestamp;

/// The changes to a customer's licenses.
pub(super) struct Decision<'a> {
    /// The entitlement of a new license, which becomes the current one.
    pub issue: Option<Entitlement<'a>>,
    /// The licenses to revoke, including former ones: the online verification accepts any of them.
    pub revoke: Vec<IssuedLicense>,
    /// Whether the current license is revoked because there is no entitlement any more.
    pub ends_paid_license: bool,
}

/// Returns the changes to a customer's licenses. While the assessment is unclear, none is revoked.
pub(super) fn decide<'a>(
    record: &Record,
    assessment: &Assessment<'a>,
    catalog: &'a Catalog,
    now: Timestamp,
) -> Decision<'a> {
    let current = record.current_license.as_ref();
    let paid = current.filter(|license| license.source == Source::Subscription);
    let entitlement = assessment.entitlement.as_ref();
    let ends_paid_license = entitlement.is_none()
        && !assessment.is_unclear
        && paid.is_some_and(|license| license.works(now));
    let issue = match entitlement {
        Some(entitlement) => {
            let replaces = replaces(entitlement, current, assessment.is_unclear, catalog, now);
            Some(entitlement).filter(|_| replaces).cloned()
        }
        None if paid.is_some_and(|license| ends_paid_license || !license.works(now)) => {
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
    Decision { issue, revoke, ends_paid_license }
}

/// Returns whether a license for the entitlement replaces the current one. It must differ, and it
/// must be worth more than a grant that works.
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

/// Returns whether a license grants more than the entitlement: a higher plan, or any plan if there
/// is no entitlement. A later end of the same plan does not count: the license is revoked when the
/// entitlement ends.
fn exceeds(
    license: &IssuedLicense,
    entitlement: Option<&Entitlement<'_>>,
    catalog: &Catalog,
) -> bool {
    entitlement.is_none_or(|entitlement| {
        catalog.rank(&license.plan) > catalog.rank(entitlement.plan.id.as_str())
    })
}

/// Returns the entitlement of the last grant, if it still works. It becomes current again after the
/// last paid license.
fn restore_grant<'a>(
    record: &Record,
    catalog: &'a Catalog,
    now: Timestamp,
) -> Option<Entitlement<'a>> {
    let grant = record.last_grant.as_ref().filter(|grant| grant.works(now))?;
    let plan = catalog.plan(&grant.plan)?;
    Some(Entitlement { plan, source: Source::Operator, term: grant.term() })
}
