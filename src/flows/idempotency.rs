//! Carries out a request with an idempotency key once: begins it, records what it creates, and
//! keeps its response. [`crate::domain::idempotency`] decides what a repeated request gets.
//!
//! What a request creates is recorded in the transaction that creates it. So a request that is
//! repeated after a crash does not create it again: its response shows what exists. Operations that
//! record nothing can be carried out again without harm.
//!
//! The running request is task-local, like [`crate::request_id`], so that a flow deep inside can
//! record what it creates.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::app::App;
use crate::domain::idempotency::{
    Body, Decision, IdempotencyKey, KEPT_FOR, LEASE, NewRequest, RequestHash, StoredResponse,
    storable,
};
use crate::domain::ids::{CustomerId, UserId};
use crate::domain::secret::KeyedHash;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::account::session::{self, NewSession};
use crate::store::Tx;

/// The longest kept response, in bytes. The largest of ours has a few thousand.
const MAX_BODY: usize = 64 * 1024;

/// A request with a key.
pub struct KeyedCall {
    /// The key.
    pub key: IdempotencyKey,
    /// The operation's id.
    pub operation: String,
    /// The credential of the caller; empty if the request has none.
    pub credential: Vec<u8>,
    /// The path.
    pub path: String,
    /// The body.
    pub body: Bytes,
    /// The name of the caller's software.
    pub client: Option<String>,
}

/// How a request continues.
pub enum Begun {
    /// Carry it out.
    New,
    /// Answer with what an earlier attempt created, by its id.
    Resume(String),
    /// Answer with this response, and a new login session if the first response had one.
    Replay(StoredResponse, Option<NewSession>),
}

/// A running request. Dropping it ends the request without a response.
struct RunningRequest {
    app: App,
    request_hash: RequestHash,
    lease_token: String,
    is_ended: bool,
}

/// The running request of a task, once it has begun.
type Slot = Arc<Mutex<Option<RunningRequest>>>;

tokio::task_local! {
    static CURRENT: Slot;
}

/// Carries out `work`, which may [`begin`] a request, and then [`end`]s it.
pub fn with_slot<F: Future>(work: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(Slot::default(), work)
}

/// Returns what `access` takes from the slot of the current task; `None` outside of [`with_slot`].
fn current<T>(access: impl FnOnce(&mut Option<RunningRequest>) -> Option<T>) -> Option<T> {
    let found =
        CURRENT.try_with(|slot| access(&mut slot.lock().unwrap_or_else(PoisonError::into_inner)));
    found.ok().flatten()
}

/// Begins a request. The caller has checked limits, credential and permission. `owner` is the
/// customer whose data the response has, if that is known.
///
/// # Errors
/// [`Error::IdempotencyRunning`] while the first request with the key runs.
/// [`Error::IdempotencyMismatch`] when the first one was another request. A failure of the
/// database.
pub async fn begin(app: &App, call: KeyedCall, owner: Option<CustomerId>) -> Result<Begun> {
    let KeyedCall { key, operation, credential, path, body, client } = call;
    let (hash, body) = (RequestHash::new(&operation, &credential, &key), Body::parse(&body));
    let password_hash = match body.password.clone() {
        Some(password) => app.passwords.hash(password, hash.salt()).await?,
        None => String::new(),
    };
    let fingerprint = body.fingerprint(&key, &path, &password_hash);
    // Read first without a lock: the first request may hold it, and this one should not wait.
    let stored = app.store.read().await?.keyed_request(&hash).await?;
    match stored.map(|stored| stored.decide(&fingerprint, app.now())) {
        Some(Decision::Running) => return Err(Error::IdempotencyRunning),
        Some(Decision::Mismatch) => return Err(Error::IdempotencyMismatch),
        Some(Decision::Replay { created_id, response }) => {
            let Some(user_id) = created_id.and_then(|id| id.parse().ok()) else {
                return Ok(Begun::Replay(response, None));
            };
            if let Some(session) = open_again(app, &hash, &user_id, client).await? {
                return Ok(Begun::Replay(response, Some(session)));
            }
        }
        Some(Decision::Begin | Decision::Resume { .. }) | None => {}
    }
    // In a task: if the client disconnects during the commit, the request is ended at once.
    let own = app.clone();
    let (begun, running) = app.tasks.run(take(own, hash, fingerprint, owner)).await?;
    current(|slot| slot.replace(running));
    Ok(begun)
}

/// Opens a login session for the user whose session the first request opened. Returns `None` if the
/// request was forgotten in the meantime, because all sessions of the user were ended.
async fn open_again(
    app: &App,
    hash: &RequestHash,
    user_id: &UserId,
    client: Option<String>,
) -> Result<Option<NewSession>> {
    let mut tx = app.store.write().await?;
    let is_there = tx.lock_customer_of(user_id).await?.is_some();
    if !is_there || tx.keyed_request(hash).await?.is_none() {
        return Ok(None);
    }
    let opened = session::open(app, &mut tx, user_id, client, app.now()).await?;
    tx.commit(app.fail_points.at(Place::SessionOpened)).await?;
    Ok(Some(opened))
}

/// Takes the lease of a request that is to be carried out.
async fn take(
    app: App,
    request_hash: RequestHash,
    fingerprint: KeyedHash,
    owner: Option<CustomerId>,
) -> Result<(Begun, RunningRequest)> {
    let lease_token = format!("{:032x}", app.random.bits());
    let now = app.now();
    let new = NewRequest {
        request_hash: &request_hash,
        fingerprint: &fingerprint,
        lease_token: &lease_token,
        leased_until: now + LEASE,
        kept_until: now + KEPT_FOR,
        customer_id: owner.as_ref(),
    };
    let mut tx = app.store.write().await?;
    tx.sweep_keyed_requests(now).await?;
    let stored = tx.insert_or_lock_keyed_request(&new).await?;
    let is_first = stored.lease_token == lease_token;
    let begun = match stored.decide(&fingerprint, now) {
        _ if is_first => Begun::New,
        Decision::Begin => {
            tx.replace_keyed_request(&new, None).await?;
            Begun::New
        }
        Decision::Resume { created_id } => {
            tx.replace_keyed_request(&new, created_id.as_deref()).await?;
            created_id.map_or(Begun::New, Begun::Resume)
        }
        // The first request has just ended: the next repetition gets its response.
        Decision::Running | Decision::Replay { .. } => return Err(Error::IdempotencyRunning),
        Decision::Mismatch => return Err(Error::IdempotencyMismatch),
    };
    tx.commit(app.fail_points.at(Place::IdempotencyBegun)).await?;
    Ok((begun, RunningRequest { app, request_hash, lease_token, is_ended: false }))
}

/// Records that the running request creates the object with this id, in the transaction that
/// creates it. Without a key, it does nothing.
///
/// # Errors
/// [`Error::Busy`] when another request with the key has taken the place of this one. A failure of
/// the database.
pub(in crate::flows) async fn record_created(tx: &mut Tx, id: &str) -> Result<()> {
    let running = |slot: &mut Option<RunningRequest>| {
        slot.as_ref().map(|running| (running.request_hash.clone(), running.lease_token.clone()))
    };
    let Some((request_hash, lease_token)) = current(running) else { return Ok(()) };
    if tx.set_created(&request_hash, &lease_token, id).await? { Ok(()) } else { Err(Error::Busy) }
}

/// Ends the running request, and keeps its response if there is one to keep. A failure is logged:
/// the request itself has succeeded.
pub async fn end(response: Option<(u16, &str)>) {
    let Some(mut running) = current(Option::take) else { return };
    let response = response.filter(|(_, body)| body.len() <= MAX_BODY);
    if let Err(error) = running.end(response).await {
        tracing::warn!(%error, "the response of a request with an idempotency key was not kept");
    }
}

impl RunningRequest {
    async fn end(&mut self, response: Option<(u16, &str)>) -> Result<()> {
        let mut tx = self.app.store.write().await?;
        match response {
            Some((status, body)) => {
                let (body, customer_id) = storable(body);
                let response = StoredResponse { status, body };
                let owner = customer_id.as_deref();
                tx.set_response(&self.request_hash, &self.lease_token, &response, owner).await?;
            }
            None => tx.end_keyed_request(&self.request_hash, &self.lease_token).await?,
        }
        tx.commit(self.app.fail_points.at(Place::IdempotencyStored)).await?;
        self.is_ended = true;
        Ok(())
    }
}

impl Drop for RunningRequest {
    /// The client has disconnected, or the request took too long: it can be repeated at once.
    fn drop(&mut self) {
        if self.is_ended {
            return;
        }
        let (app, request_hash, lease_token) =
            (self.app.clone(), self.request_hash.clone(), self.lease_token.clone());
        let tasks = app.tasks.clone();
        tasks.spawn(async move {
            // Marked as ended: a failure must not start this again. The lease then ends by itself.
            let mut running = Self { app, request_hash, lease_token, is_ended: true };
            if let Err(error) = running.end(None).await {
                tracing::warn!(%error, "a request with an idempotency key stays leased");
            }
        });
    }
}
