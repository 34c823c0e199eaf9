//! Decides which license a settlement issues, and which ones it revokes. The mail about it is
//! decided in [`super::mail`].

use super::Record;
use crate::domain::license::{Entitlement, IssuedLicense, Source};
use crate::domain::sale::entitlement::Assessment;
use crate::domain::sale::plan::{Catalog, Slug};
use crate::domain::sale::stripe_state::StripeState;
use crate::domain::time::Timestamp;

/// The changes to a customer's licenses.
pub(super) struct Decision<'a> {
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
) -> Decision<'a> {
    let current = record.current_license.as_ref();
    let paid = current.filter(|license| license.depends_on_payment(now));
    let entitlement = assessment.entitlement.as_ref();
    let ends_paid_license = entitlement.is_none()
        && !assessment.is_unclear
        && paid.is_some_and(|license| license.works(now));
    let issue = match entitlement {
        Some(entitlement) => {
            let stays_revoked = current.is_some_and(|held| stays_revoked(held, record, state));
            let replaces = replaces(entitlement, current, assessment.is_unclear, catalog, now);
            Some(entitlement).filter(|_| replaces && !stays_revoked).cloned()
        }
        None if paid.is_some_and(|license| ends_paid_license || !license.works(now)) => {
            restore_grant(record, catalog, now)
        }
        None => None,
    };
    let revoke = if assessment.is_unclear {
        Vec::new()
    } else {
        // Days after a paid term exceed what is paid for like the term itself.
        let extension = paid.filter(|held| held.source == Source::Operator && held.works(now));
        let exceeding = record.paid_licenses.iter().chain(extension);
        let is_held = |license: &IssuedLicense| {
            assessment.grants.iter().any(|one| one.holds(license, catalog))
        };
        exceeding.filter(|license| !is_held(license)).cloned().collect()
    };
    Decision { issue, revoke, ends_paid_license }
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
    let end = Timestamp::or_never;
    match current.source {
        Source::Trial => true,
        Source::Paid => {
            let is_same = catalog.is_same_plan(&current.plan, plan)
                && current.term() == entitlement.term
                && current.quantity == entitlement.quantity
                && current.addons == entitlement.addon_ids()
                && current.updates_until == entitlement.updates_until;
            // While something is unclear, the customer keeps what grants more.
            let is_less = current_rank > rank
                || entitlement.quantity < current.quantity
                || !current.addons.0.is_subset(&entitlement.addon_ids().0)
                || end(entitlement.updates_until) < end(current.updates_until);
            let stays = is_unclear && is_less && current.works(now);
            !is_same && !stays
        }
        Source::Operator => {
            // A license for old builds only never takes the place of one for new builds.
            let covers = |updates_until: Option<Timestamp>| end(updates_until) > now;
            let current_worth =
                (covers(current.updates_until), current_rank, end(current.term().ends()));
            let paid_covers = covers(entitlement.updates_until);
            let is_unpaid = current.depends_on_payment(now) && !is_unclear && current_rank > rank;
            let lacks = || lacks_units_or_addons(current, entitlement, catalog);
            let is_less = current_worth < (paid_covers, rank, end(entitlement.term.ends()))
                || (paid_covers && current_rank <= rank && lacks());
            !current.works(now) || is_less || is_unpaid
        }
    }
}

/// Returns whether a grant has fewer units or add-ons than what is paid for. A limit that the
/// operator set counts instead of the units.
fn lacks_units_or_addons(grant: &IssuedLicense, paid: &Entitlement<'_>, catalog: &Catalog) -> bool {
    let Some(granted) = grant.entitlement(catalog).map(|granted| granted.limits()) else {
        return false;
    };
    let wanted = paid.limits();
    let lacks = |name: &Slug| granted.get(name.as_str()) < wanted.get(name.as_str());
    paid.plan.per_unit.iter().any(lacks) || !paid.addon_ids().0.is_subset(&grant.addons.0)
}

/// Returns the entitlement of the last grant, if it still works. It becomes current again after the
/// last paid license.
fn restore_grant<'a>(
    record: &Record,
    catalog: &'a Catalog,
    now: Timestamp,
) -> Option<Entitlement<'a>> {
    let is_due = |grant: &&IssuedLicense| grant.works(now) && !grant.depends_on_payment(now);
    record.last_grant.as_ref().filter(is_due)?.entitlement(catalog)
}
