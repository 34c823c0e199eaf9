//! Fail points: places where a test can kill the process, as a power cut would. Every commit, every
//! write at Stripe and every mail takes a fail point as a parameter, so that none can be forgotten.
//! In a production server they are only counted: a cache of what the database has is checked again
//! after each commit of this process.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::text_enum::text_enum;

text_enum! {
    /// A place directly after the described write, unless the description names another moment. The
    /// places of a sale come first, in the order in which a sale reaches them.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum Place {
        /// The sign-up, before its commit.
        SignupWritten = "signup.written",
        /// The sign-up.
        SignupCommitted = "signup.committed",
        /// The lease of a customer.
        LeaseTaken = "lease.taken",
        /// The end of a customer's lease.
        LeaseReleased = "lease.released",
        /// The attempt to create a Stripe customer.
        StripeCustomerBegun = "stripe_customer.begun",
        /// The end of such an attempt, which Stripe refused.
        StripeCustomerRefused = "stripe_customer.refused",
        /// The Stripe customer, at Stripe.
        StripeCustomerMade = "stripe_customer.made",
        /// The link to the Stripe customer.
        StripeCustomerLinked = "stripe_customer.linked",
        /// A changed name or address, at Stripe.
        StripeCustomerUpdated = "stripe_customer.updated",
        /// The attempt to open a Checkout session.
        CheckoutBegun = "checkout.begun",
        /// The Checkout session, at Stripe.
        CheckoutMade = "checkout.made",
        /// The Checkout session and its order.
        CheckoutRecorded = "checkout.recorded",
        /// The expiry of a Checkout session, at Stripe.
        CheckoutClosed = "checkout.closed",
        /// The deletion of an expired Checkout session's order.
        CheckoutForgotten = "checkout.forgotten",
        /// The events of a webhook delivery, before their commit.
        WebhookWritten = "webhook.written",
        /// The events of a webhook delivery.
        WebhookStored = "webhook.stored",
        /// The leases of events.
        InboxTaken = "inbox.taken",
        /// Events that concern no customer, as done.
        InboxForeign = "inbox.foreign",
        /// Events that failed.
        InboxFailed = "inbox.failed",
        /// Stripe's state was fetched; nothing was written.
        SyncFetched = "sync.fetched",
        /// Events without an effect, as done.
        SettleNothing = "settle.nothing",
        /// The changes of a settlement, before their commit.
        SettleWritten = "settle.written",
        /// The changes of a settlement.
        SettleCommitted = "settle.committed",
        /// The leases of mails.
        MailTaken = "mail.taken",
        /// The link of a mail that is being written.
        MailLinkMade = "mail.link_made",
        /// A mail, at the SMTP server.
        MailAccepted = "mail.accepted",
        /// The result of sending a mail.
        MailRecorded = "mail.noted",

        /// An account that the backfill created.
        BackfillCreated = "backfill.created",
        /// A link to an existing Stripe customer.
        StripeCustomerMatched = "stripe_customer.matched",
        /// The customer of the backfill is linked; nothing was written.
        BackfillLinked = "backfill.linked",
        /// The metadata of a Stripe customer, at Stripe.
        BackfillTagged = "backfill.tagged",
        /// An unknown buyer, recorded or removed.
        BuyerRecorded = "buyer.noted",
        /// The unknown buyers that a reconciliation found.
        BuyersFound = "buyers.found",
        /// Purchases that wait for a customer, or that no longer do.
        PurchaseWaits = "purchase.waits",
        /// Another mail to a buyer whose purchase waits.
        PurchaseWaitsOn = "purchase.waits_on",
        /// A single payment, which belongs to a customer now.
        PaymentClaimed = "payment.claimed",
        /// The link that an operator requested.
        ClaimLinked = "claim.linked",
        /// The removal of a link that an operator requested.
        ClaimUnlinked = "claim.unlinked",
        /// The metadata of the Stripe customer that a claim replaces, at Stripe.
        ClaimUntagged = "claim.untagged",
        /// The metadata of a claimed Stripe customer, at Stripe.
        ClaimTagged = "claim.tagged",
        /// An event that is not used.
        WebhookIgnored = "webhook.ignored",
        /// A batch of imported accounts.
        ImportStored = "import.stored",

        /// A sign-up that waits for the confirmation of its address.
        SignupPending = "signup.pending",
        /// A confirmed sign-up, before its commit.
        SignupConfirmWritten = "signup.confirm_written",
        /// A confirmed sign-up.
        SignupConfirmed = "signup.confirmed",

        /// A requested mail with the current license.
        LicenseRequested = "license.requested",

        /// A requested mail with the link that verifies an address.
        VerificationRequested = "verification.requested",
        /// A verified email address.
        AddressVerified = "address.verified",

        /// A confirmed new email address, before its commit.
        AddressWritten = "address.written",
        /// A confirmed new email address.
        AddressChanged = "address.changed",
        /// An undone change of the email address.
        AddressUndone = "address.undone",

        /// A requested mail with the link that sets a password.
        ResetRequested = "reset.requested",
        /// A new password, before its commit.
        PasswordWritten = "password.written",
        /// A new password.
        PasswordChanged = "password.changed",

        /// A customer that support created.
        CustomerCreated = "customer.created",
        /// A customer that support changed.
        CustomerChanged = "customer.changed",
        /// The record that support synced a customer.
        CustomerSynced = "customer.synced",
        /// The end of all login sessions of a customer.
        SessionsEnded = "sessions.ended",

        /// The entry about an export of an account.
        AccountExported = "account.exported",
        /// A changed account.
        AccountChanged = "account.changed",
        /// The end of a subscription, at Stripe, before its account is deleted.
        AccountSubscriptionEnded = "account.subscription_ended",
        /// The deletion of an account.
        AccountDeleted = "account.deleted",
        /// A new login session.
        SessionOpened = "session.opened",
        /// The end of a login session.
        SessionEnded = "session.ended",
        /// A portal session, at Stripe.
        PortalOpened = "portal.opened",

        /// The attempt to change a subscription, or the request to cancel or resume it.
        ChangeStored = "change.stored",
        /// A schedule or a waiting change that a change replaces, at Stripe.
        ChangeCleared = "change.cleared",
        /// A change, a cancellation or a resumption of a subscription, at Stripe.
        ChangeMade = "change.made",
        /// The outcome of a change of a subscription.
        ChangeSettled = "change.settled",

        /// A license that an operator granted.
        LicenseGranted = "license.granted",
        /// A license that support extended.
        LicenseExtended = "license.extended",
        /// A license that support revoked.
        LicenseRevoked = "license.revoked",
        /// A license that support sent again.
        LicenseResent = "license.resent",
        /// A fresh token for a license.
        LicenseRefreshed = "license.refreshed",
        /// A license that was reissued because its key was revoked.
        LicenseReissued = "license.renewed",
        /// A batch of revoked licenses of a key.
        LicenseKeyRevoked = "license.key_revoked",
        /// A status list without a change, which is signed again.
        StatusListRenewed = "status_list.renewed",

        /// The counted attempts of a client.
        ThrottleCounted = "throttle.counted",
        /// A network that the owner of an account logs in from.
        NetworkRemembered = "throttle.network_remembered",
        /// A request with an idempotency key, before it is carried out.
        IdempotencyBegun = "idempotency.begun",
        /// The response of a request with an idempotency key.
        IdempotencyStored = "idempotency.stored",
        /// The key of keyed hashes.
        HashKeyStored = "hash_key.stored",
        /// A new admin key.
        AdminKeyCreated = "admin_key.created",
        /// The revocation of an admin key.
        AdminKeyRevoked = "admin_key.revoked",
        /// The use of an admin key.
        AdminKeyUsed = "admin_key.used",
        /// A batch of search terms.
        SearchFilled = "search.filled",
        /// A replayed event.
        EventReplayed = "event.replayed",
        /// An outgoing webhook that was created, changed or deleted.
        WebhookEndpointWritten = "webhook_endpoint.written",
        /// A replayed delivery of an outgoing webhook.
        OutgoingReplayed = "outgoing.replayed",
        /// The leases of deliveries of outgoing webhooks.
        OutgoingTaken = "outgoing.taken",
        /// A delivery, at its receiver.
        OutgoingSent = "outgoing.sent",
        /// The result of a delivery.
        OutgoingRecorded = "outgoing.recorded",
        /// A batch of reminders in the outbox.
        RemindersQueued = "reminders.queued",
        /// A batch of given-up mails that are due again.
        MailsRetried = "mails.retried",
        /// The result of a reconciliation.
        ReconcileNoted = "reconcile.noted",
        /// A batch of events that Stripe could not deliver.
        ReconcileMissed = "reconcile.missed",
        /// The leases of a long sync, renewed.
        LeaseRenewed = "lease.renewed",
        /// The end of leases that a dead process held.
        LeasesEnded = "leases.ended",
        /// The content of the plans file, at the start.
        PlansSeen = "plans.seen",
        /// The webhook endpoint, at Stripe.
        EndpointWritten = "endpoint.written",
        /// The end of a refused trial, at Stripe.
        TrialEnded = "trial.ended",
        /// The Checkout session that checks an account, at Stripe.
        AccountProbed = "account.probed",
        /// The result of the check of an account.
        AccountChecked = "account.checked",
        /// A test mail, at the SMTP server.
        TestMailSent = "test_mail.sent",

        /// The server's identity in licenses.
        IdentityRecorded = "server.identity_recorded",
        /// The records of signing keys.
        KeysRecorded = "keys.recorded",
        /// A key bundle.
        BundleStored = "keys.bundle_stored",
        /// The retirement or revocation of a signing key.
        KeyEnded = "keys.ended",
    }
}

impl Place {
    /// Returns whether a sale reaches this place, from the sign-up to the mail. A test kills the
    /// process at each of these.
    ///
    /// The other places belong to single transactions or calls without a following step, or to
    /// commands that can be repeated.
    #[must_use]
    pub fn is_of_a_sale(self) -> bool {
        self <= Self::MailRecorded
    }
}

/// The function that is called at each place, like the time a parameter, and the number of places
/// that were reached.
#[derive(Default)]
pub struct FailPoints {
    die: Option<Box<dyn Fn(Place) + Send + Sync>>,
    reached: AtomicU64,
}

/// One place, with the function to call there.
#[derive(Clone, Copy)]
pub struct FailPoint<'a> {
    points: &'a FailPoints,
    place: Place,
}

impl FailPoint<'_> {
    /// Called after the write of this place.
    pub fn reach(self) {
        self.points.reach(self.place);
    }
}

impl FailPoints {
    /// Calls `die` at each place.
    pub fn calling(die: impl Fn(Place) + Send + Sync + 'static) -> Self {
        Self { die: Some(Box::new(die)), reached: AtomicU64::default() }
    }

    /// Kills the process (SIGKILL) at the place that the environment variable `FAIL_POINT` names.
    /// With `PLACE@FILE`, it does so as soon as that file exists. Release builds ignore the
    /// variable.
    #[must_use]
    pub fn from_environment() -> Self {
        if cfg!(debug_assertions)
            && let Ok(named) = std::env::var("FAIL_POINT")
        {
            return Self::calling(move |place| {
                let mut parts = named.splitn(2, '@');
                let (named, file) = (parts.next(), parts.next());
                let is_there = file.is_none_or(|file| Path::new(file).exists());
                if named == Some(place.as_str()) && is_there {
                    kill_this_process();
                }
            });
        }
        Self::default()
    }

    /// Returns the fail point of this place, to pass to the function that writes.
    #[must_use]
    pub fn at(&self, place: Place) -> FailPoint<'_> {
        FailPoint { points: self, place }
    }

    /// Returns how many places were reached: it has grown after each commit.
    pub fn reached(&self) -> u64 {
        self.reached.load(Ordering::SeqCst)
    }

    /// Called at each place; calls the function.
    pub fn reach(&self, place: Place) {
        self.reached.fetch_add(1, Ordering::SeqCst);
        if let Some(die) = &self.die {
            die(place);
        }
    }
}

fn kill_this_process() -> ! {
    let own = std::process::id().to_string();
    let _ = std::process::Command::new("kill").args(["-KILL", &own]).status();
    // Reached only without a `kill` program. The test then reports another signal than SIGKILL.
    std::process::abort();
}
