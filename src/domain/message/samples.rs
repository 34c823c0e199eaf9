//! Made-up facts, to preview mails and to check templates.

use chrono::TimeDelta;

use super::facts::{Facts, Links, Payment, SubscriptionFacts};
use super::kind::{Case, Kind, LicenseUse};
use super::language::Language;
use crate::domain::account::mail_link::{LinkKind, LinkToken, RANDOM_BYTES};
use crate::domain::sale::plan::Catalog;
use crate::domain::time::Timestamp;

/// The server in made-up links.
const SERVER: &str = "https://licenses.acme.example";

/// A text that looks like a license token.
const LICENSE: &str = "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCIsImtpZCI6InNhbXBsZSJ9.\
                       eyJwbGFuIjoic2FtcGxlIiwic3ViIjoiY3VzdF9zYW1wbGUifQ.\
                       c2FtcGxlLXNpZ25hdHVyZS1vZi1hLXByZXZpZXdlZC1tYWlsLW5vdC12YWxpZA";

/// Stripe's page of a made-up invoice.
const INVOICE: &str = "https://invoice.stripe.com/i/acct_sample/test_sample?s=ap";

/// Returns the facts of every mail: each kind in each of its cases, in each language.
pub(super) fn all(catalog: &Catalog, now: Timestamp) -> impl Iterator<Item = Facts<'_>> {
    Kind::all_cases().flat_map(move |(kind, case)| {
        Language::ALL.into_iter().map(move |language| facts(kind, case, language, catalog, now))
    })
}

/// Returns made-up facts of a mail.
pub(super) fn facts(
    kind: Kind,
    case: Case,
    language: Language,
    catalog: &Catalog,
    now: Timestamp,
) -> Facts<'_> {
    let is_subscribed = matches!(case, Case::StillSubscribed | Case::StillInTrial);
    let is_once = case == Case::Once || is_subscribed;
    let is_trial = matches!(kind, Kind::Trial | Kind::TrialEnding | Kind::TrialEnded);
    let paid = catalog.plans.last().filter(|_| !is_trial);
    let plan = paid.unwrap_or(catalog.trial());
    let (use_of_license, is_verified) = (kind.license(), case != Case::Unverified);
    let is_attached = matches!(use_of_license, LicenseUse::Attached | LicenseUse::IfItWorks);
    let has_license = is_attached && !matches!(case, Case::NoLicense | Case::TrialEnded);
    let is_over = matches!(kind, Kind::TrialEnded | Kind::LicenseEnded);
    let ends = match kind {
        _ if case == Case::Forever || use_of_license == LicenseUse::NotUsed => None,
        Kind::UpdatesExtended | Kind::Fallback | Kind::PerpetualAgain => None,
        _ if is_once => None,
        _ if is_over => Some(now - TimeDelta::hours(1)),
        Kind::TrialEnding | Kind::PaymentBegins => Some(now + TimeDelta::days(3)),
        _ if is_trial => Some(now + catalog.trial_lasts()),
        _ => Some(now + TimeDelta::days(365)),
    };
    let has_window =
        matches!(kind, Kind::UpdatesExtended | Kind::Fallback | Kind::PerpetualAgain) || is_once;
    let is_about_units = kind == Kind::QuantityChanged;
    let is_offline_shorter = matches!(case, Case::Forever | Case::Offline) && has_license;
    let is_kept = matches!(kind, Kind::Fallback | Kind::PerpetualAgain);
    let is_payment = matches!(case, Case::Paid | Case::Unpaid)
        || (is_once && !is_kept)
        || matches!(kind, Kind::Receipt | Kind::PaymentBegins);
    let price = plan.prices.first();
    let token = LinkToken::from_random([0; RANDOM_BYTES]);
    let is_made = |link: &LinkKind| match link {
        LinkKind::Verify => !is_verified,
        // Nothing at Stripe belongs to a license that does not expire.
        LinkKind::Portal => case != Case::Forever,
        LinkKind::Reset | LinkKind::FirstPassword | LinkKind::Undo => true,
    };
    let made = kind.links().iter().copied().filter(is_made);
    let made = made.map(|link| (link, link.url(SERVER, &token))).collect();
    Facts {
        kind,
        language,
        product: &catalog.name,
        name: is_verified.then_some("Ada Lovelace"),
        plan: (use_of_license != LicenseUse::NotUsed).then_some(plan.name.as_str()),
        quantity: is_about_units.then_some(5),
        addons: if is_about_units { vec!["PDF export"] } else { Vec::new() },
        ends,
        updates_until: has_window.then(|| now + TimeDelta::days(365)),
        paid_months: (kind == Kind::Fallback).then_some(12),
        offline_until: is_offline_shorter.then(|| now + TimeDelta::days(catalog.token_days.into())),
        token: has_license.then_some(LICENSE),
        keys: None,
        status: None,
        payment: is_payment.then(|| Payment {
            amount: price.map_or(4900, |price| price.amount.into()),
            currency: price.map_or("usd", |price| price.currency.as_str()),
            invoice_url: Some(INVOICE),
        }),
        subscription: SubscriptionFacts {
            needs_payment_method: case == Case::NoPaymentMethod,
            is_paused: matches!(case, Case::Paused | Case::TrialEnded),
            has_trial_ended: case == Case::TrialEnded,
            is_live: is_subscribed,
            is_still_charged: is_subscribed,
            charged_from: (case == Case::StillInTrial).then(|| now + TimeDelta::days(3)),
        },
        links: Links { made, ..Links::to_pages(SERVER, true) },
    }
}
