//! The entitlements of single payments: perpetual licenses, their updates, and add-ons. Those of
//! subscriptions are in `subscription.rs`.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::{Alert, PaidEntitlement};
use crate::domain::license::{Basis, Coverage, Term};
use crate::domain::sale::addon_ids::AddonIds;
use crate::domain::sale::invoice::{Invoice, Line};
use crate::domain::sale::plan::{Addon, Catalog, Interval, MAX_MONTHS, Plan, Quantity, Sold};
use crate::domain::sale::policy::Policy;
use crate::domain::sale::stripe_ids::{CheckoutSessionId, InvoiceId};
use crate::domain::sale::stripe_state::{PaidSession, StripeState};
use crate::domain::time::Timestamp;

/// The object at Stripe that shows a single payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SinglePaymentId<'a> {
    /// An invoice.
    Invoice(&'a InvoiceId),
    /// A Checkout session that has no invoice, or not yet.
    Session(&'a CheckoutSessionId),
}

/// A payment that counts under the vendor's policy.
#[derive(Clone, Debug, PartialEq)]
pub struct SinglePayment<'a> {
    /// The time of the charge, which the session and the invoice of one payment share.
    pub at: Timestamp,
    /// The invoice or the Checkout session.
    pub id: SinglePaymentId<'a>,
    /// The lines that it paid for.
    pub lines: &'a [Line],
}

/// Returns the single payments for something of the catalog that count under a policy, the earliest
/// first. Those of the same second are in the order of [`by_rank`]: nobody knows which came first.
#[must_use]
pub fn single_payments<'a>(
    state: &'a StripeState,
    catalog: &Catalog,
    policy: &Policy,
) -> Vec<SinglePayment<'a>> {
    let mut all = payments(state, policy, |line| is_bought_once(line, catalog));
    all.sort_by_cached_key(|payment| {
        let bought = by_rank(payment.lines, catalog);
        (payment.at, bought.first().map(place), payment.id)
    });
    all
}

/// Returns the payments that count under a policy and have a line for which `is_wanted` returns
/// true, the earliest first. The session and the invoice of one payment are one.
pub fn payments<'a>(
    state: &'a StripeState,
    policy: &Policy,
    is_wanted: impl Fn(&Line) -> bool,
) -> Vec<SinglePayment<'a>> {
    let is_of = |lines: &[Line]| lines.iter().any(&is_wanted);
    let invoices = state.invoices.iter().filter(|invoice| is_of(&invoice.lines));
    // Stripe reports an invoice that was credited in full before it was paid as paid.
    let is_paid = |invoice: &&Invoice| invoice.is_paid(policy) && !invoice.is_forgiven();
    let invoices = invoices.filter(is_paid).map(|invoice| SinglePayment {
        at: charged_at(invoice),
        id: SinglePaymentId::Invoice(&invoice.id),
        lines: &invoice.lines,
    });
    let has_invoice = |session: &PaidSession| {
        let payment = session.payment_intent.as_ref();
        let mut settled = state.invoices.iter().filter(|invoice| !invoice.is_collectible());
        payment.is_some() && settled.any(|invoice| invoice.payment_intent.as_ref() == payment)
    };
    let sessions =
        state.paid_sessions.iter().filter(|session| is_of(&session.lines) && !has_invoice(session));
    let sessions =
        sessions.filter(|session| session.is_paid(policy)).map(|session| SinglePayment {
            at: session.charged_at.unwrap_or(session.created),
            id: SinglePaymentId::Session(&session.id),
            lines: &session.lines,
        });
    let mut payments: Vec<_> = invoices.chain(sessions).collect();
    payments.sort_by_key(|payment| (payment.at, payment.id));
    payments
}

fn charged_at(invoice: &Invoice) -> Timestamp {
    invoice.charged_at.or(invoice.paid_at).unwrap_or(invoice.created)
}

/// The purchase of a line that was paid once.
#[derive(Clone, Copy, Debug)]
pub enum BoughtOnce<'c> {
    /// A perpetual license, and the months of its updates; `None` covers all builds.
    Plan {
        /// Its rank.
        rank: usize,
        /// Its plan.
        plan: &'c Plan,
        /// The months.
        months: Option<u32>,
    },
    /// More updates for a perpetual license.
    Updates {
        /// The rank of the plan.
        rank: usize,
        /// The plan.
        plan: &'c Plan,
        /// The months.
        months: u32,
    },
    /// An add-on.
    Addon(&'c Addon),
}

impl<'c> BoughtOnce<'c> {
    /// Returns the add-on, if it is one.
    #[must_use]
    pub fn addon(self) -> Option<&'c Addon> {
        match self {
            Self::Addon(addon) => Some(addon),
            Self::Plan { .. } | Self::Updates { .. } => None,
        }
    }
}

/// Returns what a line bought once; `None` if it bills a period, or something besides the catalog.
fn bought_once<'c>(line: &Line, catalog: &'c Catalog) -> Option<BoughtOnce<'c>> {
    match catalog.sold(line.price.as_deref()?)? {
        Sold::Plan { rank, plan, price: Some(price) } => match price.interval {
            Interval::Once => Some(BoughtOnce::Plan { rank, plan, months: price.updates_months }),
            Interval::Updates => {
                Some(BoughtOnce::Updates { rank, plan, months: price.updates_months? })
            }
            Interval::Month | Interval::Year => None,
        },
        // A former price without a period was a single payment. If the plan is no longer sold once,
        // nobody knows for how many builds, so it covers all of them.
        Sold::Plan { rank, plan, price: None } => {
            let once = plan.prices.iter().find(|price| price.interval == Interval::Once);
            let months = once.and_then(|once| once.updates_months);
            line.period_end.is_none().then_some(BoughtOnce::Plan { rank, plan, months })
        }
        Sold::Addon { addon, price } => {
            let is_once =
                price.map_or(line.period_end.is_none(), |price| price.interval == Interval::Once);
            is_once.then_some(BoughtOnce::Addon(addon))
        }
    }
}

/// Returns whether a line is a single payment for something of the catalog.
#[must_use]
pub fn is_bought_once(line: &Line, catalog: &Catalog) -> bool {
    bought_once(line, catalog).is_some()
}

/// Returns everything that single payments bought under the policy of the catalog.
pub fn all_bought_once<'c>(
    state: &StripeState,
    catalog: &'c Catalog,
) -> impl Iterator<Item = BoughtOnce<'c>> {
    let paid = single_payments(state, catalog, &catalog.policy).into_iter();
    paid.flat_map(|payment| payment.lines).filter_map(|line| bought_once(line, catalog))
}

/// All single payments for one plan together.
struct OwnedPlan<'a> {
    plan: &'a Plan,
    /// The units.
    units: u32,
    /// The time after which builds are not covered; `None` covers all builds.
    updates_until: Option<Timestamp>,
    /// The time of the first payment.
    since: Timestamp,
}

/// The time of the first payment for each plan, by its rank.
pub(super) type FirstPayments = BTreeMap<usize, Timestamp>;

/// The months of updates that a purchase for all builds shares with units that have fewer: the most
/// that a price can state.
const MONTHS_OF_ALL_BUILDS: u32 = MAX_MONTHS;

/// The plans that single payments bought, by their ranks.
type Owned<'a> = BTreeMap<usize, OwnedPlan<'a>>;

impl OwnedPlan<'_> {
    /// Extends the updates, from the later of the payment and their present end.
    fn extend(&mut self, at: Timestamp, months: Option<u32>) {
        self.updates_until = self
            .updates_until
            .and_then(|until| months.map(|months| until.max(at).plus_months(months)));
    }

    /// Shares the updates that are left with those of more units, so that each unit has the
    /// average. The present end stays if it is later.
    fn share(&mut self, units: u32, at: Timestamp, months: Option<u32>) {
        let Some(until) = self.updates_until else { return };
        let bought = at.plus_months(months.unwrap_or(MONTHS_OF_ALL_BUILDS));
        let average = average_end(at, [(until, self.units), (bought, units)]);
        self.updates_until = Some(until.max(average));
    }
}

/// Returns the average end of updates, each with its number of units. An end before `at` counts as
/// one at that time.
fn average_end(at: Timestamp, ends: [(Timestamp, u32); 2]) -> Timestamp {
    let seconds = |end: Timestamp| i128::from((end.max(at) - at).num_seconds());
    let sum: i128 = ends.iter().map(|(end, units)| seconds(*end) * i128::from(*units)).sum();
    let units: i128 = ends.iter().map(|(_, units)| i128::from(*units)).sum();
    // The average of two times of the range is in the range.
    at + TimeDelta::seconds(i64::try_from(sum / units.max(1)).unwrap_or(0))
}

/// Returns what the lines of one payment bought, with the units: the plans, the lowest first, then
/// updates, then add-ons; and of the same thing, the line with the most units and months first. So
/// the order of the lines does not matter.
fn by_rank<'c>(lines: &[Line], catalog: &'c Catalog) -> Vec<(u32, BoughtOnce<'c>)> {
    let bought = lines.iter().filter_map(|line| Some((line.units(), bought_once(line, catalog)?)));
    let mut all: Vec<_> = bought.filter(|(units, _)| *units > 0).collect();
    all.sort_by_key(place);
    all
}

/// Returns the place of units of something in the order of [`by_rank`].
fn place((units, bought): &(u32, BoughtOnce<'_>)) -> (u8, usize, Reverse<(u32, u32)>) {
    let (kind, rank, months) = match bought {
        BoughtOnce::Plan { rank, months, .. } => (0, *rank, months.unwrap_or(u32::MAX)),
        BoughtOnce::Updates { rank, months, .. } => (1, *rank, *months),
        BoughtOnce::Addon(_) => (2, 0, 0),
    };
    (kind, rank, Reverse((*units, months)))
}

/// Adds what single payments grant to what subscriptions grant. An add-on that was paid once
/// belongs to every plan that it is sold with. Returns when each plan was first bought.
///
/// Buying a plan again extends the updates of all its units, if it is bought for as many units as
/// the customer has. Fewer units share theirs with all: one seat must not renew a hundred, and must
/// not be without updates.
pub(super) fn add<'a>(
    entitlements: &mut Vec<PaidEntitlement<'a>>,
    payments: &[SinglePayment<'_>],
    catalog: &'a Catalog,
    alerts: &mut Vec<Alert>,
) -> FirstPayments {
    let mut owned = Owned::new();
    let mut addons: Vec<(&Addon, Timestamp)> = Vec::new();
    for payment in payments {
        for (units, bought) in by_rank(payment.lines, catalog) {
            match bought {
                BoughtOnce::Plan { rank, plan, months } => {
                    alerts.extend(Alert::unsold(&plan.id, units, plan.quantity, Some(payment.at)));
                    if has_all(&owned, (rank, plan), units, (payment.at, months)) {
                        alerts.push(Alert::owned_before(&plan.id, payment.at));
                    }
                    alerts.extend(buy(&mut owned, (rank, plan), units, (payment.at, months)));
                }
                BoughtOnce::Updates { rank, plan, months } => {
                    let units = plan.counted(units);
                    alerts.extend(update(&mut owned, (rank, plan), units, (payment.at, months)));
                }
                BoughtOnce::Addon(addon) => {
                    let at = Some(payment.at);
                    alerts.extend(Alert::unsold(&addon.id, units, Quantity::ONE, at));
                    if addons.iter().any(|(bought, _)| bought.id == addon.id) {
                        alerts.push(Alert::owned_before(&addon.id, payment.at));
                    }
                    addons.push((addon, payment.at));
                }
            }
        }
    }
    let first_payments = owned.iter().map(|(rank, held)| (*rank, held.since)).collect();
    entitlements.extend(owned.into_iter().map(|(rank, held)| PaidEntitlement {
        plan: held.plan,
        rank,
        term: Term::default(),
        quantity: held.units,
        addons: Vec::new(),
        updates_until: held.updates_until,
        basis: Basis::Once,
        of: None,
    }));
    for addon in &catalog.addons {
        let paid = addons.iter().filter(|(paid, _)| paid.id == addon.id);
        let Some(paid_at) = paid.map(|(_, paid_at)| *paid_at).max() else { continue };
        let mut is_held = false;
        for paid in entitlements.iter_mut().filter(|paid| addon.is_for(paid.plan)) {
            is_held = true;
            let is_billed = paid.addons.iter().any(|held| held.id == addon.id);
            if is_billed && paid.is_live() {
                alerts.push(Alert::BilledAndOwned { addon: addon.id.clone() });
            }
            if !is_billed {
                paid.addons.push(addon);
                paid.addons.sort_by_key(|held| catalog.addons.iter().position(|a| a.id == held.id));
            }
        }
        if !is_held {
            let (addon, paid_at) = (addon.id.clone(), Some(paid_at));
            alerts.push(Alert::AddonWithoutPlan { addon, paid_at });
        }
    }
    first_payments
}

/// Returns whether the customer owns everything that a purchase of a plan gives, so that it has no
/// effect: the same plan with all builds, or a higher one with as many units. The higher plan
/// holds, whatever builds it covers.
fn has_all(
    owned: &Owned<'_>,
    (rank, plan): (usize, &Plan),
    units: u32,
    (at, months): (Timestamp, Option<u32>),
) -> bool {
    let coverage = |rank, plan: &Plan, units, updates_until| Coverage {
        rank,
        units: plan.is_per_unit().then_some(units),
        addons: AddonIds::default(),
        updates_until,
        ends: None,
    };
    let bought = coverage(rank, plan, units, months.map(|months| at.plus_months(months)));
    owned.range(rank..).any(|(owned_rank, held)| {
        let held_coverage = coverage(*owned_rank, held.plan, held.units, held.updates_until);
        let lacks = held_coverage.shortfall(&bought);
        // More units of the same plan are added, and its updates are extended.
        let is_extended = plan.is_per_unit() || held.updates_until.is_some();
        !lacks.units && (*owned_rank > rank || (!lacks.updates && !is_extended))
    })
}

/// Extends the updates of what the customer has of a plan, if they were paid for as many units.
/// Returns the alert about a payment of which a part has no effect. Updates of a lower plan than
/// the highest one count only if the payment for the higher one is returned.
fn update(
    owned: &mut Owned<'_>,
    (rank, plan): (usize, &Plan),
    paid: u32,
    (at, months): (Timestamp, u32),
) -> Option<Alert> {
    let is_lower = owned.range(rank + 1..).next().is_some();
    let held = owned.get_mut(&rank);
    let held_units = held.as_ref().map_or(0, |held| held.units);
    match held {
        Some(held) if held.updates_until.is_none() => {
            return Some(Alert::owned_before(&plan.id, at));
        }
        Some(held) if paid >= held.units => held.extend(at, Some(months)),
        _ => {}
    }
    if is_lower && held_units > 0 {
        return Some(Alert::owned_before(&plan.id, at));
    }
    (paid != held_units).then(|| Alert::UpdatesNotApplied {
        plan: plan.id.clone(),
        paid,
        held: held_units,
        paid_at: at,
    })
}

/// Adds a purchase of a plan to what the customer owns. Returns the alert about updates of a lower
/// plan of which a part has no effect any more.
fn buy<'a>(
    owned: &mut Owned<'a>,
    (rank, plan): (usize, &'a Plan),
    units: u32,
    (at, months): (Timestamp, Option<u32>),
) -> Option<Alert> {
    let units = plan.counted(units);
    let Some(held) = owned.get_mut(&rank) else {
        let (updates_until, cut) = match months {
            Some(months) => taken_over(owned, (rank, plan), units, (at, months)),
            None => (None, None),
        };
        owned.insert(rank, OwnedPlan { plan, units, updates_until, since: at });
        return cut;
    };
    if units >= held.units {
        held.extend(at, months);
    } else {
        held.share(units, at, months);
    }
    if plan.is_per_unit() {
        held.units = held.units.saturating_add(units);
    }
    None
}

/// Returns the end of the updates of a plan that the customer did not own, and the alert about
/// those of a lower plan that last too long for it.
///
/// The lower plan has no effect from now on. If its updates last longer, the higher plan takes them
/// over: for as many of its units as the lower plan has, and for at most the months that the
/// purchase itself includes. Without this limit, years of the cheaper updates could be
/// collected before the upgrade.
fn taken_over(
    owned: &Owned<'_>,
    (rank, plan): (usize, &Plan),
    units: u32,
    (at, months): (Timestamp, u32),
) -> (Option<Timestamp>, Option<Alert>) {
    let own = at.plus_months(months);
    let most = own.plus_months(months);
    let lower = || owned.range(..rank).map(|(_, lower)| lower);
    let taken = lower().map(|lower| {
        let until = Timestamp::or_never(lower.updates_until).clamp(own, most);
        let shared = lower.units.min(units);
        average_end(at, [(until, shared), (own, units - shared)])
    });
    let until = taken.fold(own, Timestamp::max);
    let longest = lower().max_by_key(|lower| Timestamp::or_never(lower.updates_until));
    let cut = longest.filter(|lower| Timestamp::or_never(lower.updates_until) > most);
    let cut = cut.map(|lower| Alert::UpdatesCut {
        lower: lower.plan.id.clone(),
        lower_until: lower.updates_until,
        plan: plan.id.clone(),
        until,
        paid_at: at,
    });
    (Some(until), cut)
}
