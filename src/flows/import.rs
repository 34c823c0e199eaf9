//! An operator brings customers in who were somebody's before: from a file, or from Stripe. They have no
//! password and no license; nobody is mailed.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::json;

use crate::app::App;
use crate::customer_file::{CustomerFile, Problem};
use crate::domain::audit::{Actor, AuditAction, AuditEntry};
use crate::domain::contact::Newcomer;
use crate::domain::customer::NewAccount;
use crate::domain::ids::{CustomerId, UserId};
use crate::domain::matching::{Tag, Theirs};
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::Mode;
use crate::flows::audit;
use crate::flows::backfill::{Progress, ours};
use crate::passwords::NO_PASSWORD;
use crate::store::Tx;

/// Customers that are written at once: the lock of the database is held for a moment only, so that a
/// server goes on meanwhile.
const BATCH: usize = 200;

/// What became of a file.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Customers who were imported, or would be.
    pub imported: usize,
    /// Those of them who are linked to Stripe.
    pub linked: usize,
    /// Rows that were skipped, since their address has an account.
    pub skipped: Vec<Skipped>,
}

/// A row whose address has an account.
#[derive(Debug, Serialize)]
pub struct Skipped {
    /// Its line.
    pub line: u64,
    /// The address.
    pub email: String,
}

/// Imports the customers of a file, all of whom are checked before anybody is written. Who has an account
/// already is skipped, so that it can be run again.
///
/// # Errors
/// [`Error::Setup`] with every problem: then nobody was imported. [`Error::Stripe`] or a failure of the
/// database: then a part may have been, and running it again imports the rest.
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
    let (mut report, mut worked_on) = (Report::default(), 0);
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let mut tx = app.store.write().await?;
        for (line, newcomer) in rows.by_ref().take(BATCH) {
            worked_on += 1;
            if tx.customer_by_email(&newcomer.email).await?.is_some() {
                report.skipped.push(Skipped { line, email: newcomer.email.to_string() });
                continue;
            }
            report.imported += 1;
            report.linked += usize::from(newcomer.stripe_customer_id.is_some());
            add(app, &mut tx, newcomer, Actor::Operator, AuditAction::CustomerImported).await?;
        }
        if mode == Mode::Apply {
            tx.commit(app.fail_points.at(Place::ImportStored)).await?;
        }
        progress(Progress::Done(worked_on));
    }
    Ok(report)
}

/// Writes an account without a password, within the transaction of what calls for it. One that is linked
/// counts as never synced.
pub(super) async fn add(
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
    };
    let made = tx.insert_account(account, now).await.map_err(|error| match error {
        Error::EmailTaken => {
            Error::setup("an account with this address was made meanwhile; run this again")
        }
        error => error,
    })?;
    let id = made.customer_id;
    if stripe_customer_id.is_some() {
        tx.link_stripe_customer(&id, stripe_customer_id.as_ref(), None).await?;
    }
    let detail = json!({ "stripe_customer_id": stripe_customer_id.map(|id| id.to_string()) });
    let entry = AuditEntry { actor: by, action, customer_id: Some(&id), detail };
    audit(app, tx, entry, now).await?;
    Ok(id)
}

/// What stands against linking the rows that name a customer at Stripe. Those are looked up there: a wrong
/// link would give somebody another's subscription, or nobody theirs.
async fn conflicts(
    app: &App,
    rows: &[(u64, Newcomer)],
    progress: impl Fn(usize),
) -> Result<Vec<Problem>> {
    let named =
        rows.iter().filter_map(|(line, row)| Some((*line, row, row.stripe_customer_id.as_ref()?)));
    let mut named = named.peekable();
    let Some((first, ..)) = named.peek() else { return Ok(Vec::new()) };
    let Some(stripe) = &app.stripe else {
        let what = "a `stripe_customer_id` is looked up at Stripe; set LICENTIA_STRIPE__SECRET_KEY";
        return Ok(vec![Problem::new(*first, what)]);
    };
    let (ours, theirs) = (ours(app).await?, stripe.every_customer(progress).await?);
    let here: HashMap<_, _> = ours.iter().map(|one| (&one.email, one)).collect();
    let links = ours.iter().filter_map(|one| Some((one.stripe_customer_id.as_ref()?, one)));
    let links: HashMap<_, _> = links.collect();
    let theirs: HashMap<_, _> = theirs.iter().map(|one| (&one.id, one)).collect();
    let mut problems = Vec::new();
    // Who has an account is skipped.
    for (line, _, id) in named.filter(|(_, row, _)| !here.contains_key(&row.email)) {
        let problem = match (links.get(id), theirs.get(id)) {
            (Some(linked), _) => format!("{id} is linked to {} already", linked.customer_id),
            (None, None) => format!("Stripe has no customer {id} in this account and mode"),
            (None, Some(Theirs { tag: Tag::Ours(named), .. })) => {
                format!(
                    "{id} is {named} by its metadata at Stripe; remove `metadata.customer_id` first"
                )
            }
            (None, Some(_)) => continue,
        };
        problems.push(Problem::new(line, problem));
    }
    Ok(problems)
}
