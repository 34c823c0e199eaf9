//! Everything that can go wrong, once: each error has a stable code, and a message that names the
//! problem and the way out. A new error is a variant in `errors!` and, if no code fits, a row in `codes!`.
//! How an error becomes an answer is said in [`crate::http`].

use std::fmt;
use std::time::Duration;

use crate::domain::admin_key::Scope;
use crate::domain::contact::{InvalidEmail, InvalidName};
use crate::domain::password::UnfitPassword;
use crate::domain::stripe_failure::StripeFailure;
use crate::domain::webhook::BadWebhook;

/// The result of everything that can fail here.
pub type Result<T> = std::result::Result<T, Error>;

/// Declares the errors: each variant with its message, and the code that programs get.
macro_rules! errors {
    ($(
        $(#[$about:meta])*
        $name:ident $(($($tuple:tt)*))? $({$($fields:tt)*})? => $code:ident,
    )*) => {
        /// What went wrong.
        #[derive(Debug, thiserror::Error)]
        pub enum Error {
            $($(#[$about])* $name $(($($tuple)*))? $({$($fields)*})?,)*
        }

        impl Error {
            /// The stable name.
            #[must_use]
            pub fn code(&self) -> Code {
                match self {
                    // The one error whose code depends on what it holds.
                    Self::Stripe(StripeFailure::Refused { .. }) => Code::BillingRefused,
                    $(Self::$name { .. } => Code::$code,)*
                }
            }
        }
    };
}

errors! {
    /// The request is not what the API description says.
    #[error("{0}")]
    InvalidRequest(String) => InvalidRequest,
    /// The email address is none.
    #[error("`email`: {0}")]
    InvalidEmail(#[from] InvalidEmail) => InvalidEmail,
    /// A name cannot be shown or mailed safely.
    #[error("`{field}`: {problem}")]
    InvalidName {
        /// The field of the request.
        field: &'static str,
        /// What is wrong with it.
        problem: InvalidName,
    } => InvalidName,
    /// A new password is not acceptable.
    #[error("`password`: {0}")]
    UnfitPassword(#[from] UnfitPassword) => WeakPassword,
    /// There is an account with this email address.
    #[error("there is already an account with this email address; log in instead")]
    EmailTaken => EmailTaken,
    /// The email address or the password is wrong; which one is not told.
    #[error("the email address or the password is wrong")]
    InvalidCredentials => InvalidCredentials,
    /// No session, or one that has ended.
    #[error(
        "this call needs `Authorization: Bearer …` with a valid session token, which login answers; a \
         refresh needs the license instead, and /api/admin an admin key"
    )]
    Unauthenticated => Unauthenticated,
    /// The admin key may not do this.
    #[error("this needs an admin key of the scope {needed}; this one has {held}")]
    InsufficientScope {
        /// The least that is needed.
        needed: Scope,
        /// What the key has.
        held: Scope,
    } => InsufficientScope,
    /// The license that was sent as a credential is none of ours, or too old to be one.
    #[error("this license cannot be refreshed: {0}")]
    InvalidLicense(String) => InvalidLicense,
    /// What the customer bought, or the trial, is over.
    #[error("the customer's license has ended; a new one begins with a new subscription")]
    LicenseEnded => LicenseEnded,
    /// The license that was sent was revoked for good, or the customer's current one is revoked.
    #[error("the license was revoked; log in to see the current one, or ask the vendor")]
    LicenseRevoked => LicenseRevoked,
    /// No such plan, or it is not for sale at that interval.
    #[error(
        "`plan`: there is no such plan for sale, or not at this `interval`; GET /api/plans lists both"
    )]
    UnknownPlan => UnknownPlan,
    /// A URL that checkout or portal must not return to.
    #[error(
        "`{0}`: this URL is not within an allowed origin, which the vendor lists as `return_origins`, \
         or not plain ASCII; percent-encode the rest"
    )]
    InvalidReturnUrl(&'static str) => InvalidReturnUrl,
    /// The customer has a subscription already.
    #[error(
        "there is a subscription already; POST /api/subscriptions/portal is where it is changed"
    )]
    AlreadySubscribed => AlreadySubscribed,
    /// A checkout was completed, and the bank decides about the payment.
    #[error(
        "a payment for the last checkout is under way, as a bank debit is for days; when it is decided, \
         the license comes by mail, or another checkout is possible"
    )]
    PaymentUnderWay => PaymentUnderWay,
    /// No account at Stripe is configured.
    #[error(
        "nothing is sold here yet: the vendor has not configured `stripe.secret_key` and \
         `stripe.webhook_secret`"
    )]
    BillingNotConfigured => BillingNotConfigured,
    /// Stripe did not do what it should.
    #[error("{0}")]
    Stripe(#[from] StripeFailure) => BillingUnavailable,
    /// A webhook that is not from Stripe.
    #[error("{0}")]
    BadWebhook(#[from] BadWebhook) => BadWebhook,
    /// What was asked for does not exist, or belongs to somebody else.
    #[error("there is no such {0}")]
    NotFound(&'static str) => NotFound,
    /// The path exists, the method does not.
    #[error("this path does not answer {method}; it answers {}", allowed.join(", "))]
    MethodNotAllowed {
        /// The method of the request.
        method: String,
        /// The methods that the path answers.
        allowed: Vec<String>,
    } => MethodNotAllowed,
    /// The request took too long to arrive or to be answered.
    #[error(fmt = took_longer)]
    RequestTimeout(Duration) => RequestTimeout,
    /// The request body is too large.
    #[error("the request body is larger than {limit} bytes")]
    PayloadTooLarge {
        /// The most that is accepted, in bytes.
        limit: usize,
    } => PayloadTooLarge,
    /// The client sends the request body too slowly.
    #[error("the request body arrives too slowly; send it at 1 KiB a second or faster")]
    SlowBody => RequestTimeout,
    /// The first line and the headers of the request are too large.
    #[error("the first line and the headers of the request are larger than {limit} bytes")]
    HeadTooLarge {
        /// The most that is accepted, in bytes.
        limit: usize,
    } => HeadTooLarge,
    /// The request body is not JSON.
    #[error("send the body as `Content-Type: application/json`")]
    UnsupportedMediaType => UnsupportedMediaType,
    /// Too many tries.
    #[error("too many tries; wait {} seconds", retry_after.as_secs())]
    TooManyRequests {
        /// When to try again.
        retry_after: Duration,
    } => TooManyRequests,
    /// The server is too busy, or the database is locked: trying again will help.
    #[error("the service is busy; try again in a few seconds")]
    Busy => Busy,
    /// The database cannot be reached or did not do what it was told.
    #[error("the database failed: {0}")]
    Database(String) => Unavailable,
    /// Background work ended, and is restarted.
    #[error(
        "a background task is not running: {0}; it restarts by itself, and the log says why it ended"
    )]
    BackgroundTaskDown(String) => BackgroundTaskDown,
    /// Something that must not happen. The text is for the log, not for the caller.
    #[error("internal error: {0}")]
    Internal(String) => Internal,
    /// The server was set up wrongly: every problem found, each with its fix.
    #[error(fmt = lines)]
    Setup(Vec<String>) => Internal,
}

fn took_longer(limit: &Duration, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(formatter, "the request took longer than {} seconds", limit.as_secs())
}

fn lines(problems: &[String], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    formatter.write_str(&problems.join("\n"))
}

impl Error {
    /// An error of the set-up, with one problem.
    pub fn setup(problem: impl Into<String>) -> Self {
        Self::Setup(vec![problem.into()])
    }

    /// How long to wait before trying again, if that will help.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyRequests { retry_after } => Some(*retry_after),
            Self::Busy | Self::Database(_) | Self::BackgroundTaskDown(_) => Some(BUSY_RETRY_AFTER),
            Self::Stripe(_) if self.code() == Code::BillingUnavailable => Some(BUSY_RETRY_AFTER),
            _ => None,
        }
    }
}

/// After a lock or a lost connection: most are over in this time.
const BUSY_RETRY_AFTER: Duration = Duration::from_secs(5);

/// Declares the codes: name, text, HTTP status, title. 400 is a request that breaks the API description,
/// 422 one that keeps to it and is refused for what it says (RFC 9110).
macro_rules! codes {
    ($($name:ident = $text:literal, $status:literal, $title:literal;)*) => {
        /// The stable name of an error, for programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $title] $name,)*
        }

        impl Code {
            /// The code as it stands in a problem.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// The HTTP status.
            #[must_use]
            pub fn status(self) -> u16 {
                match self {
                    $(Self::$name => $status,)*
                }
            }

            /// What the code means, in a few words.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self {
                    $(Self::$name => $title,)*
                }
            }
        }
    };
}

codes! {
    InvalidRequest = "invalid_request", 400, "The request is malformed";
    Unauthenticated = "unauthenticated", 401, "Not signed in";
    InsufficientScope = "insufficient_scope", 403, "The admin key may not do this";
    InvalidCredentials = "invalid_credentials", 401, "Wrong email address or password";
    InvalidLicense = "invalid_license", 401, "The license is not valid";
    LicenseEnded = "license_ended", 403, "The license has ended";
    LicenseRevoked = "license_revoked", 403, "The license was revoked";
    UnknownPlan = "unknown_plan", 422, "No such plan is for sale";
    InvalidReturnUrl = "invalid_return_url", 422, "The return URL is not allowed";
    AlreadySubscribed = "already_subscribed", 409, "There is a subscription already";
    PaymentUnderWay = "payment_under_way", 409, "A payment is under way";
    BillingNotConfigured = "billing_not_configured", 503, "Nothing is sold here yet";
    BillingRefused = "billing_refused", 502, "The payment provider refused";
    BillingUnavailable = "billing_unavailable", 503, "The payment provider cannot be reached";
    BadWebhook = "bad_webhook", 400, "The webhook is not from Stripe";
    NotFound = "not_found", 404, "Not found";
    MethodNotAllowed = "method_not_allowed", 405, "Method not allowed";
    RequestTimeout = "request_timeout", 408, "The request took too long";
    EmailTaken = "email_taken", 409, "The email address is taken";
    PayloadTooLarge = "payload_too_large", 413, "The request body is too large";
    HeadTooLarge = "head_too_large", 431, "The head of the request is too large";
    UnsupportedMediaType = "unsupported_media_type", 415, "The request body is not JSON";
    InvalidEmail = "invalid_email", 422, "The email address is invalid";
    InvalidName = "invalid_name", 422, "The name is invalid";
    WeakPassword = "weak_password", 422, "The password is not acceptable";
    TooManyRequests = "too_many_requests", 429, "Too many tries";
    Internal = "internal", 500, "Something went wrong here";
    Unavailable = "unavailable", 503, "The service is unavailable";
    Busy = "busy", 503, "The service is busy";
    BackgroundTaskDown = "background_task_down", 503, "A background task is not running";
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
