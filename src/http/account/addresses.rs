//! The links that verify an email address.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use crate::app::App;
use crate::flows::account::address;
use crate::flows::account::throttle as account_throttle;
use crate::http::Tag;
use crate::http::account::view::CustomerView;
use crate::http::caller::{Caller, Client};
use crate::http::input::Input;
use crate::http::problem::{Failure, documented};
use crate::http::throttle::Throttle;

pub struct AddressesApi;

documented!(LinkCodes: InvalidLink, LinkExpired, LinkUsed, TooManyRequests);
documented!(SendCodes: TooManyRequests);

/// The token of a link in a mail.
#[derive(Object)]
#[oai(rename = "MailedToken", deny_unknown_fields, example)]
struct TokenRequest {
    /// The part of the link after `#token=`. It works once.
    #[oai(validator(max_length = 100))]
    token: String,
}

impl Example for TokenRequest {
    fn example() -> Self {
        Self { token: "llnk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8".into() }
    }
}

/// A verified address.
#[derive(Object)]
struct Verified {
    /// The customer with this address.
    customer: CustomerView,
}

#[derive(ApiResponse)]
enum RequestedResponse {
    /// The mail will be sent, unless the address is verified already.
    #[oai(status = 202)]
    Requested,
}

#[OpenApi(prefix_path = "/api/customers", tag = "Tag::Customers")]
impl AddressesApi {
    /// Verify an email address
    ///
    /// Takes the token of a link that was mailed after the sign-up or on request, and returns the
    /// customer. The token works once, for 48 hours, and only while the customer has the address
    /// that it was mailed to. No session is needed.
    #[oai(path = "/verify", method = "post", operation_id = "verifyEmail")]
    async fn verify(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        client: Client,
        Input(request): Input<TokenRequest>,
    ) -> Result<Json<Verified>, Failure<LinkCodes>> {
        throttle.client(client.address)?;
        let customer = address::verify(app, &request.token).await?;
        Ok(Json(Verified { customer: customer.into() }))
    }

    /// Mail the verification link again
    ///
    /// Mails a new link to the caller's address. Earlier links still work. A verified address gets
    /// no mail.
    #[oai(path = "/me/verification", method = "post", operation_id = "sendVerification")]
    async fn send(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        client: Client,
        Caller(caller): Caller,
    ) -> Result<RequestedResponse, Failure<SendCodes>> {
        throttle.client(client.address)?;
        if !caller.customer.is_email_verified() {
            let _ =
                account_throttle::link_mail(app, &caller.customer.email, client.address).await?;
        }
        address::send_verification(app, &caller).await?;
        Ok(RequestedResponse::Requested)
    }
}
