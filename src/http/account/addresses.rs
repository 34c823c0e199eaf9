//! The links that verify an email address, and that undo its change.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use crate::app::App;
use crate::flows::account::address;
use crate::flows::account::attempts;
use crate::flows::account::customer;
use crate::http::Tag;
use crate::http::account::view::CustomerView;
use crate::http::caller::{Caller, Client};
use crate::http::idempotency::Once;
use crate::http::input::Input;
use crate::http::problem::{Failure, documented};
use crate::http::throttle::Throttle;

pub struct AddressesApi;

documented!(VerifyCodes: EmailTaken, InvalidLink, LinkExpired, LinkUsed, TooManyRequests);
documented!(UndoCodes: InvalidLink, LinkExpired, LinkUsed, TooManyRequests);
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

/// The owner of an address.
#[derive(Object)]
#[oai(rename = "AddressOwner")]
struct Owner {
    /// The customer with this address.
    customer: CustomerView,
}

#[derive(ApiResponse)]
enum RequestedResponse {
    /// The mail will be sent, unless no address waits for it.
    #[oai(status = 202)]
    Requested,
}

#[OpenApi(prefix_path = "/api/customers", tag = "Tag::Customers")]
impl AddressesApi {
    /// Verify an email address
    ///
    /// Takes the token of a link that was mailed after the sign-up, on request, or to a new
    /// address, and returns the customer. A new address then replaces the present one. The token
    /// works once, for 48 hours, and only while the customer has or wants the address that it was
    /// mailed to. No session is needed.
    #[oai(path = "/verify", method = "post", operation_id = "verifyEmail")]
    async fn verify(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        client: Client,
        Input(request): Input<TokenRequest>,
        #[oai(name = "Idempotency-Key")] once: Once,
    ) -> Result<Json<Owner>, Failure<VerifyCodes>> {
        throttle.client(client.address)?;
        let customer = match once.begin(app, None).await?.id() {
            Some(id) => customer::get(app, &id).await?,
            None => address::verify(app, &request.token).await?,
        };
        Ok(Json(Owner { customer: customer.into() }))
    }

    /// Undo a change of the email address
    ///
    /// Takes the token of the link that was mailed to the former address, restores that address,
    /// and returns the customer. It ends every session and mails the former address a link that
    /// sets a new password. Until that is done, the old password only logs in: deleting the
    /// account, another address, another password, an export, the portal, and a change, a
    /// cancellation or a resumption of the subscription get 403 `reset_required`. The token works
    /// once, for 7 days. No session is needed.
    #[oai(path = "/email/undo", method = "post", operation_id = "undoEmailChange")]
    async fn undo(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        client: Client,
        Input(request): Input<TokenRequest>,
    ) -> Result<Json<Owner>, Failure<UndoCodes>> {
        throttle.client(client.address)?;
        let customer = address::undo(app, &request.token).await?;
        Ok(Json(Owner { customer: customer.into() }))
    }

    /// Mail the verification link again
    ///
    /// Mails a new link to the caller's new address, or else to the present one if it is not
    /// verified. Earlier links still work. If no address waits, there is no mail.
    #[oai(path = "/me/verification", method = "post", operation_id = "sendVerification")]
    async fn send(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        client: Client,
        Caller(caller): Caller,
        #[oai(name = "Idempotency-Key")] once: Once,
    ) -> Result<RequestedResponse, Failure<SendCodes>> {
        throttle.client(client.address)?;
        once.begin(app, Some(&caller.customer.customer_id)).await?;
        if let Some(email) = caller.customer.unverified_email() {
            let _ = attempts::link_mail(app, email, client.address).await?;
        }
        address::send_verification(app, &caller).await?;
        Ok(RequestedResponse::Requested)
    }
}
