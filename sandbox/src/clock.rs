//! The sandbox's time: the machine's time or a stopped one, plus the duration that it was advanced
//! by. The timers that run when time passes are in `billing::time`.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::options::StartTime;

/// Returns the sandbox's time. Clones share it, so the service under test can use it too.
#[derive(Clone, Debug)]
pub struct Clock {
    start: StartTime,
    moved: Arc<AtomicI64>,
}

impl Clock {
    pub(crate) fn new(start: StartTime) -> Self {
        Self { start, moved: Arc::default() }
    }

    /// Returns the time, in epoch seconds.
    #[must_use]
    pub fn now(&self) -> i64 {
        let base = match self.start {
            StartTime::Machine => machine_now(),
            StartTime::At(at) => at,
        };
        base.saturating_add(self.moved.load(Ordering::SeqCst))
    }

    /// Whether it runs, or is stopped.
    pub(crate) fn runs(&self) -> bool {
        self.start == StartTime::Machine
    }

    /// Advances the clock. Only the sandbox does so, because it must run the timers on the way.
    pub(crate) fn advance(&self, seconds: i64) {
        self.moved.fetch_add(seconds, Ordering::SeqCst);
    }
}

/// Returns the machine's time, in epoch seconds.
#[allow(clippy::disallowed_methods)] // The one place that reads the machine's clock.
pub(crate) fn machine_now() -> i64 {
    chrono::Utc::now().timestamp()
}

/// Returns a time as the pages show it.
pub(crate) fn readable(epoch: i64) -> String {
    chrono::DateTime::from_timestamp(epoch, 0)
        .map_or_else(|| epoch.to_string(), |time| time.format("%Y-%m-%d %H:%M:%S UTC").to_string())
}
