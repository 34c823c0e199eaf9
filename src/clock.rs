//! The time, as a parameter: the server reads the system's, a test sets its own.

use crate::domain::time::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // The one place that reads the machine's clock.
    fn now(&self) -> Timestamp {
        chrono::Utc::now().into()
    }
}
