//! Counts the attempts that all servers on one database count together: those that guess a password
//! or a promotion code, or cause a mail. [`crate::domain::account::attempts`] has the limits. A
//! function without a [`Tx`] parameter commits its own transaction, so the attempt counts even if
//! the request fails.

use std::net::IpAddr;

use chrono::TimeDelta;

use crate::app::App;
use crate::domain::account::attempts::{self, Counted};
use crate::domain::account::customer::Customer;
use crate::domain::contact::Email;
use crate::domain::ids::{CustomerId, UserId};
use crate::domain::secret::{KeyedHash, Purpose};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::secret::keyed;
use crate::store::Tx;

/// The networks that are remembered of one owner: home, office, phone, and some on travels.
const MAX_NETWORKS: i64 = 20;

/// How long an expired state stays. A client that returns within this time finds its row, so two
/// transactions do not delete and lock the same rows in opposite orders.
const SWEPT_AFTER: TimeDelta = TimeDelta::hours(1);

/// A limit for one key.
struct Bucket {
    counted: Counted,
    key: KeyedHash,
}

impl Bucket {
    async fn new(app: &App, counted: Counted, key: &str) -> Result<Self> {
        let key = keyed(app, Purpose::Throttle, &format!("{counted} {key}")).await?;
        Ok(Self { counted, key })
    }
}

/// A login attempt that was counted.
#[must_use]
pub struct LoginAttempt {
    network: KeyedHash,
    is_known: bool,
}

/// Attempts that were counted, until [`give_back`]: mails, or promotion codes.
#[must_use]
pub struct Attempts {
    buckets: Vec<Bucket>,
    at: Timestamp,
}

/// Counts an attempt to enter the password of an account (its email address) from a client address.
/// From a network that the owner has used, only attempts from there count, so nobody else can lock
/// the owner out (security_42).
///
/// # Errors
/// [`Error::TooManyRequests`] with the time until the next attempt, or a failure of the database.
pub async fn log_in(app: &App, account: &str, client: IpAddr) -> Result<LoginAttempt> {
    let (account, network) = (spelled(account), attempts::client_network(client));
    let known = network_hash(app, client).await?;
    let from_network = format!("{account} {network}");
    let mut buckets = vec![Bucket::new(app, Counted::LoginFromNetwork, &from_network).await?];
    let is_known = match account.parse::<Email>() {
        Ok(email) => app.store.knows_network(&email, &known).await?,
        Err(_) => false,
    };
    if !is_known {
        buckets.push(Bucket::new(app, Counted::Login, &account).await?);
    }
    let account = account_hash(app, &account).await?;
    take(app, &mut buckets, Some(&account), app.now()).await?;
    Ok(LoginAttempt { network: known, is_known })
}

impl LoginAttempt {
    /// Remembers the network as one of the owner's, after the password was right.
    pub async fn succeeded(self, app: &App, user_id: &UserId) {
        if !self.is_known {
            log(remember(app, user_id, &self.network).await);
        }
    }
}

/// Remembers the client's network as one of the owner's, after a sign-up.
pub async fn remember_owner(app: &App, user_id: &UserId, client: IpAddr) {
    let remembered = async { remember(app, user_id, &network_hash(app, client).await?).await };
    log(remembered.await);
}

/// Forgets the attempts to enter the password of a customer, and the networks that were known,
/// which may be a thief's. Remembers the client's network (security_42). For the transaction in
/// which the customer uses a link from the mailbox; its caller calls
/// [`crate::flows::secret::prepare`] before it.
///
/// # Errors
/// A failure of the database.
pub(super) async fn unlock(
    app: &App,
    tx: &mut Tx,
    customer: &Customer,
    client: IpAddr,
    now: Timestamp,
) -> Result<()> {
    tx.delete_buckets(&account_hash(app, customer.email.as_str()).await?).await?;
    tx.delete_known_networks(&customer.user_id).await?;
    let network = network_hash(app, client).await?;
    tx.remember_network(&customer.user_id, &network, MAX_NETWORKS, now).await
}

/// Logs a failure to store what follows a success. The success must not become a failure by it.
fn log(stored: Result<()>) {
    if let Err(error) = stored {
        tracing::warn!(%error, "the throttle did not note that the owner of an account was here");
    }
}

/// Counts the mail of a sign-up for its client. [`SignupMailBudget`] counts it for the mailbox.
///
/// # Errors
/// As [`log_in`].
pub async fn mail(app: &App, client: IpAddr) -> Result<Attempts> {
    let buckets = mails_of(app, client).await?;
    count(app, buckets).await
}

/// The budget of a mailbox for the mails of sign-ups. Without one of its own, the mails of others
/// would prevent a sign-up.
pub(super) struct SignupMailBudget {
    own: Bucket,
    shared: Bucket,
}

impl SignupMailBudget {
    /// Returns the budget of a mailbox.
    pub(super) async fn of(app: &App, mailbox: &Email) -> Result<Self> {
        let own = Bucket::new(app, Counted::SignupMailbox, mailbox.as_str()).await?;
        let shared = Bucket::new(app, Counted::Mailbox, mailbox.as_str()).await?;
        Ok(Self { own, shared })
    }

    /// Counts the mail of a sign-up, in the transaction that has inserted the account: a sign-up
    /// with a taken address sends no mail and counts none. Nobody else locks the own bucket, so its
    /// place in the order does not matter.
    ///
    /// # Errors
    /// As [`log_in`].
    pub(super) async fn count(&self, tx: &mut Tx, now: Timestamp) -> Result<()> {
        match take_in(tx, [&self.own], None, now).await {
            Err(Error::TooManyRequests { .. }) => take_in(tx, [&self.shared], None, now).await,
            counted => counted,
        }
    }
}

/// Counts a mail with a link that a client requests for this mailbox.
///
/// # Errors
/// As [`log_in`].
pub async fn link_mail(app: &App, mailbox: &Email, client: IpAddr) -> Result<Attempts> {
    let mut buckets = mails_of(app, client).await?;
    buckets.push(Bucket::new(app, Counted::Mailbox, mailbox.as_str()).await?);
    count(app, buckets).await
}

/// Counts a mail with the link that sets a password. A mailbox has a budget of its own for these,
/// so that nobody can keep its owner from getting one by causing other mails (security_42).
///
/// # Errors
/// As [`log_in`].
pub async fn reset_mail(app: &App, mailbox: &Email, client: IpAddr) -> Result<Attempts> {
    let mut buckets = mails_of(app, client).await?;
    buckets.push(Bucket::new(app, Counted::ResetMailbox, mailbox.as_str()).await?);
    match count(app, buckets).await {
        Err(Error::TooManyRequests { .. }) => link_mail(app, mailbox, client).await,
        counted => counted,
    }
}

/// Counts an attempt to use a promotion code. [`give_back`] takes it back if it was right.
///
/// # Errors
/// As [`log_in`].
pub(in crate::flows) async fn promotion_code(
    app: &App,
    customer_id: &CustomerId,
    client: IpAddr,
) -> Result<Attempts> {
    let address = attempts::client_network(client).to_string();
    let network = attempts::wide_network(client).to_string();
    let buckets = vec![
        Bucket::new(app, Counted::CodeOfCustomer, customer_id.as_str()).await?,
        Bucket::new(app, Counted::CodeFromClient, &address).await?,
        Bucket::new(app, Counted::CodeFromNetwork, &network).await?,
    ];
    count(app, buckets).await
}

/// Returns whether a mail was counted, so that it may be sent. For a response that must not reveal
/// that a budget is used up.
///
/// # Errors
/// Any other error.
pub fn was_counted(counted: Result<Attempts>) -> Result<bool> {
    match counted {
        Ok(_) => Ok(true),
        Err(Error::TooManyRequests { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Stops counting attempts that had no effect: mails that were not sent, and right codes.
pub async fn give_back(app: &App, attempts: Attempts) {
    if let Err(error) = uncount(app, attempts).await {
        tracing::warn!(%error, "attempts without an effect stay counted");
    }
}

async fn uncount(app: &App, Attempts { buckets, at }: Attempts) -> Result<()> {
    let mut tx = app.store.write().await?;
    for Bucket { counted, key } in &buckets {
        let limit = counted.limit();
        let state = tx.lock_bucket(key, None, at).await?;
        let state = attempts::give_back(limit, state, at);
        tx.set_bucket(key, &state, attempts::expires(limit, &state)).await?;
    }
    tx.commit(app.fail_points.at(Place::ThrottleCounted)).await
}

async fn mails_of(app: &App, client: IpAddr) -> Result<Vec<Bucket>> {
    let address = attempts::client_network(client).to_string();
    let network = attempts::wide_network(client).to_string();
    Ok(vec![
        Bucket::new(app, Counted::Client, &address).await?,
        Bucket::new(app, Counted::Network, &network).await?,
    ])
}

async fn count(app: &App, mut buckets: Vec<Bucket>) -> Result<Attempts> {
    let at = app.now();
    take(app, &mut buckets, None, at).await?;
    Ok(Attempts { buckets, at })
}

/// Takes from all buckets, or from none. It sorts them first, because transactions that lock rows
/// in different orders wait for each other forever.
async fn take(
    app: &App,
    buckets: &mut [Bucket],
    account: Option<&KeyedHash>,
    now: Timestamp,
) -> Result<()> {
    buckets.sort_by(|a, b| a.key.cmp(&b.key));
    let mut tx = app.store.write().await?;
    take_in(&mut tx, buckets.iter(), account, now).await?;
    tx.sweep_buckets(now - SWEPT_AFTER).await?;
    tx.commit(app.fail_points.at(Place::ThrottleCounted)).await
}

/// Takes from all buckets in this order, or fails. The caller sorts them, so that two transactions
/// do not wait for each other.
async fn take_in(
    tx: &mut Tx,
    buckets: impl IntoIterator<Item = &Bucket>,
    account: Option<&KeyedHash>,
    now: Timestamp,
) -> Result<()> {
    let mut wait = None;
    for Bucket { counted, key } in buckets {
        let limit = counted.limit();
        let state = tx.lock_bucket(key, account, now).await?;
        match attempts::take(limit, &state, now) {
            Ok(state) => tx.set_bucket(key, &state, attempts::expires(limit, &state)).await?,
            Err(until) => wait = wait.max(Some(until)),
        }
    }
    match wait {
        // Without a commit, nothing is counted.
        Some(wait) => {
            Err(Error::TooManyRequests { retry_after: wait.to_std().unwrap_or_default() })
        }
        None => Ok(()),
    }
}

async fn remember(app: &App, user_id: &UserId, network: &KeyedHash) -> Result<()> {
    let mut tx = app.store.write().await?;
    tx.remember_network(user_id, network, MAX_NETWORKS, app.now()).await?;
    tx.commit(app.fail_points.at(Place::NetworkRemembered)).await
}

async fn network_hash(app: &App, client: IpAddr) -> Result<KeyedHash> {
    let network = attempts::client_network(client);
    keyed(app, Purpose::Throttle, &format!("owner {network}")).await
}

async fn account_hash(app: &App, account: &str) -> Result<KeyedHash> {
    keyed(app, Purpose::Throttle, &format!("account {}", spelled(account))).await
}

/// Returns the account that an address names. All spellings of an address are one account, also
/// those of its domain: `ａｃｍｅ.example` is `acme.example`.
fn spelled(account: &str) -> String {
    let account = account.trim_matches(' ');
    match account.parse::<Email>() {
        Ok(email) => email.as_str().to_owned(),
        Err(_) => account.to_ascii_lowercase(),
    }
}
