//! Sign-up and account management.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::{Example, MaybeUndefined};
use poem_openapi::{ApiResponse, Object, OpenApi};

use crate::app::App;
use crate::domain::account::customer::Customer;
use crate::domain::account::password::Password;
use crate::domain::contact::{DisplayName, Email};
use crate::error::{Error, Result};
use crate::flows::account::customer::{self, AccountChange, Change};
use crate::flows::account::signup::{self, Signup};
use crate::http::Tag;
use crate::http::caller::{Caller, Client};
use crate::http::input::Input;
use crate::http::license::licenses::LicenseView;
use crate::http::problem::{Failure, NothingMore, documented};
use crate::http::throttle::Throttle;

pub struct CustomersApi;

documented!(SignUpCodes: EmailTaken, InvalidEmail, InvalidName, WeakPassword, TooManyRequests);
documented!(DeleteCodes: BillingNotConfigured, BillingRefused, BillingUnavailable);
documented!(UpdateCodes: EmailTaken, InvalidEmail, InvalidName, TooManyRequests);

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
            email: "ada@example.com".into(),
            password: "SecurePass123".into(),
            name: Some("Ada Lovelace".into()),
            company_name: Some("Analytical Engines Ltd".into()),
        }
    }
}

/// A customer.
#[derive(Object)]
#[oai(rename = "Customer", example)]
pub struct CustomerView {
    /// The id of the customer. It never changes.
    customer_id: String,
    /// The login name. Licenses are mailed to this address.
    email: String,
    /// The person's name.
    #[oai(nullable)]
    name: Option<String>,
    /// The company's name.
    #[oai(nullable)]
    company_name: Option<String>,
    /// When the customer signed up.
    created_at: DateTime<Utc>,
    /// When the customer last changed.
    updated_at: DateTime<Utc>,
}

impl From<Customer> for CustomerView {
    fn from(customer: Customer) -> Self {
        let text = |name: DisplayName| name.as_str().to_owned();
        Self {
            customer_id: customer.customer_id.to_string(),
            email: customer.email.to_string(),
            name: customer.name.map(text),
            company_name: customer.company_name.map(text),
            created_at: customer.created_at.to_datetime(),
            updated_at: customer.updated_at.to_datetime(),
        }
    }
}

impl Example for CustomerView {
    fn example() -> Self {
        let created_at = DateTime::from_timestamp(1_795_186_800, 0).unwrap_or_default();
        Self {
            customer_id: "cust_0123456789abcdef0123456789abcdef".into(),
            email: "ada@example.com".into(),
            name: Some("Ada Lovelace".into()),
            company_name: Some("Analytical Engines Ltd".into()),
            created_at,
            updated_at: created_at,
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

/// The fields to change. An absent field is kept; `null` clears a name.
#[derive(Object)]
#[oai(rename = "CustomerChange", deny_unknown_fields, example)]
struct ChangeRequest {
    /// The new email address, which is also the new login name.
    #[oai(validator(max_length = 254), skip_serializing_if_is_none)]
    email: Option<String>,
    /// The person's name.
    #[oai(nullable, validator(max_length = 200))]
    name: MaybeUndefined<String>,
    /// The company's name.
    #[oai(nullable, validator(max_length = 200))]
    company_name: MaybeUndefined<String>,
}

impl Example for ChangeRequest {
    fn example() -> Self {
        Self {
            email: None,
            name: MaybeUndefined::Value("Ada King".into()),
            company_name: MaybeUndefined::Undefined,
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
impl CustomersApi {
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
        throttle.sign_up(client.address)?;
        let _permit = throttle.hash_permit(client.address).await?;
        let account = request.email.clone();
        let request = Signup {
            email: request.email.parse().map_err(Error::InvalidEmail)?,
            password: Password::new(request.password),
            name: optional_name("name", request.name)?,
            company_name: optional_name("company_name", request.company_name)?,
        };
        let mail = throttle.mail_budget.reserve(client.address, app.now())?;
        let signed_up = signup::signup(app, request, client.name).await;
        if signed_up.is_err() {
            // A failed sign-up sends no mail. If the caller disconnects, the result is unknown and
            // the mail stays counted.
            throttle.mail_budget.give_back(mail);
        }
        let signed_up = signed_up?;
        throttle.remember_owner(&account, client.address);
        let license = LicenseView::new(signed_up.license, app.now())?;
        Ok(SignUpResponse::Created(Json(SignedUp {
            customer: signed_up.customer.into(),
            license,
            access_token: signed_up.session_token.expose().to_owned(),
        })))
    }

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
    /// Returns the updated customer. A new email address is also the new login name.
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
            throttle.sign_up(client.address)?;
        }
        if caller.customer.stripe_customer_id.is_some() {
            // Each change is sent to Stripe.
            throttle.billing(&caller.customer.customer_id)?;
        }
        let email = request.email.map(|email| email.parse::<Email>()).transpose();
        let change = AccountChange {
            email: email.map_err(Error::InvalidEmail)?,
            name: name_change("name", request.name)?,
            company_name: name_change("company_name", request.company_name)?,
        };
        Ok(Json(customer::update(app, &caller, change).await?.into()))
    }

    /// Delete my account
    ///
    /// Permanently deletes the customer with all sessions and licenses. A subscription is canceled
    /// first; if that fails, nothing is deleted. Issued licenses still verify offline until they
    /// expire.
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

fn name(field: &'static str, text: &str) -> Result<DisplayName> {
    text.parse().map_err(|problem| Error::InvalidName { field, problem })
}

fn optional_name(field: &'static str, text: Option<String>) -> Result<Option<DisplayName>> {
    text.map(|text| name(field, &text)).transpose()
}

fn name_change(field: &'static str, to: MaybeUndefined<String>) -> Result<Change<DisplayName>> {
    Ok(match to {
        MaybeUndefined::Undefined => Change::Keep,
        MaybeUndefined::Null => Change::Clear,
        MaybeUndefined::Value(text) => Change::Set(name(field, &text)?),
    })
}
