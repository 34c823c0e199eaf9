//! Places where the process may die in a test, as by a power cut: each stands between two steps that
//! write, here or elsewhere. In a running server nothing happens there.

use std::path::Path;

/// What happens at each place: a parameter, as the time is.
#[derive(Default)]
pub struct FailPoints(Option<Box<dyn Fn(&'static str) + Send + Sync>>);

impl FailPoints {
    /// Calls `die` at each place.
    pub fn calling(die: impl Fn(&'static str) + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(die)))
    }

    /// Ends the process at the place that the environment's `FAIL_POINT` names, by SIGKILL, as a
    /// supervisor or the kernel does it; with `PLACE@FILE`, at the first passage when that file is there.
    /// In release builds there is nothing of it.
    #[must_use]
    pub fn from_environment() -> Self {
        if cfg!(debug_assertions)
            && let Ok(named) = std::env::var("FAIL_POINT")
        {
            return Self::calling(move |place| {
                let mut parts = named.splitn(2, '@');
                let (named, file) = (parts.next(), parts.next());
                if named == Some(place) && file.is_none_or(|file| Path::new(file).exists()) {
                    kill_this_process();
                }
            });
        }
        Self::default()
    }

    /// Somebody comes by a place.
    pub fn reach(&self, place: &'static str) {
        if let Some(die) = &self.0 {
            die(place);
        }
    }
}

fn kill_this_process() -> ! {
    let own = std::process::id().to_string();
    let _ = std::process::Command::new("kill").args(["-KILL", &own]).status();
    // Only where there is no `kill`; what waits for the other signal will say so.
    std::process::abort();
}

/// Every place that only `licentia stripe backfill` comes by.
pub const BACKFILL: [&str; 2] = ["backfill.linked", "backfill.tagged"];

/// Every place, in the order in which a sale comes by.
pub const ALL: [&str; 26] = [
    "signup.written",
    "signup.committed",
    "lease.taken",
    "lease.released",
    "counterpart.begun",
    "counterpart.refused",
    "counterpart.made",
    "counterpart.linked",
    "counterpart.told",
    "checkout.begun",
    "checkout.made",
    "checkout.recorded",
    "checkout.closed",
    "checkout.forgotten",
    "webhook.written",
    "webhook.stored",
    "inbox.taken",
    "inbox.foreign",
    "inbox.failed",
    "sync.fetched",
    "settle.nothing",
    "settle.written",
    "settle.committed",
    "mail.taken",
    "mail.accepted",
    "mail.noted",
];
