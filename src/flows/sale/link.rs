//! Links a customer to a Stripe customer: every link of an existing customer is written here, under
//! the customer's lease. An account that is created together with its link is in
//! [`crate::flows::account::import`].

use serde_json::json;

use crate::app::App;
use crate::domain::account::customer::{Customer, DueFields, SyncStatus};
use crate::domain::contact::DisplayName;
use crate::domain::operator::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::private::Private;
use crate::domain::sale::attempt::CreatedObject;
use crate::domain::sale::inbox::TaskKind;
use crate::domain::sale::matching::{MatchReason, StripeCandidate};
use crate::domain::sale::stripe_ids::StripeCustomerId;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::audit;
use crate::flows::sale::inbox;
use crate::flows::sale::lease::Lease;
use crate::store::Tx;
use crate::stripe::CustomerParameters;

/// The reason why a Stripe customer belongs to a customer.
#[derive(Clone, Copy)]
pub(super) enum LinkReason<'a> {
    /// This service created it for the customer, with these parameters.
    Created {
        parameters: &'a CustomerParameters,
        /// Whether an earlier call may have created it.
        may_be_older: bool,
    },
    /// It certainly matches.
    Matched { theirs: &'a StripeCandidate, reason: MatchReason },
    /// An operator named the customer.
    Claimed {
        /// The Stripe customer that it replaces. No license depends on it.
        instead_of: Option<&'a StripeCustomerId>,
    },
}

impl LinkReason<'_> {
    fn as_str(self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Matched { reason: MatchReason::Metadata, .. } => "metadata",
            Self::Matched { reason: MatchReason::Email, .. } => "email",
            Self::Claimed { .. } => "operator",
        }
    }

    fn place(self) -> Place {
        match self {
            Self::Created { .. } => Place::StripeCustomerLinked,
            Self::Matched { .. } => Place::StripeCustomerMatched,
            Self::Claimed { .. } => Place::ClaimLinked,
        }
    }
}

/// Links a customer to a Stripe customer, unless they are linked already. Writes the link, a task
/// that syncs the customer if needed, and the audit entry in one transaction.
///
/// # Errors
/// [`Error::Busy`] when the lease was lost, or when the customer or the Stripe customer changed in
/// the meantime; for an operator, the latter is [`Error::StripeLinkRefused`]. A failure of the
/// database.
pub(super) async fn link(
    app: &App,
    lease: &Lease,
    stripe_id: &StripeCustomerId,
    why: LinkReason<'_>,
    by: Actor<'_>,
) -> Result<()> {
    let now = app.now();
    let id = &lease.customer_id;
    let mut tx = app.store.write().await?;
    let customer = lease.lock(&mut tx).await?;
    if customer.stripe_customer_id.as_ref() == Some(stripe_id) {
        // Another run linked it at the same time.
        return Ok(());
    }
    if !may_link(&mut tx, &customer, stripe_id, why).await? {
        return Err(match by {
            Actor::System => Error::Busy,
            _ => Error::StripeLinkRefused(
                "the customer changed in the meantime; run this again".into(),
            ),
        });
    }
    let needs_sync = needs_sync(&mut tx, stripe_id, why, by).await?;
    // A Stripe customer that this service created has the data from here.
    let synced_at = matches!(why, LinkReason::Created { .. }).then_some(now);
    tx.link_stripe_customer(id, Some(stripe_id), synced_at).await?;
    tx.delete_attempt(id, CreatedObject::Customer).await?;
    match why {
        LinkReason::Created { parameters, .. } => {
            // The data may have changed since the attempt was stored.
            let company = customer.company_name.as_ref().map(DisplayName::as_str);
            let due = SyncStatus::of(DueFields {
                name: parameters.name.as_ref().map(Private::as_str) != customer.stripe_name(),
                email: parameters.email.as_str() != customer.email.as_str(),
                company: parameters.business_name.as_ref().map(Private::as_str) != company,
            });
            if due != SyncStatus::Synced {
                tx.stripe_sync_due(id, due).await?;
            }
        }
        LinkReason::Matched { theirs, .. } => {
            if customer.stripe_name().is_none() && theirs.name.is_some() {
                let named = Customer { name: theirs.name.clone(), ..customer };
                tx.update_customer(&named, now).await?;
            }
        }
        // No event about the ended subscription of the former one reaches the customer any more.
        LinkReason::Claimed { .. } => tx.delete_subscription(id).await?,
    }
    if needs_sync {
        inbox::queue_task(app, &mut tx, TaskKind::CustomerLinked, id, now).await?;
    }
    audit(app, &mut tx, entry(lease, stripe_id, why, by), now).await?;
    tx.commit(app.fail_points.at(why.place())).await
}

/// Returns whether the Stripe customer is linked to nobody, and still belongs to the customer.
async fn may_link(
    tx: &mut Tx,
    customer: &Customer,
    stripe_id: &StripeCustomerId,
    why: LinkReason<'_>,
) -> Result<bool> {
    let (replaces, is_certain) = match why {
        LinkReason::Created { .. } => (None, true),
        LinkReason::Matched { reason: MatchReason::Metadata, .. } => (None, true),
        LinkReason::Matched { theirs, reason: MatchReason::Email } => {
            let same_email = theirs.email.as_ref() == Some(&customer.email);
            (None, same_email && customer.is_email_verified())
        }
        LinkReason::Claimed { instead_of } => (instead_of, true),
    };
    let is_unchanged = customer.stripe_customer_id.as_ref() == replaces;
    Ok(is_certain && is_unchanged && tx.customer_by_stripe_id(stripe_id).await?.is_none())
}

/// Returns whether the Stripe customer may have bought something: earlier events about it had no
/// effect, because nobody was linked to it. An operator's command syncs by itself, and reports if
/// it could not.
async fn needs_sync(
    tx: &mut Tx,
    stripe_id: &StripeCustomerId,
    why: LinkReason<'_>,
    by: Actor<'_>,
) -> Result<bool> {
    match why {
        LinkReason::Created { may_be_older: true, .. } => Ok(true),
        // It may have bought something between its creation and this transaction.
        LinkReason::Created { may_be_older: false, .. } => {
            Ok(tx.unknown_buyer_seen_at(&stripe_id.clone().into()).await?.is_some())
        }
        LinkReason::Matched { .. } | LinkReason::Claimed { .. } => Ok(by == Actor::System),
    }
}

fn entry<'a>(
    lease: &'a Lease,
    stripe_id: &StripeCustomerId,
    why: LinkReason<'_>,
    by: Actor<'a>,
) -> AuditEntry<'a> {
    let mut detail = json!({ "by": why.as_str(), "stripe_customer_id": stripe_id.as_str() });
    if let LinkReason::Claimed { instead_of } = why {
        detail["instead_of"] = json!(instead_of.map(StripeCustomerId::as_str));
    }
    AuditEntry::new(by, AuditAction::StripeLinked, Some(&lease.customer_id), detail)
}
