//! Login sessions: log in, authenticate by session token, list, and log out. Checkout sessions are
//! in `checkout.rs`.

use chrono::TimeDelta;

use crate::app::App;
use crate::domain::account::customer::Customer;
use crate::domain::account::password::Password;
use crate::domain::account::session::{Session, SessionToken};
use crate::domain::contact::Email;
use crate::domain::ids::{SessionId, UserId};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::idempotency;
use crate::passwords::PasswordCheck;
use crate::store::Tx;

/// How long a login session lasts.
const SESSION_LIFETIME: TimeDelta = TimeDelta::days(30);

/// The most login sessions of one user. One more ends the oldest.
const MAX_SESSIONS: i64 = 50;

/// The longest stored client name, in characters.
const MAX_CLIENT_CHARACTERS: usize = 120;

/// A new login session.
#[derive(Debug)]
pub struct NewSession {
    /// The session.
    pub session: Session,
    /// The session token.
    pub token: SessionToken,
}

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// The login session.
    pub session: Session,
    /// The customer.
    pub customer: Customer,
}

/// Opens a login session for a customer with the right password. Returns both.
///
/// # Errors
/// [`Error::InvalidCredentials`]. An unknown address and a wrong password give the same error in
/// the same time. [`Error::Busy`] when the password was changed at the same time.
pub async fn login(
    app: &App,
    email: Option<Email>,
    password: Password,
    client: Option<String>,
) -> Result<(NewSession, Customer)> {
    let mut login = None;
    if let Some(email) = &email {
        login = app.store.read().await?.login_of(email).await?;
    }
    let hash = login.as_ref().map(|(_, hash)| hash.clone());
    let check = app.passwords.check(password.clone(), hash.clone()).await?;
    let (Some((customer, _)), PasswordCheck::Right | PasswordCheck::Outdated) = (login, check)
    else {
        return Err(Error::InvalidCredentials);
    };
    let mut rehashed = None;
    if check == PasswordCheck::Outdated {
        rehashed = Some(app.passwords.hash(password, app.random.bytes()).await?);
    }

    let now = app.now();
    let mut tx = app.store.write().await?;
    if tx.lock_customer(&customer.customer_id).await?.is_none() {
        // Deleted while the password was checked.
        return Err(Error::InvalidCredentials);
    }
    if tx.login_of(&customer.email).await?.map(|(_, hash)| hash) != hash {
        // Changed while it was checked: a session by the old password must not begin now.
        return Err(Error::Busy);
    }
    if let Some(hash) = rehashed {
        tx.set_password_hash(&customer.user_id, &hash, now).await?;
    }
    let opened = open(app, &mut tx, &customer.user_id, client, now).await?;
    tx.commit(app.fail_points.at(Place::SessionOpened)).await?;
    Ok((opened, customer))
}

/// Opens a login session, in the transaction of the caller.
pub(in crate::flows) async fn open(
    app: &App,
    tx: &mut Tx,
    user_id: &UserId,
    client: Option<String>,
    now: Timestamp,
) -> Result<NewSession> {
    let token = SessionToken::from_random(app.random.bytes());
    let visible = |text: String| text.chars().filter(|c| !c.is_control()).collect::<String>();
    let session = Session {
        session_id: SessionId::from_random(app.random.bits()),
        user_id: user_id.clone(),
        client: client.map(|name| visible(name).chars().take(MAX_CLIENT_CHARACTERS).collect()),
        created_at: now,
        password_at: now,
        expires_at: now + SESSION_LIFETIME,
    };
    tx.insert_session(&session, &token.hash()).await?;
    idempotency::record_created(tx, user_id.as_str()).await?;
    tx.trim_sessions(&session, MAX_SESSIONS, now).await?;
    Ok(NewSession { session, token })
}

/// Opens another login session for a user, in place of one whose token was lost with the response
/// to a request. Returns it and the customer, who is locked first: a change of the password at the
/// same time ends the session, or the request is forgotten before it opens one.
///
/// # Errors
/// [`Error::InvalidCredentials`] when the user was deleted, or a failure of the database.
pub async fn open_again(
    app: &App,
    user_id: &UserId,
    client: Option<String>,
) -> Result<(NewSession, Customer)> {
    let mut tx = app.store.write().await?;
    let customer = tx.lock_customer_of(user_id).await?.ok_or(Error::InvalidCredentials)?;
    let opened = open(app, &mut tx, user_id, client, app.now()).await?;
    tx.commit(app.fail_points.at(Place::SessionOpened)).await?;
    Ok((opened, customer))
}

/// Returns the caller who sent this text as a session token.
///
/// # Errors
/// [`Error::Unauthenticated`] when it is unknown or has expired.
pub async fn authenticate(app: &App, sent: &str) -> Result<SignedIn> {
    let token: SessionToken = sent.parse().map_err(|_| Error::Unauthenticated)?;
    let found = app.store.session_by_token(&token.hash(), app.now()).await?;
    let (session, customer) = found.ok_or(Error::Unauthenticated)?;
    Ok(SignedIn { session, customer })
}

/// Returns the caller's login sessions, newest first.
///
/// # Errors
/// A failure of the database.
pub async fn list(app: &App, caller: &SignedIn) -> Result<Vec<Session>> {
    app.store.read().await?.sessions_of(&caller.customer.user_id, app.now()).await
}

/// Ends one of the caller's login sessions.
///
/// # Errors
/// [`Error::NotFound`] when the caller has no such session.
pub async fn end(app: &App, caller: &SignedIn, session_id: &SessionId) -> Result<()> {
    let mut tx = app.store.write().await?;
    let ended = tx.delete_session(&caller.customer.user_id, session_id).await?;
    tx.commit(app.fail_points.at(Place::SessionEnded)).await?;
    if ended { Ok(()) } else { Err(Error::NotFound("session")) }
}

/// Ends the login session that the caller uses. It is not an error if it has already ended.
///
/// # Errors
/// A failure of the database.
pub async fn log_out(app: &App, caller: &SignedIn) -> Result<()> {
    match end(app, caller, &caller.session.session_id).await {
        Err(Error::NotFound(_)) => Ok(()),
        done => done,
    }
}
