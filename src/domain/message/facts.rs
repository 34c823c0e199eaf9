//! The facts that a mail is rendered from, and their form in templates.

use minijinja::value::Value;

use super::kind::{Kind, LicenseUse};
use super::language::Language;
use crate::domain::account::mail_link::LinkKind;
use crate::domain::license::{Basis, IssuedLicense, Phase, Source};
use crate::domain::sale::order::Order;
use crate::domain::sale::plan::Catalog;
use crate::domain::sale::subscription::{Status, SubscriptionRow};
use crate::domain::time::Timestamp;

/// The facts of a mail. There is no `Debug`: they contain the license and links.
#[derive(Clone)]
pub struct Facts<'a> {
    /// The event that the mail reports.
    pub kind: Kind,
    /// The language.
    pub language: Language,
    /// The product's name.
    pub product: &'a str,
    /// The customer's name, for the greeting; none unless the address is verified.
    pub name: Option<&'a str>,
    /// The plan's display name; none in a mail about no license.
    pub plan: Option<&'a str>,
    /// The paid units; none unless the plan is sold by the unit.
    pub quantity: Option<u32>,
    /// The display names of the add-ons.
    pub addons: Vec<&'a str>,
    /// The end of the license; none if it does not expire.
    pub ends: Option<Timestamp>,
    /// The time after which builds are not covered; none if all builds are.
    pub updates_until: Option<Timestamp>,
    /// The number of months that were paid without a gap, for a license that remains of a
    /// subscription.
    pub paid_months: Option<u32>,
    /// The time until which the license token works offline, if that is before the license ends.
    pub offline_until: Option<Timestamp>,
    /// The license token; none unless the mail attaches it.
    pub token: Option<&'a str>,
    /// The key bundle that is attached with it.
    pub keys: Option<&'a str>,
    /// The status list that is attached with it.
    pub status: Option<&'a str>,
    /// The payment that the mail reports, or the unpaid invoice.
    pub payment: Option<Payment<'a>>,
    /// The subscription.
    pub subscription: SubscriptionFacts,
    /// The links.
    pub links: Links,
}

/// The facts about the subscription in a mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubscriptionFacts {
    /// Whether there is no payment method for the first payment that the mail announces.
    pub needs_payment_method: bool,
    /// Whether it is paused.
    pub is_paused: bool,
    /// Whether it is paused because its trial ended without a payment method.
    pub has_trial_ended: bool,
    /// Whether it has not ended, although the mail is about a perpetual license.
    pub is_live: bool,
    /// Whether it continues, and is charged, beside that license.
    pub is_still_charged: bool,
    /// The time of its first charge, if it continues beside that license while its trial runs.
    pub charged_from: Option<Timestamp>,
}

impl SubscriptionFacts {
    /// Returns the facts of a subscription beside a perpetual license.
    #[must_use]
    pub fn beside_perpetual(subscription: &SubscriptionRow, has_payment_method: bool) -> Self {
        let SubscriptionRow { status, trial_end, cancel_at, .. } = subscription;
        let continues = cancel_at.is_none();
        // A trial without a payment method ends without a charge.
        let is_charged_later = continues && *status == Status::Trialing && has_payment_method;
        let is_charged_now = continues && matches!(status, Status::Active | Status::PastDue);
        Self {
            is_live: status.is_live(),
            is_still_charged: is_charged_now || is_charged_later,
            charged_from: trial_end.filter(|_| is_charged_later),
            ..Self::default()
        }
    }
}

/// A payment, or an unpaid invoice.
#[derive(Clone, Copy)]
pub struct Payment<'a> {
    /// The amount in the currency's smallest unit.
    pub amount: i64,
    /// ISO 4217, lower case.
    pub currency: &'a str,
    /// Stripe's page of the invoice.
    pub invoice_url: Option<&'a str>,
}

impl<'a> Payment<'a> {
    /// Returns the payment of an order.
    #[must_use]
    pub fn of(order: &'a Order) -> Self {
        let invoice_url = order.invoice_url.as_ref().map(|url| url.as_str());
        Self { amount: order.amount, currency: &order.currency, invoice_url }
    }
}

/// The links in a mail.
#[derive(Clone, Default)]
pub struct Links {
    /// The account page.
    pub account: String,
    /// The page with the plans; none if nothing is sold.
    pub plans: Option<String>,
    /// The links that were made for this mail. Their URLs contain tokens.
    pub made: Vec<(LinkKind, String)>,
}

impl Links {
    /// Returns the links to a server's pages; that to its plans only if it sells them.
    #[must_use]
    pub fn to_pages(public_url: &str, is_selling: bool) -> Self {
        let account = format!("{public_url}/account");
        let plans = is_selling.then(|| format!("{account}#plans"));
        Self { account, plans, made: Vec::new() }
    }

    /// Returns the URL of a link that was made for this mail.
    #[must_use]
    pub fn of(&self, kind: LinkKind) -> Option<&str> {
        self.made.iter().find(|(made, _)| *made == kind).map(|(_, url)| url.as_str())
    }
}

impl<'a> Facts<'a> {
    /// Returns the facts of a mail that is sent at `now`, about a license or about none. The caller
    /// adds the payment and the links.
    #[must_use]
    pub fn about(
        kind: Kind,
        license: Option<&'a IssuedLicense>,
        name: Option<&'a str>,
        catalog: &'a Catalog,
        now: Timestamp,
    ) -> Self {
        let facts = Self {
            kind: kind.after_the_end(),
            language: Language::default(),
            product: &catalog.name,
            name,
            plan: None,
            quantity: None,
            addons: Vec::new(),
            ends: None,
            updates_until: None,
            paid_months: None,
            offline_until: None,
            token: None,
            keys: None,
            status: None,
            payment: None,
            subscription: SubscriptionFacts::default(),
            links: Links::default(),
        };
        let Some(license) = license else { return facts };
        let term = license.term();
        // After a failed first payment there is no license from a subscription.
        let is_paid = kind != Kind::PaymentProblem || license.source == Source::Paid;
        let is_attached = matches!(kind.license(), LicenseUse::Attached | LicenseUse::IfItWorks);
        let works = license.works(now) && is_paid;
        // After the paid period, the license works until the end of its grace period.
        let ends = if term.phase(now) == Phase::Active { term.expires } else { term.ends() };
        let offline_until = Some(license.token_expires_at);
        let plan = catalog.plan(&license.plan);
        let is_per_unit = plan.is_some_and(|plan| plan.is_per_unit());
        let held = catalog.addons.iter().filter(|addon| license.addons.0.contains(&addon.id));
        let is_kept = license.basis == Basis::Fallback;
        Self {
            kind: if works { kind } else { facts.kind },
            plan: Some(plan.map_or(&*license.plan, |plan| &plan.name)),
            quantity: is_per_unit.then_some(license.quantity),
            addons: held.map(|addon| addon.name.as_str()).collect(),
            ends,
            updates_until: license.updates_until,
            paid_months: plan.and_then(|plan| plan.fallback_months).filter(|_| is_kept),
            offline_until: offline_until.filter(|time| ends.is_none_or(|end| *time < end)),
            token: Some(license.token.expose()).filter(|_| works && is_attached),
            ..facts
        }
    }

    /// Returns the facts as templates name them. Every name is always there; a missing fact is
    /// none.
    pub(super) fn context(&self, subject: &str) -> Value {
        let language = self.language;
        let made = LinkKind::ALL.map(|kind| (kind.as_str(), Value::from(self.links.of(kind))));
        let own = [
            ("account", Value::from(self.links.account.as_str())),
            ("plans", Value::from(self.links.plans.as_deref())),
        ];
        let payment = self.payment.map(|payment| {
            Value::from_pairs([
                ("amount", Value::from(language.amount(payment.amount, payment.currency))),
                ("invoice", Value::from(payment.invoice_url)),
            ])
        });
        let subscription = self.subscription;
        let charged_from = subscription.charged_from.map(|time| language.time(time));
        Value::from_pairs([
            ("subject", Value::from(subject)),
            ("language", Value::from(language.as_str())),
            ("product", Value::from(self.product)),
            ("name", Value::from(self.name)),
            ("plan", Value::from(self.plan)),
            ("quantity", Value::from(self.quantity)),
            ("addons", Value::from(self.addons.join(", "))),
            ("ends", Value::from(self.ends.map(|time| language.time(time)))),
            ("updates_until", Value::from(self.updates_until.map(|time| language.time(time)))),
            ("paid_months", Value::from(self.paid_months)),
            ("offline_until", Value::from(self.offline_until.map(|time| language.time(time)))),
            ("license", Value::from(self.token)),
            ("payment", Value::from(payment)),
            ("needs_payment_method", Value::from(subscription.needs_payment_method)),
            ("paused", Value::from(subscription.is_paused)),
            ("trial_ended", Value::from(subscription.has_trial_ended)),
            ("subscribed", Value::from(subscription.is_live)),
            ("still_subscribed", Value::from(subscription.is_still_charged)),
            ("charged_from", Value::from(charged_from)),
            ("links", Value::from_pairs(made.into_iter().chain(own))),
        ])
    }
}
