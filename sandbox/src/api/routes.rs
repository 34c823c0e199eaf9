//! The resources of the API: how their objects are read, and which file handles the other calls.
//! The rules of a resource are in its own file.

use super::list::list;
use super::params::Params;
use super::resource::{Route, matches, retrieve};
use super::{
    catalog, checkout, credit_notes, customers, discounts, events, invoices, offers, payments,
    portal, schedules, subscriptions, tax, webhooks,
};
use crate::api_error::ApiResult;
use crate::objects::Kind;
use crate::world::World;

/// Handles the calls that only one resource has. Returns none for any other call.
type Calls = fn(&mut World, Route<'_>, &mut Params) -> Option<ApiResult>;

/// How the objects of a resource are read.
#[derive(Clone, Copy)]
enum Read {
    /// They cannot be read.
    Never,
    /// By their id.
    ById,
    /// By their id, and as a list. Each parameter filters by the field of its name.
    ByIdOrFields(&'static [&'static str]),
}

use Read::{ById, ByIdOrFields, Never};

/// Every resource with objects of its own. `Calls` come first: they may replace the list.
const RESOURCES: [(Kind, Read, Option<Calls>); 25] = [
    (Kind::Customer, ByIdOrFields(&["email"]), Some(customers::route)),
    (Kind::PaymentMethod, ByIdOrFields(&["type"]), None),
    (Kind::Product, ByIdOrFields(&["active"]), Some(catalog::products)),
    (Kind::Price, ById, Some(catalog::prices)),
    (Kind::CheckoutSession, ById, Some(checkout::route)),
    (Kind::Subscription, ById, Some(subscriptions::route)),
    (Kind::SubscriptionSchedule, ByIdOrFields(&[]), Some(schedules::route)),
    (Kind::Invoice, ById, Some(invoices::route)),
    (Kind::InvoiceItem, ByIdOrFields(&["invoice"]), None),
    (Kind::InvoicePayment, ById, Some(invoices::payments)),
    (Kind::PaymentIntent, ByIdOrFields(&[]), Some(payments::intents)),
    (Kind::Charge, ByIdOrFields(&["payment_intent"]), None),
    (Kind::Refund, ByIdOrFields(&["payment_intent", "charge"]), Some(payments::refunds)),
    (Kind::Dispute, ByIdOrFields(&["payment_intent", "charge"]), Some(payments::disputes)),
    (Kind::PaymentRecord, ById, None),
    (Kind::PortalSession, Never, Some(portal::sessions)),
    (Kind::PortalConfiguration, ById, Some(portal::configurations)),
    (Kind::CreditNote, ByIdOrFields(&["invoice"]), Some(credit_notes::route)),
    (Kind::Coupon, ByIdOrFields(&[]), Some(discounts::coupons)),
    (Kind::PromotionCode, ById, Some(discounts::codes)),
    (Kind::PaymentLink, ByIdOrFields(&["active"]), Some(offers::links)),
    (Kind::Quote, ByIdOrFields(&[]), Some(offers::quotes)),
    (Kind::Event, ById, Some(events::route)),
    (Kind::ThinEvent, ById, None),
    (Kind::WebhookEndpoint, ByIdOrFields(&[]), Some(webhooks::route)),
];

/// Handles a call. Returns none if no resource has such a call.
pub fn handle(
    world: &mut World,
    method: &str,
    path: &str,
    params: &mut Params,
) -> Option<ApiResult> {
    // Items are parts of subscriptions, without objects of their own.
    if let Some(rest) = below(path, "/v1/subscription_items") {
        return subscriptions::items(world, (method, &rest), params);
    }
    if let Some(rest) = below(path, "/v1/tax/settings") {
        return tax::settings(world, (method, &rest), params);
    }
    let resource = |(kind, read, calls): &(Kind, Read, Option<Calls>)| {
        below(path, kind.path()).map(|rest| (*kind, *read, *calls, rest))
    };
    let (kind, reads, calls, rest) = RESOURCES.iter().find_map(resource)?;
    let route = (method, rest.as_slice());
    let handled = calls.and_then(|calls| calls(world, route, params));
    handled.or_else(|| read(world, kind, reads, route, params))
}

/// Returns the segments of `path` below a resource's own path; none if it belongs to another.
fn below<'a>(path: &'a str, resource: &str) -> Option<Vec<&'a str>> {
    let rest = path.strip_prefix(resource)?;
    let is_below = rest.is_empty() || rest.starts_with('/');
    is_below.then(|| rest.split('/').filter(|segment| !segment.is_empty()).collect())
}

fn read(
    world: &World,
    kind: Kind,
    read: Read,
    route: Route<'_>,
    params: &mut Params,
) -> Option<ApiResult> {
    match (route, read) {
        (("GET", [id]), ById | ByIdOrFields(_)) => Some(retrieve(world, kind, id, params)),
        (("GET", []), ByIdOrFields(fields)) => {
            let matching = matches(params, kind, fields);
            Some(matching.and_then(|matching| list(world, kind, params, matching)))
        }
        _ => None,
    }
}
