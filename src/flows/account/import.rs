//! Imports existing customers from a file, and creates accounts for the backfill. Imported accounts
//! have no password and no license, and no mail is sent.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::json;

use crate::app::App;
use crate::customer_file::{CustomerFile, Problem};
use crate::domain::account::customer::NewAccount;
use crate::domain::contact::{Email, Newcomer};
use crate::domain::ids::{CustomerId, UserId};
use crate::domain::operator::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::sale::matching::{StripeCandidate, Tag};
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::Mode;
use crate::flows::account::trial_memory;
use crate::flows::audit;
use crate::flows::sale::backfill::{Progress, ours};
use crate::passwords::NO_PASSWORD;
use crate::store::Tx;

/// The number of customers in one transaction, which must not block a running server for long.
const BATCH: usize = 200;

/// The result of an import.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The number of customers who were imported, or would be on a dry run.
    pub imported: usize,
    /// The number of them who are linked to Stripe.
    pub linked: usize,
    /// The rows that were skipped because their address already has an account.
    pub skipped: Vec<Skipped>,
}

/// A row whose address already has an account.
#[derive(Debug, Serialize)]
pub struct Skipped {
    /// The row's line.
    pub line: u64,
    /// The email address.
    pub email: Email,
}

/// Imports the customers of a file after all rows were checked. Customers who already have an
/// account are skipped, so the import can be repeated.
///
/// # Errors
/// [`Error::Setup`] with every problem: no customer was imported. [`Error::Stripe`] or a failure of
/// the database: some customers may have been imported, and another run imports the rest.
pub async fn customers(
    app: &App,
    file: CustomerFile,
    mode: Mode,
    progress: impl Fn(Progress),
) -> Result<Report> {
    let CustomerFile { rows, mut problems } = file;
    let listed = |count| progress(Progress::Listed(count));
    problems.extend(conflicts(app, &rows, listed).await?);
    problems.none()?;
    let (mut report, mut processed) = (Report::default(), 0);
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let mut tx = match mode {
            Mode::Apply => app.store.write().await?,
            Mode::DryRun => app.store.read().await?,
        };
        for (line, newcomer) in rows.by_ref().take(BATCH) {
            processed += 1;
            if tx.is_email_taken(&newcomer.email, None, app.now()).await? {
                report.skipped.push(Skipped { line, email: newcomer.email });
                continue;
            }
            report.imported += 1;
            report.linked += usize::from(newcomer.stripe_customer_id.is_some());
            if mode == Mode::Apply {
                add(app, &mut tx, newcomer, Actor::Operator, AuditAction::CustomerImported).await?;
            }
        }
        if mode == Mode::Apply {
            tx.commit(app.fail_points.at(Place::ImportStored)).await?;
        }
        progress(Progress::Done(processed));
    }
    Ok(report)
}

/// Adds an account without a password, in the transaction of the caller. An account that is linked
/// to Stripe counts as not synced yet. Returns the customer's id.
pub(in crate::flows) async fn add(
    app: &App,
    tx: &mut Tx,
    newcomer: Newcomer,
    by: Actor<'_>,
    action: AuditAction,
) -> Result<CustomerId> {
    let now = app.now();
    let Newcomer { email, email_verified, name, company_name, stripe_customer_id } = newcomer;
    let account = NewAccount {
        user_id: UserId::from_random(app.random.bits()),
        customer_id: CustomerId::from_random(app.random.bits()),
        email,
        password_hash: NO_PASSWORD.to_owned(),
        name,
        company_name,
        email_verified_at: email_verified.then_some(now),
        language: None,
    };
    let inserted = trial_memory::insert_account(app, tx, account, now).await;
    let (customer, _) = inserted.map_err(|error| match error {
        Error::EmailTaken => {
            Error::setup("an account with this address was just created; run this again")
        }
        error => error,
    })?;
    let id = customer.customer_id;
    if stripe_customer_id.is_some() {
        tx.link_stripe_customer(&id, stripe_customer_id.as_ref(), None).await?;
    }
    let detail = json!({ "stripe_customer_id": stripe_customer_id.map(|id| id.to_string()) });
    let entry = AuditEntry::new(by, action, Some(&id), detail);
    audit(app, tx, entry, now).await?;
    Ok(id)
}

/// Returns a problem for each row whose `stripe_customer_id` cannot be linked. The ids are checked
/// at Stripe: a wrong link would give a customer the subscription of another one.
async fn conflicts(
    app: &App,
    rows: &[(u64, Newcomer)],
    progress: impl Fn(usize),
) -> Result<Vec<Problem>> {
    let linked =
        rows.iter().filter_map(|(line, row)| Some((*line, row, row.stripe_customer_id.as_ref()?)));
    let mut linked = linked.peekable();
    let Some((first, ..)) = linked.peek() else { return Ok(Vec::new()) };
    let Some(stripe) = &app.stripe else {
        let problem =
            "a `stripe_customer_id` is checked at Stripe; set LICENTIA_STRIPE__SECRET_KEY";
        return Ok(vec![Problem::new(*first, problem)]);
    };
    let (ours, theirs) = (ours(app).await?, stripe.every_customer(progress).await?);
    let accounts: HashMap<_, _> = ours.iter().map(|one| (&one.email, one)).collect();
    let links = ours.iter().filter_map(|one| Some((one.stripe_customer_id.as_ref()?, one)));
    let links: HashMap<_, _> = links.collect();
    let theirs: HashMap<_, _> = theirs.iter().map(|one| (&one.id, one)).collect();
    let mut problems = Vec::new();
    // The import skips rows whose address has an account.
    for (line, _, id) in linked.filter(|(_, row, _)| !accounts.contains_key(&row.email)) {
        let problem = match (links.get(id), theirs.get(id)) {
            (Some(ours), _) => format!("{id} is already linked to {}", ours.customer_id),
            (None, None) => format!("Stripe has no customer {id} in this account and mode"),
            (None, Some(StripeCandidate { tag: Tag::Ours(other), .. })) => {
                format!(
                    "the metadata of {id} at Stripe names {other}; remove `metadata.customer_id` \
                     first"
                )
            }
            (None, Some(_)) => continue,
        };
        problems.push(Problem::new(line, problem));
    }
    Ok(problems)
}
