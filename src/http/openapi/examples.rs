//! One example of each documented error code, in `components/examples`. The responses refer to
//! them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::domain::account::metadata::InvalidMetadata;
use crate::domain::account::password::UnfitPassword;
use crate::domain::contact::{InvalidEmail, InvalidName};
use crate::domain::license::grant::{NothingToSend, WouldShorten};
use crate::domain::operator::admin_key::Scope;
use crate::domain::operator::webhook_target::RefusedTarget;
use crate::domain::sale::change::ChangeRefused;
use crate::domain::sale::plan::Quantity;
use crate::domain::sale::promotion::CodeRefused;
use crate::domain::sale::selection::holdings::OwnsMore;
use crate::domain::sale::stripe_failure::StripeFailure;
use crate::domain::sale::webhook::BadWebhook;
use crate::error::{Code, Error};
use crate::http::body::MAX_BODY_BYTES;
use crate::http::problem;
use crate::http::server::HEAD;

/// The page of an invoice in examples.
const PAYMENT_PAGE: &str = "https://invoice.stripe.com/i/acct_1/test_1?s=ap";

/// Returns the examples that the operations refer to, by code.
pub fn used_by(paths: &Value) -> Value {
    let paths = paths.to_string();
    let mut errors = Error::without_content();
    errors.extend(with_content());
    let is_used = |code: &&Code| paths.contains(&format!("\"{}\"", reference(**code)));
    let examples = Code::ALL.iter().filter(is_used).filter_map(|code| {
        let error = errors.iter().find(|error| error.code() == *code)?;
        let example = json!({ "summary": code.title(), "value": problem::example(error) });
        Some((code.as_str().to_owned(), example))
    });
    Value::Object(examples.collect())
}

/// Returns references to the examples of the codes that a response documents.
pub fn of(description: &str) -> Value {
    let documented = Code::ALL.iter().filter(|code| description.contains(&problem::line(**code)));
    let references =
        documented.map(|code| (code.as_str().to_owned(), json!({ "$ref": reference(*code) })));
    Value::Object(references.collect())
}

fn reference(code: Code) -> String {
    format!("#/components/examples/{}", code.as_str())
}

/// Returns an example of each error whose message depends on its content.
fn with_content() -> Vec<Error> {
    let refused = StripeFailure::Refused { status: 400, problem: "parameter_invalid".into() };
    vec![
        Error::InvalidRequest("`email` is missing".into()),
        Error::InvalidEmail(InvalidEmail::Form),
        Error::InvalidName { field: "name", problem: InvalidName::Empty },
        Error::UnfitPassword(UnfitPassword::TooShort),
        Error::InsufficientScope { needed: Scope::Support, held: Scope::Read },
        Error::InvalidMetadata(InvalidMetadata::Key),
        Error::NoSuchPlan { plan: "gold".into(), known: "trial, professional".into() },
        Error::WouldShorten(WouldShorten {
            plan: "professional".into(),
            ends: None,
            parts: String::new(),
        }),
        Error::NothingToSend(NothingToSend::Revoked),
        Error::InvalidQuantity(Quantity { min: 1, max: 20 }),
        Error::UnknownAddon("`pdf` is listed twice; list it once".into()),
        Error::CurrencyNotSold { sold: vec!["usd".into(), "eur".into()] },
        Error::CurrencyPinned { pinned: "gbp".into(), sold: vec!["usd".into(), "eur".into()] },
        Error::InvalidPromotionCode(CodeRefused::Expired),
        Error::OwnsMore(OwnsMore::Higher {
            plan: "studio".into(),
            updates: "end at 2027-11-20T15:00:00Z".into(),
        }),
        Error::NoPerpetualLicense { plan: "studio".into() },
        Error::StripeLinkRefused(
            "Stripe has no customer cus_Abc123 in this account and mode".into(),
        ),
        Error::InvalidLicense("it is not on record".into()),
        Error::InvalidReturnUrl("success_url"),
        Error::ChangeNotPossible(ChangeRefused::Unpaid),
        Error::PaymentFailed { url: Some(PAYMENT_PAGE.into()) },
        Error::PaymentActionRequired { url: Some(PAYMENT_PAGE.into()) },
        Error::Stripe(StripeFailure::Unreachable("timeout".into())),
        Error::Stripe(refused),
        Error::BadWebhook(BadWebhook::Header),
        Error::InvalidWebhookTarget(RefusedTarget::NotPublic),
        Error::NotFound("resource"),
        Error::SlowBody,
        Error::PayloadTooLarge { limit: MAX_BODY_BYTES },
        Error::HeadTooLarge { limit: HEAD.bytes },
        Error::TooManyRequests { retry_after: Duration::from_secs(60) },
        Error::DatabaseUnreachable(String::new()),
        Error::Database(String::new()),
        Error::BackgroundTaskDown("mails".into()),
        Error::Internal(String::new()),
    ]
}
