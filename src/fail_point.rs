//! Places where the process may die in a test, as by a power cut: each stands between two steps that
//! write, here or elsewhere. In a running server nothing happens there.

/// What happens at each place: a parameter, as the time is.
#[derive(Default)]
pub struct FailPoints(Option<Box<dyn Fn(&'static str) + Send + Sync>>);

impl FailPoints {
    /// Calls `die` at each place.
    pub fn calling(die: impl Fn(&'static str) + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(die)))
    }

    /// Ends the process at the place that the environment's `FAIL_POINT` names, without a word to
    /// anybody. In release builds there is nothing of it.
    #[must_use]
    pub fn from_environment() -> Self {
        if cfg!(debug_assertions)
            && let Ok(named) = std::env::var("FAIL_POINT")
        {
            return Self::calling(move |place| {
                if place == named {
                    std::process::abort();
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

/// Every place that only `licentia stripe backfill` comes by.
pub const BACKFILL: [&str; 2] = ["backfill.linked", "backfill.tagged"];

/// Every place, in the order in which a sale comes by.
pub const ALL: [&str; 17] = [
    "signup.written",
    "signup.committed",
    "counterpart.begun",
    "counterpart.made",
    "counterpart.linked",
    "checkout.begun",
    "checkout.made",
    "checkout.recorded",
    "webhook.written",
    "webhook.stored",
    "inbox.taken",
    "sync.fetched",
    "settle.written",
    "settle.committed",
    "mail.taken",
    "mail.accepted",
    "mail.noted",
];
