//! Logging in, being known by a session token, logging out.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::app::App;
use crate::domain::contact::Email;
use crate::domain::customer::Customer;
use crate::domain::ids::{SessionId, UserId};
use crate::domain::password::Password;
use crate::domain::session::Session;
use crate::domain::time::{DAY, Timestamp};
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::secret_hash;
use crate::passwords::Verdict;
use crate::store::Tx;

/// How long a session lasts, in seconds: a month, then the password is asked for again.
const SESSION_SECONDS: i64 = 30 * DAY;

/// The most sessions of one user; opening one more ends the oldest.
const MAX_SESSIONS: i64 = 50;

/// The longest client name that is kept, in characters.
const MAX_CLIENT_CHARACTERS: usize = 120;

/// What session tokens begin with, so that scanners for leaked secrets recognise them, and people
/// tell them from licenses.
const TOKEN_PREFIX: &str = "lses_";

/// A session that was just opened.
#[derive(Debug)]
pub struct Opened {
    /// The session.
    pub session: Session,
    /// The token that opens it: 256 random bits, kept here only as a hash.
    pub access_token: String,
}

/// A caller who is known.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// By which session.
    pub session: Session,
    /// Who it is.
    pub customer: Customer,
}

/// Opens a session for somebody who knows the password.
///
/// # Errors
/// [`Error::InvalidCredentials`], the same and as slow for an unknown address as for a wrong
/// password.
pub async fn login(
    app: &App,
    email: Option<Email>,
    password: String,
    client: Option<String>,
) -> Result<(Opened, Customer)> {
    let mut found = None;
    if let Some(email) = &email {
        found = app.store.read().await?.login_of(email).await?;
    }
    let hash = found.as_ref().map(|(_, hash)| hash.clone());
    let password = Password::typed(password);
    let verdict = app.passwords.check(password.clone(), hash).await?;
    let (Some((customer, _)), Verdict::Right | Verdict::Outdated) = (found, verdict) else {
        return Err(Error::InvalidCredentials);
    };
    let mut rehashed = None;
    if verdict == Verdict::Outdated {
        rehashed = Some(app.passwords.hash(password, app.random.bytes()).await?);
    }

    let now = app.now();
    let mut tx = app.store.write().await?;
    if tx.lock_customer(&customer.customer_id).await?.is_none() {
        // Deleted while the password was checked.
        return Err(Error::InvalidCredentials);
    }
    if let Some(hash) = rehashed {
        tx.set_password_hash(&customer.user_id, &hash, now).await?;
    }
    let opened = open(app, &mut tx, &customer.user_id, client, now).await?;
    tx.commit(app.fail_points.at(Place::SessionOpened)).await?;
    Ok((opened, customer))
}

/// Writes a new session, within the transaction of what called for it.
pub(super) async fn open(
    app: &App,
    tx: &mut Tx,
    user_id: &UserId,
    client: Option<String>,
    now: Timestamp,
) -> Result<Opened> {
    let secret = URL_SAFE_NO_PAD.encode(app.random.bytes::<32>());
    let access_token = format!("{TOKEN_PREFIX}{secret}");
    let visible = |text: String| text.chars().filter(|c| !c.is_control()).collect::<String>();
    let session = Session {
        session_id: SessionId::from_random(app.random.bits()),
        user_id: user_id.clone(),
        client: client.map(|name| visible(name).chars().take(MAX_CLIENT_CHARACTERS).collect()),
        created_at: now,
        expires_at: now.plus(SESSION_SECONDS),
    };
    tx.insert_session(&session, &secret_hash(&access_token)).await?;
    tx.trim_sessions(&session, MAX_SESSIONS, now).await?;
    Ok(Opened { session, access_token })
}

/// Who sent this session token.
///
/// # Errors
/// [`Error::Unauthenticated`].
pub async fn sign_in(app: &App, access_token: &str) -> Result<SignedIn> {
    if !access_token.starts_with(TOKEN_PREFIX) {
        return Err(Error::Unauthenticated);
    }
    let hash = secret_hash(access_token);
    let found = app.store.session_by_token(&hash, app.now()).await?;
    let (session, customer) = found.ok_or(Error::Unauthenticated)?;
    Ok(SignedIn { session, customer })
}

/// The caller's open sessions, the newest first.
///
/// # Errors
/// A failure of the database.
pub async fn list(app: &App, caller: &SignedIn) -> Result<Vec<Session>> {
    app.store.read().await?.sessions_of(&caller.customer.user_id, app.now()).await
}

/// Ends one of the caller's sessions.
///
/// # Errors
/// [`Error::NotFound`] when the caller has no such session.
pub async fn end(app: &App, caller: &SignedIn, session_id: &SessionId) -> Result<()> {
    let mut tx = app.store.write().await?;
    let ended = tx.delete_session(&caller.customer.user_id, session_id).await?;
    tx.commit(app.fail_points.at(Place::SessionEnded)).await?;
    if ended { Ok(()) } else { Err(Error::NotFound("session")) }
}

/// Ends the caller's own session. That it has ended meanwhile is what was asked for.
///
/// # Errors
/// A failure of the database.
pub async fn log_out(app: &App, caller: &SignedIn) -> Result<()> {
    match end(app, caller, &caller.session.session_id).await {
        Err(Error::NotFound(_)) => Ok(()),
        done => done,
    }
}
