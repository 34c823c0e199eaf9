//! The stable codes of errors: one row for each. The errors are in [`super`].

use std::fmt;

/// Declares the codes: name, text, HTTP status, title. 400 is for a request that does not match the
/// API description, 422 for one that matches but is refused for its content (RFC 9110).
macro_rules! codes {
    ($($name:ident = $text:literal, $status:literal, $title:literal;)*) => {
        /// The stable name of an error, for programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $title] $name,)*
        }

        impl Code {
            /// All codes.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Returns the `code` of a problem response.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// Returns the HTTP status.
            #[must_use]
            pub fn status(self) -> u16 {
                match self {
                    $(Self::$name => $status,)*
                }
            }

            /// Returns the `title` of a problem response.
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
    InvalidRequest = "invalid_request", 400, "Invalid request";
    Unauthenticated = "unauthenticated", 401, "Authentication required";
    InsufficientScope = "insufficient_scope", 403, "The admin key's scope is too small";
    InvalidCredentials = "invalid_credentials", 401, "Wrong email address or password";
    LoginRequired = "login_required", 403, "Enter the password again";
    PasswordRequired = "password_required", 403, "The current password is missing";
    ResetRequired = "reset_required", 403, "Set a new password by a mailed link first";
    InvalidLicense = "invalid_license", 401, "The license is not valid";
    KeyRevoked = "key_revoked", 403, "The key of the license was revoked";
    Revoked = "revoked", 403, "The license was revoked";
    LicenseExpired = "license_expired", 403, "The license has ended";
    TokenExpired = "token_expired", 403, "The license token has expired";
    UnknownPlan = "unknown_plan", 422, "The plan is not for sale";
    NoSuchPlan = "no_such_plan", 422, "There is no such plan";
    WouldShorten = "would_shorten", 409, "The customer has more than this grants";
    NothingToExtend = "nothing_to_extend", 409, "There is no license to extend";
    NothingToSend = "nothing_to_send", 409, "The license cannot be sent";
    StripeLinkRefused = "stripe_link_refused", 409, "The Stripe customer cannot be linked";
    InvalidMetadata = "invalid_metadata", 422, "The metadata is too large";
    InvalidReturnUrl = "invalid_return_url", 422, "The return URL is not allowed";
    InvalidQuantity = "invalid_quantity", 422, "The quantity is not sold";
    UnknownAddon = "unknown_addon", 422, "The add-on is not sold";
    CurrencyNotSold = "currency_not_sold", 422, "The currency is not sold";
    InvalidPromotionCode = "invalid_promotion_code", 422, "The promotion code cannot be used";
    CurrencyPinned = "currency_pinned", 409, "The customer pays in another currency";
    LowerThanOwned = "lower_than_owned", 409, "The customer has more than this";
    NoPerpetualLicense = "no_perpetual_license", 409,
        "No perpetual license that this purchase extends";
    AlreadySubscribed = "already_subscribed", 409, "A subscription already exists";
    NoSubscription = "no_subscription", 409, "There is no subscription";
    ChangeNotPossible = "change_not_possible", 409, "This change is not possible";
    PreviewOutdated = "preview_outdated", 409, "The preview is outdated";
    PaymentFailed = "payment_failed", 402, "The payment failed";
    PaymentActionRequired = "payment_action_required", 402, "The customer must finish the payment";
    PaymentUnderWay = "payment_under_way", 409, "A payment is pending";
    BillingNotConfigured = "billing_not_configured", 503, "Selling is off";
    BillingRefused = "billing_refused", 502, "The payment provider refused the request";
    BillingUnavailable = "billing_unavailable", 503, "The payment provider cannot be reached";
    BadWebhook = "bad_webhook", 400, "Invalid webhook";
    InvalidWebhookTarget = "invalid_webhook_target", 422, "The URL of the webhook is not allowed";
    TooManyWebhooks = "too_many_webhooks", 409, "Too many webhooks";
    WebhookDisabled = "webhook_disabled", 409, "The webhook is disabled";
    NotFound = "not_found", 404, "Not found";
    MethodNotAllowed = "method_not_allowed", 405, "Method not allowed";
    RequestTimeout = "request_timeout", 408, "The request took too long";
    EmailTaken = "email_taken", 409, "The email address is already in use";
    PayloadTooLarge = "payload_too_large", 413, "The request body is too large";
    HeadTooLarge = "head_too_large", 431, "The request head is too large";
    UnsupportedMediaType = "unsupported_media_type", 415, "The request body is not JSON";
    InvalidEmail = "invalid_email", 422, "The email address is invalid";
    InvalidName = "invalid_name", 422, "The name is invalid";
    WeakPassword = "weak_password", 422, "The password is not acceptable";
    InvalidLink = "invalid_link", 422, "The link is not valid";
    LinkExpired = "link_expired", 410, "The link has expired";
    LinkUsed = "link_used", 410, "The link was already used";
    TooManyRequests = "too_many_requests", 429, "Too many requests";
    IdempotencyRunning = "idempotency_running", 409, "The first request is still running";
    IdempotencyMismatch = "idempotency_mismatch", 422, "The idempotency key is another request's";
    Internal = "internal", 500, "Internal error";
    DatabaseUnreachable = "database_unreachable", 503, "The database cannot be reached";
    DatabaseReadOnly = "database_read_only", 503, "The database is read-only";
    DatabaseFull = "database_full", 503, "The disk of the database is full";
    Unavailable = "unavailable", 503, "The database failed";
    Busy = "busy", 503, "The service is busy";
    BackgroundTaskDown = "background_task_down", 503, "A background task is not running";
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
