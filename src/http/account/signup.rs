//! Sign-up.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use crate::app::App;
use crate::domain::account::password::Password;
use crate::domain::account::signup::Verification;
use crate::error::{self, Error};
use crate::flows::account::attempts;
use crate::flows::account::pending;
use crate::flows::account::signup::{self, Signup};
use crate::http::Tag;
use crate::http::account::view::{CustomerView, optional_name};
use crate::http::caller::Client;
use crate::http::idempotency::Once;
use crate::http::input::Input;
use crate::http::license::licenses::LicenseView;
use crate::http::problem::{Failure, documented};
use crate::http::throttle::Throttle;

pub struct SignUpApi;

documented!(SignUpCodes: EmailTaken, InvalidEmail, InvalidName, WeakPassword, TooManyRequests);

/// A sign-up.
#[derive(Object)]
#[oai(rename = "SignUp", deny_unknown_fields, example)]
struct SignUpRequest {
    /// The login name. Licenses are mailed to this address.
    #[oai(validator(max_length = 254))]
    email: String,
    /// 12 to 1,024 bytes, any characters. Common passwords are refused.
    password: String,
    /// The person's name, in one line.
    #[oai(validator(max_length = 200))]
    name: Option<String>,
    /// The company's name, in one line.
    #[oai(validator(max_length = 200))]
    company_name: Option<String>,
}

impl Example for SignUpRequest {
    fn example() -> Self {
        Self {
            email: "grace@example.com".into(),
            password: "SecurePass123".into(),
            name: Some("Grace Hopper".into()),
            company_name: Some("Eckert-Mauchly Corporation".into()),
        }
    }
}

/// A new account.
#[derive(Object)]
struct SignedUp {
    /// The new customer.
    customer: CustomerView,
    /// The trial license. Give its `token` to the app. `null` for an address that has had a trial
    /// before.
    #[oai(nullable)]
    license: Option<LicenseView>,
    /// Why there is no trial license: `trial_used`.
    #[oai(nullable)]
    trial_refused: Option<String>,
    /// The session token. Send it as `Authorization: Bearer …`.
    access_token: String,
}

/// A sign-up that waits for the confirmation of its address.
#[derive(Object)]
#[oai(rename = "PendingSignUp", example)]
struct Pending {
    /// The address that the mail goes to.
    email: String,
    /// `sent`: the mail with the link is on its way.
    verification: String,
}

impl Example for Pending {
    fn example() -> Self {
        Self { email: "grace@example.com".into(), verification: "sent".into() }
    }
}

#[derive(ApiResponse)]
enum SignUpResponse {
    /// The customer, a trial license and a session token.
    #[oai(status = 201)]
    Created(Json<Box<SignedUp>>),
    /// The vendor requires a verified address (`signup.verification`): the account and its trial
    /// begin when the mailed link is opened. The response is the same for every address.
    #[oai(status = 202)]
    Pending(Json<Pending>),
}

#[OpenApi(prefix_path = "/api/customers", tag = "Tag::Customers")]
impl SignUpApi {
    /// Sign up
    ///
    /// Creates a customer, a trial license and a login session. `license.token` is a signed JWT
    /// that an app verifies offline. `access_token` is the session token for this API. An address
    /// gets one trial: `license` is `null` if it had one before its last account was deleted.
    #[oai(path = "/signup", method = "post", operation_id = "signUp")]
    async fn sign_up(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        client: Client,
        Input(request): Input<SignUpRequest>,
        #[oai(name = "Idempotency-Key")] once: Once,
    ) -> Result<SignUpResponse, Failure<SignUpCodes>> {
        throttle.client(client.address)?;
        let _permit = throttle.hash_permit(client.address).await?;
        let request = Signup {
            email: request.email.parse().map_err(Error::InvalidEmail)?,
            password: Password::new(request.password),
            name: optional_name("name", request.name)?,
            company_name: optional_name("company_name", request.company_name)?,
            language: client.language,
        };
        if once.is_keyed() {
            // The key compares the password with that of the first request.
            let _ = attempts::log_in(app, request.email.as_str(), client.address).await?;
        }
        let created = once.begin(app, None).await?;
        if app.signup_verification == Verification::Required {
            let email = request.email.clone();
            let mail = attempts::link_mail(app, &email, client.address).await?;
            let waiting = pending::sign_up(app, request).await;
            if waiting.is_err() {
                attempts::give_back(app, mail).await;
            }
            waiting?;
            let (email, verification) = (email.to_unicode(), "sent".into());
            return Ok(SignUpResponse::Pending(Json(Pending { email, verification })));
        }
        let signed_up = match created.id() {
            Some(user_id) => signup::resume(app, &user_id, client.name).await?,
            None => signed_up(app, request, &client).await?,
        };
        let user_id = &signed_up.customer.user_id;
        attempts::remember_owner(app, user_id, client.address).await;
        let (license, trial_refused) = match signed_up.license {
            Ok(license) => (Some(LicenseView::new(license, app.now())?), None),
            Err(refused) => (None, Some(refused.to_string())),
        };
        Ok(SignUpResponse::Created(Json(Box::new(SignedUp {
            customer: signed_up.customer.into(),
            license,
            trial_refused,
            access_token: signed_up.session_token.expose().to_owned(),
        }))))
    }
}

/// Signs a customer up. Counts the mail.
async fn signed_up(app: &App, request: Signup, client: &Client) -> error::Result<signup::SignedUp> {
    let mail = attempts::mail(app, client.address).await?;
    let signed_up = signup::signup(app, request, client.name.clone()).await;
    if signed_up.is_err() {
        // A failed sign-up sends no mail. If the caller disconnects, the result is unknown and the
        // mail stays counted.
        attempts::give_back(app, mail).await;
    }
    signed_up
}
