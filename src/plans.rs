//! Reads the plans file into a [`Catalog`], and reports all problems at once. What a plan grants is
//! defined in [`crate::domain::sale::plan`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;
use std::path::Path;

use licentia_verify::MAX_TOKEN_BYTES;

use crate::domain::contact::DisplayName;
use crate::domain::ids::{CustomerId, LicenseId};
use crate::domain::license::{Entitlement, Holder, Source, Term, claims};
use crate::domain::sale::plan::{Catalog, Plan, Price, Slug};
use crate::domain::sale::policy::{Bought, Policy};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::files::read_text;
use crate::settings::Section;

/// The plans when there is no file: the example from the documentation.
const BUILT_IN: &str = include_str!("../plans.toml");

/// The largest plans file, in bytes: hundreds of plans.
const MAX_FILE_BYTES: u64 = 256 * 1024;

const TRIAL_DAYS: RangeInclusive<u64> = 1..=365;
/// At most ten years: data about a former customer is not kept forever.
const REMEMBER_DAYS: RangeInclusive<u64> = 0..=3650;
const DEFAULT_REMEMBER_DAYS: u64 = 730;
/// At most a leap year and a day, so that a yearly license can last offline.
const TOKEN_DAYS: RangeInclusive<u64> = 1..=367;
const DEFAULT_TOKEN_DAYS: u64 = 30;
const GRACE_DAYS: RangeInclusive<u64> = 0..=90;
/// The largest integer that every JSON reader keeps exactly (RFC 8259, section 6).
const LIMITS: RangeInclusive<u64> = 0..=(1 << 53) - 1;
/// Stripe's largest amount has eight digits.
const AMOUNTS: RangeInclusive<u64> = 0..=99_999_999;
/// The size of a license token without its claims, in bytes: header, signature, two dots.
const TOKEN_FRAME_BYTES: usize = 256;
/// The longest issuer, in bytes.
const MAX_ISSUER_BYTES: usize = 200;

/// Reads the plans file. With `None`, returns the built-in plans.
///
/// # Errors
/// [`Error::Setup`] with every problem of the file.
pub fn load(path: Option<&Path>) -> Result<Catalog> {
    let Some(path) = path else { return parse("the built-in plans", BUILT_IN) };
    let text = read_text(path, MAX_FILE_BYTES).map_err(|problem| {
        Error::setup(format!("the plans file {} cannot be read: {problem}", path.display()))
    })?;
    parse(&path.display().to_string(), &text)
}

/// Reads the text of a plans file; `file` is its name, for messages.
///
/// # Errors
/// [`Error::Setup`] with every problem of the text.
pub fn parse(file: &str, text: &str) -> Result<Catalog> {
    let table = text.parse().map_err(|error| Error::setup(format!("{file}: {error}")))?;
    let mut root = Section::root(table, HashMap::new());
    let catalog = catalog(&mut root);
    root.finish();
    let problems = root.problems().into_iter();
    let problems: Vec<_> = problems.map(|problem| format!("{file}: {problem}")).collect();
    match catalog {
        Some(catalog) if problems.is_empty() => Ok(catalog),
        _ => Err(Error::Setup(problems)),
    }
}

fn catalog(root: &mut Section) -> Option<Catalog> {
    let product = root.parsed("product");
    let product = root.require("product", product, "\"acme-app\"");
    let name: Option<DisplayName> = root.parsed("name");
    let issuer = issuer(root);
    let token_days = root.integer("token_days", TOKEN_DAYS).unwrap_or(DEFAULT_TOKEN_DAYS);

    let mut trial = root.section("trial");
    let trial_plan: Option<Slug> = trial.parsed("plan");
    let trial_plan = trial.require("plan", trial_plan, "\"trial\"");
    let trial_days = trial.integer("days", TRIAL_DAYS);
    let trial_days = trial.require("days", trial_days, "14");
    let remember_days = trial.integer("remember_days", REMEMBER_DAYS);

    let policy = policy(root.section("policy"));
    let mut checkout = root.section("checkout");
    let allow_unknown_buyers = checkout.flag("allow_unknown_buyers").unwrap_or(false);
    checkout.finish();
    let other_prices: Vec<Slug> = root.list("other_prices");
    let plans: Vec<Option<Plan>> = root.sections("plan").into_iter().map(plan).collect();
    let all_are_readable = plans.iter().all(Option::is_some);
    let plans: Vec<Plan> = plans.into_iter().flatten().collect();
    unique_ids(root, &plans);

    let trial_index = plans.iter().position(|plan| Some(&plan.id) == trial_plan.as_ref());
    // An invalid plan, which is reported already, may be the one for the trial.
    if let (Some(id), None, true) = (&trial_plan, trial_index, all_are_readable) {
        trial.problem(
            "plan",
            format_args!("there is no [[plan]] with the id {id:?}", id = id.as_str()),
        );
    }
    trial.finish();
    let product: Slug = product?;
    let catalog = Catalog {
        name: name.map_or_else(|| product.to_string(), |name| name.as_str().to_owned()),
        product,
        issuer,
        token_days: days(token_days),
        trial_days: days(trial_days?),
        trial_remember_days: days(remember_days.unwrap_or(DEFAULT_REMEMBER_DAYS)),
        trial_plan: trial_index?,
        plans,
        policy,
        other_prices: other_prices.iter().map(ToString::to_string).collect(),
        allow_unknown_buyers,
    };
    check_token_size(root, &catalog);
    for price in catalog.other_prices.iter().filter(|price| catalog.by_price(price).is_some()) {
        let problem = format_args!("{price} is the price of a plan; remove it from one of them");
        root.problem("other_prices", problem);
    }
    Some(catalog)
}

fn issuer(root: &mut Section) -> Option<String> {
    let issuer = root.text("issuer")?;
    let is_visible = issuer.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_visible || issuer.is_empty() || issuer.len() > MAX_ISSUER_BYTES {
        root.problem("issuer", "use a URL, like \"https://licenses.acme.example\"");
    }
    Some(issuer)
}

fn policy(mut section: Section) -> Policy {
    let default = Policy::default();
    let policy = Policy {
        refund: section.parsed("refund").unwrap_or(default.refund),
        dispute: section.parsed("dispute").unwrap_or(default.dispute),
        dispute_lost: section.parsed("dispute_lost").unwrap_or(default.dispute_lost),
        forgiven: section.parsed("forgiven").unwrap_or(default.forgiven),
    };
    if (policy.dispute, policy.dispute_lost) == (Bought::Revoke, Bought::Keep) {
        section.problem(
            "dispute_lost",
            "a license that is revoked while a dispute is open would be restored when the dispute \
             is lost; use \"revoke\", or dispute = \"keep\"",
        );
    }
    section.finish();
    policy
}

fn plan(mut section: Section) -> Option<Plan> {
    let id = section.parsed("id");
    let id = section.require("id", id, "\"professional\"");
    let name: Option<DisplayName> = section.parsed("name");
    let name = section.require("name", name, "\"Professional\"");
    let features: Vec<Slug> = section.list("features");
    if features.iter().collect::<BTreeSet<_>>().len() < features.len() {
        section.problem("features", "a feature is listed twice; remove one of them");
    }
    let limits: BTreeMap<_, _> = section.numbers("limits", LIMITS).into_iter().collect();
    let grace_days = section.integer("grace_days", GRACE_DAYS).unwrap_or(0);
    let prices: Vec<Option<Price>> = section.sections("prices").into_iter().map(price).collect();
    let former_prices: Vec<Slug> = section.list("former_prices");
    section.finish();
    Some(Plan {
        id: id?,
        name: name?.as_str().to_owned(),
        features,
        limits,
        grace_days: days(grace_days),
        prices: prices.into_iter().collect::<Option<_>>()?,
        former_prices: former_prices.iter().map(ToString::to_string).collect(),
    })
}

fn price(mut section: Section) -> Option<Price> {
    let id: Option<Slug> = section.parsed("id");
    let id = section.require("id", id, "\"price_pro_monthly\"");
    let interval = section.parsed("interval");
    let interval = section.require("interval", interval, "\"month\"");
    let amount = section.integer("amount", AMOUNTS);
    let amount = section.require("amount", amount, "4900");
    let currency = section.text("currency");
    let currency = section.require("currency", currency, "\"usd\"");
    if let Some(currency) = &currency
        && !(currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_lowercase()))
    {
        section.problem("currency", "use the three letters of ISO 4217, lower case, like \"usd\"");
    }
    section.finish();
    Some(Price {
        id: id?.to_string(),
        interval: interval?,
        amount: u32::try_from(amount?).unwrap_or(u32::MAX),
        currency: currency?,
    })
}

/// Adds a problem for each id of a plan or price that is used twice, and for each plan with two
/// prices for the same interval and currency.
fn unique_ids(root: &Section, plans: &[Plan]) {
    let mut seen = BTreeSet::new();
    for plan in plans {
        if !seen.insert(plan.id.as_str()) {
            root.problem("plan", format_args!("two plans have the id {:?}", plan.id.as_str()));
        }
    }
    let mut seen = BTreeSet::new();
    for id in plans.iter().flat_map(Plan::price_ids) {
        if !seen.insert(id) {
            root.problem("plan", format_args!("two prices have the id {id:?}"));
        }
    }
    for plan in plans {
        let mut seen = BTreeSet::new();
        for price in &plan.prices {
            if !seen.insert((price.interval, price.currency.as_str())) {
                let plan = plan.id.as_str();
                let (interval, currency) = (price.interval.as_str(), &price.currency);
                root.problem(
                    "plan",
                    format_args!("the plan {plan:?} has two prices per {interval} in {currency}"),
                );
            }
        }
    }
}

/// Adds a problem for each plan whose license would be too large for verifiers.
fn check_token_size(root: &Section, catalog: &Catalog) {
    let (customer_id, license_id) = (CustomerId::from_random(0), LicenseId::from_random(0));
    let issuer = "x".repeat(MAX_ISSUER_BYTES);
    let end = Some(Timestamp::MAX);
    for plan in &catalog.plans {
        let term = Term { expires: end, grace_until: end };
        let entitlement = Entitlement::new(plan, Source::Operator, term);
        let holder =
            Holder { customer_id: &customer_id, license_id: &license_id, seq: *LIMITS.end() };
        let claims = claims(&entitlement, &holder, catalog, &issuer, Timestamp::MAX);
        let json = serde_json::to_string(&claims).unwrap_or_default();
        let bytes = json.len().div_ceil(3) * 4 + TOKEN_FRAME_BYTES;
        if bytes > MAX_TOKEN_BYTES {
            let plan = plan.id.as_str();
            root.problem(
                "plan",
                format_args!(
                    "a license of the plan {plan:?} has {bytes} bytes, but verifiers read at most \
                     {MAX_TOKEN_BYTES}: use fewer or shorter names of features and limits"
                ),
            );
        }
    }
}

/// Returns a number of days. The settings' ranges fit into the type.
fn days(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
