use super::*;
use crate::domain::license::{Basis, Term};
use crate::domain::sale::entitlement;
use crate::domain::sale::entitlement::tests::{catalog_of, subscription};
use crate::domain::sale::plan::Plan;
use crate::domain::sale::selection::NotSold;
use crate::domain::sale::selection::holdings::OwnsMore;

const PLANS: &str = r#"
    product = "app"
    [trial]
    days = 14
    plan = "free"
    [[plan]]
    id = "free"
    name = "Free"
    [[plan]]
    id = "starter"
    name = "Starter"
    prices = [{ id = "starter_m", interval = "month", amount = 500, currency = "usd" }]
    [[plan]]
    id = "team"
    name = "Team"
    limits = { seats = 1 }
    per_unit = ["seats"]
    quantity = { min = 2, max = 20 }
    former_prices = ["team_2020"]
    prices = [
        { id = "team_m", interval = "month", amount = 1000, currency = "usd" },
        { id = "team_y", interval = "year", amount = 9000, currency = "usd" },
        { id = "team_eur", interval = "month", amount = 900, currency = "eur" },
        { id = "team_o", interval = "once", amount = 90000, currency = "usd" },
        { id = "team_old", interval = "month", amount = 800, currency = "usd", sold = false },
    ]
    [[addon]]
    id = "pdf"
    name = "PDF"
    features = ["pdf"]
    plans = ["team"]
    former_prices = ["pdf_2020"]
    prices = [
        { id = "pdf_m", interval = "month", amount = 300, currency = "usd" },
        { id = "pdf_y", interval = "year", amount = 3000, currency = "usd" },
    ]
    [[addon]]
    id = "cad"
    name = "CAD"
    features = ["cad"]
    former_prices = ["cad_2020"]
    prices = [{ id = "cad_m", interval = "month", amount = 700, currency = "usd" }]
"#;

/// Returns an active subscription to these prices, with this number of units of the first.
fn held(prices: &[&str], units: u32) -> Subscription {
    let mut subscription = subscription("sub_1", "active", prices);
    subscription.items[0].quantity = Some(units);
    subscription
}

/// Returns what is paid for, if nothing was bought once.
fn paid_for<'a>(now: Option<PaidEntitlement<'a>>, at_end: Option<PaidEntitlement<'a>>) -> Paid<'a> {
    Paid { now, at_end, ..Paid::default() }
}

/// The decision: the edits, and when they are billed.
type Decided = Result<(Vec<ItemEdit>, Billing), ChangeRefused>;

/// Returns the entitlement to these units and add-ons.
fn entitled<'a>(
    subscription: &'a Subscription,
    plan: &'a Plan,
    (quantity, addons): (u32, &[&str]),
    catalog: &'a Catalog,
) -> PaidEntitlement<'a> {
    PaidEntitlement {
        plan,
        rank: catalog.rank(plan.id.as_str()),
        term: Term::default(),
        quantity,
        addons: addons.iter().filter_map(|id| catalog.addon(id)).collect(),
        updates_until: None,
        basis: Basis::Subscription,
        of: Some(subscription),
    }
}

/// Returns the decision if these units and add-ons are paid for.
fn decided(
    subscription: &Subscription,
    paid: (u32, &[&str]),
    wanted: &ChangeRequest,
    catalog: &Catalog,
) -> Decided {
    let plan = subscription.plan(catalog).map(|(plan, _)| plan);
    let grant = plan.map(|plan| entitled(subscription, plan, paid, catalog));
    let change = decide(subscription, &paid_for(grant.clone(), grant), wanted, catalog)?;
    Ok((change.edits, change.billing))
}

fn units(quantity: u32) -> ChangeRequest {
    ChangeRequest { quantity: Some(quantity), ..ChangeRequest::default() }
}

fn with_addons(ids: &[&str]) -> ChangeRequest {
    let ids = ids.iter().map(|id| (*id).to_owned()).collect();
    ChangeRequest { addons: Some(ids), ..ChangeRequest::default() }
}

fn plan(id: &str) -> ChangeRequest {
    ChangeRequest { plan: Some(id.into()), ..ChangeRequest::default() }
}

fn every(interval: Interval) -> ChangeRequest {
    ChangeRequest { interval: Some(interval), ..ChangeRequest::default() }
}

fn set(item: &str, price: &str, quantity: u32) -> ItemEdit {
    ItemEdit::Set { item: format!("si_{item}"), price: price.into(), quantity }
}

fn add(price: &str) -> ItemEdit {
    ItemEdit::Add { price: price.into(), quantity: 1 }
}

fn remove(item: &str) -> ItemEdit {
    ItemEdit::Remove { item: format!("si_{item}") }
}

#[test]
fn more_is_billed_now_and_what_is_paid_is_not_billed_again() {
    use Billing::{Later, Now};
    let catalog = catalog_of(PLANS);
    let both: &[&str] = &["team_m", "pdf_m"];
    let year = vec![set("team_m", "team_y", 5), set("pdf_m", "pdf_y", 1)];
    let fewer = vec![set("team_m", "team_y", 2), remove("pdf_m")];
    let fewer_by_the_year =
        ChangeRequest { interval: Some(Interval::Year), addons: Some(Vec::new()), ..units(2) };
    for (prices, held_units, paid, wanted, edits, billing) in [
        // Nothing changes.
        (both, 5, (5, vec!["pdf"]), ChangeRequest::default(), vec![], Later),
        (both, 5, (5, vec!["pdf"]), with_addons(&["pdf"]), vec![], Later),
        // More units, fewer, and back within what is paid.
        (both, 5, (5, vec!["pdf"]), units(8), vec![set("team_m", "team_m", 8)], Now),
        (both, 5, (5, vec!["pdf"]), units(3), vec![set("team_m", "team_m", 3)], Later),
        (both, 3, (5, vec!["pdf"]), units(5), vec![set("team_m", "team_m", 5)], Later),
        (both, 3, (5, vec!["pdf"]), units(6), vec![set("team_m", "team_m", 6)], Now),
        // An unpaid raise is credited.
        (both, 8, (5, vec!["pdf"]), units(5), vec![set("team_m", "team_m", 5)], Now),
        // Add-ons.
        (both, 5, (5, vec!["pdf"]), with_addons(&[]), vec![remove("pdf_m")], Later),
        (&["team_m"], 5, (5, vec!["pdf"]), with_addons(&["pdf"]), vec![add("pdf_m")], Later),
        (&["team_m"], 5, (5, vec![]), with_addons(&["pdf"]), vec![add("pdf_m")], Now),
        // Another interval or plan.
        (both, 5, (5, vec!["pdf"]), every(Interval::Year), year, Now),
        (&["team_m"], 5, (5, vec![]), plan("starter"), vec![set("team_m", "starter_m", 1)], Now),
        // The plan's other item and the metered one are left alone.
        (&["team_m", "usage"], 5, (5, vec![]), units(8), vec![set("team_m", "team_m", 8)], Now),
        // A former price stays until the plan or the interval changes.
        (&["team_old"], 5, (5, vec![]), units(8), vec![set("team_old", "team_old", 8)], Now),
        (&["team_2020"], 5, (5, vec![]), units(8), vec![set("team_2020", "team_2020", 8)], Now),
        (
            &["team_2020"],
            5,
            (5, vec![]),
            every(Interval::Month),
            vec![set("team_2020", "team_m", 5)],
            Now,
        ),
        (
            &["team_m", "cad_2020"],
            5,
            (5, vec!["cad"]),
            units(6),
            vec![set("team_m", "team_m", 6)],
            Now,
        ),
        (&["team_eur"], 5, (5, vec![]), units(6), vec![set("team_eur", "team_eur", 6)], Now),
        // An unpaid item that stays does not bill a decrease now.
        (both, 5, (5, vec![]), units(3), vec![set("team_m", "team_m", 3)], Later),
        // With another plan or interval, the rest of the period is credited.
        (both, 5, (5, vec!["pdf"]), fewer_by_the_year, fewer, Now),
    ] {
        let subscription = held(prices, held_units);
        let decided = decided(&subscription, (paid.0, &paid.1), &wanted, &catalog);
        assert_eq!(decided, Ok((edits, billing)), "{prices:?} {held_units} {wanted:?}");
    }
}

#[test]
fn a_decrease_is_not_credited_now_because_something_else_is_added() {
    let catalog = catalog_of(PLANS);
    let with = |quantity, ids: &[&str]| ChangeRequest { quantity, ..with_addons(ids) };
    let mixed = Err(ChangeRefused::MoreAndLess);
    for (prices, held_units, paid, request) in [
        (&["team_m"][..], 5, (5, &[][..]), with(Some(2), &["pdf"])),
        (&["team_m", "pdf_m"], 5, (5, &["pdf"]), with(Some(8), &[])),
        (&["team_m", "pdf_m"], 5, (5, &["pdf"]), with(None, &["cad"])),
        // Five units are paid, although the next period has three.
        (&["team_m"], 3, (5, &[]), with(Some(4), &["pdf"])),
    ] {
        let subscription = held(prices, held_units);
        assert_eq!(decided(&subscription, paid, &request, &catalog), mixed, "{request:?}");
    }
    let subscription = held(&["team_m"], 3);
    let added = decided(&subscription, (5, &[]), &with_addons(&["pdf"]), &catalog);
    assert_eq!(added, Ok((vec![add("pdf_m")], Billing::Now)));
}

#[test]
fn the_prices_and_the_amount_are_those_after_the_change() {
    let catalog = catalog_of(PLANS);
    let after = |prices: &[&str], request: &ChangeRequest| {
        let subscription = held(prices, 5);
        let change = decide(&subscription, &Paid::default(), request, &catalog).unwrap();
        (change.prices.join(" "), change.amount, change.currency.to_string())
    };
    let usd = || "usd".to_owned();
    let nothing = ChangeRequest::default();
    let pdf_by_the_year = ChangeRequest { interval: Some(Interval::Year), ..with_addons(&["pdf"]) };
    let both = ["team_m", "pdf_m"];
    assert_eq!(after(&both, &nothing), ("team_m pdf_m".into(), Some(5300), usd()));
    assert_eq!(after(&both, &units(8)), ("team_m pdf_m".into(), Some(8300), usd()));
    assert_eq!(after(&both, &pdf_by_the_year), ("team_y pdf_y".into(), Some(48_000), usd()));
    assert_eq!(after(&both, &with_addons(&[])), ("team_m".into(), Some(5000), usd()));
    assert_eq!(after(&["team_m", "cad_2020"], &nothing).1, None, "only Stripe knows the amount");
}

#[test]
fn a_trial_bills_nothing_now() {
    let catalog = catalog_of(PLANS);
    let mut subscription = held(&["team_m"], 5);
    subscription.status = Status::Trialing;
    let (_, billing) = decided(&subscription, (5, &[]), &units(8), &catalog).unwrap();
    assert_eq!(billing, Billing::Later);
}

#[test]
fn an_impossible_change_is_refused_with_the_reason() {
    let catalog = catalog_of(PLANS);
    let not_sold = |reason| ChangeRefused::NotSold(reason);
    let quantity = catalog.plan("team").unwrap().quantity;
    let one = catalog.plan("starter").unwrap().quantity;
    let addon = |text: &str| not_sold(NotSold::Addon(text.to_owned()));
    let (eur_only, usd_only) = ("eur".parse().unwrap(), vec!["usd".parse().unwrap()]);
    let usd = not_sold(NotSold::Pinned { pinned: eur_only, sold: usd_only });
    for (prices, wanted, expected) in [
        (&["team_m"][..], plan("gold"), not_sold(NotSold::Plan)),
        (&["team_m"], plan("free"), not_sold(NotSold::Plan)),
        (&["team_y"], plan("starter"), not_sold(NotSold::Plan)),
        (&["team_m"], every(Interval::Once), ChangeRefused::NotRecurring),
        (&["team_m"], units(0), not_sold(NotSold::Quantity(quantity))),
        (&["team_m"], units(1_000_000_000), not_sold(NotSold::Quantity(quantity))),
        (&["starter_m"], units(2), not_sold(NotSold::Quantity(one))),
        (&["team_m"], with_addons(&["pdf", "pdf"]), addon("`pdf` is listed twice; list it once")),
        (
            &["team_m"],
            with_addons(&["gold"]),
            addon("there is no add-on \"gold\"; GET /api/plans lists them"),
        ),
        (
            &["team_m", "pdf_m"],
            plan("starter"),
            addon(
                "`pdf` is not sold with the plan `starter`; GET /api/plans lists the add-ons of \
                 each plan",
            ),
        ),
        (&["other"], units(3), ChangeRefused::UnknownPrice),
        (&["team_2020"], with_addons(&["pdf"]), ChangeRefused::FormerPrice),
    ] {
        let subscription = held(prices, 5);
        let decided = decided(&subscription, (5, &[]), &wanted, &catalog);
        assert_eq!(decided, Err(expected), "{prices:?} {wanted:?}");
    }
    let mut eur = held(&["team_eur"], 5);
    eur.currency = Some("eur".into());
    assert_eq!(decided(&eur, (5, &[]), &plan("starter"), &catalog), Err(usd));
    for (status, expected) in [
        ("past_due", ChangeRefused::Unpaid),
        ("unpaid", ChangeRefused::Unpaid),
        ("paused", ChangeRefused::Paused),
        ("incomplete", ChangeRefused::Incomplete),
        ("canceled", ChangeRefused::NoSubscription),
    ] {
        let subscription = subscription("sub_1", status, &["team_m"]);
        assert_eq!(
            decided(&subscription, (1, &[]), &units(3), &catalog),
            Err(expected),
            "{status}"
        );
    }
}

#[test]
fn what_was_removed_from_a_shorter_period_is_billed_for_the_rest_of_the_longer_one() {
    let catalog = catalog_of(PLANS);
    let subscription = held(&["team_y"], 5);
    let team = catalog.plan("team").unwrap();
    let of = |paid| Some(entitled(&subscription, team, paid, &catalog));
    // The month that paid for more has not ended.
    let paid = paid_for(of((8, &["pdf"])), of((5, &[])));
    let billing = |request: &ChangeRequest| {
        decide(&subscription, &paid, request, &catalog).map(|change| change.billing)
    };
    assert_eq!(billing(&with_addons(&["pdf"])), Ok(Billing::Now));
    assert_eq!(billing(&units(8)), Ok(Billing::Now));
    assert_eq!(billing(&units(3)), Ok(Billing::Later));
}

#[test]
fn an_add_on_that_was_bought_once_is_not_sold_again() {
    let catalog = catalog_of(PLANS);
    let (subscription, pdf) = (held(&["team_m"], 5), catalog.addon("pdf").unwrap());
    let paid = {
        let owned = Owned { addons: vec![pdf], ..Owned::default() };
        Paid { owned, ..Paid::default() }
    };
    let refused = decide(&subscription, &paid, &with_addons(&["pdf"]), &catalog).unwrap_err();
    assert_eq!(refused, ChangeRefused::Owned(OwnsMore::Addon("pdf".into())));
    assert!(refused.to_string().contains("owns `pdf` for ever"), "{refused}");
}

#[test]
fn a_subscription_that_ends_bills_nothing_that_cannot_be_used() {
    let catalog = catalog_of(PLANS);
    let with_period = Subscription { cancel_at_period_end: true, ..held(&["team_m"], 5) };
    let end = with_period.period_end(&catalog).unwrap();
    let sooner = Subscription { cancel_at: Some(end - TimeDelta::days(3)), ..held(&["team_m"], 5) };
    let later = Subscription { cancel_at: Some(end + TimeDelta::days(3)), ..held(&["team_m"], 5) };
    for (subscription, wanted, expected) in [
        (&with_period, units(8), Ok(Billing::Now)),
        (&with_period, every(Interval::Year), Err(ChangeRefused::Ending)),
        (&sooner, units(8), Err(ChangeRefused::Ending)),
        (&sooner, units(3), Ok(Billing::Later)),
        (&later, units(8), Ok(Billing::Now)),
        (&later, every(Interval::Year), Err(ChangeRefused::Ending)),
    ] {
        let decided = decided(subscription, (5, &[]), &wanted, &catalog);
        assert_eq!(decided.map(|(_, billing)| billing), expected, "{wanted:?}");
    }
}

#[test]
fn a_trial_does_not_become_a_higher_plan_without_one() {
    let plans = PLANS.replace("name = \"Starter\"", "name = \"Starter\"\n    trial_days = 14");
    let catalog = catalog_of(&plans);
    let trial = |price: &str| Subscription { status: Status::Trialing, ..held(&[price], 1) };
    let more = ChangeRequest { quantity: Some(9), ..plan("team") };
    for (price, wanted, expected) in [
        ("starter_m", more, Err(ChangeRefused::Trial)),
        ("team_m", plan("starter"), Ok(Billing::Later)),
        ("team_m", units(9), Ok(Billing::Later)),
    ] {
        let decided = decided(&trial(price), (1, &[]), &wanted, &catalog);
        assert_eq!(decided.map(|(_, billing)| billing), expected, "{wanted:?}");
    }
}

#[test]
fn a_second_item_of_an_add_on_is_left_alone_until_its_price_cannot_stay() {
    let catalog = catalog_of(PLANS);
    let pdf: &[&str] = &["team_m", "pdf_m", "pdf_2020"];
    let cad: &[&str] = &["team_m", "cad_2020", "cad_m"];
    let year = [set("team_m", "team_y", 5), set("pdf_m", "pdf_y", 1), remove("pdf_2020")];
    for (prices, wanted, expected) in [
        (pdf, units(8), vec![set("team_m", "team_m", 8)]),
        (pdf, with_addons(&["pdf"]), vec![]),
        (pdf, with_addons(&[]), vec![remove("pdf_m"), remove("pdf_2020")]),
        (pdf, every(Interval::Year), year.to_vec()),
        // Stripe allows one item for each price.
        (cad, plan("starter"), vec![set("team_m", "starter_m", 1), remove("cad_2020")]),
    ] {
        let decided = decided(&held(prices, 5), (5, &["pdf", "cad"]), &wanted, &catalog);
        assert_eq!(decided.map(|(edits, _)| edits), Ok(expected), "{wanted:?}");
    }
}

#[test]
fn only_the_open_invoice_of_a_change_is_the_one_that_waits() {
    use crate::domain::sale::invoice::InvoiceStatus::{Open, Paid};
    let mut subscription = held(&["team_m"], 5);
    let of = |id: &str, status, reason| Invoice {
        reason,
        ..entitlement::tests::invoice(id, &subscription, status, 100)
    };
    let first = of("in_1", Paid, BillingReason::Change);
    let waiting = of("in_2", Open, BillingReason::Change);
    let renewal = of("in_3", Open, BillingReason::Renewal);
    let invoices = [first, waiting.clone(), renewal];
    assert_eq!(waiting_invoice(&subscription, &invoices), None, "nothing waits");
    subscription.pending_until = Some(Timestamp::saturating(100));
    assert_eq!(waiting_invoice(&subscription, &invoices), Some(&waiting.id));
    assert_eq!(waiting_invoice(&subscription, &invoices[..1]), None, "it was paid meanwhile");
    (subscription.pending_until, subscription.status) = (None, Status::Paused);
    assert_eq!(waiting_invoice(&subscription, &invoices), Some(&waiting.id), "a resumption");
}

#[test]
fn edits_are_recognized_when_they_took_effect() {
    let edits = [set("team_m", "team_y", 8), add("pdf_y"), remove("cad_m")];
    let before = held(&["team_m", "cad_m"], 5);
    assert!(!is_applied(&edits, &before));
    let mut after = held(&["team_y", "pdf_y"], 8);
    after.items[0].id = "si_team_m".into();
    assert!(is_applied(&edits, &after));
}

#[test]
fn a_change_to_less_than_is_owned_names_what_is_possible_and_can_be_accepted() {
    let small = r#"
    [[plan]]
    id = "small"
    name = "Small"
    limits = { seats = 1 }
    per_unit = ["seats"]
    quantity = { min = 1, max = 3 }
    prices = [{ id = "small_m", interval = "month", amount = 1500, currency = "usd" }]
    "#;
    // It ranks above `team`.
    let catalog = catalog_of(&PLANS.replace(
        "    [[addon]]\n    id = \"pdf\"",
        &format!("{small}    [[addon]]\n    id = \"pdf\""),
    ));
    let team = catalog.plan("team").unwrap();
    let subscription = held(&["team_m"], 10);
    let owned = PaidEntitlement {
        basis: Basis::Once,
        updates_until: Some(Timestamp::saturating(0)),
        of: None,
        ..entitled(&subscription, team, (5, &[]), &catalog)
    };
    let billed = entitled(&subscription, team, (10, &[]), &catalog);
    let now = Timestamp::saturating(1);
    let owned = Owned { plans: vec![owned], addons: Vec::new(), now };
    let paid = Paid { now: Some(billed.clone()), at_end: Some(billed), owned };
    let decide = |wanted: &ChangeRequest| decide(&subscription, &paid, wanted, &catalog);
    let accepted = "accept that by `\"accept_smaller\": true`";
    for (wanted, loss, ways) in [
        (units(3), 2, format!("choose at least 5 units, or {accepted}")),
        // No number of units of `small` is enough.
        (
            ChangeRequest { quantity: Some(3), ..plan("small") },
            2,
            format!("choose `team` with 5 units, or {accepted}"),
        ),
    ] {
        let Err(ChangeRefused::Owned(refused)) = decide(&wanted) else { panic!("{wanted:?}") };
        let refused = refused.to_string();
        assert!(refused.ends_with(&format!("would shrink; {ways}")), "{refused}");
        let change = decide(&ChangeRequest { accept_smaller: true, ..wanted }).unwrap();
        assert_eq!(change.accepted_loss.unwrap().units, loss);
    }
    let change = decide(&ChangeRequest { accept_smaller: true, ..units(7) }).unwrap();
    assert_eq!(change.accepted_loss, None, "nothing is lost");
    // Units that were given up before count too.
    let fewer = held(&["team_m"], 4);
    let accepting = ChangeRequest { accept_smaller: true, ..units(3) };
    let change = super::decide(&fewer, &paid, &accepting, &catalog).unwrap();
    assert_eq!(change.accepted_loss.unwrap().units, 2);
}

#[test]
fn an_acceptance_is_part_of_the_request_that_a_preview_binds() {
    let accepting = ChangeRequest { accept_smaller: true, ..units(3) };
    assert_ne!(accepting.to_json(), units(3).to_json());
}
