//! Admin keys: their format, scopes and operations. They are created and checked in
//! [`crate::flows::operator::admin_key`].

use crate::domain::column::row;
use crate::domain::contact::DisplayName;
use crate::domain::ids::{AdminKeyId, CustomerId};
use crate::domain::secret::secret;
use crate::domain::text_enum::text_enum;
use crate::domain::time::Timestamp;

/// The prefix of admin keys. It lets secret scanners and people identify them.
const PREFIX: &str = "ladm_";

/// The random bytes of a key: 256 secret bits, and the 24 bits that [`AdminKey::visible`] shows.
pub const RANDOM_BYTES: usize = 32 + 3;

/// The characters after the prefix that lists show: those of the 24 bits.
const VISIBLE_CHARACTERS: usize = 4;

secret! {
    /// An admin key as its holder has it. Its 256 secret bits cannot be guessed, so attempts need
    /// no throttle.
    AdminKey, NoAdminKey, PREFIX, RANDOM_BYTES
}

impl AdminKey {
    /// Returns the first characters, by which a found key can be identified in a list.
    #[must_use]
    pub fn visible(&self) -> &str {
        let key = self.expose();
        key.get(..PREFIX.len() + VISIBLE_CHARACTERS).unwrap_or(key)
    }
}

text_enum! {
    /// The rights of an admin key, in ascending order. Each scope includes the ones before it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum Scope {
        /// Read only.
        Read = "read",
        /// Also operations that help one customer and can be undone.
        Support = "support",
        /// All operations.
        Admin = "admin",
    }
}

row! {
    /// The stored record of an admin key, without the key.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct StoredAdminKey {
        /// The id, for listing and revoking the key.
        pub admin_key_id: AdminKeyId,
        /// The purpose or the holder.
        pub name: DisplayName,
        /// The rights.
        pub scope: Scope,
        /// The first characters of the key.
        pub visible_prefix: String,
        /// The time of creation.
        pub created_at: Timestamp,
        /// The time at which the key expires; `None` is never.
        pub expires_at: Option<Timestamp>,
        /// The time of the revocation.
        pub revoked_at: Option<Timestamp>,
        /// The time of the last use.
        pub last_used_at: Option<Timestamp>,
    }
}

impl StoredAdminKey {
    /// Returns whether the key is neither revoked nor expired at `now`.
    #[must_use]
    pub fn works(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| end > now)
    }
}

text_enum! {
    /// An operation of the admin API, by its name in the API description and in the audit log.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Operation {
        /// Find customers.
        FindCustomers = "findCustomers",
        /// Show a customer's record.
        GetCustomer = "getCustomer",
        /// Create a customer.
        CreateCustomer = "createCustomer",
        /// Change a customer.
        UpdateCustomer = "updateCustomer",
        /// Delete a customer.
        DeleteCustomer = "deleteCustomer",
        /// Explain why a customer has the current license.
        ExplainLicense = "explainLicense",
        /// Sync a customer with Stripe.
        SyncCustomer = "syncCustomer",
        /// Link a customer to a Stripe customer, or remove the link.
        LinkStripe = "linkStripe",
        /// Mail the link that sets a password.
        SendPasswordReset = "sendPasswordReset",
        /// End all login sessions of a customer.
        EndSessions = "endSessions",
        /// Grant a license.
        GrantLicense = "grantLicense",
        /// Extend a license.
        ExtendLicense = "extendLicense",
        /// Revoke a license.
        RevokeLicense = "revokeLicense",
        /// Send a license again.
        ResendLicense = "resendLicense",
        /// List the audit log.
        ListAudit = "listAudit",
        /// Show the statistics.
        GetStats = "getStats",
        /// List a customer's licenses.
        ListCustomerLicenses = "listCustomerLicenses",
        /// List a customer's orders.
        ListCustomerOrders = "listCustomerOrders",
        /// List the events about a customer.
        ListCustomerEvents = "listCustomerEvents",
        /// Show a customer's timeline.
        GetTimeline = "getCustomerTimeline",
        /// List the mails to a customer.
        ListCustomerMails = "listCustomerMails",
        /// Show how many paid customers have no license.
        GetDrift = "getDrift",
        /// List the events that failed.
        ListEvents = "listEvents",
        /// Show one event.
        GetEvent = "getEvent",
        /// Process an event again.
        ReplayEvent = "replayEvent",
        /// List the outgoing webhooks.
        ListWebhooks = "listWebhooks",
        /// Create an outgoing webhook.
        CreateWebhook = "createWebhook",
        /// Change an outgoing webhook.
        UpdateWebhook = "updateWebhook",
        /// Delete an outgoing webhook.
        DeleteWebhook = "deleteWebhook",
        /// List the deliveries of an outgoing webhook.
        ListWebhookDeliveries = "listWebhookDeliveries",
        /// Replay a delivery of an outgoing webhook.
        ReplayWebhookDelivery = "replayWebhookDelivery",
    }
}

impl Operation {
    /// Returns the smallest scope that permits it.
    #[must_use]
    pub fn needs(self) -> Scope {
        match self {
            Self::FindCustomers
            | Self::GetCustomer
            | Self::ListCustomerLicenses
            | Self::ListCustomerOrders
            | Self::ListCustomerEvents
            | Self::GetTimeline
            | Self::ListCustomerMails
            | Self::ExplainLicense
            | Self::ListAudit
            | Self::GetStats
            | Self::GetDrift
            | Self::ListEvents
            | Self::GetEvent => Scope::Read,
            // These help one customer. A replay is only another sync.
            Self::ReplayEvent
            | Self::CreateCustomer
            | Self::UpdateCustomer
            | Self::SyncCustomer
            | Self::SendPasswordReset
            | Self::EndSessions
            | Self::GrantLicense
            | Self::ExtendLicense
            | Self::RevokeLicense
            | Self::ResendLicense => Scope::Support,
            // A webhook sends data about all customers to a server of the caller's choice.
            Self::ListWebhooks
            | Self::CreateWebhook
            | Self::UpdateWebhook
            | Self::DeleteWebhook
            | Self::ListWebhookDeliveries
            | Self::ReplayWebhookDelivery => Scope::Admin,
            // A deletion cannot be undone, and a link gives a customer what another one paid for.
            Self::DeleteCustomer | Self::LinkStripe => Scope::Admin,
        }
    }
}

/// The object of an operation of the admin API.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// The whole service.
    Service,
    /// A customer. The use of the key is in the customer's part of the audit log.
    Customer(&'a CustomerId),
    /// Another object, by the id that the caller sent.
    Object(&'a str),
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::domain::text_enum::UnknownText;

    #[test]
    fn a_key_is_recognized_and_shows_its_beginning_only_security_26() {
        let key = AdminKey::from_random([7; RANDOM_BYTES]);
        let text = key.expose().to_owned();
        assert_eq!((text.len(), key.visible()), (52, "ladm_BwcH"));
        assert_eq!(text.parse::<AdminKey>().unwrap().expose(), text);
        let (shown, secret) = (format!("{key:?}"), &text[9..]);
        assert!(!shown.contains(secret) && !shown.contains("BwcH"), "{shown}");
        // The hidden part has 256 bits.
        assert_eq!(URL_SAFE_NO_PAD.decode(secret).unwrap().len() * 8, 256);
    }

    #[test]
    fn a_malformed_admin_key_is_refused() {
        let good = AdminKey::from_random([0; RANDOM_BYTES]).expose().to_owned();
        for wrong in [
            "",
            "ladm_",
            &good[..51],
            &format!("{good}A"),
            &format!(" {good}"),
            &good.replace("ladm_", "lses_"),
            &good.replace("ladm_A", "ladm_="),
            // The last character has two unused bits, which must be zero.
            &format!("{}B", &good[..51]),
        ] {
            assert_eq!(wrong.parse::<AdminKey>().err(), Some(NoAdminKey), "{wrong:?}");
        }
    }

    #[test]
    fn each_scope_includes_the_ones_before_it() {
        use Scope::{Admin, Read, Support};
        assert!(Read < Support && Support < Admin);
        assert_eq!(Scope::ALL.map(|scope| scope.to_string().parse()), Scope::ALL.map(Ok));
        assert_eq!("root".parse::<Scope>(), Err(UnknownText(&["read", "support", "admin"])));
    }
}
