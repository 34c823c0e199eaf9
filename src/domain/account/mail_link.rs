//! Links in mails. A link has a random token, which proves that its holder reads the mailbox. Only
//! the token's hash is stored. `flows/account/mail_link.rs` makes and takes links.

use chrono::TimeDelta;

use crate::domain::column::row;
use crate::domain::contact::Email;
use crate::domain::ids::CustomerId;
use crate::domain::secret::secret;
use crate::domain::text_enum::text_enum;
use crate::domain::time::Timestamp;

/// The prefix of link tokens, by which secret scanners and people recognize them.
const PREFIX: &str = "llnk_";

/// The random bytes of a link token: it cannot be guessed, so attempts need no throttle.
pub const RANDOM_BYTES: usize = 32;

/// How long an expired or used link is kept, so that its holder is told why it does not work.
pub const KEPT_FOR: TimeDelta = TimeDelta::days(30);

secret! {
    /// The token of a link. It is sent in a mail, and only its hash is stored.
    LinkToken, NoLinkToken, PREFIX, RANDOM_BYTES
}

text_enum! {
    /// The effect of a link. Its text is stored, and that of its page is part of the link's path.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum LinkKind {
        /// Verifies the address.
        Verify = "verify",
        /// Sets a password.
        Reset = "reset",
        /// Sets the first password of an account that a purchase created.
        FirstPassword = "first_password",
        /// Opens the payment provider's portal. It changes nothing here, so it works repeatedly.
        Portal = "portal",
        /// Undoes a change of the address. It is mailed to the former address.
        Undo = "undo",
    }
}

impl LinkKind {
    /// Returns how long a link works after its mail was written.
    #[must_use]
    pub fn lifetime(self) -> TimeDelta {
        match self {
            Self::Verify => TimeDelta::hours(48),
            Self::Reset => TimeDelta::hours(1),
            Self::Portal => TimeDelta::days(14),
            // The buyer may read the mail after a vacation. The mail also has the license.
            Self::FirstPassword => TimeDelta::days(14),
            // Long enough for a customer who reads mails once a week.
            Self::Undo => TimeDelta::days(7),
        }
    }

    /// Returns the kind whose page and operation the link uses: the first password is set like any
    /// other.
    #[must_use]
    pub fn page(self) -> Self {
        if self == Self::FirstPassword { Self::Reset } else { self }
    }

    /// Returns the URL of a link. The token is in the fragment, which browsers do not send: neither
    /// logs nor a `Referer` show it, and a mail scanner that opens the link does not use it. Only
    /// the server can redirect to the portal, so that link has its token in the query.
    #[must_use]
    pub fn url(self, public_url: &str, token: &LinkToken) -> String {
        let mark = if self == Self::Portal { '?' } else { '#' };
        format!("{public_url}/account/{}{mark}token={}", self.page(), token.expose())
    }
}

row! {
    /// A stored link, without its token.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct MailLink {
        /// The customer.
        pub customer_id: CustomerId,
        /// The effect.
        pub kind: LinkKind,
        /// The address that it was mailed to.
        pub email: Email,
        /// The time at which its mail was written.
        pub created_at: Timestamp,
        /// The time from which it no longer works.
        pub expires_at: Timestamp,
        /// The time at which it was used; it works once.
        pub used_at: Option<Timestamp>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn security_16_a_link_has_256_random_bits_and_lives_briefly() {
        let token = LinkToken::from_random([7; RANDOM_BYTES]);
        assert_eq!(token.expose().len(), PREFIX.len() + 43);
        assert!(!format!("{token:?}").contains("Bwc"), "{token:?}");
        let url = LinkKind::Reset.url("https://licenses.acme.example", &token);
        let start = "https://licenses.acme.example/account/reset#token=llnk_BwcH";
        assert!(url.starts_with(start), "{url}");
        for (kind, hours) in [
            (LinkKind::Verify, 48),
            (LinkKind::Reset, 1),
            (LinkKind::Undo, 7 * 24),
            (LinkKind::Portal, 14 * 24),
            (LinkKind::FirstPassword, 14 * 24),
        ] {
            assert_eq!(kind.lifetime(), TimeDelta::hours(hours), "{kind}");
        }
    }
}
