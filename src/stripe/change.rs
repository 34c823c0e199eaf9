//! The calls that preview, change and end a subscription.

use serde::{Deserialize, Serialize};
use stripe_client_core::StripeMethod;

use super::wire::{Identified, WireInvoicePage, WirePreview, WireSchedule};
use super::{Answer, Form, Stripe, field, read};
use crate::domain::ids::AttemptId;
use crate::domain::sale::change::{ItemEdit, SubscriptionChange, is_applied};
use crate::domain::sale::discount::Discounts;
use crate::domain::sale::preview::UpcomingInvoice;
use crate::domain::sale::stripe_ids::{InvoiceId, StripeSubscriptionId};
use crate::domain::sale::stripe_state::StripeState;
use crate::domain::sale::subscription::Subscription;
use crate::domain::time::Timestamp;
use crate::fail_point::FailPoint;

/// The invoice that is previewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreviewOf {
    /// The one that the change creates, if the rest of the period is billed from this time.
    Change(Timestamp),
    /// The next one, if the change itself is not billed.
    Next,
    /// One for a whole period after the change, without anything else.
    WholePeriod,
}

/// The parameters of the call that changes a subscription. They are stored unchanged until its
/// outcome is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeParameters {
    /// The subscription.
    pub subscription: String,
    /// The edits of its items.
    pub edits: Vec<ItemEdit>,
    /// The time from which the rest of the period is billed, in epoch seconds; `None` if it is
    /// not.
    pub billed_from: Option<i64>,
    /// Whether its invoices are sent to the customer instead of charged.
    pub has_sent_invoices: bool,
    /// The discounts before the change.
    #[serde(default)]
    pub discounts: Vec<String>,
    /// The promotion code to add.
    #[serde(default)]
    pub promotion_code: Option<String>,
    /// The newest invoice before the change.
    pub latest_invoice: Option<String>,
    /// The schedule that the change replaces.
    pub schedule: Option<String>,
}

impl ChangeParameters {
    /// Returns whether the state shows that the change was made: it took effect, or waits for its
    /// payment.
    #[must_use]
    pub fn is_made(&self, state: &StripeState) -> bool {
        self.subscription_in(state).is_some_and(|found| {
            let has_new_invoice = self.new_invoice(found).is_some();
            let waits = found.pending_until.is_some() && has_new_invoice;
            // A code for one invoice is gone when that invoice exists. Without edits, that invoice
            // may also be a renewal before the change.
            let may_be_used = has_new_invoice && !self.edits.is_empty();
            waits || self.is_in_effect(found, may_be_used)
        })
    }

    /// Returns whether a subscription is as the change makes it. `may_be_used` is whether an
    /// invoice may have used up the promotion code.
    #[must_use]
    pub fn is_in_effect(&self, found: &Subscription, may_be_used: bool) -> bool {
        let is_new = |id: &String| !self.discounts.contains(id);
        let has_code = self.promotion_code.is_none() || found.discounts.iter().any(is_new);
        is_applied(&self.edits, found) && (has_code || may_be_used)
    }

    /// Returns the subscription.
    #[must_use]
    pub fn subscription_in<'a>(&self, state: &'a StripeState) -> Option<&'a Subscription> {
        state.subscriptions.iter().find(|one| one.id.as_str() == self.subscription)
    }

    /// Returns the newest invoice of the subscription, unless there was no other since the change.
    #[must_use]
    pub fn new_invoice<'a>(&self, of: &'a Subscription) -> Option<&'a InvoiceId> {
        let newest = of.latest_invoice.as_ref();
        newest.filter(|id| Some(id.as_str()) != self.latest_invoice.as_deref())
    }
}

/// Returns the fields of a call that makes these edits, of a preview or of an update. `place` is
/// where they are: `items` or `subscription_details[items]`.
fn fields(edits: &[ItemEdit], place: &str) -> Form {
    let mut form = Form::new();
    for (number, edit) in edits.iter().enumerate() {
        let mut add = |name: &str, value: String| {
            form.push(field(format!("{place}[{number}][{name}]"), value));
        };
        match edit {
            ItemEdit::Set { item, price, quantity } => {
                add("id", item.clone());
                add("price", price.clone());
                add("quantity", quantity.to_string());
            }
            ItemEdit::Add { price, quantity } => {
                add("price", price.clone());
                add("quantity", quantity.to_string());
            }
            ItemEdit::Remove { item } => {
                add("id", item.clone());
                add("deleted", "true".to_owned());
            }
        }
    }
    form
}

/// Returns the fields that give a subscription, or a preview of it, these discounts. They replace
/// all that it has, or with an empty value remove them. Without them, the discounts stay
/// (<https://docs.stripe.com/api/subscriptions/update#update_subscription-discounts>,
/// <https://docs.stripe.com/api/invoices/create_preview#create_create_preview-discounts>).
///
/// A code is only added while the subscription has no discount, or ones that have ended.
fn discount_fields(discounts: &Discounts, promotion_code: Option<&str>) -> Form {
    match (discounts, promotion_code) {
        (Discounts::OfChange, None) => Form::new(),
        (Discounts::OfChange, Some(code)) => vec![field("discounts[0][promotion_code]", code)],
        (Discounts::Only(ids), _) if ids.is_empty() => vec![field("discounts", "")],
        (Discounts::Only(ids), _) => {
            let all = ids.iter().enumerate();
            all.map(|(place, id)| field(format!("discounts[{place}][discount]"), id)).collect()
        }
    }
}

impl ChangeParameters {
    fn form(&self) -> Form {
        let mut form = fields(&self.edits, "items");
        form.extend(discount_fields(&Discounts::OfChange, self.promotion_code.as_deref()));
        match self.billed_from {
            None => form.push(field("proration_behavior", "none")),
            Some(at) => {
                form.push(field("proration_behavior", "always_invoice"));
                form.push(field("proration_date", at.to_string()));
                // The change waits for its payment. That is not possible for invoices that are
                // sent (<https://docs.stripe.com/billing/subscriptions/pending-updates>).
                let behavior = if self.has_sent_invoices {
                    "allow_incomplete"
                } else {
                    "pending_if_incomplete"
                };
                form.push(field("payment_behavior", behavior));
            }
        }
        form
    }
}

impl Stripe {
    /// Returns an invoice of a subscription after a change, with these discounts. Nothing is
    /// written.
    pub async fn preview_change(
        &self,
        change: &SubscriptionChange<'_>,
        of: PreviewOf,
        discounts: &Discounts,
    ) -> Answer<UpcomingInvoice> {
        let subscription = change.subscription;
        let mut form = vec![field("subscription", subscription.id.as_str())];
        form.extend(fields(&change.edits, "subscription_details[items]"));
        let code = change.promotion_code.as_ref().map(|code| code.id.as_str());
        form.extend(discount_fields(discounts, code));
        let behavior = "subscription_details[proration_behavior]";
        match of {
            PreviewOf::Change(at) => {
                form.push(field(behavior, "always_invoice"));
                let at = at.epoch_seconds().to_string();
                form.push(field("subscription_details[proration_date]", at));
            }
            PreviewOf::Next => form.push(field(behavior, "none")),
            PreviewOf::WholePeriod => {
                form.push(field(behavior, "none"));
                form.push(field("preview_mode", "recurring"));
            }
        }
        let path = "/invoices/create_preview";
        let found: WirePreview =
            read(path, self.call(StripeMethod::Post, path, &form, None).await?)?;
        Ok(found.into_domain())
    }

    /// Changes the items and discounts of a subscription. The same attempt changes it once.
    pub async fn change_subscription(
        &self,
        attempt: &AttemptId,
        parameters: &ChangeParameters,
        at: FailPoint<'_>,
    ) -> Answer<()> {
        let path = format!("/subscriptions/{}", parameters.subscription);
        self.post::<Identified>(&path, parameters.form(), Some(attempt), at).await.map(drop)
    }

    /// Lets a subscription end with its period, or no longer: `by_period` says which of Stripe's
    /// two fields holds the scheduled end.
    pub async fn set_end(
        &self,
        id: &StripeSubscriptionId,
        ends: bool,
        by_period: bool,
        at: FailPoint<'_>,
    ) -> Answer<()> {
        let form = match (ends, by_period) {
            (true, _) => vec![field("cancel_at_period_end", "true")],
            (false, true) => vec![field("cancel_at_period_end", "false")],
            (false, false) => vec![field("cancel_at", "")],
        };
        let path = format!("/subscriptions/{id}");
        self.post::<Identified>(&path, form, None, at).await.map(drop)
    }

    /// Ends the trial of a subscription, so that its first period is charged. Repeating it changes
    /// nothing.
    pub async fn end_trial(&self, id: &StripeSubscriptionId, at: FailPoint<'_>) -> Answer<()> {
        let form = vec![field("trial_end", "now"), field("proration_behavior", "none")];
        self.post::<Identified>(&format!("/subscriptions/{id}"), form, None, at).await.map(drop)
    }

    /// Cancels a subscription immediately.
    pub async fn cancel_subscription(
        &self,
        id: &StripeSubscriptionId,
        at: FailPoint<'_>,
    ) -> Answer<()> {
        let path = format!("/subscriptions/{id}");
        self.delete::<Identified>(&path, at).await.map(drop)
    }

    /// Resumes a paused subscription as soon as its invoice is paid.
    pub async fn resume_subscription(
        &self,
        id: &StripeSubscriptionId,
        at: FailPoint<'_>,
    ) -> Answer<()> {
        let form = vec![field("payment_behavior", "resume_on_payment_success")];
        let path = format!("/subscriptions/{id}/resume");
        self.post::<Identified>(&path, form, None, at).await.map(drop)
    }

    /// Voids an invoice. Thereby a change that waits for its payment is discarded.
    pub async fn void_invoice(&self, id: &str, at: FailPoint<'_>) -> Answer<()> {
        let path = format!("/invoices/{id}/void");
        self.post::<Identified>(&path, Vec::new(), None, at).await.map(drop)
    }

    /// Returns whether a schedule looks like one of the portal, for one later change.
    pub async fn is_portal_schedule(&self, id: &str) -> Answer<bool> {
        let path = format!("/subscription_schedules/{id}");
        let schedule: Option<WireSchedule> = self.known(&path, Vec::new()).await?;
        Ok(schedule.is_none_or(|schedule| schedule.is_of_portal()))
    }

    /// Ends a schedule. Its subscription stays as it is.
    pub async fn release_schedule(&self, id: &str, at: FailPoint<'_>) -> Answer<()> {
        let path = format!("/subscription_schedules/{id}/release");
        self.post::<Identified>(&path, Vec::new(), None, at).await.map(drop)
    }

    /// Returns the page where an invoice can be paid.
    pub async fn invoice_page(&self, id: &InvoiceId) -> Answer<Option<String>> {
        let invoice: WireInvoicePage = self.get(&format!("/invoices/{id}"), Vec::new()).await?;
        Ok(invoice.hosted_invoice_url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_written_as_stripe_reads_them() {
        let (item, price) = ("si_team_m".to_owned(), "team_y".to_owned());
        let edits = [
            ItemEdit::Set { item, price, quantity: 8 },
            ItemEdit::Add { price: "pdf_y".into(), quantity: 1 },
            ItemEdit::Remove { item: "si_cad_m".into() },
        ];
        let pairs = fields(&edits, "items");
        let written: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            written,
            [
                "items[0][id]=si_team_m",
                "items[0][price]=team_y",
                "items[0][quantity]=8",
                "items[1][price]=pdf_y",
                "items[1][quantity]=1",
                "items[2][id]=si_cad_m",
                "items[2][deleted]=true",
            ]
        );
    }

    #[test]
    fn discounts_are_written_as_stripe_reads_them() {
        let only = |ids: &[&str]| Discounts::Only(ids.iter().map(|id| (*id).to_owned()).collect());
        for (discounts, code, expected) in [
            (Discounts::OfChange, None, &[][..]),
            (Discounts::OfChange, Some("promo_1"), &["discounts[0][promotion_code]=promo_1"]),
            (only(&[]), Some("promo_1"), &["discounts="]),
            (
                only(&["di_1", "di_2"]),
                None,
                &["discounts[0][discount]=di_1", "discounts[1][discount]=di_2"],
            ),
        ] {
            let pairs = discount_fields(&discounts, code);
            let written = pairs.iter().map(|(name, value)| format!("{name}={value}"));
            assert_eq!(written.collect::<Vec<_>>(), expected);
        }
    }
}
