//! Forgotten and changed passwords.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use crate::app::App;
use crate::domain::account::password::Password;
use crate::domain::contact::Email;
use crate::error::Error;
use crate::flows::account::attempts;
use crate::flows::account::password;
use crate::flows::account::session;
use crate::http::Tag;
use crate::http::account::sessions::LoggedIn;
use crate::http::caller::{Caller, Client};
use crate::http::idempotency::Once;
use crate::http::input::Input;
use crate::http::problem::{Failure, documented};
use crate::http::throttle::Throttle;

pub struct PasswordsApi;

documented!(ForgotCodes: InvalidEmail, TooManyRequests);
documented!(ResetCodes: InvalidLink, LinkExpired, LinkUsed, WeakPassword, TooManyRequests);
documented!(ChangeCodes: InvalidCredentials, ResetRequired, WeakPassword, TooManyRequests);

/// The account whose password is forgotten.
#[derive(Object)]
#[oai(rename = "ForgottenPassword", deny_unknown_fields, example)]
struct ForgotRequest {
    /// The email address of the account.
    #[oai(validator(max_length = 254))]
    email: String,
}

impl Example for ForgotRequest {
    fn example() -> Self {
        Self { email: "grace@example.com".into() }
    }
}

/// A new password, with the token of a link in a mail.
#[derive(Object)]
#[oai(rename = "PasswordReset", deny_unknown_fields, example)]
struct ResetRequest {
    /// The part of the link after `#token=`. It works once.
    #[oai(validator(max_length = 100))]
    token: String,
    /// The new password: 12 to 1,024 bytes, not a common one.
    #[oai(validator(max_length = 1024))]
    password: String,
}

impl Example for ResetRequest {
    fn example() -> Self {
        Self {
            token: "llnk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8".into(),
            password: "four purple trains at noon".into(),
        }
    }
}

/// A new password, with the current one.
#[derive(Object)]
#[oai(rename = "PasswordChange", deny_unknown_fields, example)]
struct ChangeRequest {
    /// The current password.
    #[oai(validator(max_length = 1024))]
    current_password: String,
    /// The new password: 12 to 1,024 bytes, not a common one.
    #[oai(validator(max_length = 1024))]
    password: String,
}

impl Example for ChangeRequest {
    fn example() -> Self {
        Self {
            current_password: "SecurePass123".into(),
            password: "four purple trains at noon".into(),
        }
    }
}

#[derive(ApiResponse)]
enum ForgotResponse {
    /// If the address has an account, a mail with the link will be sent.
    #[oai(status = 202)]
    Requested,
}

#[derive(ApiResponse)]
enum ChangedResponse {
    /// The password was changed.
    #[oai(status = 204)]
    Changed,
}

#[OpenApi(prefix_path = "/api/customers", tag = "Tag::Customers")]
impl PasswordsApi {
    /// Ask for a new password
    ///
    /// Mails a link that sets a password, if the address has an account. The response is the same
    /// for every address. A mailbox gets a few such mails an hour; beyond that, the response stays
    /// the same and no mail is sent. An imported customer sets the first password this way.
    #[oai(path = "/password/forgot", method = "post", operation_id = "forgotPassword")]
    async fn forgot(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        client: Client,
        Input(request): Input<ForgotRequest>,
        #[oai(name = "Idempotency-Key")] once: Once,
    ) -> Result<ForgotResponse, Failure<ForgotCodes>> {
        throttle.client(client.address)?;
        let email: Email = request.email.parse().map_err(Error::InvalidEmail)?;
        once.begin(app, None).await?;
        if attempts::was_counted(attempts::reset_mail(app, &email, client.address).await)? {
            password::forgot(app, &email).await?;
        }
        Ok(ForgotResponse::Requested)
    }

    /// Set a new password
    ///
    /// Takes the token of a mailed link, and returns a new login session. It ends all other
    /// sessions, verifies the address, and sends a notice. The token works once, for an hour; a
    /// refused password does not use it. If the address was not verified before, the names are
    /// cleared, because somebody else may have entered them.
    #[oai(path = "/password/reset", method = "post", operation_id = "resetPassword")]
    async fn reset(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        client: Client,
        Input(request): Input<ResetRequest>,
        #[oai(name = "Idempotency-Key")] once: Once,
    ) -> Result<Json<LoggedIn>, Failure<ResetCodes>> {
        throttle.client(client.address)?;
        let _permit = throttle.hash_permit(client.address).await?;
        let password = Password::new(request.password);
        let token = &request.token;
        let logged_in = match once.begin(app, None).await?.id() {
            Some(user_id) => session::open_again(app, &user_id, client.name).await?,
            None => password::reset(app, token, password, client.name, client.address).await?,
        };
        Ok(Json(logged_in.into()))
    }

    /// Change my password
    ///
    /// Needs the current password. It ends the caller's other sessions, and sends a notice.
    #[oai(path = "/me/password", method = "put", operation_id = "changePassword")]
    async fn change(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        client: Client,
        Caller(caller): Caller,
        Input(request): Input<ChangeRequest>,
    ) -> Result<ChangedResponse, Failure<ChangeCodes>> {
        // Whoever has the session can guess the password here, as at the login.
        throttle.client(client.address)?;
        let account = caller.customer.email.as_str();
        let attempt = attempts::log_in(app, account, client.address).await?;
        let _permit = throttle.hash_permit(client.address).await?;
        let current = Password::new(request.current_password);
        password::change(app, &caller, current, Password::new(request.password)).await?;
        attempt.succeeded(app, &caller.customer.user_id).await;
        Ok(ChangedResponse::Changed)
    }
}
