//! The plans file: its meaning, and all of its mistakes reported at once.

use licentia::domain::sale::plan::{
    BillingAddress, CheckoutOptions, Currency, Interval, Quantity, Slug, Sold,
};
use licentia::domain::sale::policy::Consequence::{Keep, Revoke};
use licentia::domain::sale::policy::Policy;
use licentia::error::Error;
use licentia::plans;
use licentia_verify::OnEnd;

pub const GOOD: &str = r#"
product = "acme-app"
issuer = "https://licenses.acme.example"
[trial]
plan = "trial"
days = 14
[[plan]]
id = "trial"
name = "Trial"
features = ["editor"]
limits = { seats = 1, devices = 1 }
[[plan]]
id = "professional"
name = "Professional"
features = ["editor", "export", "sso"]
limits = { seats = 5, devices = 3 }
grace_days = 7
prices = [{ id = "price_pro_monthly", interval = "month", amount = 4900, currency = "usd" }]
"#;

/// Plans with everything that can be sold.
const SELLING: &str = r#"
product = "acme-app"
[trial]
plan = "trial"
days = 14
[policy]
partial_refund = "revoke"
[checkout]
promotion_codes = true
automatic_tax = true
tax_ids = true
terms_of_service = true
billing_address = "required"
allow_unknown_buyers = true
[[plan]]
id = "trial"
name = "Trial"
[[plan]]
id = "team"
former_ids = ["crew", "squad"]
name = "Team"
limits = { seats = 1, devices = 3 }
per_unit = ["seats"]
quantity = { min = 2, max = 500 }
trial_days = 30
fallback_months = 12
warn_days = 14
prices = [
    { id = "price_team_month", interval = "month", amount = 900, currency = "usd", currencies = { eur = 800 } },
    { id = "price_team_year", interval = "year", amount = 9000, currency = "usd" },
    { id = "price_team_year_eur", interval = "year", amount = 8000, currency = "eur" },
    { id = "price_team_2025", interval = "month", amount = 700, currency = "usd", sold = false },
]
[[plan]]
id = "studio"
name = "Studio"
token_days = 3650
limits = { seats = 1 }
per_unit = ["seats"]
prices = [
    { id = "price_studio", interval = "once", amount = 19900, currency = "usd", updates_months = 12 },
    { id = "price_studio_updates", interval = "updates", amount = 9900, currency = "usd", updates_months = 6 },
]
former_prices = ["price_studio_2025"]
[plan.on_end]
mode = "limited"
features = ["view", "export"]
limits = { seats = 1 }
[[addon]]
id = "pdf"
name = "PDF export"
features = ["pdf"]
limits = { pages = 100 }
plans = ["team"]
prices = [{ id = "price_pdf", interval = "month", amount = 500, currency = "usd" }]
former_prices = ["price_pdf_2025"]
[[addon]]
id = "support"
name = "Support"
prices = [{ id = "price_support", interval = "once", amount = 5000, currency = "usd" }]
"#;

pub fn problems(text: &str) -> Vec<String> {
    match plans::parse("plans.toml", text) {
        Err(Error::Setup(problems)) => problems,
        other => panic!("no problem was found: {other:?}"),
    }
}

#[test]
fn the_example_of_the_design_is_read() {
    let catalog = plans::parse("plans.toml", GOOD).unwrap();
    assert_eq!(catalog.product.as_str(), "acme-app");
    assert_eq!(catalog.issuer.as_deref(), Some("https://licenses.acme.example"));
    assert_eq!((catalog.trial().id.as_str(), catalog.trial_license_days), ("trial", 14));
    let plan = catalog.plan("professional").unwrap();
    assert_eq!((plan.grace_days, plan.prices[0].amount), (7, 4900));
    assert!(catalog.plan("enterprise").is_none());
}

#[test]
fn everything_that_can_be_sold_is_read() {
    let catalog = plans::parse("plans.toml", SELLING).unwrap();
    let options = CheckoutOptions {
        promotion_codes: true,
        automatic_tax: true,
        tax_ids: true,
        terms_of_service: true,
        billing_address: Some(BillingAddress::Required),
        allow_unknown_buyers: true,
    };
    assert_eq!(catalog.checkout, options);
    assert_eq!(catalog.policy, Policy { partial_refund: Revoke, ..Policy::default() });
    assert!(catalog.sells_once());

    let team = catalog.plan("team").unwrap();
    assert_eq!(team.quantity, Quantity { min: 2, max: 500 });
    assert!(team.per_unit.iter().map(Slug::as_str).eq(["seats"]));
    assert_eq!(
        (team.trial_days, team.fallback_months, team.token_days),
        (Some(30), Some(12), None)
    );
    let amounts: Vec<_> = team.prices[0].amounts().map(|(one, n)| (one.as_str(), n)).collect();
    assert_eq!(amounts, [("usd", 900), ("eur", 800)]);
    let eur: Currency = "eur".parse().unwrap();
    assert_eq!(team.price(None).unwrap().amount_in(&eur), Some(800));
    let yearly: Vec<_> =
        team.prices_for_sale(Interval::Year).map(|price| price.id.as_str()).collect();
    assert_eq!(yearly, ["price_team_year", "price_team_year_eur"]);
    assert_eq!(team.prices_for_sale(Interval::Month).count(), 1, "one is not sold any more");

    let studio = catalog.plan("studio").unwrap();
    assert_eq!((studio.quantity, studio.token_days), (Quantity::PER_UNIT, Some(3650)));
    let months: Vec<_> = studio.prices.iter().map(|price| price.updates_months).collect();
    assert_eq!(months, [Some(12), Some(6)]);
    assert_eq!(studio.price(None).unwrap().interval, Interval::Once);

    assert_eq!((team.warn_days, &team.on_end), (14, &OnEnd::Stop));
    let (features, limits) = (vec!["view".into(), "export".into()], [("seats".into(), 1)].into());
    assert_eq!((studio.warn_days, &studio.on_end), (0, &OnEnd::Limited { features, limits }));

    let pdf = catalog.addon("pdf").unwrap();
    assert!(pdf.is_for(team) && !pdf.is_for(studio));
    assert!(catalog.addon("support").unwrap().is_for(studio));
    let trial = catalog.trial();
    assert_eq!((trial.quantity, trial.trial_days), (Quantity::ONE, None));
}

#[test]
fn a_price_says_what_it_pays_for() {
    let catalog = plans::parse("plans.toml", SELLING).unwrap();
    let sold = |id: &str| match catalog.sold(id)? {
        Sold::Plan { rank, plan, price } => {
            assert_eq!(catalog.by_price(id), Some((rank, plan)));
            Some((plan.id.to_string(), price.map(|price| price.interval)))
        }
        Sold::Addon { addon, price } => {
            assert_eq!(catalog.by_price(id), None, "{id}");
            Some((addon.id.to_string(), price.map(|price| price.interval)))
        }
    };
    for (id, name, interval) in [
        ("price_team_month", "team", Some(Interval::Month)),
        ("price_team_2025", "team", Some(Interval::Month)),
        ("price_studio_updates", "studio", Some(Interval::Updates)),
        ("price_studio_2025", "studio", None),
        ("price_pdf", "pdf", Some(Interval::Month)),
        ("price_pdf_2025", "pdf", None),
        ("price_support", "support", Some(Interval::Once)),
    ] {
        assert_eq!(sold(id), Some((name.to_owned(), interval)), "{id}");
    }
    assert_eq!(sold("price_of_nobody"), None);
    assert!(!plans::load(None).unwrap().sells_once());
}

#[test]
fn a_renamed_plan_is_found_by_its_former_ids() {
    let catalog = plans::parse("plans.toml", SELLING).unwrap();
    for former in ["crew", "squad"] {
        assert_eq!(catalog.plan(former), catalog.plan("team"));
        assert_eq!(catalog.rank(former), 1);
        assert!(catalog.is_same_plan(former, "team") && catalog.is_same_plan("team", former));
        assert!(!catalog.is_same_plan(former, "studio"));
    }
    assert!(catalog.is_same_plan("crew", "squad"));
    assert!(catalog.is_same_plan("removed", "removed"), "a plan that is not in the file");
    assert!(!catalog.is_same_plan("removed", "team"));
}

#[test]
fn the_built_in_plans_are_valid() {
    assert!(plans::load(None).unwrap().plans.len() >= 2);
}

#[test]
fn the_vendor_sets_the_policy_for_refunds_and_disputes() {
    let policy =
        |text: &str| plans::parse("plans.toml", &format!("{GOOD}\n{text}")).unwrap().policy;
    let usual = Policy {
        refund: Revoke,
        partial_refund: Keep,
        dispute: Keep,
        dispute_lost: Revoke,
        forgiven: Keep,
    };
    assert_eq!(policy(""), usual);
    assert_eq!(policy("[policy]\nrefund = \"keep\""), Policy { refund: Keep, ..usual });
    assert_eq!(policy("[policy]\nforgiven = \"revoke\""), Policy { forgiven: Revoke, ..usual });
    let partial = policy("[policy]\npartial_refund = \"revoke\"");
    assert_eq!(partial, Policy { partial_refund: Revoke, ..usual });
    let strict = policy("[policy]\ndispute = \"revoke\"\ndispute_lost = \"revoke\"");
    assert_eq!(strict, Policy { dispute: Revoke, ..usual });
    for (text, expected) in [
        (
            "refunds = \"keep\"",
            "`policy.refunds`: there is no such setting; did you mean `refund`?",
        ),
        ("refund = \"cancel\"", "`policy.refund`: \"cancel\": use \"keep\" or \"revoke\""),
        ("refund = true", "`policy.refund`: true is not valid; use a text in quotes"),
        (
            "dispute = \"revoke\"\ndispute_lost = \"keep\"",
            "`policy.dispute_lost`: a license that is revoked while a dispute is open would be restored",
        ),
    ] {
        let found = problems(&format!("{GOOD}\n[policy]\n{text}")).join("\n");
        assert!(found.contains(expected), "{expected}\nis not in\n{found}");
    }
}

/// Returns the example with its commented settings. A comment is one if it begins like TOML.
fn example_with_all_settings() -> String {
    let uncommented = |line: &'static str| {
        let setting = line.strip_prefix("# ").unwrap_or(line);
        let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
        let is_toml = setting.trim_start().starts_with(['[', ']', '{'])
            || setting.trim_start_matches(is_name).starts_with(" = ");
        if is_toml { setting } else { line }
    };
    include_str!("../../plans.toml").lines().map(uncommented).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_commented_settings_of_the_example_are_valid_and_complete() {
    let example = example_with_all_settings();
    let catalog = plans::parse("plans.toml", &example).unwrap();
    assert_eq!(catalog.policy, Policy::default(), "the example shows the defaults");
    let options = CheckoutOptions {
        promotion_codes: true,
        automatic_tax: true,
        tax_ids: true,
        terms_of_service: true,
        billing_address: Some(BillingAddress::Required),
        allow_unknown_buyers: true,
    };
    assert_eq!(catalog.checkout, options);
    let ids: Vec<_> = catalog.plans.iter().map(|plan| plan.id.as_str()).collect();
    assert_eq!(ids, ["trial", "starter", "professional", "team", "studio"]);
    let team = &catalog.plans[3];
    assert!(catalog.addon("pdf").unwrap().is_for(team) && catalog.sells_once());
    assert!(team.trial_days.is_some() && team.fallback_months.is_some());
    assert!(team.warn_days > 0 && team.on_end != OnEnd::Stop);
    assert!(!team.former_ids.is_empty() && !team.prices[2].others.is_empty());
    // Each setting of a table is in the message about an unknown one.
    for header in ["[trial]", "[policy]", "[checkout]", "id = \"studio\"", "id = \"pdf\""] {
        let found = problems(&example.replace(header, &format!("{header}\nzzz = 1"))).join("\n");
        let (_, known) = found.split_once("the settings here are: ").unwrap();
        for name in known.split(", ") {
            let is_set = |name: &str| example.contains(&format!("{name} = "));
            assert!(is_set(name) || name == "former_prices", "{name} is not in the example");
        }
    }
}

#[test]
fn every_mistake_in_the_plans_file_is_reported_at_once() {
    let broken = GOOD
        .replace("days = 14", "days = 0")
        .replace("grace_days = 7", "grace_dais = 7")
        .replace("seats = 5", "seats = -5")
        .replace("interval = \"month\"", "interval = \"week\"")
        .replace("currency = \"usd\"", "currency = \"US$\"")
        .replace("features = [\"editor\"]", "features = [\"edit or\"]");
    let found = problems(&broken).join("\n");
    for expected in [
        "plans.toml:6: `trial.days`: 0 is not valid; use a whole number from 1 to 365",
        "plans.toml:17: `plan[1].grace_dais`: there is no such setting; did you mean `grace_days`?",
        "`plan[1].limits`: `seats` is -5; use a whole number from 0 to",
        "`plan[1].prices[0].interval`: \"week\": use month, year, once or updates",
        "`plan[1].prices[0].currency`: \"US$\": use the three letters of ISO 4217",
        "`plan[0].features`: \"edit or\": use 1 to 64 letters",
    ] {
        assert!(found.contains(expected), "{expected}\nis not in\n{found}");
    }
    assert_eq!(problems(&broken).len(), 6, "{found}");
}

#[test]
fn a_setting_in_the_wrong_table_is_reported_with_the_right_one() {
    for misplaced in ["policy = 3", "token_days = 7"] {
        let name = misplaced.split(' ').next().unwrap();
        let found = problems(&GOOD.replace("days = 14", &format!("days = 14\n{misplaced}")));
        let expected = format!(
            "plans.toml:7: `trial.{name}`: there is no such setting; `{name}` belongs to the top \
             level: put it above all tables, or use [{name}] if it is a table"
        );
        assert_eq!(found, [expected]);
    }
}

#[test]
fn missing_duplicate_and_invalid_settings_are_named() {
    let cases = [
        (
            GOOD.replace("product = \"acme-app\"", ""),
            "`product`: it is missing; for example product = \"acme-app\"",
        ),
        (
            GOOD.replace("plan = \"trial\"", "plan = \"tryal\""),
            "`trial.plan`: there is no [[plan]] with the id \"tryal\"",
        ),
        (
            GOOD.replace("id = \"professional\"", "id = \"trial\""),
            "two plans or add-ons have the id \"trial\"",
        ),
        (GOOD.replace("\"sso\"", "\"editor\""), "`plan[1].features`: a feature is listed twice"),
        (GOOD.replace("days = 14", ""), "`trial.days`: it is missing"),
        (GOOD.replace("name = \"Trial\"", "name = \"Tri\\nal\""), "`plan[0].name`"),
        (GOOD.replace("amount = 4900", "amount = \"much\""), "`plan[1].prices[0].amount`"),
        (GOOD.replace("https://licenses.acme.example", ""), "`issuer`: use a URL"),
    ];
    for (text, expected) in cases {
        let found = problems(&text).join("\n");
        assert!(found.contains(expected), "{expected}\nis not in\n{found}");
    }
    assert!(problems("product = ")[0].starts_with("plans.toml: TOML parse error"));
}

#[test]
fn a_plan_whose_license_would_be_unreadable_is_refused() {
    let many: Vec<_> = (0..150).map(|n| format!("\"{n:0>60}\"")).collect();
    let text = GOOD.replace("[\"editor\"]", &format!("[{}]", many.join(", ")));
    let found = problems(&text).join("\n");
    assert!(found.contains("plans.toml:10: `plan[0].features`: a license of the plan \"trial\" with all of its add-ons has"), "{found}");
}

#[test]
fn prices_are_unique_by_id_and_by_interval() {
    let price =
        "{ id = \"price_pro_monthly\", interval = \"month\", amount = 4900, currency = \"usd\" }";
    let twice = GOOD.replace(price, &format!("{price}, {price}"));
    let found = problems(&twice).join("\n");
    assert!(found.contains("the price \"price_pro_monthly\" is listed twice"), "{found}");
    assert!(
        found.contains("\"professional\" has two prices for the interval month in usd"),
        "{found}"
    );
}

#[test]
fn a_missing_file_is_named() {
    let error = plans::load(Some(std::path::Path::new("/nowhere/plans.toml"))).unwrap_err();
    assert!(error.to_string().contains("/nowhere/plans.toml cannot be read"), "{error}");
}

#[test]
fn other_prices_are_listed_above_the_plans_and_belong_to_no_plan() {
    let with = |price: &str| format!("other_prices = [\"{price}\"]\n{GOOD}");
    let catalog = plans::parse("plans.toml", &with("price_support")).unwrap();
    assert!(
        catalog.is_other_price("price_support") && !catalog.is_other_price("price_pro_monthly")
    );
    let problems = problems(&with("price_pro_monthly"));
    assert_eq!(
        problems,
        [
            "plans.toml:1: `other_prices`: the price \"price_pro_monthly\" is listed twice; it cannot be \
             of a plan or add-on and of something else"
        ]
    );
}
