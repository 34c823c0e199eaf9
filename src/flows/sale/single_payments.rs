//! Claims of single payments by their Checkout sessions. A guest is a buyer for whom Stripe has no
//! customer. The payment of a guest is given to a customer here, who then gets a Stripe customer of
//! their own; each sync fetches the claimed session besides what Stripe lists for that one. A
//! single payment of a second Stripe customer is given in the same way to a customer who is linked
//! to another one.

use serde_json::json;

use crate::app::App;
use crate::domain::account::customer::Customer;
use crate::domain::contact::{Email, Newcomer};
use crate::domain::ids::CustomerId;
use crate::domain::operator::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::sale::buyer::{BuyerId, ClaimedPayment, PaymentSession};
use crate::domain::sale::inbox::TaskKind;
use crate::domain::sale::matching::Ambiguity;
use crate::domain::sale::stripe_ids::{CheckoutSessionId, StripeCustomerId};
use crate::domain::sale::unclaimed::without_plan;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::account::{import, password};
use crate::flows::sale::backfill::Done;
use crate::flows::sale::claim::ClaimTarget;
use crate::flows::sale::{inbox, sync};
use crate::flows::{Mode, audit};
use crate::store::Tx;

/// The customer who gets a single payment.
#[derive(Clone, Debug)]
enum Owner {
    /// The operator named this customer.
    Named(CustomerId),
    /// The customer with the address that the buyer entered.
    Matched(CustomerId),
    /// The same, who has just proven to own the address.
    Proven(CustomerId),
    /// A new account with that address.
    New(Email),
}

impl Owner {
    /// Returns the action of [`Done`].
    fn action(&self) -> &'static str {
        match self {
            Self::Named(_) => "claimed",
            Self::Matched(_) | Self::Proven(_) => "linked_by_email",
            Self::New(_) => "created",
        }
    }
}

/// Fetches the completed Checkout session of a single payment.
///
/// # Errors
/// [`Error::StripeLinkRefused`] when Stripe has none with this id. [`Error::Stripe`].
pub(super) async fn fetch(app: &App, id: &CheckoutSessionId) -> Result<PaymentSession> {
    app.stripe()?.payment_session(id).await?.ok_or_else(|| {
        Error::StripeLinkRefused(format!(
            "Stripe has no completed Checkout session {id} of a single payment in this account and \
             mode"
        ))
    })
}

/// Gives a single payment to a customer, and syncs the customer. Returns what was done, or
/// the reason why an operator must decide. If it is interrupted, a task finishes it.
///
/// # Errors
/// [`Error::StripeLinkRefused`] when it belongs to another customer than the named one.
/// [`Error::NotFound`] when there is no such customer. [`Error::Busy`] when the customer changed in
/// the meantime. [`Error::Stripe`] or a failure of the database.
pub(super) async fn claim(
    app: &App,
    session: &PaymentSession,
    to: &ClaimTarget,
    by: Actor<'_>,
) -> Result<std::result::Result<Done, Ambiguity>> {
    let mut tx = app.store.read().await?;
    let stored = tx.claimed_payment(&session.id).await?;
    let (id, action) = match (stored.and_then(|payment| payment.customer_id), to) {
        (Some(owner), ClaimTarget::Customer(other)) if owner != *other => {
            return Err(Error::StripeLinkRefused(format!(
                "{} belongs to {owner}, and is not moved to another customer",
                session.id
            )));
        }
        (Some(owner), _) => {
            drop(tx);
            (owner, "finished")
        }
        (None, to) => {
            let owner = match to {
                ClaimTarget::Customer(id) => Ok(Owner::Named(id.clone())),
                to => recognize(app, &mut tx, session, to).await?,
            };
            if let (Some(stripe_id), Ok(owner)) = (&session.stripe_customer_id, &owner) {
                refuse_if_linkable(&mut tx, session, stripe_id, owner).await?;
            }
            drop(tx);
            match owner {
                Ok(owner) => (join(app, session, &owner, by).await?, owner.action()),
                Err(doubt) => return Ok(Err(doubt)),
            }
        }
    };
    let report = sync::compare(app, &id, Mode::Apply).await?;
    Ok(Ok(Done {
        buyer: BuyerId::Session(session.id.clone()),
        customer_id: Some(id.to_string()),
        email: session.email.clone(),
        plan: session.purchase(&app.plans).map(|purchase| purchase.id().to_string()),
        action,
        changes: report.changes,
        alerts: report.alerts,
    }))
}

/// Refuses to give a session of a Stripe customer to a customer who can have that one, with
/// everything that it buys: a customer without a Stripe customer, or a new one. Also refuses to
/// give away what a linked Stripe customer bought.
///
/// # Errors
/// [`Error::StripeLinkRefused`], with the way out.
async fn refuse_if_linkable(
    tx: &mut Tx,
    session: &PaymentSession,
    stripe_id: &StripeCustomerId,
    owner: &Owner,
) -> Result<()> {
    let session = &session.id;
    if let Some(linked) = tx.customer_by_stripe_id(stripe_id).await? {
        return Err(Error::StripeLinkRefused(format!(
            "{session} is a purchase of {stripe_id}, which is linked to {linked}"
        )));
    }
    let is_linked = match owner {
        Owner::Named(id) | Owner::Matched(id) | Owner::Proven(id) => {
            let customer = tx.customer(id).await?;
            customer.is_some_and(|customer| customer.stripe_customer_id.is_some())
        }
        Owner::New(_) => false,
    };
    if is_linked {
        return Ok(());
    }
    let option = match owner {
        Owner::Named(id) => format!(" --to {id}"),
        Owner::Matched(_) | Owner::Proven(_) => String::new(),
        // It creates no account for a deleted one; without the option, it says what to do.
        Owner::New(_) if tx.deleted_buyer(stripe_id).await?.is_some() => String::new(),
        Owner::New(_) => " --create".to_owned(),
    };
    Err(Error::StripeLinkRefused(format!(
        "{session} is a purchase of {stripe_id}; run `licentia stripe claim {stripe_id}{option}`, \
         so that its later purchases belong to the same customer"
    )))
}

/// Returns the customer with the address that the buyer entered, if it certainly is the same
/// person.
async fn recognize(
    app: &App,
    tx: &mut Tx,
    session: &PaymentSession,
    to: &ClaimTarget,
) -> Result<std::result::Result<Owner, Ambiguity>> {
    let Some(email) = &session.email else { return Ok(Err(Ambiguity::NoEmail)) };
    if let Some(customer) = tx.customer_by_email(email).await? {
        let id = customer.customer_id.clone();
        if *to == ClaimTarget::Proven(id.clone()) {
            return Ok(Ok(Owner::Proven(id)));
        }
        let is_owned = reads_mailbox(tx, &customer).await?;
        return Ok(if is_owned { Ok(Owner::Matched(id)) } else { Err(Ambiguity::Unverified(id)) });
    }
    if let Some(doubt) = without_plan(session.purchase(&app.plans)) {
        return Ok(Err(doubt));
    }
    if tx.is_email_taken(email, None, app.now()).await? {
        return Ok(Err(Ambiguity::Reserved));
    }
    // No account is created for a session of a Stripe customer: `refuse_if_linkable` says what is.
    let may_create = *to == ClaimTarget::NewAccount || session.stripe_customer_id.is_some();
    Ok(if may_create { Ok(Owner::New(email.clone())) } else { Err(Ambiguity::NoAccount) })
}

/// Returns whether only the owner of the mailbox can use the account: the address is verified, or
/// nobody has set a password, as after an earlier purchase. While another purchase waits for the
/// owner to set a password, a verified address proves nothing: the owner, who expects a mail, may
/// have followed the link of somebody else's sign-up.
async fn reads_mailbox(tx: &mut Tx, customer: &Customer) -> Result<bool> {
    let is_verified = customer.is_email_verified()
        && tx.waiting_purchases(&customer.customer_id).await?.is_empty();
    Ok(is_verified || !password::has_password(tx, &customer.email).await?)
}

/// Writes that the payment belongs to the customer, with a new account if needed, and a task that
/// syncs the customer.
async fn join(
    app: &App,
    session: &PaymentSession,
    owner: &Owner,
    by: Actor<'_>,
) -> Result<CustomerId> {
    let now = app.now();
    let mut tx = app.store.write().await?;
    let id = match owner {
        Owner::New(email) => {
            let newcomer = Newcomer {
                email: email.clone(),
                // A stranger may have typed the address; an operator vouches for it (security_34).
                email_verified: by == Actor::Operator,
                name: None,
                company_name: None,
                stripe_customer_id: None,
            };
            import::add(app, &mut tx, newcomer, by, AuditAction::CustomerCreated).await?
        }
        Owner::Named(id) => {
            tx.lock_customer(id).await?.ok_or(Error::NotFound("customer"))?.customer_id
        }
        Owner::Matched(id) | Owner::Proven(id) => {
            let customer = tx.lock_customer(id).await?.ok_or(Error::Busy)?;
            let is_same = Some(&customer.email) == session.email.as_ref();
            let is_owned = match owner {
                Owner::Proven(_) => customer.is_email_verified(),
                _ => reads_mailbox(&mut tx, &customer).await?,
            };
            if !is_same || !is_owned {
                return Err(Error::Busy);
            }
            customer.customer_id
        }
    };
    let payment = ClaimedPayment {
        session_id: session.id.clone(),
        customer_id: Some(id.clone()),
        stripe_payment_intent_id: session.payment_intent.clone(),
        claimed_at: now,
    };
    if !tx.claim_payment(&payment).await? {
        return Err(Error::Busy);
    }
    inbox::queue_task(app, &mut tx, TaskKind::CustomerLinked, &id, now).await?;
    let detail = json!({ "by": owner.action(), "stripe_checkout_session_id": session.id.as_str() });
    let entry = AuditEntry::new(by, AuditAction::PurchaseClaimed, Some(&id), detail);
    audit(app, &mut tx, entry, now).await?;
    tx.commit(app.fail_points.at(Place::PaymentClaimed)).await?;
    app.events_due.notify_one();
    Ok(id)
}
