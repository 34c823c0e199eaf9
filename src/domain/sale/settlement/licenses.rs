//! Decides which license a settlement issues, and which ones it revokes. The mail about it is
//! decided in [`super::mail`].

use super::Record;
use crate::domain::license::{Entitlement, IssuedLicense, Source};
use crate::domain::sale::entitlement::Assessment;
use crate::domain::sale::plan::Catalog;
use crate::domain::sale::stripe_state::StripeState;
use crate::domain::time::Timestamp;

/// The changes to a customer's licenses.
pub(super) struct LicenseChanges<'a> {
    /// The entitlement of a new license, which becomes the current one.
    pub issue: Option<Entitlement<'a>>,
    /// The licenses to revoke, including former ones: the online verification accepts any of them.
    /// A license is revoked when no payment grants all of it any more; its end does not matter.
    pub revoke: Vec<IssuedLicense>,
    /// Whether the current license is revoked because there is no entitlement any more.
    pub ends_paid_license: bool,
}

/// Returns the changes to a customer's licenses. While the assessment is unclear, none is revoked.
pub(super) fn decide<'a>(
    record: &Record,
    state: &StripeState,
    assessment: &Assessment<'a>,
    catalog: &'a Catalog,
    now: Timestamp,
) -> LicenseChanges<'a> {
    let current = record.current_license.as_ref();
    let paid = current.filter(|license| license.depends_on_payment(now));
    let ends_paid_license = assessment.entitlement.is_none()
        && !assessment.is_unclear
        && paid.is_some_and(|license| license.works(now));
    let unpaid = || unpaid(record, assessment, catalog, now).into_iter().cloned().collect();
    let revoke: Vec<_> = if assessment.is_unclear { Vec::new() } else { unpaid() };
    let grant = restorable_grant(record, catalog, now);
    let issue = match assessment.entitlement.clone() {
        Some(entitlement) => {
            let wanted = match grant {
                Some(grant) if is_before(&grant, &entitlement, catalog, now) => grant,
                _ => entitlement,
            };
            let works = |held: &&IssuedLicense| held.works(now) && !revoke.contains(held);
            let stays = current.is_some_and(|held| stays_revoked(held, record, state))
                || current.filter(works).is_some_and(|held| {
                    !replaces(&wanted, held, assessment.is_unclear, catalog, now)
                });
            (!stays).then_some(wanted)
        }
        None if paid.is_some_and(|license| ends_paid_license || !license.works(now)) => grant,
        None => None,
    };
    LicenseChanges { issue, revoke, ends_paid_license }
}

/// Returns the licenses that no payment grants any more.
pub(super) fn unpaid<'r>(
    record: &'r Record,
    assessment: &Assessment<'_>,
    catalog: &Catalog,
    now: Timestamp,
) -> Vec<&'r IssuedLicense> {
    // Days after a paid term exceed what is paid for like the term itself.
    let is_extension = |held: &&IssuedLicense| {
        held.source == Source::Operator && held.depends_on_payment(now) && held.works(now)
    };
    let extension = record.current_license.as_ref().filter(is_extension);
    let is_held = |license: &IssuedLicense| {
        assessment.entitlements.iter().any(|paid| paid.holds(license, catalog))
    };
    let all = record.paid_licenses.iter().chain(extension);
    all.filter(|license| !is_held(license)).collect()
}

/// Returns whether an operator revoked the license, and nothing was paid since: a sync issues no
/// other license until the next payment.
fn stays_revoked(current: &IssuedLicense, record: &Record, state: &StripeState) -> bool {
    let Some(revoked_at) = current.revoked_at.filter(|_| current.is_revoked_by_operator()) else {
        return false;
    };
    let orders = record.orders.iter().filter_map(|order| order.purchased_at);
    let invoices = state.invoices.iter().filter_map(|invoice| invoice.paid_at);
    !orders.chain(invoices).any(|paid_at| paid_at > revoked_at)
}

/// Returns whether a license replaces the current one, which works and is not revoked.
fn replaces(
    wanted: &Entitlement<'_>,
    current: &IssuedLicense,
    is_unclear: bool,
    catalog: &Catalog,
    now: Timestamp,
) -> bool {
    let (new, held) = (wanted.coverage(catalog), current.coverage(catalog));
    match current.source {
        Source::Trial => true,
        Source::Paid => {
            let is_same = wanted.source == current.source
                && catalog.is_same_plan(&current.plan, wanted.plan.id.as_str())
                && current.term() == wanted.term
                && current.quantity == wanted.quantity
                && held.addons == new.addons
                && held.updates_until == new.updates_until;
            // While something is unclear, the customer loses no part of the license.
            !is_same && (!is_unclear || new.shortfall(&held).is_none())
        }
        Source::Operator => new.exceeds(&held, now),
    }
}

/// Returns the last grant, if it still works. It becomes current again after the last paid license,
/// or when what is paid for is worth less.
fn restorable_grant<'a>(
    record: &Record,
    catalog: &'a Catalog,
    now: Timestamp,
) -> Option<Entitlement<'a>> {
    let is_due = |grant: &&IssuedLicense| grant.works(now) && !grant.depends_on_payment(now);
    record.last_grant.as_ref().filter(is_due)?.entitlement(catalog)
}

/// Returns whether a grant comes before what is paid for. What is paid for comes first if each has
/// something that the other one lacks.
fn is_before(
    grant: &Entitlement<'_>,
    paid: &Entitlement<'_>,
    catalog: &Catalog,
    now: Timestamp,
) -> bool {
    let [grant, paid] = [grant, paid].map(|one| one.coverage(catalog));
    grant.exceeds(&paid, now) && !paid.exceeds(&grant, now)
}
