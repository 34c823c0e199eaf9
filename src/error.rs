//! All errors. Each has a stable code and a message that names the problem and the fix. A new
//! error is a variant in `errors!` and, if no code fits, a row in `codes!` (`error/code.rs`).
//! [`crate::http`] turns an error into a response.

mod code;
mod refused;
mod text;

use std::time::Duration;

use crate::domain::account::metadata::InvalidMetadata;
use crate::domain::account::password::UnfitPassword;
use crate::domain::account::session;
use crate::domain::contact::{InvalidEmail, InvalidName};
use crate::domain::count::counted;
use crate::domain::ids::CustomerId;
use crate::domain::license::grant::{NothingToSend, WouldShorten};
use crate::domain::operator::admin_key::Scope;
use crate::domain::operator::webhook::MAX_WEBHOOKS;
use crate::domain::operator::webhook_target::RefusedTarget;
use crate::domain::sale::change::ChangeRefused;
use crate::domain::sale::plan::Quantity;
use crate::domain::sale::promotion::CodeRefused;
use crate::domain::sale::selection::holdings::OwnsMore;
use crate::domain::sale::stripe_failure::StripeFailure;
use crate::domain::sale::webhook::BadWebhook;

pub use code::Code;

/// The result of an operation that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Declares the errors: each variant with its message and its code.
macro_rules! errors {
    ($(
        $(#[$about:meta])*
        $name:ident $(($($tuple:tt)*))? $({$($fields:tt)*})? => $code:ident,
    )*) => {
        /// An error.
        #[derive(Debug, thiserror::Error)]
        pub enum Error {
            $($(#[$about])* $name $(($($tuple)*))? $({$($fields)*})?,)*
        }

        impl Error {
            /// Returns the stable code.
            #[must_use]
            pub fn code(&self) -> Code {
                match self {
                    // The only error whose code depends on its content.
                    Self::Stripe(StripeFailure::Refused { .. }) => Code::BillingRefused,
                    $(Self::$name { .. } => Code::$code,)*
                }
            }

            /// Returns every error whose message is always the same.
            #[must_use]
            pub fn without_content() -> Vec<Self> {
                let errors = [
                    $(without_content!($name $(($($tuple)*))? $({$($fields)*})?),)*
                ];
                errors.into_iter().flatten().collect()
            }
        }
    };
}

/// Returns the error if it has no content.
macro_rules! without_content {
    ($name:ident) => {
        Some(Error::$name)
    };
    ($name:ident $content:tt) => {
        None
    };
}

errors! {
    /// The request does not match the API description.
    #[error("{0}")]
    InvalidRequest(String) => InvalidRequest,
    /// Not a valid email address.
    #[error("`email`: {0}")]
    InvalidEmail(#[from] InvalidEmail) => InvalidEmail,
    /// A name is empty, too long, or has invisible characters.
    #[error("`{field}`: {problem}")]
    InvalidName {
        /// The field of the request.
        field: &'static str,
        /// What is wrong with it.
        problem: InvalidName,
    } => InvalidName,
    /// The metadata of a customer is too large.
    #[error("`metadata`: {0}")]
    InvalidMetadata(#[from] InvalidMetadata) => InvalidMetadata,
    /// The plan of a grant is not in the plans file.
    #[error("`plan`: there is no plan {plan:?}; the plans are: {known}")]
    NoSuchPlan {
        /// The plan of the request.
        plan: String,
        /// The ids of the plans.
        known: String,
    } => NoSuchPlan,
    /// A grant would shorten what the customer has.
    #[error("{0}")]
    WouldShorten(#[from] WouldShorten) => WouldShorten,
    /// There is no license to extend.
    #[error(
        "the customer has no license that can be extended: there is none, it was revoked, or its \
         plan is no longer in the plans file; grant one instead"
    )]
    NothingToExtend => NothingToExtend,
    /// The license cannot be sent again.
    #[error("{0}")]
    NothingToSend(#[from] NothingToSend) => NothingToSend,
    /// A Stripe customer cannot be linked or unlinked.
    #[error("{0}")]
    StripeLinkRefused(String) => StripeLinkRefused,
    /// A new password is not acceptable.
    #[error("`password`: {0}")]
    UnfitPassword(#[from] UnfitPassword) => WeakPassword,
    /// An account has this email address, or it is reserved for one that had it before.
    #[error(
        "this email address is already in use; log in, or get a link to a new password by POST \
         /api/customers/password/forgot"
    )]
    EmailTaken => EmailTaken,
    /// The email address or the password is wrong. The message does not reveal which one.
    #[error(
        "the email address or the password is wrong; POST /api/customers/password/forgot mails a \
         link to a new one"
    )]
    InvalidCredentials => InvalidCredentials,
    /// The password was entered in this session too long ago.
    #[error(
        "this needs a session whose password was entered in the last {} minutes; log in again",
        session::RECENT.num_minutes()
    )]
    LoginRequired => LoginRequired,
    /// A change of the address was undone, and no mailed link has set a password since.
    #[error(
        "a change of this account's email address was undone, so somebody else may know the \
         password; POST /api/customers/password/forgot mails the link that sets a new one, and \
         then this works again"
    )]
    ResetRequired => ResetRequired,
    /// A change needs the current password too.
    #[error("`current_password`: a new email address needs the current password")]
    PasswordRequired => PasswordRequired,
    /// The token of a link in a mail is unknown, has another purpose, or is not for the customer's
    /// present address.
    #[error("`token`: this link is not valid; copy it completely from the newest mail")]
    InvalidLink => InvalidLink,
    /// The link is too old.
    #[error("`token`: this link has expired; request a new one")]
    LinkExpired => LinkExpired,
    /// The link works once.
    #[error("`token`: this link was already used; request a new one if you still need it")]
    LinkUsed => LinkUsed,
    /// There is no valid session token.
    #[error(
        "send `Authorization: Bearer …` with a valid session token from login; a refresh needs the \
         license token instead, and /api/admin an admin key"
    )]
    Unauthenticated => Unauthenticated,
    /// The admin key's scope is too small.
    #[error("this call needs an admin key with the scope `{needed}`; this key has `{held}`")]
    InsufficientScope {
        /// The smallest scope that is sufficient.
        needed: Scope,
        /// The key's scope.
        held: Scope,
    } => InsufficientScope,
    /// The license token cannot be used as a credential: it was not issued here, or is too old.
    #[error("this license cannot be refreshed: {0}")]
    InvalidLicense(String) => InvalidLicense,
    /// The key that signed the license was revoked.
    #[error(
        "the key that signed the license was revoked; log in to get the current license, or let it \
         be mailed to the customer's address"
    )]
    KeyRevoked => KeyRevoked,
    /// The license was permanently revoked, or the customer's current license is revoked.
    #[error("the license was revoked; log in to get the current one, or ask the vendor")]
    Revoked => Revoked,
    /// The subscription or the trial has ended.
    #[error("the customer's license has ended; a new subscription starts a new license")]
    LicenseExpired => LicenseExpired,
    /// The token of the current license has expired, and its plan is not in the plans file.
    #[error(
        "the license token has expired, and no other one is issued, because the plan is no longer \
         offered; ask the vendor"
    )]
    TokenExpired => TokenExpired,
    /// The plan does not exist, or is not for sale at this interval.
    #[error(
        "`plan`: this plan is not for sale, or not at this `interval`; GET /api/plans lists both"
    )]
    UnknownPlan => UnknownPlan,
    /// The plan is not sold in this quantity.
    #[error("`quantity`: this plan is sold in {0}")]
    InvalidQuantity(Quantity) => InvalidQuantity,
    /// Updates are sold for all units of the license.
    #[error(
        "`quantity`: updates are sold for the whole license, which has {}; leave `quantity` out",
        counted(*units, "unit")
    )]
    UpdatesQuantity {
        /// The units of the license.
        units: u32,
    } => InvalidQuantity,
    /// The updates of the customer's units have ended, and fewer units would not renew them.
    #[error(
        "`quantity`: the updates of the customer's {} of `{plan}` have ended, and fewer would not \
         renew them; buy updates first (`interval` `updates`), or at least as many units",
        counted(*units, "unit")
    )]
    UpdatesEnded {
        /// The plan.
        plan: String,
        /// The units of the license.
        units: u32,
    } => InvalidQuantity,
    /// An add-on is not sold.
    #[error("`addons`: {0}")]
    UnknownAddon(String) => UnknownAddon,
    /// The plan is not sold in this currency.
    #[error("`currency`: this plan is sold only in {}", sold.join(", "))]
    CurrencyNotSold {
        /// The currencies of the plan.
        sold: Vec<String>,
    } => CurrencyNotSold,
    /// The customer's subscriptions are in another currency.
    #[error(fmt = text::pinned_currency)]
    CurrencyPinned {
        /// The customer's currency.
        pinned: String,
        /// The currencies of the plan.
        sold: Vec<String>,
    } => CurrencyPinned,
    /// A promotion code cannot be used.
    #[error("`promotion_code`: {0}")]
    InvalidPromotionCode(#[from] CodeRefused) => InvalidPromotionCode,
    /// The customer has more already, or all of it.
    #[error("{0}")]
    OwnsMore(OwnsMore) => LowerThanOwned,
    /// Add-ons that are bought alone have no effect on a license that an operator granted.
    #[error(
        "`addons`: the customer's license for `{granted}` was granted, so an add-on that is bought \
         alone has no effect on it; ask the vendor for the add-on{}",
        if *is_sold { ", or send `quantity` to buy the plan too" } else { "" }
    )]
    AddonBesideGrant {
        /// The plan of the license.
        granted: String,
        /// Whether the plan of the request is sold once.
        is_sold: bool,
    } => NoPerpetualLicense,
    /// Updates are sold to holders of a perpetual license.
    #[error(
        "the customer has no perpetual license for `{plan}` that these updates could extend; buy \
         it with `interval` `once`"
    )]
    NoPerpetualLicense {
        /// The plan.
        plan: String,
    } => NoPerpetualLicense,
    /// Updates extend no license that a subscription left.
    #[error(
        "the customer's license for `{plan}` is what a subscription left, and updates extend only \
         one that was bought; for newer builds, subscribe again, or buy it with `interval` `once`"
    )]
    LeftBySubscription {
        /// The plan.
        plan: String,
    } => NoPerpetualLicense,
    /// This return URL of a checkout or the portal is not allowed.
    #[error(
        "`{0}`: use a URL within an allowed origin (the vendor sets `return_origins`), and \
         percent-encode all characters outside of ASCII"
    )]
    InvalidReturnUrl(&'static str) => InvalidReturnUrl,
    /// The customer already has a subscription.
    #[error(
        "the customer already has a subscription; change it by POST /api/subscriptions/change, or \
         by POST /api/subscriptions/portal; resume a paused one by POST /api/subscriptions/resume, \
         or end it by POST /api/subscriptions/cancel"
    )]
    AlreadySubscribed => AlreadySubscribed,
    /// The customer has no subscription that can be changed.
    #[error(
        "the customer has no subscription; buy a plan by POST /api/subscriptions/checkout"
    )]
    NoSubscription => NoSubscription,
    /// The subscription cannot be changed as requested.
    #[error("{0}")]
    ChangeNotPossible(ChangeRefused) => ChangeNotPossible,
    /// The preview of a change is not true any more.
    #[error(
        "this `preview_id` is older than 30 minutes, belongs to another request, or the \
         subscription or the cost has changed since; request a new preview, and show it to the \
         customer"
    )]
    PreviewOutdated => PreviewOutdated,
    /// The payment for a change failed.
    #[error(
        "the payment failed, so nothing has changed yet; the customer can pay with another card \
         at `payment_url` within 23 hours, and the change takes effect then"
    )]
    PaymentFailed {
        /// Stripe's page where it can be paid.
        url: Option<String>,
    } => PaymentFailed,
    /// The customer must do something for the payment of a change.
    #[error(
        "the payment needs an action of the customer, such as 3-D Secure; send them to \
         `payment_url`. The change takes effect when it is paid"
    )]
    PaymentActionRequired {
        /// Stripe's page where it can be paid.
        url: Option<String>,
    } => PaymentActionRequired,
    /// A checkout was completed, and its payment is still pending at the bank.
    #[error(
        "the payment of the last checkout is pending; a bank debit takes days. The license is \
         mailed when it succeeds; if it fails, open another checkout"
    )]
    PaymentUnderWay => PaymentUnderWay,
    /// No Stripe account is configured.
    #[error(
        "selling is off: the vendor has not configured `stripe.secret_key` and \
         `stripe.webhook_secret`"
    )]
    BillingNotConfigured => BillingNotConfigured,
    /// A call to Stripe failed.
    #[error("{0}")]
    Stripe(#[from] StripeFailure) => BillingUnavailable,
    /// So many Stripe customers name a customer that none of them is linked without an operator.
    #[error(
        "more than {most} Stripe customers name {customer_id} in `metadata.customer_id`. Run \
         `licentia stripe claim cus_… --to {customer_id}` with the right one, or remove it from \
         the wrong ones at Stripe"
    )]
    NamedTooOften {
        /// The customer.
        customer_id: CustomerId,
        /// The most Stripe customers that are compared.
        most: usize,
    } => BillingRefused,
    /// A webhook with an invalid signature or body.
    #[error("{0}")]
    BadWebhook(#[from] BadWebhook) => BadWebhook,
    /// The URL of an outgoing webhook may not be called.
    #[error("`url`: {0}")]
    InvalidWebhookTarget(#[from] RefusedTarget) => InvalidWebhookTarget,
    /// There are too many outgoing webhooks.
    #[error("there are {MAX_WEBHOOKS} webhooks already; delete one that is not needed")]
    TooManyWebhooks => TooManyWebhooks,
    /// A disabled webhook gets no deliveries.
    #[error(
        "this webhook is disabled; enable it first (PATCH with `enabled`: true; on the command \
         line: licentia webhook enable)"
    )]
    WebhookDisabled => WebhookDisabled,
    /// The resource does not exist or belongs to another customer.
    #[error("there is no such {0}")]
    NotFound(&'static str) => NotFound,
    /// The path exists but does not support the method.
    #[error("this path does not support {method}; it supports {}", allowed.join(", "))]
    MethodNotAllowed {
        /// The method of the request.
        method: String,
        /// The methods that the path supports.
        allowed: Vec<String>,
    } => MethodNotAllowed,
    /// The request took too long to arrive or to be handled.
    #[error(fmt = text::took_too_long)]
    RequestTimeout(Duration) => RequestTimeout,
    /// The request body is too large.
    #[error("the request body is larger than {limit} bytes")]
    PayloadTooLarge {
        /// The largest accepted size, in bytes.
        limit: usize,
    } => PayloadTooLarge,
    /// The client sends the request body too slowly.
    #[error("the request body arrives too slowly; send at least 4 KiB in ten seconds")]
    SlowBody => RequestTimeout,
    /// The first line and the headers of the request are too large.
    #[error("the first line and the headers of the request are larger than {limit} bytes")]
    HeadTooLarge {
        /// The largest accepted size, in bytes.
        limit: usize,
    } => HeadTooLarge,
    /// The request body is not JSON.
    #[error("send the body as `Content-Type: application/json`")]
    UnsupportedMediaType => UnsupportedMediaType,
    /// Too many requests.
    #[error("too many requests; wait {} seconds", retry_after.as_secs())]
    TooManyRequests {
        /// How long to wait before a retry.
        retry_after: Duration,
    } => TooManyRequests,
    /// The first request with this idempotency key still runs.
    #[error(
        "the first request with this `Idempotency-Key` is still running; try again in a second"
    )]
    IdempotencyRunning => IdempotencyRunning,
    /// The idempotency key was used with another request.
    #[error(
        "this `Idempotency-Key` was used with another request; repeat that one exactly, or use a \
         new key"
    )]
    IdempotencyMismatch => IdempotencyMismatch,
    /// The server is overloaded or the database is locked: a retry may succeed.
    #[error("the service is busy; try again in a few seconds")]
    Busy => Busy,
    /// The database does not respond, or opens no connection.
    #[error("the database cannot be reached: {0}")]
    DatabaseUnreachable(String) => DatabaseUnreachable,
    /// The database accepts no writes.
    #[error("the database is read-only, so nothing can be written; the operator must change that")]
    DatabaseReadOnly => DatabaseReadOnly,
    /// The database has no space to write.
    #[error("the disk of the database is full, so nothing can be written; the operator must free space")]
    DatabaseFull => DatabaseFull,
    /// The database failed in another way.
    #[error("the database failed: {0}")]
    Database(String) => Unavailable,
    /// A background task ended and will be restarted.
    #[error(
        "a background task is not running: {0}; it restarts automatically, and the log has the \
         reason why it stopped"
    )]
    BackgroundTaskDown(String) => BackgroundTaskDown,
    /// A fault of the server itself. The text is for the log only; callers do not see it.
    #[error("internal error: {0}")]
    Internal(String) => Internal,
    /// The configuration or the environment is wrong: every problem with its fix.
    #[error(fmt = text::lines)]
    Setup(Vec<String>) => Internal,
}

impl Error {
    /// Returns the page where the customer can pay, if the error is about a payment.
    #[must_use]
    pub fn payment_url(&self) -> Option<&str> {
        match self {
            Self::PaymentFailed { url } | Self::PaymentActionRequired { url } => url.as_deref(),
            _ => None,
        }
    }

    /// Returns a [`Error::Setup`] with one problem.
    pub fn setup(problem: impl Into<String>) -> Self {
        Self::Setup(vec![problem.into()])
    }

    /// Returns how long to wait before a retry; `None` when a retry cannot succeed.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyRequests { retry_after } => Some(*retry_after),
            Self::Busy
            | Self::DatabaseUnreachable(_)
            | Self::DatabaseReadOnly
            | Self::DatabaseFull
            | Self::Database(_)
            | Self::BackgroundTaskDown(_) => Some(BUSY_RETRY_AFTER),
            Self::IdempotencyRunning => Some(RUNNING_RETRY_AFTER),
            Self::Stripe(_) if self.code() == Code::BillingUnavailable => Some(BUSY_RETRY_AFTER),
            _ => None,
        }
    }
}

/// The wait before a retry. Locks and lost connections are usually over by then.
const BUSY_RETRY_AFTER: Duration = Duration::from_secs(5);

/// The wait for a request that is running. Most take less.
const RUNNING_RETRY_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_of_a_revoked_keys_license_names_the_way_to_the_new_one() {
        let text = Error::KeyRevoked.to_string();
        assert!(text.contains("was revoked; log in") && text.contains("mailed"), "{text}");
        assert!(!text.contains("refresh"), "{text}");
    }
}
