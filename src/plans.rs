//! Reads the plans file into a [`Catalog`], and reports all problems at once. What a plan grants is
//! defined in [`crate::domain::sale::plan`].

mod check;
mod former_ids;
mod on_end;
mod plan;
mod price;

use std::ops::RangeInclusive;
use std::path::Path;

use crate::domain::contact::DisplayName;
use crate::domain::sale::plan::{Catalog, CheckoutOptions, Plan, Slug};
use crate::domain::sale::policy::{Consequence, Policy};
use crate::error::{Error, Result};
use crate::files::read_text;
use crate::settings::{Lines, Section};

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
/// The largest integer that every JSON reader keeps exactly (RFC 8259, section 6).
const LIMITS: RangeInclusive<u64> = 0..=(1 << 53) - 1;
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
    let unreadable = |error| Error::setup(format!("{file}: {error}"));
    let lines = Lines::of(text).map_err(unreadable)?;
    let mut root = Section::file(text.parse().map_err(unreadable)?, lines);
    let catalog = catalog(&mut root);
    root.finish();
    let problems = root.problems();
    let problems: Vec<_> = problems.iter().map(|problem| problem.in_file(file)).collect();
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
    let checkout = checkout(root.section("checkout"));
    let other_prices: Vec<Slug> = root.list("other_prices");
    let other_prices: Vec<_> = other_prices.iter().map(ToString::to_string).collect();
    let plans: Vec<_> = root.sections("plan").into_iter().map(plan::plan).collect();
    let addons: Vec<_> = root.sections("addon").into_iter().map(plan::addon).collect();
    // A plan without a valid id is reported already. It may be the one that another setting names.
    let all_have_ids = plans.iter().all(Option::is_some);
    let plans: Vec<_> = plans.into_iter().flatten().collect();
    let addons: Vec<_> = addons.into_iter().flatten().collect();
    check::ids_and_prices(root, &plans, &addons, &other_prices);
    former_ids::check(&plans);

    let (sections, plans): (Vec<_>, Vec<Plan>) =
        plans.into_iter().map(|read| (read.section, read.value)).unzip();
    if all_have_ids {
        check::plans_of_addons(&addons, &plans);
    }
    let trial_index = plans.iter().position(|plan| Some(&plan.id) == trial_plan.as_ref());
    if let (Some(id), None, true) = (&trial_plan, trial_index, all_have_ids) {
        let id = id.as_str();
        trial.problem("plan", format_args!("there is no [[plan]] with the id {id:?}"));
    }
    trial.finish();
    // If something is missing, which is reported already, the catalog serves for the last check.
    let product: Slug = product.or_else(|| Some(plans.first()?.id.clone()))?;
    let catalog = Catalog {
        name: name.map_or_else(|| product.to_string(), |name| name.as_str().to_owned()),
        product,
        issuer,
        token_days: small(token_days),
        trial_license_days: small(trial_days.unwrap_or_default()),
        trial_remember_days: small(remember_days.unwrap_or(DEFAULT_REMEMBER_DAYS)),
        trial_plan: trial_index.unwrap_or_default(),
        plans,
        addons: addons.into_iter().map(|read| read.value).collect(),
        policy,
        checkout,
        other_prices,
    };
    check::token_size(&sections, &catalog);
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
        partial_refund: section.parsed("partial_refund").unwrap_or(default.partial_refund),
        dispute: section.parsed("dispute").unwrap_or(default.dispute),
        dispute_lost: section.parsed("dispute_lost").unwrap_or(default.dispute_lost),
        forgiven: section.parsed("forgiven").unwrap_or(default.forgiven),
    };
    if (policy.dispute, policy.dispute_lost) == (Consequence::Revoke, Consequence::Keep) {
        section.problem(
            "dispute_lost",
            "a license that is revoked while a dispute is open would be restored when the dispute \
             is lost; use \"revoke\", or dispute = \"keep\"",
        );
    }
    section.finish();
    policy
}

fn checkout(mut section: Section) -> CheckoutOptions {
    let mut is_on = |key| section.flag(key).unwrap_or(false);
    let options = CheckoutOptions {
        promotion_codes: is_on("promotion_codes"),
        automatic_tax: is_on("automatic_tax"),
        tax_ids: is_on("tax_ids"),
        terms_of_service: is_on("terms_of_service"),
        allow_unknown_buyers: is_on("allow_unknown_buyers"),
        billing_address: section.parsed("billing_address"),
    };
    section.finish();
    options
}

/// Returns a number of days, months or units. The settings' ranges fit into the type.
fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
