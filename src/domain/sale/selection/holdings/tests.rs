use super::*;
use crate::domain::sale::entitlement::tests::{
    DAY, NOW, PERIOD_END, at, catalog_of, invoice, line, subscription,
};
use crate::domain::sale::invoice::{Invoice, InvoiceStatus};
use crate::domain::sale::selection::{CustomerCurrency, PurchaseRequest, select};
use crate::domain::sale::subscription::Status;

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

/// A plan with its interval, units and add-ons.
type Wanted<'t> = (&'t str, Interval, Option<u32>, &'t [&'t str]);

fn request((plan, interval, quantity, addons): Wanted<'_>) -> PurchaseRequest {
    PurchaseRequest {
        plan: plan.into(),
        interval: Some(interval),
        currency: None,
        quantity,
        addons: addons.iter().map(|id| (*id).to_owned()).collect(),
        accept_smaller: false,
    }
}

fn selected<'c>(
    catalog: &'c Catalog,
    (plan, interval, units, addons): (&str, Interval, u32, &[&str]),
) -> Selection<'c> {
    let request = request((plan, interval, Some(units), addons));
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
        let wanted = request((plan, Interval::Once, Some(units), addons));
        Holdings::of(&state, &catalog, at(NOW)).select(&wanted, None).map(drop)
    };
    let text = |result: Result<(), NotSold>| match result {
        Err(NotSold::Owned(reason)) => reason.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        text(refused("max", 1, &[])),
        "the customer subscribes to `both` with 10 units and the add-on `cad`, and a license is \
         for one purchase: with `max` for 1 unit, the license would shrink; choose at least 10 \
         units and the add-on `cad` too, or let the subscription end before the purchase, or \
         accept that by `\"accept_smaller\": true`"
    );
    assert!(text(refused("max", 9, &["cad"])).contains("choose at least 10 units, or let"));
    assert!(text(refused("max", 10, &[])).contains("choose the add-on `cad` too, or let"));
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

/// Returns the ways out that a refusal names.
fn ways_out(state: &StripeState, catalog: &Catalog, wanted: Wanted<'_>) -> String {
    let refused = Holdings::of(state, catalog, at(NOW)).select(&request(wanted), None);
    let Err(NotSold::Owned(OwnsMore::Smaller(smaller))) = refused else { panic!("{refused:?}") };
    let text = smaller.to_string();
    let accepted = "accept that by `\"accept_smaller\": true`";
    let ways = text.split_once("would shrink; ").unwrap().1.strip_suffix(accepted);
    ways.unwrap_or_else(|| panic!("{text}")).to_owned()
}

const END: &str = "let the subscription end before the purchase, or ";

#[test]
fn a_refusal_names_what_is_sold_in_its_place_and_a_smaller_license_can_be_accepted() {
    let both_only = PLANS.replace("name = \"CAD\"", "name = \"CAD\"\n    plans = [\"both\"]");
    let unsold =
        PLANS.replace("id = \"cad_o\", interval", "id = \"cad_o\", sold = false, interval");
    let euros = PLANS.replace(
        "id = \"cad_o\", interval = \"once\", amount = 70, currency = \"usd\"",
        "id = \"cad_o\", interval = \"once\", amount = 70, currency = \"eur\"",
    );
    let state = subscribed(&["both_m", "cad_m"], 10);
    let wanted: Wanted<'_> = ("max", Interval::Once, Some(1), &[]);
    for (plans, choice) in [
        (PLANS, "choose at least 10 units and the add-on `cad` too, or "),
        (&both_only, "choose `both` with 1 unit and the add-on `cad`, or "),
        (&unsold, ""),
        (&euros, ""),
    ] {
        let catalog = catalog_of(plans);
        assert_eq!(ways_out(&state, &catalog, wanted), format!("{choice}{END}"));
        let accepting = PurchaseRequest { accept_smaller: true, ..request(wanted) };
        let sold = Holdings::of(&state, &catalog, at(NOW)).select(&accepting, None);
        assert_eq!(sold.unwrap().choosable, Quantity { min: 1, max: 20 });
    }
    // Of units that are owned, fewer are missing.
    let catalog = catalog_of(PLANS);
    let owner = bought(&StripeState::default(), &catalog, ("both", 4, &[]), NOW - YEAR / 2);
    let mut state = subscribed(&["max_m"], 10);
    state.paid_sessions = owner.paid_sessions;
    let wanted = ("both", Interval::Month, Some(3), &[][..]);
    assert_eq!(ways_out(&state, &catalog, wanted), "choose at least 4 units, or ");
}

#[test]
fn an_add_on_that_the_customer_owns_already_is_no_part_of_the_choice() {
    let catalog = catalog_of(&PLANS.replace(
        "[[addon]]",
        r#"
        [[addon]]
        id = "pdf"
        name = "PDF"
        features = ["pdf"]
        prices = [
            { id = "pdf_m", interval = "month", amount = 7, currency = "usd" },
            { id = "pdf_o", interval = "once", amount = 70, currency = "usd" },
        ]
        [[addon]]"#,
    ));
    let owner = bought(&StripeState::default(), &catalog, ("both", 2, &["cad"]), NOW - YEAR / 2);
    let mut state = subscribed(&["both_m", "pdf_m"], 10);
    state.paid_sessions = owner.paid_sessions;
    let wanted: Wanted<'_> = ("max", Interval::Once, Some(9), &[]);
    let expected = format!("choose at least 10 units and the add-on `pdf` too, or {END}");
    assert_eq!(ways_out(&state, &catalog, wanted), expected);
    let choice: Wanted<'_> = ("max", Interval::Once, Some(10), &["pdf"]);
    assert!(Holdings::of(&state, &catalog, at(NOW)).select(&request(choice), None).is_ok());
}

#[test]
fn a_choice_of_another_plan_is_one_that_is_sold() {
    let top = r#"
    [[plan]]
    id = "top"
    name = "Top"
    prices = [{ id = "top_o", interval = "once", amount = 900, currency = "usd" }]
    "#;
    let leaving = PLANS
        .replace("name = \"Max\"", "name = \"Max\"\n    fallback_months = 1")
        .replace("{ id = \"max_o\"", "{ id = \"max_o\", sold = false");
    let with_top = leaving.replace("    [[addon]]", &format!("{top}    [[addon]]"));
    // The subscription to `max` has ended, and left a license for old builds.
    let mut state = subscribed(&["max_m"], 3);
    // Longer than any month.
    let end = PERIOD_END + 2 * DAY;
    state.invoices[0].lines[0].period_end = Some(at(end));
    let of = &mut state.subscriptions[0];
    (of.status, of.ended_at) = (Status::Canceled, Some(at(end)));
    let now = at(end + YEAR);
    for (plans, expected) in [(&leaving, None), (&with_top, Some("top"))] {
        let catalog = catalog_of(plans);
        let holdings = Holdings::of(&state, &catalog, now);
        let wanted = request(("both", Interval::Once, Some(3), &[]));
        let refused = holdings.select(&wanted, None);
        let Err(NotSold::Owned(OwnsMore::Smaller(smaller))) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!((smaller.basis, smaller.plan.as_str()), (Basis::Fallback, "max"));
        let choice = smaller.choice.as_ref().map(|choice| choice.plan.as_str());
        assert_eq!(choice, expected, "{smaller}");
        let other = request((expected.unwrap_or("max"), Interval::Once, Some(1), &[]));
        assert_eq!(holdings.select(&other, None).is_ok(), expected.is_some());
    }
}
