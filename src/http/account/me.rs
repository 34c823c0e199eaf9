//! The caller's own account.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::{Example, MaybeUndefined};
use poem_openapi::{ApiResponse, Object, OpenApi};

use crate::app::App;
use crate::domain::account::password::Password;
use crate::domain::contact::{DisplayName, Email};
use crate::error::{Error, Result};
use crate::flows::account::attempts;
use crate::flows::account::customer::{self, AccountChange, Change, NewEmail};
use crate::http::Tag;
use crate::http::account::view::{CustomerView, LanguageView, name};
use crate::http::caller::{Caller, Client};
use crate::http::input::Input;
use crate::http::problem::{Failure, NothingMore, documented};
use crate::http::throttle::Throttle;

pub struct MeApi;

documented!(
    DeleteCodes: LoginRequired, ResetRequired, BillingNotConfigured, BillingRefused,
    BillingUnavailable
);
documented!(
    UpdateCodes: EmailTaken, InvalidEmail, InvalidName, InvalidCredentials, PasswordRequired,
    ResetRequired, TooManyRequests
);

/// The fields to change. An absent field is kept; `null` clears a name.
#[derive(Object)]
#[oai(rename = "CustomerChange", deny_unknown_fields, example)]
struct ChangeRequest {
    /// The new email address, which is also the new login name once it is confirmed. The present
    /// address cancels a change that is not confirmed yet.
    #[oai(validator(max_length = 254), skip_serializing_if_is_none)]
    email: Option<String>,
    /// The current password. A new `email` needs it.
    #[oai(validator(max_length = 1024), skip_serializing_if_is_none)]
    current_password: Option<String>,
    /// The person's name.
    #[oai(nullable, validator(max_length = 200))]
    name: MaybeUndefined<String>,
    /// The company's name.
    #[oai(nullable, validator(max_length = 200))]
    company_name: MaybeUndefined<String>,
    /// The language of mails; null for the server's default.
    #[oai(nullable)]
    language: MaybeUndefined<LanguageView>,
}

impl Example for ChangeRequest {
    fn example() -> Self {
        Self {
            email: None,
            current_password: None,
            name: MaybeUndefined::Value("Grace Brewster Hopper".into()),
            company_name: MaybeUndefined::Undefined,
            language: MaybeUndefined::Undefined,
        }
    }
}

#[derive(ApiResponse)]
enum DeletedResponse {
    /// The account was deleted, with all sessions and licenses.
    #[oai(status = 204)]
    Deleted,
}

#[OpenApi(prefix_path = "/api/customers", tag = "Tag::Customers")]
impl MeApi {
    /// Get my account
    ///
    /// Returns the customer that is logged in.
    #[oai(path = "/me", method = "get", operation_id = "getMe")]
    async fn me(
        &self,
        Caller(caller): Caller,
    ) -> std::result::Result<Json<CustomerView>, Failure<NothingMore>> {
        Ok(Json(caller.customer.into()))
    }

    /// Update my account
    ///
    /// Returns the updated customer. A new `email` needs `current_password`. It is returned as
    /// `pending_email`, and replaces the address once the link that is mailed to it is opened. The
    /// old address then gets a mail with a link that undoes the change for 7 days.
    #[oai(path = "/me", method = "patch", operation_id = "updateMe")]
    async fn update(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        client: Client,
        Caller(caller): Caller,
        Input(request): Input<ChangeRequest>,
    ) -> std::result::Result<Json<CustomerView>, Failure<UpdateCodes>> {
        if request.email.is_some() {
            // Like a sign-up, this reveals whether an address has an account.
            throttle.client(client.address)?;
        }
        let email = request.email.map(|email| email.parse::<Email>()).transpose();
        let email = email.map_err(Error::InvalidEmail)?;
        let (mut permit, mut mail) = (None, None);
        if let (Some(email), Some(_)) = (&email, &request.current_password) {
            // Whoever has the session can guess the password here, as at the login.
            let present = &caller.customer.email;
            let _ = attempts::log_in(app, present.as_str(), client.address).await?;
            if email != present {
                mail = Some(attempts::link_mail(app, email, client.address).await?);
            }
            permit = Some(throttle.hash_permit(client.address).await?);
        }
        if caller.customer.stripe_customer_id.is_some() {
            // Each change is sent to Stripe.
            throttle.billing(&caller.customer.customer_id)?;
        }
        let current_password = request.current_password.map(Password::new);
        let change = AccountChange {
            email: email.map(|email| NewEmail { email, current_password }),
            name: name_change("name", request.name)?,
            company_name: name_change("company_name", request.company_name)?,
            language: match request.language {
                MaybeUndefined::Undefined => Change::Keep,
                MaybeUndefined::Null => Change::Clear,
                MaybeUndefined::Value(language) => Change::Set(language.into()),
            },
        };
        let updated = customer::update(app, &caller, change).await;
        drop(permit);
        if let (Err(_), Some(mail)) = (&updated, mail) {
            // Nothing was mailed: a wrong password must not use up the budget of the mailbox.
            attempts::give_back(app, mail).await;
        }
        Ok(Json(updated?.into()))
    }

    /// Delete my account
    ///
    /// Permanently deletes the customer with all sessions and licenses. It needs a session whose
    /// password was entered in the last 15 minutes. A subscription is canceled first; if that
    /// fails, nothing is deleted. Issued licenses still verify offline until they expire.
    #[oai(path = "/me", method = "delete", operation_id = "deleteMe")]
    async fn delete(
        &self,
        Data(app): Data<&App>,
        Caller(caller): Caller,
    ) -> std::result::Result<DeletedResponse, Failure<DeleteCodes>> {
        customer::delete(app, &caller).await?;
        Ok(DeletedResponse::Deleted)
    }
}

fn name_change(field: &'static str, to: MaybeUndefined<String>) -> Result<Change<DisplayName>> {
    Ok(match to {
        MaybeUndefined::Undefined => Change::Keep,
        MaybeUndefined::Null => Change::Clear,
        MaybeUndefined::Value(text) => Change::Set(name(field, &text)?),
    })
}
