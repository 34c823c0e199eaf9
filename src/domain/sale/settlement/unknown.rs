//! Payments for prices that nothing in the plans file has, because the vendor removed them or never
//! listed them. Our orders say what was bought at a price that was removed: the licenses that
//! depend on such a payment stay as they are.

use std::collections::BTreeMap;

use super::{KeptId, Record};
use crate::domain::license::{Basis, IssuedLicense};
use crate::domain::sale::addon_ids::AddonIds;
use crate::domain::sale::entitlement::{
    Alert, SinglePayment, SinglePaymentId, is_recent, payments,
};
use crate::domain::sale::invoice::Line;
use crate::domain::sale::order::Order;
use crate::domain::sale::plan::Catalog;
use crate::domain::sale::policy::Policy;
use crate::domain::sale::stripe_ids::StripeSubscriptionId;
use crate::domain::sale::stripe_state::StripeState;
use crate::domain::time::Timestamp;

/// A payment with a line at an unknown price.
pub(super) struct UnknownPayment<'a> {
    payment: SinglePayment<'a>,
    price: &'a str,
    /// The line.
    line: &'a Line,
    /// Whether another line of the payment is for something of the catalog.
    has_known_line: bool,
    /// The subscription that it bills.
    subscription: Option<&'a StripeSubscriptionId>,
    /// The purchase in our order; `None` if there is no order of it.
    bought: Option<Bought<'a>>,
}

/// The part of an order that no line at a known price paid for.
struct Bought<'a> {
    /// The plan.
    plan: Option<&'a str>,
    /// The add-ons.
    addons: AddonIds,
}

/// Returns the payments with a line at an unknown price that count under a policy, the earliest
/// first. If an order says that everything was bought at known prices, the line is for something
/// besides the catalog, and the payment is left out.
pub(super) fn unknown_payments<'a>(
    record: &'a Record,
    state: &'a StripeState,
    catalog: &Catalog,
    policy: &Policy,
) -> Vec<UnknownPayment<'a>> {
    let paid = payments(state, policy, |line| unknown_price(line, catalog).is_some());
    let unknown = paid.into_iter().filter_map(|payment| {
        let mut lines = payment.lines.iter();
        let (line, price) = lines.find_map(|line| Some((line, unknown_price(line, catalog)?)))?;
        let subscription = match payment.id {
            SinglePaymentId::Invoice(id) => {
                let invoice = state.invoices.iter().find(|invoice| invoice.id == *id);
                invoice.and_then(|invoice| invoice.subscription.as_ref())
            }
            SinglePaymentId::Session(_) => None,
        };
        let bought = match order_of(&payment, record) {
            Some(order) => Some(bought(order, payment.lines, catalog)?),
            None => None,
        };
        let mut prices = payment.lines.iter().filter_map(|line| line.price.as_deref());
        let has_known_line = prices.any(|price| catalog.sold(price).is_some());
        Some(UnknownPayment { payment, price, line, has_known_line, subscription, bought })
    });
    unknown.collect()
}

/// Returns the price of a line that charges something, if nothing in the plans file has it.
pub(super) fn unknown_price<'l>(line: &'l Line, catalog: &Catalog) -> Option<&'l str> {
    let price = line.price.as_deref().filter(|_| line.amount >= 0 && line.units() > 0)?;
    (catalog.sold(price).is_none() && !catalog.is_other_price(price)).then_some(price)
}

/// Returns the order of a payment.
fn order_of<'r>(payment: &SinglePayment<'_>, record: &'r Record) -> Option<&'r Order> {
    let customer = Some(&record.customer.customer_id);
    let mut own = record.orders.iter().filter(|order| order.customer_id.as_ref() == customer);
    own.find(|order| match payment.id {
        SinglePaymentId::Invoice(id) => order.stripe_invoice_id.as_ref() == Some(id),
        SinglePaymentId::Session(id) => order.stripe_checkout_session_id.as_ref() == Some(id),
    })
}

/// Returns the part of an order that no line at a known price paid for; `None` if there is none.
fn bought<'r>(order: &'r Order, lines: &[Line], catalog: &Catalog) -> Option<Bought<'r>> {
    let prices = || lines.iter().filter_map(|line| line.price.as_deref());
    let is_paid = |id: &str| {
        prices().any(|price| {
            catalog.addon(id).is_some_and(|addon| addon.price_ids().any(|own| own == price))
        })
    };
    let all = order.addons.as_ref().into_iter().flat_map(|addons| &addons.0);
    let addons: AddonIds = all.filter(|id| !is_paid(id.as_str())).collect();
    // An order without units is for an add-on alone.
    let has_plan = order.quantity.is_some() && !prices().any(|one| catalog.by_price(one).is_some());
    let plan = has_plan.then_some(order.plan.as_str());
    (plan.is_some() || !addons.0.is_empty()).then_some(Bought { plan, addons })
}

impl UnknownPayment<'_> {
    /// Returns whether a license may depend on the payment: it has what was bought.
    pub fn may_have_bought(
        &self,
        license: &IssuedLicense,
        catalog: &Catalog,
        now: Timestamp,
    ) -> bool {
        let Some(bought) = &self.bought else { return false };
        let counts = match (license.basis, self.line.period_end) {
            (Basis::Once, end) => end.is_none(),
            (Basis::Subscription, end) => end.is_none_or(|end| end > now),
            (Basis::Fallback, _) => true,
        };
        // A subscription may leave a lower plan.
        let is_of_plan = bought.plan.is_some_and(|plan| {
            license.basis == Basis::Fallback || catalog.is_same_plan(plan, &license.plan)
        });
        counts && (is_of_plan || !bought.addons.0.is_disjoint(&license.addons.0))
    }

    /// Returns the id of the purchase, to fetch it until its price is known again; `None` if
    /// nothing depends on it. `has_license` is whether a license may depend on it.
    fn kept(&self, has_license: bool) -> Option<KeptId> {
        self.bought.as_ref()?;
        match (self.subscription, self.payment.id) {
            (Some(id), _) => has_license.then(|| KeptId::Subscription(id.clone())),
            (None, SinglePaymentId::Invoice(id)) => Some(KeptId::Invoice(id.clone())),
            (None, SinglePaymentId::Session(id)) => Some(KeptId::Session(id.clone())),
        }
    }

    /// Returns the alert; `None` for a payment of a subscription on which no license depends, and
    /// for one of long ago that bought nothing.
    fn alert(&self, has_license: bool, now: Timestamp) -> Option<Alert> {
        let is_of_subscription = self.subscription.is_some() && !has_license;
        let is_old = self.bought.is_none() && !is_recent(self.payment.at, now);
        if is_of_subscription || is_old {
            return None;
        }
        let bought = self.bought.as_ref();
        let plan = bought.and_then(|bought| bought.plan).map(str::to_owned);
        let addons = bought.map(|bought| bought.addons.texts()).unwrap_or_default();
        Some(Alert::UnknownPurchase {
            price: self.price.to_owned(),
            bought: plan.into_iter().chain(addons).collect(),
            is_partial: self.has_known_line,
            paid_at: self.payment.at,
        })
    }
}

/// What follows from payments for unknown prices.
pub(super) struct UnknownFindings {
    /// Whether a license depends on one, so that none is revoked.
    pub is_unclear: bool,
    /// One alert for each price.
    pub alerts: Vec<Alert>,
    /// The purchases to fetch until their prices are known again.
    pub kept: Vec<KeptId>,
}

/// Returns what follows from payments for unknown prices. `unpaid` has the licenses that no payment
/// at a known price grants.
pub(super) fn consequences(
    payments: &[UnknownPayment<'_>],
    unpaid: &[&IssuedLicense],
    catalog: &Catalog,
    now: Timestamp,
) -> UnknownFindings {
    let has_license = |payment: &UnknownPayment<'_>| {
        unpaid.iter().any(|license| payment.may_have_bought(license, catalog, now))
    };
    let with_license = || payments.iter().map(|payment| (payment, has_license(payment)));
    // The newest payment for each price.
    let alerts: BTreeMap<&str, Alert> = with_license()
        .filter_map(|(payment, has_license)| {
            Some((payment.price, payment.alert(has_license, now)?))
        })
        .collect();
    UnknownFindings {
        is_unclear: payments.iter().any(has_license),
        alerts: alerts.into_values().collect(),
        kept: with_license().filter_map(|(payment, has)| payment.kept(has)).collect(),
    }
}
