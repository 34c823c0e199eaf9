//! The timeline of a customer: the audit log, the mails and the events from Stripe in one list, as
//! sentences, newest first.

use std::cmp::Reverse;

use serde_json::Value;

use crate::domain::license::parts::parts_text;
use crate::domain::operator::audit::{AuditAction, StoredAuditEntry};
use crate::domain::outbox::StoredMail;
use crate::domain::page::{Cursor, PageRequest};
use crate::domain::sale::inbox::StoredEvent;
use crate::domain::text_enum::text_enum;
use crate::domain::time::Timestamp;

text_enum! {
    /// The source of an entry. Within one second, the timeline has the entries in this order.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum Kind {
        /// An action, from the audit log.
        Action = "action",
        /// A mail to the customer.
        Mail = "mail",
        /// An event from Stripe, or a task of this server that needs Stripe.
        Event = "event",
    }
}

/// An entry of the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The time.
    pub at: Timestamp,
    /// The actor: `customer`, `operator`, `system`, `stripe`, or `admin:` and the id of the key.
    pub by: String,
    /// The entry, as a sentence.
    pub text: String,
    /// The source.
    pub kind: Kind,
    /// The id of the audit entry, mail or event.
    pub id: String,
    /// The request that caused an action, if one did.
    pub request_id: Option<String>,
}

impl Entry {
    /// Returns the place in the timeline.
    #[must_use]
    pub fn place(&self) -> Cursor {
        Cursor { at: self.at, id: format!("{}:{}", self.kind, self.id) }
    }

    /// Returns an action.
    #[must_use]
    pub fn of_action(entry: StoredAuditEntry) -> Self {
        let detail = serde_json::from_str(&entry.detail).unwrap_or_default();
        let text = match entry.action.parse() {
            Ok(action) => sentence(action, &detail),
            // Of a newer version.
            Err(_) => format!("{}.", entry.action),
        };
        let (at, by, id) = (entry.at, entry.actor, entry.audit_id.to_string());
        Self { at, by, text, kind: Kind::Action, id, request_id: entry.request_id }
    }

    /// Returns a mail, at the time at which it was requested.
    #[must_use]
    pub fn of_mail(mail: StoredMail) -> Self {
        let state = match (mail.sent_at, mail.given_up_at) {
            (Some(at), _) => format!("was accepted by the mail server at {at}"),
            (None, Some(at)) => {
                let error = mail.last_error.as_deref().unwrap_or("unknown");
                format!("was given up at {at} ({error})")
            }
            (None, None) => "waits to be sent".to_owned(),
        };
        let text = format!("The mail `{}` {state}.", mail.kind);
        let (at, id) = (mail.created_at, mail.mail_id.to_string());
        Self { at, by: "system".to_owned(), text, kind: Kind::Mail, id, request_id: None }
    }

    /// Returns an event or task, at the time at which it was received.
    #[must_use]
    pub fn of_event(event: StoredEvent) -> Self {
        let is_ours = event.customer_id.is_some();
        let what = if is_ours { "The task" } else { "Stripe's event" };
        let state = match (event.done_at, event.given_up_at, &event.last_error) {
            (Some(at), ..) => format!("was processed at {at}"),
            (None, Some(at), error) => {
                format!("was given up at {at}: {}", error.as_deref().unwrap_or("unknown error"))
            }
            (None, None, Some(error)) => {
                format!("failed and is retried at {}: {error}", event.due_at)
            }
            (None, None, None) => "waits to be processed".to_owned(),
        };
        let text = format!("{what} `{}` {state}.", event.kind);
        let by = if is_ours { "system" } else { "stripe" }.to_owned();
        let (at, id) = (event.received_at, event.event_id);
        Self { at, by, text, kind: Kind::Event, id, request_id: None }
    }
}

/// Returns the page of one source that begins where the page of the timeline does: after the cursor
/// in its own source, and at or before the cursor's second in the others.
#[must_use]
pub fn request_for(kind: Kind, request: &PageRequest) -> PageRequest {
    let after = request.after.as_ref().map(|cursor| {
        let of = cursor.id.split_once(':');
        let of = of.and_then(|(kind, id)| Some((kind.parse::<Kind>().ok()?, id)));
        match of {
            Some((last, id)) if last == kind => Cursor { at: cursor.at, id: id.to_owned() },
            // Its entries of this second are still to come.
            Some((last, _)) if last < kind => Cursor {
                at: Timestamp::saturating(cursor.at.epoch_seconds().saturating_add(1)),
                id: String::new(),
            },
            _ => Cursor { at: cursor.at, id: String::new() },
        }
    });
    PageRequest { after, limit: request.limit }
}

/// Returns the entries of all sources in the order of the timeline. Each source is sorted already,
/// and its own order decides within a second.
#[must_use]
pub fn merge(sources: [Vec<Entry>; 3]) -> Vec<Entry> {
    let mut entries: Vec<_> = sources.into_iter().flatten().collect();
    entries.sort_by_key(|entry| (Reverse(entry.at), entry.kind));
    entries
}

/// Returns an action as a sentence.
/// Returns the end of a sentence about a subscription whose schedule at Stripe gives way.
fn instead_of_schedule(detail: &Value) -> &'static str {
    if detail["replaces_schedule"] == true { ", instead of its scheduled changes" } else { "" }
}

fn sentence(action: AuditAction, detail: &Value) -> String {
    let fact = |name: &str| match &detail[name] {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match action {
        AuditAction::CustomerSignedUp if detail["trial_refused"].is_string() => {
            "The customer signed up, with an address that has had a trial before.".to_owned()
        }
        AuditAction::CustomerSignedUp => {
            format!("The customer signed up for the plan `{}`.", fact("plan"))
        }
        AuditAction::CustomerCreated => match &detail["stripe_customer_id"] {
            Value::String(id) => format!("The customer was created for {id} at Stripe."),
            _ => "The customer was created.".to_owned(),
        },
        AuditAction::CustomerImported => "The customer was imported.".to_owned(),
        AuditAction::CustomerVerified => "The customer verified the address.".to_owned(),
        AuditAction::CustomerAddressRequested => {
            "The customer requested another address.".to_owned()
        }
        AuditAction::CustomerAddressChanged => "The customer changed the address.".to_owned(),
        AuditAction::CustomerAddressUndone => {
            "The owner of the former address undid the change of the address.".to_owned()
        }
        AuditAction::CustomerPasswordChanged => "The customer set a new password.".to_owned(),
        AuditAction::CustomerChanged => {
            let names = detail["changed"].as_array().into_iter().flatten();
            let names: Vec<_> = names.filter_map(Value::as_str).collect();
            format!("The customer's record changed: {}.", names.join(", "))
        }
        AuditAction::PasswordResetRequested => {
            "The link that sets a password was requested.".to_owned()
        }
        AuditAction::SessionsEnded => "All login sessions were ended.".to_owned(),
        AuditAction::CustomerSynced => {
            let changes = detail["changes"].as_array().map_or(0, Vec::len);
            format!("The customer was synced with Stripe: {changes} changes.")
        }
        AuditAction::CustomerConverted => {
            "The customer paid for a license for the first time.".to_owned()
        }
        AuditAction::CustomerChurned => "The customer's subscription ended.".to_owned(),
        AuditAction::CustomerExported => "The customer exported their data.".to_owned(),
        AuditAction::CustomerDeleted => "The account was deleted.".to_owned(),
        AuditAction::LicenseIssued => {
            let (id, plan) = (fact("license_id"), fact("plan"));
            format!("The license {id} was issued for `{plan}`{}.", parts(detail))
        }
        AuditAction::LicenseGranted => {
            let (id, plan) = (fact("license_id"), fact("plan"));
            format!("The license {id} was granted for `{plan}`{}.", parts(detail))
        }
        AuditAction::LicenseExtended => format!(
            "The license {} extends the previous one to {}.",
            fact("license_id"),
            detail["after"]["expires_at"].as_str().unwrap_or("none")
        ),
        AuditAction::LicenseResent => format!("The license {} was sent again.", fact("license_id")),
        AuditAction::LicenseReissued if detail["instead_of"].is_string() => format!(
            "The license {} replaced {}, because the owner of the mailbox reset the password.",
            fact("license_id"),
            fact("instead_of")
        ),
        AuditAction::LicenseReissued => format!(
            "The license {} replaced one of the revoked key {}.",
            fact("license_id"),
            fact("instead_of_key")
        ),
        AuditAction::LicenseRevoked => {
            format!("The license {} was revoked.", fact("license_id"))
        }
        AuditAction::OrderChanged => {
            let (id, to, from) = (fact("order_id"), fact("to"), fact("from"));
            format!("The order {id}{} is {to} (before: {from}).", parts(detail))
        }
        AuditAction::OrderMerged => {
            format!("The order {} was merged into the order of its checkout.", fact("order_id"))
        }
        AuditAction::SubscriptionChanged => format!(
            "The subscription for `{}` is {} (before: {}).",
            fact("plan"),
            fact("to"),
            fact("from")
        ),
        AuditAction::SubscriptionChangeRequested => {
            format!("A change of the subscription was requested{}.", instead_of_schedule(detail))
        }
        AuditAction::SubscriptionCancelRequested => format!(
            "The end of the subscription was requested ({}){}.",
            fact("at"),
            instead_of_schedule(detail)
        ),
        AuditAction::SubscriptionResumeRequested => format!(
            "The resumption of the subscription was requested{}.",
            instead_of_schedule(detail)
        ),
        AuditAction::TrialRefused => {
            "The trial at Stripe was refused, because its card has had one.".to_owned()
        }
        AuditAction::StripeLinked => {
            format!("The customer was linked to {} at Stripe.", fact("stripe_customer_id"))
        }
        AuditAction::StripeUnlinked => {
            format!("The link to {} at Stripe was removed.", fact("stripe_customer_id"))
        }
        AuditAction::PurchaseClaimed => {
            format!("The payment {} was linked.", fact("stripe_checkout_session_id"))
        }
        AuditAction::PlansReduced => "The plans file grants less than before.".to_owned(),
        AuditAction::StripeCompared => "All customers were compared with Stripe.".to_owned(),
        AuditAction::EventReplayed => format!("The event {} was replayed.", fact("event_id")),
        AuditAction::MailRetried => format!("The mail {} was scheduled again.", fact("mail_id")),
        AuditAction::WebhookCreated => "A webhook was created.".to_owned(),
        AuditAction::WebhookChanged => "A webhook was changed.".to_owned(),
        AuditAction::WebhookDeleted => "A webhook was deleted.".to_owned(),
        AuditAction::WebhookDisabled => "A webhook was disabled by its receiver.".to_owned(),
        AuditAction::WebhookReplayed => {
            format!("The delivery {} of a webhook was replayed.", fact("delivery_id"))
        }
        AuditAction::AdminKeyCreated => "An admin key was created.".to_owned(),
        AuditAction::AdminKeyRevoked => "An admin key was revoked.".to_owned(),
        AuditAction::AdminKeyUsed => {
            let refused = if detail["refused"] == true { ", and was refused" } else { "" };
            format!("An admin key called `{}`{refused}.", fact("operation"))
        }
    }
}

/// Returns the parts of the license or the order of an entry, as text ([`parts_text`]).
fn parts(detail: &Value) -> String {
    let units = detail["quantity"].as_u64().and_then(|units| u32::try_from(units).ok());
    let addons = detail["addons"].as_array().into_iter().flatten();
    let addons: Vec<_> = addons.filter_map(Value::as_str).map(str::to_owned).collect();
    parts_text(units.filter(|units| *units > 1), &addons, detail["updates_until"].as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_action_is_a_sentence() {
        for action in AuditAction::ALL {
            let text = sentence(action, &json!({}));
            assert!(text.ends_with('.') && !text.contains("null"), "{action}: {text}");
        }
        let detail = json!({ "order_id": "ord_1", "from": null, "to": "succeeded" });
        let text = sentence(AuditAction::OrderChanged, &detail);
        assert_eq!(text, "The order ord_1 is succeeded (before: none).");
        let detail = json!({
            "license_id": "lic_1", "plan": "team", "quantity": 5, "addons": ["cad", "pdf"],
            "updates_until": "2027-11-20T15:00:00Z",
        });
        let text = sentence(AuditAction::LicenseIssued, &detail);
        let expected = "The license lic_1 was issued for `team` with 5 units and the add-ons `cad` \
                        and `pdf`, for builds until 2027-11-20T15:00:00Z.";
        assert_eq!(text, expected);
    }

    #[test]
    fn each_source_continues_where_the_page_ended() {
        let at = Timestamp::saturating(100);
        let after = Some(Cursor { at, id: "mail:mail_7".to_owned() });
        let request = PageRequest { after, limit: 5 };
        let before = |kind| request_for(kind, &request).after.unwrap();
        assert_eq!(before(Kind::Action), Cursor { at, id: String::new() });
        assert_eq!(before(Kind::Mail), Cursor { at, id: "mail_7".to_owned() });
        let next = Timestamp::saturating(101);
        assert_eq!(before(Kind::Event), Cursor { at: next, id: String::new() });
        let first = PageRequest { after: None, limit: 5 };
        assert!(request_for(Kind::Event, &first).after.is_none());
    }
}
