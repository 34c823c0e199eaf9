//! Everything that can go wrong, once: each error has a stable code, and a message that names the
//! problem and the way out. How a code becomes an HTTP status is said by [`Code::status`]; how it
//! becomes an answer, in [`crate::http`].

use std::fmt;
use std::time::Duration;

use crate::domain::admin_key::Scope;
use crate::domain::contact::{InvalidEmail, InvalidName};
use crate::domain::password::UnfitPassword;
use crate::domain::webhook::BadWebhook;
use crate::stripe::StripeFailure;

/// The result of everything that can fail here.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is not what the API description says.
    #[error("{0}")]
    InvalidRequest(String),
    /// The email address is none.
    #[error("`email`: {0}")]
    InvalidEmail(#[from] InvalidEmail),
    /// A name cannot be shown or mailed safely.
    #[error("`{field}`: {problem}")]
    InvalidName {
        /// The field of the request.
        field: &'static str,
        /// What is wrong with it.
        problem: InvalidName,
    },
    /// A new password is not acceptable.
    #[error("`password`: {0}")]
    UnfitPassword(#[from] UnfitPassword),
    /// There is an account with this email address.
    #[error("there is already an account with this email address; log in instead")]
    EmailTaken,
    /// The email address or the password is wrong; which one is not told.
    #[error("the email address or the password is wrong")]
    InvalidCredentials,
    /// No session, or one that has ended.
    #[error(
        "this call needs `Authorization: Bearer …` with a valid session token, which login answers; a \
         refresh needs the license instead, and /api/admin an admin key"
    )]
    Unauthenticated,
    /// The admin key may not do this.
    #[error("this needs an admin key of the scope {needed}; this one has {held}")]
    InsufficientScope {
        /// The least that is needed.
        needed: Scope,
        /// What the key has.
        held: Scope,
    },
    /// The license that was sent as a credential is none of ours, or too old to be one.
    #[error("this license cannot be refreshed: {0}")]
    InvalidLicense(String),
    /// What the customer bought, or the trial, is over.
    #[error("the customer's license has ended; a new one begins with a new subscription")]
    LicenseEnded,
    /// The customer's license was taken back.
    #[error("the customer's license was taken back")]
    LicenseRevoked,
    /// No such plan, or it is not for sale at that interval.
    #[error(
        "`plan`: there is no such plan for sale, or not at this `interval`; GET /api/plans lists both"
    )]
    UnknownPlan,
    /// A URL that checkout or portal must not return to.
    #[error(
        "`{0}`: this URL is not within an allowed origin, which the vendor lists as `return_origins`, \
         or not plain ASCII; percent-encode the rest"
    )]
    InvalidReturnUrl(&'static str),
    /// The customer has a subscription already.
    #[error(
        "there is a subscription already; POST /api/subscriptions/portal is where it is changed"
    )]
    AlreadySubscribed,
    /// A checkout was completed, and the bank decides about the payment.
    #[error(
        "a payment for the last checkout is under way, as a bank debit is for days; when it is decided, \
         the license comes by mail, or another checkout is possible"
    )]
    PaymentUnderWay,
    /// No account at Stripe is configured.
    #[error(
        "nothing is sold here yet: the vendor has not configured `stripe.secret_key` and \
         `stripe.webhook_secret`"
    )]
    BillingNotConfigured,
    /// Stripe did not do what it should.
    #[error("{0}")]
    Stripe(#[from] StripeFailure),
    /// A webhook that is not from Stripe.
    #[error("{0}")]
    BadWebhook(#[from] BadWebhook),
    /// What was asked for does not exist, or belongs to somebody else.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The path exists, the method does not.
    #[error("this path does not answer {method}; it answers {}", allowed.join(", "))]
    MethodNotAllowed {
        /// The method of the request.
        method: String,
        /// The methods that the path answers.
        allowed: Vec<String>,
    },
    /// The request took too long to arrive or to be answered.
    #[error("the request took longer than {} seconds", .0.as_secs())]
    RequestTimeout(Duration),
    /// The request body is too large.
    #[error("the request body is larger than {limit} bytes")]
    PayloadTooLarge {
        /// The most that is accepted, in bytes.
        limit: usize,
    },
    /// The client sends the request body too slowly.
    #[error("the request body arrives too slowly; send it at 1 KiB a second or faster")]
    SlowBody,
    /// The first line and the headers of the request are too large.
    #[error("the first line and the headers of the request are larger than {limit} bytes")]
    HeadTooLarge {
        /// The most that is accepted, in bytes.
        limit: usize,
    },
    /// The request body is not JSON.
    #[error("send the body as `Content-Type: application/json`")]
    UnsupportedMediaType,
    /// Too many tries.
    #[error("too many tries; wait {} seconds", retry_after.as_secs())]
    TooManyRequests {
        /// When to try again.
        retry_after: Duration,
    },
    /// The server is too busy, or the database is locked: trying again will help.
    #[error("the service is busy; try again in a few seconds")]
    Busy,
    /// The database cannot be reached or did not do what it was told.
    #[error("the database failed: {0}")]
    Database(String),
    /// Something that must not happen. The text is for the log, not for the caller.
    #[error("internal error: {0}")]
    Internal(String),
    /// The server was set up wrongly: every problem found, each with its fix.
    #[error("{}", .0.join("\n"))]
    Setup(Vec<String>),
}

impl Error {
    /// An error of the set-up, with one problem.
    pub fn setup(problem: impl Into<String>) -> Self {
        Self::Setup(vec![problem.into()])
    }

    /// The stable name.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::InvalidRequest(_) => Code::InvalidRequest,
            Self::InvalidEmail(_) => Code::InvalidEmail,
            Self::InvalidName { .. } => Code::InvalidName,
            Self::UnfitPassword(_) => Code::WeakPassword,
            Self::EmailTaken => Code::EmailTaken,
            Self::InvalidCredentials => Code::InvalidCredentials,
            Self::Unauthenticated => Code::Unauthenticated,
            Self::InsufficientScope { .. } => Code::InsufficientScope,
            Self::InvalidLicense(_) => Code::InvalidLicense,
            Self::LicenseEnded => Code::LicenseEnded,
            Self::LicenseRevoked => Code::LicenseRevoked,
            Self::UnknownPlan => Code::UnknownPlan,
            Self::InvalidReturnUrl(_) => Code::InvalidReturnUrl,
            Self::AlreadySubscribed => Code::AlreadySubscribed,
            Self::PaymentUnderWay => Code::PaymentUnderWay,
            Self::BillingNotConfigured => Code::BillingNotConfigured,
            Self::Stripe(StripeFailure::Refused { .. }) => Code::BillingRefused,
            Self::Stripe(_) => Code::BillingUnavailable,
            Self::BadWebhook(_) => Code::BadWebhook,
            Self::NotFound(_) => Code::NotFound,
            Self::MethodNotAllowed { .. } => Code::MethodNotAllowed,
            Self::RequestTimeout(_) | Self::SlowBody => Code::RequestTimeout,
            Self::PayloadTooLarge { .. } => Code::PayloadTooLarge,
            Self::HeadTooLarge { .. } => Code::HeadTooLarge,
            Self::UnsupportedMediaType => Code::UnsupportedMediaType,
            Self::TooManyRequests { .. } => Code::TooManyRequests,
            Self::Busy => Code::Busy,
            Self::Database(_) => Code::Unavailable,
            Self::Internal(_) | Self::Setup(_) => Code::Internal,
        }
    }

    /// How long to wait before trying again, if that will help.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyRequests { retry_after } => Some(*retry_after),
            Self::Busy | Self::Database(_) => Some(BUSY_RETRY_AFTER),
            Self::Stripe(_) if self.code() == Code::BillingUnavailable => Some(BUSY_RETRY_AFTER),
            _ => None,
        }
    }
}

/// After a lock or a lost connection: most are over in this time.
const BUSY_RETRY_AFTER: Duration = Duration::from_secs(5);

/// The stable name of an error, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// The request is malformed.
    InvalidRequest,
    /// The credential is missing or has ended.
    Unauthenticated,
    /// The admin key may not do this.
    InsufficientScope,
    /// The email address or the password is wrong.
    InvalidCredentials,
    /// The license sent as a credential is none.
    InvalidLicense,
    /// The license is over.
    LicenseEnded,
    /// The license was taken back.
    LicenseRevoked,
    /// No such plan is for sale.
    UnknownPlan,
    /// The URL must not be returned to.
    InvalidReturnUrl,
    /// There is a subscription already.
    AlreadySubscribed,
    /// A payment is under way.
    PaymentUnderWay,
    /// Nothing is sold.
    BillingNotConfigured,
    /// Stripe refused.
    BillingRefused,
    /// Stripe cannot be reached.
    BillingUnavailable,
    /// The webhook is not from Stripe.
    BadWebhook,
    /// It does not exist.
    NotFound,
    /// The path does not answer this method.
    MethodNotAllowed,
    /// The request took too long.
    RequestTimeout,
    /// The email address has an account.
    EmailTaken,
    /// The body is too large.
    PayloadTooLarge,
    /// The head is too large.
    HeadTooLarge,
    /// The body is not JSON.
    UnsupportedMediaType,
    /// The email address is none.
    InvalidEmail,
    /// The name is not acceptable.
    InvalidName,
    /// The password is not acceptable.
    WeakPassword,
    /// Too many tries.
    TooManyRequests,
    /// A fault of the server.
    Internal,
    /// The database cannot be reached.
    Unavailable,
    /// The server is too busy.
    Busy,
}

impl Code {
    /// The code as it stands in a problem.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::Unauthenticated => "unauthenticated",
            Self::InsufficientScope => "insufficient_scope",
            Self::InvalidCredentials => "invalid_credentials",
            Self::InvalidLicense => "invalid_license",
            Self::LicenseEnded => "license_ended",
            Self::LicenseRevoked => "license_revoked",
            Self::UnknownPlan => "unknown_plan",
            Self::InvalidReturnUrl => "invalid_return_url",
            Self::AlreadySubscribed => "already_subscribed",
            Self::PaymentUnderWay => "payment_under_way",
            Self::BillingNotConfigured => "billing_not_configured",
            Self::BillingRefused => "billing_refused",
            Self::BillingUnavailable => "billing_unavailable",
            Self::BadWebhook => "bad_webhook",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::RequestTimeout => "request_timeout",
            Self::EmailTaken => "email_taken",
            Self::PayloadTooLarge => "payload_too_large",
            Self::HeadTooLarge => "head_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::InvalidEmail => "invalid_email",
            Self::InvalidName => "invalid_name",
            Self::WeakPassword => "weak_password",
            Self::TooManyRequests => "too_many_requests",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::Busy => "busy",
        }
    }

    /// The HTTP status (RFC 9110). 400 is a request that breaks the API description, 422 one that
    /// keeps to it and is refused for what it says.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidRequest | Self::BadWebhook => 400,
            Self::Unauthenticated | Self::InvalidCredentials | Self::InvalidLicense => 401,
            Self::InsufficientScope | Self::LicenseEnded | Self::LicenseRevoked => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::EmailTaken | Self::AlreadySubscribed | Self::PaymentUnderWay => 409,
            Self::PayloadTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::InvalidEmail | Self::InvalidName | Self::WeakPassword => 422,
            Self::UnknownPlan | Self::InvalidReturnUrl => 422,
            Self::TooManyRequests => 429,
            Self::HeadTooLarge => 431,
            Self::Internal => 500,
            Self::BillingRefused => 502,
            Self::Unavailable | Self::Busy => 503,
            Self::BillingNotConfigured | Self::BillingUnavailable => 503,
        }
    }

    /// What the code means, in a few words.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::InvalidRequest => "The request is malformed",
            Self::Unauthenticated => "Not signed in",
            Self::InsufficientScope => "The admin key may not do this",
            Self::InvalidCredentials => "Wrong email address or password",
            Self::InvalidLicense => "The license is not valid",
            Self::LicenseEnded => "The license has ended",
            Self::LicenseRevoked => "The license was taken back",
            Self::UnknownPlan => "No such plan is for sale",
            Self::InvalidReturnUrl => "The return URL is not allowed",
            Self::AlreadySubscribed => "There is a subscription already",
            Self::PaymentUnderWay => "A payment is under way",
            Self::BillingNotConfigured => "Nothing is sold here yet",
            Self::BillingRefused => "The payment provider refused",
            Self::BillingUnavailable => "The payment provider cannot be reached",
            Self::BadWebhook => "The webhook is not from Stripe",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "Method not allowed",
            Self::RequestTimeout => "The request took too long",
            Self::EmailTaken => "The email address is taken",
            Self::PayloadTooLarge => "The request body is too large",
            Self::HeadTooLarge => "The head of the request is too large",
            Self::UnsupportedMediaType => "The request body is not JSON",
            Self::InvalidEmail => "The email address is invalid",
            Self::InvalidName => "The name is invalid",
            Self::WeakPassword => "The password is not acceptable",
            Self::TooManyRequests => "Too many tries",
            Self::Internal => "Something went wrong here",
            Self::Unavailable => "The service is unavailable",
            Self::Busy => "The service is busy",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
