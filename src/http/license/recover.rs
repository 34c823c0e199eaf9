//! Mails a license that its customer has lost.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use crate::app::App;
use crate::domain::contact::Email;
use crate::error::Error;
use crate::flows::account::attempts;
use crate::flows::license;
use crate::http::Tag;
use crate::http::caller::Client;
use crate::http::idempotency::Once;
use crate::http::input::Input;
use crate::http::problem::{Failure, documented};
use crate::http::throttle::Throttle;

pub struct RecoverApi;

documented!(RecoverCodes: InvalidEmail, TooManyRequests);

/// The account whose license was lost.
#[derive(Object)]
#[oai(rename = "LostLicense", deny_unknown_fields, example)]
struct RecoverRequest {
    /// The email address of the account.
    #[oai(validator(max_length = 254))]
    email: String,
}

impl Example for RecoverRequest {
    fn example() -> Self {
        Self { email: "grace@example.com".into() }
    }
}

#[derive(ApiResponse)]
enum RecoverResponse {
    /// If the address has an account, its current license will be mailed.
    #[oai(status = 202)]
    Requested,
}

#[OpenApi(prefix_path = "/api/licenses", tag = "Tag::Licenses")]
impl RecoverApi {
    /// Mail my license
    ///
    /// Mails the current license to the address, if it has an account. The response is the same for
    /// every address. A mailbox gets a few such mails an hour; beyond that, the response stays the
    /// same and no mail is sent.
    #[oai(path = "/recover", method = "post", operation_id = "recoverLicense")]
    async fn recover(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        client: Client,
        Input(request): Input<RecoverRequest>,
        #[oai(name = "Idempotency-Key")] once: Once,
    ) -> Result<RecoverResponse, Failure<RecoverCodes>> {
        throttle.client(client.address)?;
        let email: Email = request.email.parse().map_err(Error::InvalidEmail)?;
        once.begin(app, None).await?;
        if attempts::was_counted(attempts::link_mail(app, &email, client.address).await)? {
            license::recover(app, &email).await?;
        }
        Ok(RecoverResponse::Requested)
    }
}
