//! The sandbox's time: the machine's or one that stands, and ahead of it by what it was moved.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::options::StartTime;

/// Tells the sandbox's time. Clones share it, so that the service under test can live by it too.
#[derive(Clone, Debug)]
pub struct Clock {
    start: StartTime,
    moved: Arc<AtomicI64>,
}

impl Clock {
    pub(crate) fn new(start: StartTime) -> Self {
        Self { start, moved: Arc::default() }
    }

    /// The time, in epoch seconds.
    #[must_use]
    pub fn now(&self) -> i64 {
        let base = match self.start {
            StartTime::Machine => machine_now(),
            StartTime::At(at) => at,
        };
        base.saturating_add(self.moved.load(Ordering::SeqCst))
    }

    /// Whether it moves by itself.
    pub(crate) fn runs(&self) -> bool {
        self.start == StartTime::Machine
    }

    /// Only the sandbox moves it, since what falls due on the way must happen.
    pub(crate) fn advance(&self, seconds: i64) {
        self.moved.fetch_add(seconds, Ordering::SeqCst);
    }
}

/// The machine's time, in epoch seconds.
#[allow(clippy::disallowed_methods)] // The one place that reads the machine's clock.
pub(crate) fn machine_now() -> i64 {
    chrono::Utc::now().timestamp()
}

/// A time as the pages write it.
pub(crate) fn readable(epoch: i64) -> String {
    chrono::DateTime::from_timestamp(epoch, 0)
        .map_or_else(|| epoch.to_string(), |time| time.format("%Y-%m-%d %H:%M:%S UTC").to_string())
}
