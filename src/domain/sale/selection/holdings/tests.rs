use super::*;
use crate::domain::sale::entitlement::tests::{
    NOW, PERIOD_END, at, catalog_of, invoice, line, subscription,
};
use crate::domain::sale::invoice::{Invoice, InvoiceStatus};
use crate::domain::sale::selection::{CustomerCurrency, PurchaseRequest, select};

pub(super) const PLANS: &str = r#"
    product = "app"
    [trial]
    days = 14
    plan = "free"
    [[plan]]
    id = "free"
    name = "Free"
    [[plan]]
    id = "both"
    name = "Both"
    limits = { seats = 1 }
    per_unit = ["seats"]
    quantity = { min = 1, max = 20 }
    prices = [
        { id = "both_m", interval = "month", amount = 10, currency = "usd" },
        { id = "both_o", interval = "once", amount = 100, currency = "usd", updates_months = 12 },
    ]
    [[plan]]
    id = "max"
    name = "Max"
    limits = { seats = 1 }
    per_unit = ["seats"]
    quantity = { min = 1, max = 20 }
    prices = [
        { id = "max_m", interval = "month", amount = 20, currency = "usd" },
        { id = "max_o", interval = "once", amount = 200, currency = "usd", updates_months = 12 },
    ]
    [[addon]]
    id = "cad"
    name = "CAD"
    features = ["cad"]
    prices = [
        { id = "cad_m", interval = "month", amount = 7, currency = "usd" },
        { id = "cad_o", interval = "once", amount = 70, currency = "usd" },
    ]
"#;

const YEAR: i64 = 365 * 86_400;

fn selected<'c>(
    catalog: &'c Catalog,
    (plan, interval, units, addons): (&str, Interval, u32, &[&str]),
) -> Selection<'c> {
    let request = PurchaseRequest {
        plan: plan.into(),
        interval: Some(interval),
        currency: None,
        quantity: Some(units),
        addons: addons.iter().map(|id| (*id).to_owned()).collect(),
        accept_smaller: false,
    };
    select(catalog, &request, &CustomerCurrency::default()).unwrap()
}

/// Returns the state after a single payment at `time`.
pub(super) fn bought(
    state: &StripeState,
    catalog: &Catalog,
    what: (&str, u32, &[&str]),
    time: i64,
) -> StripeState {
    let (plan, units, addons) = what;
    let holdings = Holdings::of(state, catalog, at(time));
    holdings.after_payment_of(&selected(catalog, (plan, Interval::Once, units, addons))).unwrap()
}

/// Returns the state of a customer who subscribes to these prices, with so many units of the first.
pub(super) fn subscribed(prices: &[&str], units: u32) -> StripeState {
    let mut of = subscription("sub_1", "active", prices);
    of.items[0].quantity = Some(units);
    let lines = prices.iter().enumerate().map(|(place, price)| Line {
        quantity: Some(if place == 0 { units } else { 1 }),
        ..line(price, PERIOD_END, 1000)
    });
    let lines = lines.collect();
    let paid = Invoice { lines, ..invoice("in_1", &of, InvoiceStatus::Paid, PERIOD_END) };
    StripeState { subscriptions: vec![of], invoices: vec![paid], ..StripeState::default() }
}

#[test]
fn a_single_payment_that_leaves_less_than_the_subscription_is_refused() {
    let catalog = catalog_of(PLANS);
    let state = subscribed(&["both_m", "cad_m"], 10);
    let refused = |plan: &str, units, addons: &[&str]| {
        let wanted = selected(&catalog, (plan, Interval::Once, units, addons));
        Holdings::of(&state, &catalog, at(NOW)).refuse(&wanted)
    };
    let text = |result: Result<(), NotSold>| match result {
        Err(NotSold::Owned(reason)) => reason.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        text(refused("max", 1, &[])),
        "the customer subscribes to `both` with 10 units and the add-on `cad`, and a license is \
         for one purchase: with `max` for 1 unit, the license would shrink; choose at least 10 \
         units and these add-ons too, or let the subscription end before the purchase"
    );
    assert!(text(refused("max", 9, &["cad"])).contains("choose at least 10 units, or let"));
    assert!(text(refused("max", 10, &[])).contains("choose these add-ons too, or let"));
    assert_eq!(refused("max", 10, &["cad"]), Ok(()));
    // Fewer units of the same plan wait for the end of the subscription.
    assert_eq!(refused("both", 10, &[]), Ok(()));
    assert!(refused("both", 11, &[]).is_err(), "it would replace the subscription");
    assert_eq!(refused("both", 11, &["cad"]), Ok(()));
}

#[test]
fn the_page_offers_exactly_the_units_that_are_sold() {
    let catalog = catalog_of(PLANS);
    let none = StripeState::default();
    let owner = bought(&none, &catalog, ("both", 10, &["cad"]), NOW - YEAR / 2);
    let ended = bought(&none, &catalog, ("both", 10, &[]), NOW - 2 * YEAR);
    let subscriber = subscribed(&["both_m", "cad_m"], 10);
    let both = bought(&subscriber, &catalog, ("both", 4, &[]), NOW - YEAR / 2);
    for (name, state) in [
        ("nothing", none),
        ("owner", owner),
        ("ended", ended),
        ("subscriber", subscriber),
        ("both", both),
    ] {
        let holdings = Holdings::of(&state, &catalog, at(NOW));
        for (plan, interval) in [
            ("both", Interval::Month),
            ("both", Interval::Once),
            ("max", Interval::Month),
            ("max", Interval::Once),
        ] {
            let of = |units| selected(&catalog, (plan, interval, units, &[]));
            let is_sold = |units: &u32| holdings.refuse(&of(*units)).is_ok();
            for units in (1..=20).filter(|units| is_sold(units)) {
                let min = (1..=units).rev().take_while(is_sold).last();
                let max = (units..=20).take_while(is_sold).last();
                let expected = Quantity { min: min.unwrap(), max: max.unwrap() };
                let found = holdings.choosable(false, &of(units));
                assert_eq!(found, expected, "{name}: {units} of {plan} {interval:?}");
            }
        }
    }
}

#[test]
fn a_change_is_refused_only_if_it_makes_the_license_smaller_than_what_is_owned() {
    let catalog = catalog_of(PLANS);
    let state = bought(&StripeState::default(), &catalog, ("both", 10, &["cad"]), NOW - YEAR / 2);
    let owned = Holdings::of(&state, &catalog, at(NOW)).owned;
    let changed = |(plan, units): (&str, u32), (other, more): (&str, u32)| {
        let of = |plan: &str, units| Subscribed::new::<()>(catalog.plan(plan).unwrap(), units, &[]);
        owned.refuse_change((&of(plan, units), &of(other, more)), &catalog)
    };
    for (before, after, is_possible) in [
        (("max", 10), ("max", 9), false),
        (("max", 12), ("max", 10), true),
        (("max", 12), ("max", 9), false),
        (("max", 3), ("max", 5), true),
        (("max", 3), ("max", 2), false),
        (("max", 10), ("both", 10), true),
        (("max", 10), ("both", 9), false),
        (("both", 10), ("max", 1), false),
        (("max", 10), ("free", 1), false),
    ] {
        let result = changed(before, after);
        assert_eq!(result.is_ok(), is_possible, "{before:?} {after:?}: {result:?}");
    }
    assert!(matches!(changed(("max", 10), ("free", 1)), Err(OwnsMore::Higher { .. })));
}

#[test]
fn a_refusal_names_what_is_sold_in_its_place_and_a_smaller_license_can_be_accepted() {
    let only_both = PLANS.replace("name = \"CAD\"", "name = \"CAD\"\n    plans = [\"both\"]");
    let end = "let the subscription end before the purchase, or accept that by \
               `\"accept_smaller\": true`";
    let choice = "choose at least 10 units and these add-ons too, or ";
    for (plans, choice) in [(PLANS, choice), (&only_both, "")] {
        let catalog = catalog_of(plans);
        let state = subscribed(&["both_m", "cad_m"], 10);
        let select = |accept_smaller| {
            let request = PurchaseRequest {
                plan: "max".into(),
                interval: Some(Interval::Once),
                currency: None,
                quantity: Some(1),
                addons: Vec::new(),
                accept_smaller,
            };
            Holdings::of(&state, &catalog, at(NOW)).select(&request, None)
        };
        let Err(NotSold::Owned(refused)) = select(false) else { panic!("it is sold") };
        let refused = refused.to_string();
        assert!(refused.ends_with(&format!("would shrink; {choice}{end}")), "{refused}");
        assert_eq!(select(true).unwrap().choosable, Quantity { min: 1, max: 20 });
    }
    // Of units that are owned, fewer are missing.
    let catalog = catalog_of(PLANS);
    let owner = bought(&StripeState::default(), &catalog, ("both", 4, &[]), NOW - YEAR / 2);
    let mut state = subscribed(&["max_m"], 10);
    state.paid_sessions = owner.paid_sessions;
    let request = PurchaseRequest {
        plan: "both".into(),
        interval: Some(Interval::Month),
        currency: None,
        quantity: Some(3),
        addons: Vec::new(),
        accept_smaller: false,
    };
    let Err(NotSold::Owned(refused)) =
        Holdings::of(&state, &catalog, at(NOW)).select(&request, None)
    else {
        panic!("it is sold")
    };
    assert!(refused.to_string().contains("choose at least 4 units"), "{refused}");
}
