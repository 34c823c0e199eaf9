//! The webhook endpoint for Stripe. The body is read as raw bytes, because the signature covers
//! them. The API description shows only the outline of an event.

use poem::web::Data;
use poem::{FromRequest, Request, RequestBody};
use poem_openapi::param::Header;
use poem_openapi::payload::Json;
use poem_openapi::registry::{MetaMediaType, MetaRequest, Registry};
use poem_openapi::types::{Example, Type};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions, Object, OpenApi};

use crate::app::App;
use crate::flows::sale::webhook;
use crate::http::Tag;
use crate::http::problem::{Failure, documented};

pub struct WebhooksApi;

/// The path of the webhook endpoint, as registered at Stripe.
pub const PATH: &str = "/api/webhooks/stripe";

/// The header with Stripe's signature.
const SIGNATURE: &str = "stripe-signature";

/// Refuses an event whose headers show that it is not from Stripe, before its body is read.
///
/// # Errors
/// [`crate::error::Error::BadWebhook`].
pub fn admit(app: &App, request: &Request) -> crate::error::Result<()> {
    webhook::admit(app, request.header(SIGNATURE).unwrap_or_default())?;
    Ok(())
}

documented!(ReceiveCodes: BadWebhook, PayloadTooLarge);

/// An event, in outline (<https://docs.stripe.com/api/events/object>).
#[derive(Object)]
#[oai(example)]
struct StripeEvent {
    /// The id of the event. A repeated event changes nothing.
    id: String,
    /// The type of the event.
    #[oai(rename = "type")]
    kind: String,
}

impl Example for StripeEvent {
    fn example() -> Self {
        Self { id: "evt_1a2b3c".into(), kind: "invoice.paid".into() }
    }
}

/// The raw body of an event.
struct RawEvent(Vec<u8>);

impl<'a> ApiExtractor<'a> for RawEvent {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];

    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        StripeEvent::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let schema = StripeEvent::schema_ref();
        let content = vec![MetaMediaType { content_type: "application/json", schema }];
        Some(MetaRequest { description: None, content, required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(Self(<Vec<u8> as FromRequest>::from_request(request, body).await?))
    }
}

/// The acknowledgement of an event.
#[derive(Object)]
#[oai(example)]
struct Received {
    /// Always `true`.
    received: bool,
}

impl Example for Received {
    fn example() -> Self {
        Self { received: true }
    }
}

#[OpenApi(tag = "Tag::Webhooks")]
impl WebhooksApi {
    /// Receive an event from Stripe
    ///
    /// Called by Stripe only. The body must be signed with the endpoint's secret. A 200 means that
    /// the event was stored durably, or does not concern this server. After a 5xx, Stripe delivers
    /// the event again.
    #[oai(path = "/api/webhooks/stripe", method = "post", operation_id = "receiveStripeEvent")]
    async fn receive(
        &self,
        Data(app): Data<&App>,
        /// Stripe's signature of the body: `t=…,v1=…`.
        #[oai(name = "Stripe-Signature", example = "example_signature")]
        signature: Header<Option<String>>,
        body: RawEvent,
    ) -> Result<Json<Received>, Failure<ReceiveCodes>> {
        webhook::receive(app, signature.0.as_deref().unwrap_or_default(), &body.0).await?;
        Ok(Json(Received { received: true }))
    }
}

fn example_signature() -> Option<String> {
    Some("t=1795186800,v1=5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd".into())
}
