//! Tests of what a changed plans file takes away, without a database. Those of a changed policy are
//! in `policy`.

mod policy;

use super::*;
use crate::domain::ids::{CustomerId, OrderId};
use crate::domain::license::grant::tests::license as sample;
use crate::domain::license::{Basis, IssuedLicense, Source};
use crate::domain::sale::entitlement::tests::{DAY, NOW, at, selling};
use crate::domain::sale::invoice::OrderStatus;
use crate::domain::sale::order::OrderedPlan;
use crate::domain::sale::subscription::{BilledItem, BilledItems, Status, StoredBilling};

/// A customer without a subscription.
const NOTHING: StoredBilling = StoredBilling { billed_items: None, billed_status: None };

/// The purchases of a customer of whom nothing is stored.
const NO_PURCHASES: StoredPurchases<'static> =
    StoredPurchases { subscription: &NOTHING, orders: &[] };

/// Returns the texts of what these changes of the tests' plans file take away.
fn removals(change: impl FnOnce(&mut Catalog)) -> Vec<String> {
    let (old, mut new) = (PlansSnapshot::of(&selling()), selling());
    change(&mut new);
    old.removals(&new).iter().map(Removal::to_string).collect()
}

fn plan<'c>(catalog: &'c mut Catalog, id: &str) -> &'c mut Plan {
    catalog.plans.iter_mut().find(|plan| plan.id.as_str() == id).unwrap()
}

#[test]
fn settings_that_take_away_what_was_sold_are_reported() {
    assert!(removals(|_| {}).is_empty());
    let fallback = |months| removals(|new| plan(new, "team").fallback_months = months);
    let [gone] = &fallback(None)[..] else { panic!("{:?}", fallback(None)) };
    assert!(gone.contains("no longer leaves a perpetual license after 12 paid months"), "{gone}");
    assert!(fallback(Some(13))[0].contains("after 13 paid months"), "{:?}", fallback(Some(13)));
    assert!(fallback(Some(11)).is_empty(), "it leaves more");

    let updates = |months| removals(|new| plan(new, "studio").prices[0].updates_months = months);
    let [fewer] = &updates(Some(6))[..] else { panic!("{:?}", updates(Some(6))) };
    assert!(fewer.starts_with("price_studio_once pays for 6 months of builds"), "{fewer}");
    assert!(updates(None).is_empty() && updates(Some(13)).is_empty());
    let limited = removals(|new| plan(new, "site").prices[0].updates_months = Some(60));
    assert!(limited[0].contains("and not for all"), "{limited:?}");
    // A former price pays for the months of the present one.
    let retired = removals(|new| {
        let studio = plan(new, "studio");
        let mut price = studio.prices[0].clone();
        (price.id, price.updates_months) = ("price_studio_once_2".into(), Some(6));
        studio.former_prices.push(std::mem::replace(&mut studio.prices[0], price).id);
    });
    assert_eq!(retired.len(), 1, "{retired:?}");

    let narrowed = |plans: &[&str]| {
        let plans = plans.iter().map(|id| id.parse().unwrap()).collect();
        removals(|new| new.addons[0].plans = Some(plans))
    };
    let expected = "`pdf` is no longer sold with `studio`: customers who pay for both lose it";
    assert_eq!(narrowed(&["team"]), [expected]);
    assert!(narrowed(&["team", "studio", "site"]).is_empty());
}

#[test]
fn a_weaker_promise_about_the_end_is_reported() {
    let limited = |features: &[&str]| {
        let features = features.iter().map(ToString::to_string).collect();
        OnEnd::Limited { features, limits: BTreeMap::new() }
    };
    let found = |before: OnEnd, after: OnEnd| {
        let mut old = selling();
        plan(&mut old, "team").on_end = before;
        let mut new = old.clone();
        plan(&mut new, "team").on_end = after;
        let removals = PlansSnapshot::of(&old).removals(&new);
        let license = license("team", Basis::Subscription);
        let change = license_change(&license, NO_PURCHASES, (&old, &new), at(NOW));
        let differences = change.into_iter().flat_map(|change| change.differences);
        let texts = |texts: Vec<String>| texts.join("; ");
        (
            texts(removals.iter().map(Removal::to_string).collect()),
            texts(differences.map(|difference| difference.to_string()).collect()),
        )
    };
    let (removal, difference) = found(OnEnd::Warn, OnEnd::Stop);
    let expected = "`team` promises less about the end, `on_end`: stop instead of warn; a license \
                    in the field keeps its promise until it is refreshed";
    assert_eq!(removal, expected);
    assert_eq!(difference, "on_end: warn → stop, which promises less");
    let (removal, difference) = found(limited(&["open", "print"]), limited(&["open"]));
    assert!(removal.contains("limited (open) instead of limited (open, print)"), "{removal}");
    assert!(difference.ends_with("→ limited (open), which promises less"), "{difference}");
    for (before, after, text) in [
        (OnEnd::Stop, OnEnd::Warn, "on_end: stop → warn"),
        (limited(&["open"]), OnEnd::Warn, "on_end: limited (open) → warn"),
        (limited(&["b", "a"]), limited(&["a", "b"]), ""),
    ] {
        assert_eq!(found(before, after), (String::new(), text.to_owned()));
    }
}

#[test]
fn fewer_days_of_warning_of_a_token_and_of_grace_are_reported() {
    let mut old = selling();
    old.token_days = 30;
    (plan(&mut old, "team").warn_days, plan(&mut old, "team").grace_days) = (14, 7);
    let found = |warn_days: u32, token_days: Option<u32>, grace_days: u32| {
        let mut new = old.clone();
        let team = plan(&mut new, "team");
        (team.warn_days, team.token_days, team.grace_days) = (warn_days, token_days, grace_days);
        let removals: Vec<_> =
            PlansSnapshot::of(&old).removals(&new).iter().map(Removal::to_string).collect();
        let change = license_change(
            &license("team", Basis::Subscription),
            NO_PURCHASES,
            (&old, &new),
            at(NOW),
        );
        let differences = change.into_iter().flat_map(|change| change.differences);
        (removals, differences.map(|difference| difference.to_string()).collect::<Vec<_>>())
    };
    let (removals, differences) = found(1, Some(7), 0);
    let expected = [
        "apps with a license of `team` warn 1 day before a change for the worse instead of 14",
        "license tokens of `team` work for 7 days without a refresh instead of 30",
        "licenses of `team` work for 0 days after an unpaid renewal instead of 7",
    ];
    assert_eq!(removals, expected);
    let expected = ["warn_days: 14 → 1", "token_days: 30 → 7", "grace_days: 7 → 0"];
    assert_eq!(sorted(differences), sorted(expected));
    let (removals, differences) = found(30, Some(90), 14);
    assert!(removals.is_empty());
    let expected = ["warn_days: 14 → 30", "token_days: 30 → 90", "grace_days: 7 → 14"];
    assert_eq!(sorted(differences), sorted(expected));
    assert_eq!(found(14, Some(30), 7), (Vec::new(), Vec::new()), "it says what was so anyway");
}

/// Returns texts in the order of the alphabet.
fn sorted(texts: impl IntoIterator<Item = impl ToString>) -> Vec<String> {
    let mut texts: Vec<_> = texts.into_iter().map(|text| text.to_string()).collect();
    texts.sort();
    texts
}

#[test]
fn plans_that_an_earlier_version_stored_promised_nothing() {
    let mut stored = serde_json::to_value(PlansSnapshot::of(&selling())).unwrap();
    for goods in stored["plans"].as_array_mut().unwrap() {
        for name in ["on_end", "warn_days", "token_days", "grace_days"] {
            assert!(goods.as_object_mut().unwrap().remove(name).is_some(), "{name}");
        }
    }
    let stored: PlansSnapshot = serde_json::from_value(stored).unwrap();
    assert_eq!(stored.removals(&selling()), []);
}

#[test]
fn a_one_time_price_that_is_removed_or_sells_something_else_is_reported() {
    for (price, id) in [
        ("price_studio_once", "studio"),
        ("price_studio_updates", "studio"),
        ("price_pdf_once", "pdf"),
    ] {
        let found = removals(|new| {
            plan(new, "studio").prices.retain(|own| own.id != price);
            new.addons[0].prices.retain(|own| own.id != price);
        });
        let [gone] = &found[..] else { panic!("{found:?}") };
        let expected = format!(
            "{price} no longer pays for `{id}`; if anybody pays it or has bought something for \
             it, put it back under `prices` with `sold = false`"
        );
        assert_eq!(*gone, expected);
    }
    let former = |price: &str| {
        removals(|new| {
            let studio = plan(new, "studio");
            studio.prices.retain(|own| own.id != price);
            studio.former_prices.push(price.to_owned());
        })
    };
    let [updates] = &former("price_studio_updates")[..] else { panic!() };
    let expected = "price_studio_updates sold updates of `studio` and counts as a purchase of the \
                    plan now, with units of its own; keep it under `prices` with `sold = false`, \
                    because `former_prices` does not say what it sold";
    assert_eq!(updates, expected);
    let changed = removals(|new| plan(new, "studio").prices[0].interval = Interval::Updates);
    let [license] = &changed[..] else { panic!("{changed:?}") };
    assert!(license.contains("counts as updates now: its buyers lose the license"), "{license}");
}

/// Returns a paid license of a plan with the add-on `pdf`.
fn license(plan: &str, basis: Basis) -> IssuedLicense {
    let addons = "[\"pdf\"]".parse().unwrap();
    let token_expires_at = at(NOW + DAY);
    IssuedLicense { basis, addons, token_expires_at, ..sample(Source::Paid, plan, None) }
}

/// Returns an order of the customer, paid at the tests' time, if at all.
fn order(plan: &str, interval: Interval, status: OrderStatus) -> OrderedPlan {
    OrderedPlan {
        order_id: OrderId::from_random(1),
        customer_id: CustomerId::from_random(1),
        plan: plan.to_owned(),
        billing_interval: Some(interval),
        addons: None,
        returned: 0,
        status,
        stripe_invoice_id: Some("in_1".parse().unwrap()),
        created_at: at(NOW),
        purchased_at: None,
    }
}

/// Returns the differences for a license of a plan that was bought on this basis, with the add-on
/// `pdf`. `billed` are the prices of the subscription.
fn changes(
    (plan, basis): (&str, Basis),
    billed: &[&str],
    change: impl FnOnce(&mut Catalog),
) -> Vec<String> {
    let (old, mut new) = (selling(), selling());
    change(&mut new);
    let license = license(plan, basis);
    let items =
        billed.iter().map(|price| BilledItem { price: (*price).to_owned(), quantity: Some(1) });
    let items = Some(BilledItems(items.collect())).filter(|items| !items.0.is_empty());
    let status = items.as_ref().map(|_| Status::Active);
    let subscription = StoredBilling { billed_items: items, billed_status: status };
    let purchases = StoredPurchases { subscription: &subscription, orders: &[] };
    let change = license_change(&license, purchases, (&old, &new), at(NOW));
    let differences = change.into_iter().flat_map(|change| change.differences);
    differences.map(|difference| difference.to_string()).collect()
}

/// Returns a change that removes a price.
fn without(price: &str) -> impl FnOnce(&mut Catalog) {
    move |new: &mut Catalog| {
        for plan in &mut new.plans {
            plan.prices.retain(|own| own.id != price);
        }
        new.addons[0].prices.retain(|own| own.id != price);
    }
}

#[test]
fn a_license_that_may_have_been_bought_at_a_price_that_is_gone_changes() {
    let once = ("studio", Basis::Once);
    for price in ["price_studio_once", "price_studio_updates", "price_pdf_once"] {
        let expected = format!("{price}, which may have paid for it, pays for nothing now");
        assert_eq!(changes(once, &[], without(price)), [expected]);
    }
    for other in ["price_studio_month", "price_pdf_month", "price_site_once"] {
        assert_eq!(changes(once, &[], without(other)), [""; 0], "{other}");
    }
    let moved = |new: &mut Catalog| {
        let price = plan(new, "studio").prices.remove(0);
        plan(new, "site").prices.push(price);
    };
    let expected = "price_studio_once, which may have paid for it, pays for `site` now";
    assert_eq!(changes(once, &[], moved), [expected]);
    let unsold = |new: &mut Catalog| plan(new, "studio").prices[0].is_for_sale = false;
    assert_eq!(changes(once, &[], unsold), [""; 0]);

    let fallback = ("team", Basis::Fallback);
    let expected = "price_team_month, which may have paid for it, pays for nothing now";
    assert_eq!(changes(fallback, &[], without("price_team_month")), [expected]);

    let subscribed = ("team", Basis::Subscription);
    let billed = ["price_pdf_month", "price_team_month"];
    let of = |price| changes(subscribed, &billed, without(price));
    assert_eq!(of("price_pdf_month"), ["its price price_pdf_month pays for nothing now"]);
    assert_eq!(of("price_team_month"), ["its price price_team_month pays for nothing now"]);
    assert_eq!(of("price_pdf_once"), [""; 0], "the add-on is billed");
    let once = changes(subscribed, &billed[1..], without("price_pdf_once"));
    assert_eq!(once, ["price_pdf_once, which may have paid for it, pays for nothing now"]);
}

#[test]
fn what_an_earlier_version_stored_is_read_and_compared() {
    let mut stored = serde_json::to_value(PlansSnapshot::of(&selling())).unwrap();
    for kind in ["plans", "addons"] {
        for goods in stored[kind].as_array_mut().unwrap() {
            let goods = goods.as_object_mut().unwrap();
            for field in ["fallback_months", "updates_months", "updates", "with_plans"] {
                assert!(goods.remove(field).is_some(), "{field}");
            }
        }
    }
    let old: PlansSnapshot = serde_json::from_value(stored).unwrap();
    assert_eq!(old.removals(&selling()), []);
    let mut less = selling();
    (less.plans[2].fallback_months, less.addons[0].plans) = (None, Some(Vec::new()));
    less.plans[1].features.clear();
    assert_eq!(old.removals(&less).len(), 1, "what it did not store is not known");
}

#[test]
fn a_plan_that_ranks_below_another_one_now_is_reported() {
    let moved = |from: &str, to: &str| {
        removals(|new| {
            let place = |new: &Catalog, id: &str| new.rank(id);
            let (from, to) = (place(new, from), place(new, to));
            let plan = new.plans.remove(from);
            new.plans.insert(to, plan);
        })
    };
    let below = |id: &str, above: &str| {
        format!("`{id}` ranks below {above} now: customers who have paid for both lose `{id}`")
    };
    assert_eq!(moved("studio", "site"), [below("site", "`studio`")]);
    assert_eq!(moved("site", "team"), [below("site", "`team` and `studio`")]);
    let free = selling().trial().id.to_string();
    assert_eq!(moved(&free, "site"), [""; 0], "nobody pays for it");
    let renamed = removals(|new| {
        let former = std::mem::replace(&mut plan(new, "site").id, "farm".parse().unwrap());
        plan(new, "farm").former_ids.push(former);
        new.plans.reverse();
    });
    assert!(renamed.iter().any(|text| text.starts_with("`farm` ranks below")), "{renamed:?}");
}

#[test]
fn a_license_of_a_plan_that_was_overtaken_changes_if_its_customer_paid_for_both() {
    let (paid, once) = (OrderStatus::Succeeded, Interval::Once);
    let found = |(of, basis): (&str, Basis), order: OrderedPlan, swap: (&str, &str)| {
        let (old, mut new) = (selling(), selling());
        let (one, other) = (new.rank(swap.0), new.rank(swap.1));
        new.plans.swap(one, other);
        let purchases = StoredPurchases { orders: &[order.clone(), order], ..NO_PURCHASES };
        let change = license_change(&license(of, basis), purchases, (&old, &new), at(NOW));
        let differences = change.into_iter().flat_map(|change| change.differences);
        differences.map(|difference| difference.to_string()).collect::<Vec<_>>()
    };
    let site = ("site", Basis::Once);
    let swap = ("studio", "site");
    let expected = "studio, which its customer has paid for too, ranks above it now";
    assert_eq!(found(site, order("studio", once, paid), swap), [expected]);
    assert_eq!(found(site, order("studio", Interval::Updates, paid), swap), [expected]);
    assert_eq!(found(site, order("studio", once, OrderStatus::Disputed), swap), [expected]);
    for unpaid in [OrderStatus::Pending, OrderStatus::Failed, OrderStatus::Refunded] {
        assert_eq!(found(site, order("studio", once, unpaid), swap), [""; 0], "{unpaid:?}");
    }
    assert_eq!(
        found(site, order("studio", Interval::Month, paid), swap),
        [""; 0],
        "it leaves none"
    );
    assert_eq!(found(site, order("site", once, paid), swap), [""; 0], "only its own plan");
    assert_eq!(found(("studio", Basis::Once), order("site", once, paid), swap), [""; 0]);
    let swap = ("team", "site");
    let expected = "team, which its customer has paid for too, ranks above it now";
    assert_eq!(
        found(site, order("team", Interval::Month, paid), swap),
        [expected],
        "it leaves one"
    );
    let expected = "site, which its customer has paid for too, ranks below it now";
    assert_eq!(found(("team", Basis::Fallback), order("site", once, paid), swap), [expected]);
}

#[test]
fn a_license_that_may_have_been_bought_at_a_price_that_sells_something_else_changes() {
    let once = ("studio", Basis::Once);
    let swapped = |new: &mut Catalog| {
        let studio = plan(new, "studio");
        (studio.prices[0].interval, studio.prices[1].interval) =
            (Interval::Updates, Interval::Once);
    };
    let expected = [
        "price_studio_once, which may have paid for it, sells updates now",
        "price_studio_updates, which may have paid for it, sells perpetual licenses now",
    ];
    assert_eq!(changes(once, &[], swapped), expected);
    assert_eq!(changes(("studio", Basis::Subscription), &[], swapped), [""; 0]);
    let of_addon = |new: &mut Catalog| {
        for price in &mut new.addons[0].prices {
            price.interval = Interval::Month;
        }
    };
    let expected = "price_pdf_once, which may have paid for it, is charged for each period now";
    assert_eq!(changes(once, &[], of_addon), [expected]);
    let lost = "price_pdf_once was charged once for `pdf` and is charged for each period now: its \
                buyers lose `pdf`";
    assert_eq!(removals(of_addon), [lost]);
}
