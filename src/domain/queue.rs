//! Queues in the database: the inbox, the outbox, and the deliveries of outgoing webhooks. A worker
//! leases an entry, processes it, and records that it is done or when to retry it
//! ([`crate::domain::retry`]). The SQL is in `store/queue.rs`.

use chrono::TimeDelta;

use crate::domain::column::{Row, Value, row};
use crate::domain::time::Timestamp;

/// A table that is a queue. The queues have the same columns, some under different names.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    /// The table.
    pub table: &'static str,
    /// The column of the entry's id.
    pub id: &'static str,
    /// The column of the time from which the age of an entry counts.
    pub since: &'static str,
    /// The column of the time at which the entry was done.
    pub done: &'static str,
    /// How long a done entry is kept; `None` keeps it forever.
    pub kept_for: Option<TimeDelta>,
    /// A further condition for an entry to be due, in SQL: other entries come first. `$1` is now,
    /// and `$5` the latest valid end of a lease.
    pub waits_for: Option<&'static str>,
    /// Whether the receiver may ask for a longer wait than that of a fresh entry.
    pub obeys_retry_after: bool,
}

/// An entry that a worker has leased.
pub trait Leased: Row {
    /// The queue.
    const QUEUE: Queue;

    /// Returns the id.
    fn id(&self) -> &str;

    /// Returns the time from which the age of the entry counts.
    fn since(&self) -> Timestamp;

    /// Returns the fencing token of the lease. A worker whose lease has expired finds a newer token
    /// and cannot write.
    fn fence(&self) -> i64;

    /// Returns the columns whose values processing has determined. They are stored with the result.
    fn determined(&self) -> Vec<(&'static str, Value)> {
        Vec::new()
    }
}

row! {
    /// The numbers of entries of a queue that are not done.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Backlog {
        /// The waiting entries, including those that will be retried.
        pub waiting: i64,
        /// The entries that were given up.
        pub given_up: i64,
    }
}
