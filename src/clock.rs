//! The clock as a parameter: the server uses the system's, tests set their own, and a simulation
//! also controls how long each wait takes.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{BoxFuture, Either, select};

use crate::domain::time::Timestamp;

/// A clock.
pub trait Clock: Send + Sync {
    /// Returns the time now.
    fn now(&self) -> Timestamp;

    /// Waits this long, starting with the call. Only a simulation overrides it.
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time))
    }
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // The only place that reads the system's clock.
    fn now(&self) -> Timestamp {
        chrono::Utc::now().into()
    }
}

/// Returns the result of the work, or `None` if it takes longer than `time`: it is then dropped.
pub async fn within<T>(
    clock: &dyn Clock,
    time: Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    match select(pin!(work), clock.sleep(time)).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(((), _)) => None,
    }
}
