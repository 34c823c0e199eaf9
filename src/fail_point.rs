//! Places where a test lets the process die, as by a power cut: each stands between two steps that
//! write, here or elsewhere. In release builds there is nothing of it.

/// Ends the process here, without a word to anybody, if the environment's `FAIL_POINT` names this
/// place.
pub fn reach(place: &'static str) {
    #[cfg(debug_assertions)]
    {
        use std::sync::OnceLock;
        static ARMED: OnceLock<Option<String>> = OnceLock::new();
        if ARMED.get_or_init(|| std::env::var("FAIL_POINT").ok()).as_deref() == Some(place) {
            std::process::abort();
        }
    }
    #[cfg(not(debug_assertions))]
    let _ = place;
}

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
