//! The tables of status lists and of the indexes that are taken in them (`status_places`). The bits
//! are not stored: a bit is set if the license with its index is revoked or was deleted. So a list
//! cannot disagree with the licenses.

use crate::domain::ids::UserId;
use crate::domain::license::BACKDATED;
use crate::domain::license::status_list::{DRAWS, StatusIndex, StatusList};
use crate::domain::time::{SKEW, Timestamp};
use crate::error::{Error, Result};
use crate::store::statement::sql;
use crate::store::{Store, Tx};

/// How often the newest list is read to find an index in it: it may be full, and so may the one
/// that another server opens meanwhile.
const MAX_LISTS_TRIED: usize = 3;

impl Store {
    /// Returns the list with this id.
    pub async fn status_list(&self, list_id: i64) -> Result<Option<StatusList>> {
        sql!(
            self,
            fetch_optional: StatusList,
            "SELECT {columns} FROM status_lists WHERE list_id = $1",
            list_id,
        )
    }
}

impl Tx {
    /// Takes an index for a new license: one of `draws` in the newest list of this origin, or in a
    /// new list if all are taken. Two licenses never get the same index.
    pub async fn take_status_index(
        &mut self,
        origin: &str,
        draws: &[u32; DRAWS],
        now: Timestamp,
    ) -> Result<StatusIndex> {
        for _ in 0..MAX_LISTS_TRIED {
            if let Some(list_id) = self.newest_status_list(origin).await? {
                for idx in draws {
                    let taken = sql!(
                        self,
                        execute,
                        "INSERT INTO status_places (list_id, idx) VALUES ($1, $2)
                         ON CONFLICT (list_id, idx) DO NOTHING",
                        list_id,
                        *idx,
                    )?;
                    if taken > 0 {
                        return Ok(StatusIndex { list_id, idx: *idx });
                    }
                }
            }
            self.open_status_list(origin, now).await?;
        }
        Err(Error::Busy)
    }

    async fn newest_status_list(&mut self, origin: &str) -> Result<Option<i64>> {
        let newest = sql!(
            self,
            fetch_optional: (i64,),
            "SELECT list_id FROM status_lists WHERE origin = $1 ORDER BY list_id DESC LIMIT 1",
            origin,
        )?;
        Ok(newest.map(|(list_id,)| list_id))
    }

    /// Opens the next list. Of several servers at once, one does.
    async fn open_status_list(&mut self, origin: &str, now: Timestamp) -> Result<()> {
        sql!(
            self,
            execute,
            "INSERT INTO status_lists (list_id, origin, issued_at, version)
             SELECT COALESCE(MAX(list_id), 0) + 1, $1, $2, 1 FROM status_lists WHERE true
             ON CONFLICT (list_id) DO NOTHING",
            origin,
            now - BACKDATED,
        )
        .map(drop)
    }

    /// Returns the lists, oldest first.
    pub async fn status_lists(&mut self) -> Result<Vec<StatusList>> {
        sql!(self, fetch_all: StatusList, "SELECT {columns} FROM status_lists ORDER BY list_id")
    }

    /// Gives a list, whose bits have changed in this transaction, its next version. The `iat` is
    /// the time, backdated like that of a license, or the second after the last `iat`, but not in
    /// the future. It goes back only from the time of a clock that was ahead.
    pub(in crate::store) async fn status_list_changed(
        &mut self,
        list_id: i64,
        now: Timestamp,
    ) -> Result<()> {
        sql!(
            self,
            execute,
            "UPDATE status_lists SET version = version + 1,
                 issued_at = CASE WHEN issued_at < $2 OR issued_at > $4 THEN $2
                     WHEN issued_at < $3 THEN issued_at + 1 ELSE issued_at END
             WHERE list_id = $1",
            list_id,
            now - BACKDATED,
            now,
            now + SKEW,
        )
        .map(drop)
    }

    /// Gives a list a new `iat`, although its bits are the same. Does nothing if another server
    /// has done so, or if they have changed.
    pub async fn renew_status_list(&mut self, list: &StatusList, now: Timestamp) -> Result<()> {
        sql!(
            self,
            execute,
            "UPDATE status_lists SET version = version + 1, issued_at = $3
             WHERE list_id = $1 AND version = $2 AND (issued_at < $3 OR issued_at > $4)",
            list.list_id,
            list.version,
            now - BACKDATED,
            now + SKEW,
        )
        .map(drop)
    }

    /// Gives all lists a new `iat`, if theirs are earlier, or from a clock that was ahead. After a
    /// restored backup, apps have seen later ones, and refuse those of the backup.
    pub async fn renew_status_lists(&mut self, now: Timestamp) -> Result<()> {
        sql!(
            self,
            execute,
            "UPDATE status_lists SET version = version + 1, issued_at = $1
             WHERE issued_at < $1 OR issued_at > $2",
            now - BACKDATED,
            now + SKEW,
        )
        .map(drop)
    }

    /// Returns the `iat` and the version of a list, and the indexes of the bits that are set, in
    /// any order. One statement reads all, so that they belong together.
    pub async fn status_bits(
        &mut self,
        list_id: i64,
    ) -> Result<Option<(Timestamp, i64, Vec<u32>)>> {
        let rows = sql!(
            self,
            fetch_all: (Timestamp, i64, Option<u32>),
            "SELECT issued_at, version, idx FROM status_lists LEFT JOIN (
                 SELECT status_list AS of_list, status_idx AS idx FROM licenses
                 WHERE status_list = $1 AND revoked_at IS NOT NULL
                 UNION ALL
                 SELECT list_id AS of_list, idx FROM status_places
                 WHERE list_id = $1 AND deleted_at IS NOT NULL
             ) AS bits ON of_list = list_id
             WHERE list_id = $1",
            list_id,
        )?;
        let Some((issued_at, version, _)) = rows.first() else { return Ok(None) };
        let (issued_at, version) = (*issued_at, *version);
        Ok(Some((issued_at, version, rows.into_iter().filter_map(|(_, _, idx)| idx).collect())))
    }

    /// Sets the bits of a user's licenses, which are deleted in this transaction: a bit that was
    /// set stays set, and the server knows none of them any more.
    pub(in crate::store) async fn keep_status_of_deleted(
        &mut self,
        user_id: &UserId,
        now: Timestamp,
    ) -> Result<()> {
        // Locked in order, so that two transactions do not wait for each other.
        let lists = sql!(
            self,
            fetch_all: (i64,),
            "SELECT list_id FROM status_lists WHERE list_id IN (
                 SELECT status_list FROM licenses WHERE customer_id IN (
                     SELECT customer_id FROM customers WHERE user_id = $1))
             ORDER BY list_id",
            user_id,
        )?;
        for (list_id,) in lists {
            self.status_list_changed(list_id, now).await?;
        }
        sql!(
            self,
            execute,
            "UPDATE status_places SET deleted_at = $2 WHERE (list_id, idx) IN (
                 SELECT status_list, status_idx FROM licenses WHERE customer_id IN (
                     SELECT customer_id FROM customers WHERE user_id = $1))",
            user_id,
            now,
        )
        .map(drop)
    }
}
