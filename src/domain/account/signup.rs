//! Sign-ups that wait until their address is confirmed, and the reason why one gets no trial.

use chrono::TimeDelta;

use crate::domain::account::mail_link::LinkKind;
use crate::domain::column::row;
use crate::domain::ids::MailId;
use crate::domain::message::Language;
use crate::domain::text_enum::text_enum;
use crate::domain::time::Timestamp;

/// How long a mail may wait for a mail server, with room; see [`crate::domain::retry`].
const MAIL_WAITS: TimeDelta = TimeDelta::days(4);

text_enum! {
    /// Whether a sign-up waits until its address is verified.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum Verification {
        /// The account and its trial begin with the sign-up.
        #[default]
        Optional = "none",
        /// The account and its trial begin with the confirmation.
        Required = "required",
    }
}

text_enum! {
    /// The reason why a sign-up gets no trial.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum TrialRefused {
        /// The address has had a trial before.
        Used = "trial_used",
    }
}

row! {
    /// A sign-up that waits until its address is confirmed. A confirmed one is kept for a while
    /// without its texts, so that its link says that it was used.
    #[derive(Clone, PartialEq, Eq)]
    pub struct PendingSignup {
        /// The mail with the link.
        pub mail_id: MailId,
        /// The email address; empty once it is confirmed.
        pub email: String,
        /// The password hash, a PHC string; empty once it is confirmed.
        pub password_hash: String,
        /// The person's name.
        pub name: Option<String>,
        /// The company's name.
        pub company_name: Option<String>,
        /// The language of mails.
        pub language: Option<Language>,
        /// The time of the sign-up.
        pub created_at: Timestamp,
        /// The time at which it is deleted.
        pub kept_until: Timestamp,
        /// The time of the confirmation.
        pub confirmed_at: Option<Timestamp>,
    }
}

impl PendingSignup {
    /// Returns when a sign-up is deleted: once no link to it can work.
    #[must_use]
    pub fn kept_until(now: Timestamp) -> Timestamp {
        now + MAIL_WAITS + LinkKind::Verify.lifetime()
    }
}
