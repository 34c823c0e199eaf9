//! Status lists: which licenses are revoked, signed for apps. The bits follow from the licenses in
//! the database ([`crate::store`]), and a list is signed when it is asked for.

use std::sync::Arc;

use licentia_verify::STATUS_LIST_TYPE;

use crate::app::App;
use crate::domain::license::IssuedLicense;
use crate::domain::license::status_list::{self, StatusList};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::keys::Key;
use crate::status_lists::{Checked, SignedList};

/// Returns the signed list with this id. Mostly it is in memory. A change by this process is in it
/// at once, one by another after
/// [`CHECKED_EVERY`](crate::status_lists::CHECKED_EVERY). If the database fails, it is the last
/// known list, which is still better than none.
///
/// # Errors
/// [`Error::NotFound`] when there is no such list, or a failure of the database.
pub async fn signed(app: &App, list_id: i64) -> Result<Arc<SignedList>> {
    // Read before the database: what is committed meanwhile is read again by the next request.
    let checked = Checked { at: app.now(), commits: app.fail_points.reached() };
    if let Some(list) = app.status_lists.fresh(list_id, checked) {
        return Ok(list);
    }
    match current(app, list_id, checked).await {
        Err(error) if !matches!(error, Error::NotFound(_)) => {
            let last_known = app.status_lists.last_known(list_id).ok_or(error)?;
            tracing::warn!(list_id, "the status list may be outdated: the database failed");
            Ok(last_known)
        }
        result => result,
    }
}

/// Returns the signed list that a license names, to send with it. `None` if it names none, or if
/// there is a failure: the license works without it.
pub async fn of_license(app: &App, license: &IssuedLicense) -> Option<Arc<SignedList>> {
    let reference = license.claims()?.status?.status_list;
    let list_id = status_list::list_id(&reference.uri)?;
    let signed = signed(app, list_id).await;
    signed.inspect_err(|error| tracing::warn!(list_id, %error, "a status list is not sent")).ok()
}

/// Returns the lists, oldest first.
///
/// # Errors
/// A failure of the database.
pub async fn all(app: &App) -> Result<Vec<StatusList>> {
    app.store.read().await?.status_lists().await
}

/// The key that signs a list.
struct ListKey {
    key: Key,
    /// The time from which it may sign, and from which apps accept what it signs.
    valid_from: Timestamp,
}

impl ListKey {
    fn current(app: &App, now: Timestamp) -> Result<Self> {
        let keys = app.keys.current();
        let key = app.keys.signing(now)?;
        let record =
            keys.signing_record(now).map(|record| record.signs_from.max(record.not_before));
        Ok(Self { valid_from: record.unwrap_or(key.named_time), key })
    }
}

/// Returns the list as the database has it.
async fn current(app: &App, list_id: i64, checked: Checked) -> Result<Arc<SignedList>> {
    let key = ListKey::current(app, checked.at)?;
    if let Some(list) = confirmed(app, list_id, &key, checked).await? {
        return Ok(list);
    }
    let _turn = app.status_lists.turn.lock().await;
    // Another request may have signed it meanwhile.
    if let Some(list) = confirmed(app, list_id, &key, checked).await? {
        return Ok(list);
    }
    let list = stored(app, list_id).await?;
    if list.is_due(checked.at, key.valid_from) {
        // A list that is not renewed is served as it was: the database may be read-only.
        if let Err(error) = renew(app, &list, checked.at).await {
            tracing::warn!(list_id, %error, "the status list was not renewed");
        }
    }
    let bits = app.store.read().await?.status_bits(list_id).await?;
    let (issued_at, version, bits) = bits.ok_or(Error::NotFound("status list"))?;
    let list = StatusList { issued_at, version, ..list };
    let text = key.key.sign_as(STATUS_LIST_TYPE, &list.claims(bits))?;
    Ok(app.status_lists.store(list_id, SignedList::new(text, &list, &key.key.kid), checked))
}

/// Returns the list in memory, if it is what the database has and need not be signed again.
async fn confirmed(
    app: &App,
    list_id: i64,
    key: &ListKey,
    checked: Checked,
) -> Result<Option<Arc<SignedList>>> {
    let list = stored(app, list_id).await?;
    let is_due = list.is_due(checked.at, key.valid_from);
    Ok(if is_due { None } else { app.status_lists.confirm(&list, &key.key.kid, checked) })
}

async fn stored(app: &App, list_id: i64) -> Result<StatusList> {
    app.store.status_list(list_id).await?.ok_or(Error::NotFound("status list"))
}

async fn renew(app: &App, list: &StatusList, now: Timestamp) -> Result<()> {
    let mut tx = app.store.write().await?;
    tx.renew_status_list(list, now).await?;
    tx.commit(app.fail_points.at(Place::StatusListRenewed)).await
}
