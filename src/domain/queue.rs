//! Queues in the database: the inbox and the outbox. A worker leases an entry, works on it, and notes
//! that it is done or when to retry it ([`crate::domain::retry`]).

use crate::domain::column::{Row, Value, row};
use crate::domain::time::Timestamp;

/// A table that is a queue. What its columns mean is the same in each.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    /// The table.
    pub table: &'static str,
    /// The column of the entry's id.
    pub id: &'static str,
    /// The column of the time since which an entry is tried.
    pub since: &'static str,
    /// The column of the time at which it was done.
    pub done: &'static str,
    /// For how long a done entry is kept, in seconds; none is for ever.
    pub kept_seconds: Option<i64>,
}

/// An entry that a worker has leased.
pub trait Leased: Row {
    /// Its queue.
    const QUEUE: Queue;

    /// Returns its id.
    fn id(&self) -> &str;

    /// Returns the time since which it is tried.
    fn since(&self) -> Timestamp;

    /// Returns the number of this lease, its fencing token. A worker whose lease has ended finds
    /// another number, and cannot write.
    fn fence(&self) -> i64;

    /// Returns the columns that the work has found out, which are stored with its outcome.
    fn found_out(&self) -> Vec<(&'static str, Value)> {
        Vec::new()
    }
}

row! {
    /// How many entries of a queue are still to be done.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Backlog {
        /// How many wait, including those that are retried.
        pub waiting: i64,
        /// How many were given up.
        pub given_up: i64,
    }
}
