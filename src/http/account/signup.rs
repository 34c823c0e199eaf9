//! Sign-up.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use crate::app::App;
use crate::domain::account::password::Password;
use crate::error::Error;
use crate::flows::account::signup::{self, Signup};
use crate::flows::account::throttle as account_throttle;
use crate::http::Tag;
use crate::http::account::view::{CustomerView, optional_name};
use crate::http::caller::Client;
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
    /// The trial license. Give its `token` to the app.
    license: LicenseView,
    /// The session token. Send it as `Authorization: Bearer …`.
    access_token: String,
}

#[derive(ApiResponse)]
enum SignUpResponse {
    /// The customer, a trial license and a session token.
    #[oai(status = 201)]
    Created(Json<SignedUp>),
}

#[OpenApi(prefix_path = "/api/customers", tag = "Tag::Customers")]
impl SignUpApi {
    /// Sign up
    ///
    /// Creates a customer, a trial license and a login session. `license.token` is a signed JWT
    /// that an app verifies offline. `access_token` is the session token for this API.
    #[oai(path = "/signup", method = "post", operation_id = "signUp")]
    async fn sign_up(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        client: Client,
        Input(request): Input<SignUpRequest>,
    ) -> std::result::Result<SignUpResponse, Failure<SignUpCodes>> {
        throttle.client(client.address)?;
        let _permit = throttle.hash_permit(client.address).await?;
        let request = Signup {
            email: request.email.parse().map_err(Error::InvalidEmail)?,
            password: Password::new(request.password),
            name: optional_name("name", request.name)?,
            company_name: optional_name("company_name", request.company_name)?,
            language: client.language,
        };
        let mail = account_throttle::mail(app, client.address).await?;
        let signed_up = signup::signup(app, request, client.name).await;
        if signed_up.is_err() {
            // A failed sign-up sends no mail. If the caller disconnects, the result is unknown and
            // the mail stays counted.
            account_throttle::give_back(app, mail).await;
        }
        let signed_up = signed_up?;
        let user_id = &signed_up.customer.user_id;
        account_throttle::remember_owner(app, user_id, client.address).await;
        let license = LicenseView::new(signed_up.license, app.now())?;
        Ok(SignUpResponse::Created(Json(SignedUp {
            customer: signed_up.customer.into(),
            license,
            access_token: signed_up.session_token.expose().to_owned(),
        })))
    }
}
