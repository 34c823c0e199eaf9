//! Customers and what they have as JSON, with the field names of the API.

use serde_json::{Value, json};

use crate::app::App;
use crate::domain::account::customer::Customer;
use crate::domain::contact::Email;
use crate::domain::license::{Basis, IssuedLicense};
use crate::domain::outbox::StoredMail;
use crate::domain::private::Private;
use crate::domain::sale::addon_ids::AddonIds;
use crate::domain::sale::order::Order;
use crate::domain::sale::plan::Interval;
use crate::domain::sale::settlement::SyncReport;
use crate::domain::time::Timestamp;
use crate::flows::operator::customers::{self, Record};

/// Returns a time as text.
pub fn time(time: Option<Timestamp>) -> Option<String> {
    time.map(|time| time.to_string())
}

fn text<T: ToString>(value: &Option<T>) -> Option<String> {
    value.as_ref().map(ToString::to_string)
}

/// Returns what is stored about a customer.
pub fn record(record: &Record, app: &App) -> Value {
    let Record { customer, metadata, synced_at, default_payment_method, .. } = record;
    let subscription = record.subscription.as_ref().map(|row| {
        let billed = row.billed(&app.plans);
        json!({
            "stripe_subscription_id": row.stripe_subscription_id.as_str(),
            "plan": row.plan_id(&app.plans),
            "quantity": billed.quantity,
            "interval": billed.interval.map(Interval::as_str),
            "addons": billed.addons.texts(),
            "currency": row.currency,
            "payment_pending": row.pending_until.is_some(),
            "status": row.status.to_string(),
            "current_period_end": time(row.current_period_end),
            "cancel_at": time(row.cancel_at),
            "trial_end": time(row.trial_end),
            "created_at": row.created_at.to_string(),
            "updated_at": row.updated_at.to_string(),
        })
    });
    json!({
        "customer_id": customer.customer_id.as_str(),
        "customer": self::customer(customer),
        "stripe_customer_id": customer.stripe_customer_id.as_ref().map(ToString::to_string),
        "stripe_url": customers::customer_url(app, customer),
        "stripe_sync_status": customer.stripe_sync_status.map(|status| status.to_string()),
        "stripe_synced_at": time(*synced_at),
        "default_payment_method": default_payment_method,
        "subscription": subscription,
        "license": record.license.as_ref().map(|held| license(held, app.now())),
        "metadata": metadata.values(),
    })
}

/// Returns a customer.
pub fn customer(customer: &Customer) -> Value {
    json!({
        "customer_id": customer.customer_id.as_str(),
        "email": customer.email.to_unicode(),
        "email_verified": customer.is_email_verified(),
        "pending_email": customer.pending_email.as_ref().map(Email::to_unicode),
        "name": text(&customer.name),
        "company_name": text(&customer.company_name),
        "language": customer.language.map(|language| language.to_string()),
        "created_at": customer.created_at.to_string(),
        "updated_at": customer.updated_at.to_string(),
    })
}

/// Returns a license as it is at `now`, without its token.
pub fn license(license: &IssuedLicense, now: Timestamp) -> Value {
    let claims = license.claims();
    let (features, limits) =
        claims.map(|claims| (claims.features, claims.limits)).unwrap_or_default();
    json!({
        "license_id": license.license_id.as_str(),
        "customer_id": license.customer_id.as_str(),
        "seq": license.seq,
        "source": license.source.as_str(),
        "basis": license.bought_by().map(Basis::as_str),
        "plan": license.plan,
        "quantity": license.quantity,
        "addons": license.addons.texts(),
        "status": license.status(now).as_str(),
        "features": features,
        "limits": limits,
        "key_id": license.key_id,
        "issued_at": license.issued_at.to_string(),
        "expires_at": time(license.expires_at),
        "grace_until": time(license.grace_until),
        "updates_until": time(license.updates_until),
        "token_expires_at": license.token_expires_at.to_string(),
        "superseded_at": time(license.superseded_at),
        "revoked_at": time(license.revoked_at),
        "revocation_reason": license.revocation_reason.map(|reason| reason.as_str()),
        "note": license.extras.note.as_ref().map(Private::as_str),
    })
}

/// Returns an order.
pub fn order(order: &Order, app: &App) -> Value {
    json!({
        "order_id": order.order_id.as_str(),
        "plan": order.plan,
        "interval": order.billing_interval.map(Interval::as_str),
        "quantity": order.quantity,
        "addons": order.addons.as_ref().map(AddonIds::texts).unwrap_or_default(),
        "amount": order.amount,
        "tax": order.tax,
        "discount": order.discount,
        "refunded_amount": order.returned,
        "currency": order.currency,
        "status": order.status.as_str(),
        "invoice_url": text(&order.invoice_url),
        "receipt_url": text(&order.receipt_url),
        "stripe_checkout_session_id": text(&order.stripe_checkout_session_id),
        "stripe_invoice_id": text(&order.stripe_invoice_id),
        "stripe_payment_intent_id": text(&order.stripe_payment_intent_id),
        "stripe_url": customers::order_url(app, order),
        "created_at": order.created_at.to_string(),
        "purchased_at": time(order.purchased_at),
    })
}

/// Returns a mail.
pub fn mail(mail: &StoredMail) -> Value {
    json!({
        "mail_id": mail.mail_id.as_str(),
        "kind": mail.kind,
        "license_id": mail.license_id.as_ref().map(ToString::to_string),
        "created_at": mail.created_at.to_string(),
        "sent_at": time(mail.sent_at),
        "given_up_at": time(mail.given_up_at),
        "attempts": mail.attempts,
        "last_error": mail.last_error,
    })
}

/// Returns the result of a sync.
pub fn sync(report: &SyncReport) -> Value {
    let SyncReport { changes, alerts, needs_action } = report;
    json!({ "changes": changes, "alerts": alerts, "needs_action": needs_action })
}
