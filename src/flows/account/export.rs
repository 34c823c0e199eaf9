//! Everything that is stored about a customer, for the customer (GDPR, article 15). Stripe's ids
//! are left out, as in every response to customers.

use serde_json::json;

use crate::app::App;
use crate::domain::account::customer::{Customer, FormerAddress};
use crate::domain::account::mail_link::MailLink;
use crate::domain::account::metadata::Metadata;
use crate::domain::account::session::Session;
use crate::domain::license::IssuedLicense;
use crate::domain::operator::audit::{AuditAction, PersonalAuditEntry};
use crate::domain::outbox::StoredMail;
use crate::domain::page::PageRequest;
use crate::domain::sale::order::Order;
use crate::domain::sale::subscription::SubscriptionRow;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::account::customer::by_customer;
use crate::flows::account::password;
use crate::flows::account::session::SignedIn;
use crate::flows::audit;

/// The most entries of each list: decades of an ordinary customer, and a response of a few
/// megabytes.
const MOST: usize = 1000;

/// Everything that is stored about a customer.
pub struct Export {
    /// The customer.
    pub customer: Customer,
    /// The texts that support keeps about the customer.
    pub metadata: Metadata,
    /// The addresses that the customer had before and that are still reserved.
    pub former_addresses: Vec<FormerAddress>,
    /// The open login sessions.
    pub sessions: Vec<Session>,
    /// The links in mails, without their tokens.
    pub links: Vec<MailLink>,
    /// The licenses, newest first.
    pub licenses: Vec<IssuedLicense>,
    /// The subscription.
    pub subscription: Option<SubscriptionRow>,
    /// The orders, newest first.
    pub orders: Vec<Order>,
    /// The mails, newest first. Their texts are not stored.
    pub mails: Vec<StoredMail>,
    /// The entries of the audit log, newest first.
    pub actions: Vec<PersonalAuditEntry>,
    /// The lists that have more than [`MOST`] entries: the newest are here.
    pub more: Vec<&'static str>,
}

/// Returns everything that is stored about the caller, as of one moment. The audit log says that it
/// was read.
///
/// # Errors
/// [`Error::ResetRequired`], or a failure of the database.
pub async fn export(app: &App, caller: &SignedIn) -> Result<Export> {
    let now = app.now();
    let id = &caller.customer.customer_id;
    let mut tx = app.store.write().await?;
    let customer = tx.lock_customer(id).await?.ok_or(Error::Unauthenticated)?;
    password::refuse_if_reset_required(&customer)?;
    audit(app, &mut tx, by_customer(id, AuditAction::CustomerExported, json!({})), now).await?;
    let request = PageRequest { after: None, limit: MOST };
    let rows = request.rows();
    let mut more = Vec::new();
    let export = Export {
        metadata: tx.metadata(id).await?,
        former_addresses: tx.former_addresses_of(id).await?,
        sessions: tx.sessions_of(&customer.user_id, now).await?,
        links: cut("links", tx.mail_links_of(id, rows).await?, &mut more),
        licenses: cut("licenses", tx.licenses_of(id, i64::MAX, rows).await?, &mut more),
        subscription: tx.subscription(id).await?,
        orders: cut("orders", tx.orders_of(id, rows).await?, &mut more),
        mails: cut("mails", tx.mails_of(id, &request).await?, &mut more),
        actions: cut("actions", tx.personal_audit_entries(id, rows).await?, &mut more),
        more,
        customer,
    };
    tx.commit(app.fail_points.at(Place::AccountExported)).await?;
    Ok(export)
}

/// Returns at most [`MOST`] entries of a list, and notes the list if it has more.
fn cut<T>(name: &'static str, mut entries: Vec<T>, more: &mut Vec<&'static str>) -> Vec<T> {
    if entries.len() > MOST {
        entries.truncate(MOST);
        more.push(name);
    }
    entries
}
