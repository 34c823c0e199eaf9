//! Mistakes in the plans file that need more than one setting to be seen.

use licentia::plans;

use crate::plans_file::{GOOD, problems};

/// A plans file with every mistake that needs more than one setting to be seen. The comment at the
/// end of a line is the beginning of the problem that is reported there.
const MISTAKEN: &str = r#"
product = "acme-app"
other_prices = [
    "price_support",
    "price_team_month", #> `other_prices`: the price "price_team_month" is listed twice
]
[trial]
plan = "trial"
days = 14
[policy]
partial_refund = "sometimes" #> `policy.partial_refund`: "sometimes": use "keep" or "revoke"
[checkout]
billing_address = "never" #> `checkout.billing_address`: "never": use auto or required
promotion_code = true #> `checkout.promotion_code`: there is no such setting
[[plan]]
id = "trial"
name = "Trial"
quantity = { max = 5 } #> `plan[0].quantity`: every quantity of this plan grants the same
fallback_months = 12 #> `plan[0].fallback_months`: it is for a subscription
former_ids = ["team"] #> `plan[0].former_ids`: "team" is the id of a plan; list ids
[[plan]]
id = "team"
former_ids = [
    "crew",
    "club", #> `plan[1].former_ids`: these plans are former ids of each other: team → club → guild → team
]
name = "Team"
limits = { seats = 1 }
per_unit = ["seats", "seets"] #> `plan[1].per_unit`: there is no limit "seets" in `limits`
quantity = { min = 20, max = 10 } #> `plan[1].quantity.min`: 20 is more than the most, 10
prices = [
    { id = "price_team_month", interval = "month", amount = 900, currency = "usd" },
    { id = "price_team_2", interval = "month", amount = 9, currency = "usd" }, #> `plan[1].prices[1].currency`: "team" has two prices for the interval month in usd
    { id = "price_team_3", interval = "year", amount = 9, currency = "eur", updates_months = 3 }, #> `plan[1].prices[2].updates_months`: a subscription has all updates
    { id = "price_team_4", interval = "year", amount = 9, currency = "usd", currencies = { eur = 1 } }, #> `plan[1].prices[3].currencies`: "team" has two prices for the interval year in eur
    { id = "price_team_5", interval = "year", amount = 9, currency = "usd", sold = false },
    { id = "price_team_6", interval = "updates", amount = 9, currency = "usd", updates_months = 1 }, #> `plan[1].prices[5].interval`: updates are for a perpetual license
    { id = "price_team_7", interval = "year", amount = 9, currency = "gbp", currencies = { EUR = 1 } }, #> `plan[1].prices[6].currencies`: "EUR": use the three letters
]
former_prices = ["price_team_2024", "price_team_month"] #> `plan[1].former_prices`: the price "price_team_month" is listed twice
[[plan]]
id = "club"
former_ids = ["guild", "crew"] #> `plan[2].former_ids`: "crew" is a former id of "team" already
name = "Club"
trial_days = 14 #> `plan[2].trial_days`: a trial at Stripe begins a subscription
limits = { seats = 1 }
per_unit = ["seats"]
quantity = { min = 0 } #> `plan[2].quantity.min`: 0 is not valid; use a whole number
prices = [
    { id = "price_club", interval = "once", amount = 9, currency = "usd", updates_months = -1 }, #> `plan[2].prices[0].updates_months`: -1 is not valid; use a whole number from 1 to 600
    { id = "price_club_updates", interval = "updates", amount = 9, currency = "usd" }, #> `plan[2].prices[1].updates_months`: it is missing
]
[[plan]]
id = "guild"
former_ids = ["team"] #> `plan[3].former_ids`: "team" is a former id of "trial" already
name = "Guild"
trial_days = 14 #> `plan[3].trial_days`: a trial at Stripe begins a subscription
fallback_months = 0 #> `plan[3].fallback_months`: 0 is not valid; use a whole number from 1 to 600
[[plan]]
id = "guild" #> `plan[4].id`: two plans or add-ons have the id "guild"
name = "Guild"
[[plan]]
id = "solo"
former_ids = ["solo"] #> `plan[5].former_ids`: these plans are former ids of each other: solo → solo
name = "Solo"
token_days = 3650 #> `plan[5].token_days`: use at most 367
warn_days = 366 #> `plan[5].warn_days`: 366 is not valid; use a whole number from 0 to 365
on_end = { features = ["a", "a"] } #> `plan[5].on_end.mode`: it is missing; for example mode = "limited"
#^ `plan[5].on_end.features`: a feature is listed twice
[[plan]]
id = "duo"
name = "Duo"
warn_days = 1.5 #> `plan[6].warn_days`: 1.5 is not valid; use a whole number from 0 to 365
on_end = "warn" #> `plan[6].on_end`: this is a table of settings, [plan.on_end], not one value
[[plan]]
id = "trio"
name = "Trio"
warn_days = -1 #> `plan[7].warn_days`: -1 is not valid
token_days = 0 #> `plan[7].token_days`: 0 is not valid; use a whole number from 1 to
[plan.on_end]
mode = "Warn" #> `plan[7].on_end.mode`: "Warn": use stop, limited or warn
feature = ["a"] #> `plan[7].on_end.feature`: there is no such setting; did you mean `features`?
limits = { "a b" = 1, c = -1, d = 1.0 } #> `plan[7].on_end.limits`: "a b": use 1 to 64 letters
#^ `plan[7].on_end.limits`: `c` is -1; use a whole number from 0 to
#^ `plan[7].on_end.limits`: `d` is 1.0; use a whole number from 0 to
[[plan]]
id = "quartet"
name = "Quartet"
[plan.on_end]
mode = "warn"
features = ["a b"] #> `plan[8].on_end.features`: with the mode "warn", everything remains; remove it
#^ `plan[8].on_end.features`: "a b": use 1 to 64 letters
[[plan]]
id = "quintet"
name = "Quintet"
on_end = { mode = "stop", limits = { seats = 1 } } #> `plan[9].on_end.limits`: with the mode "stop", nothing remains
[[plan]]
id = "sextet"
name = "Sextet"
on_end = {} #> `plan[10].on_end.mode`: it is missing
[[plan]]
id = "septet"
name = "Septet"
limits = { seats = 1 }
per_unit = [
    "seats",
    "seats", #> `plan[11].per_unit`: "seats" is listed twice
]
[[plan.on_end]] #> `plan[11].on_end`: this is a table of settings, [plan.on_end], not one value
mode = "warn"
[[addon]]
id = "team" #> `addon[0].id`: two plans or add-ons have the id "team"
name = "Team"
plans = [
    "team",
    "team", #> `addon[0].plans`: "team" is listed twice; list it once
    "clubs", #> `addon[0].plans`: there is no plan "clubs"; did you mean "club"?
]
prices = [
    { id = "price_club", interval = "month", amount = 9, currency = "usd", updates_months = 12 }, #> `addon[0].prices[0].id`: the price "price_club" is listed twice
    #^ `addon[0].prices[0].updates_months`: only plans have updates; remove it
    { id = "price_addon", interval = "updates", amount = 9, currency = "usd" }, #> `addon[0].prices[1].interval`: an add-on has no updates
]
[[addon]]
id = "none"
name = "None"
plans = [] #> `addon[1].plans`: the add-on is sold with none of the plans
"#;

#[test]
fn each_mistake_has_its_line() {
    let is_mark = |line: &str| line.trim_start().starts_with("#^ ");
    let mut expected = Vec::new();
    for (n, line) in MISTAKEN.lines().enumerate() {
        // The marks `#^` stand below the line of the problem.
        let above = (1..=n).take_while(|up| MISTAKEN.lines().nth(n + 1 - up).is_some_and(is_mark));
        let marks = [("#> ", n + 1), ("#^ ", n + 1 - above.count())];
        let marked = marks.iter().filter_map(|(mark, n)| Some((n, line.split_once(mark)?.1)));
        expected.extend(marked.map(|(n, text)| format!("plans.toml:{n}: {text}")));
    }
    let found = problems(MISTAKEN);
    for expected in &expected {
        let is_it = |problem: &String| problem.starts_with(expected.as_str());
        assert!(found.iter().any(is_it), "{expected}\nis not in\n{}", found.join("\n"));
    }
    assert_eq!(found.len(), expected.len(), "{}", found.join("\n"));
}

#[test]
fn the_size_of_a_license_counts_add_ons_and_the_largest_quantity() {
    let wide = (0..60).map(|n| format!("\"{n:0>60}\"")).collect::<Vec<_>>().join(", ");
    let addon = format!("[[addon]]\nid = \"wide\"\nname = \"Wide\"\nfeatures = [{wide}]\n");
    let one = format!("{GOOD}{addon}");
    assert!(plans::parse("plans.toml", &one).is_ok());
    let wider = wide.replace("\"0", "\"1");
    let two = format!("{one}{}", addon.replace("wide", "wider").replace(&wide, &wider));
    let found = problems(&two);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("a license of the plan \"trial\" with all of its add-ons has"));
    let not_for_all = format!("{two}plans = [\"professional\"]\n");
    assert_eq!(problems(&not_for_all).len(), 1);
    // What remains at the end is in the license too.
    let remains = format!(
        "{one}plans = [\"professional\"]\n[[plan]]\nid = \"x\"\nname = \"X\"\nfeatures = [{wide}]"
    );
    assert!(plans::parse("plans.toml", &remains).is_ok());
    let on_end = format!("on_end = {{ mode = \"limited\", features = [{wide}] }}");
    assert_eq!(problems(&format!("{remains}\n{on_end}\n")).len(), 1);
}
