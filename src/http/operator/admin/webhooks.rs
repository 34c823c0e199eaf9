//! Outgoing webhooks: registered, changed, and their deliveries listed and replayed.

mod views;

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{ApiResponse, OpenApi};

use super::{permit, permit_for};
use crate::app::App;
use crate::domain::ids::{DeliveryId, WebhookId};
use crate::domain::operator::admin_key::{Operation, Target};
use crate::domain::operator::audit::Actor;
use crate::error::Error;
use crate::flows::operator::webhooks::{self, NewWebhook, WebhookChange};
use crate::http::Tag;
use crate::http::caller::AdminCaller;
use crate::http::idempotency::Once;
use crate::http::input::Input;
use crate::http::operator::admin::AdminCodes;
use crate::http::page::{self, default_limit, example_cursor};
use crate::http::problem::{Failure, documented};
use crate::http::throttle::Throttle;
use views::{
    Deliveries, DeliveryView, NewWebhookRequest, WebhookChangeRequest, WebhookView, Webhooks,
    example_delivery, example_webhook, filter,
};

pub struct WebhooksApi;

documented!(CreateCodes: InsufficientScope, InvalidWebhookTarget, TooManyWebhooks, TooManyRequests);
documented!(UpdateCodes: InsufficientScope, InvalidWebhookTarget, NotFound, TooManyRequests);
documented!(OneWebhookCodes: InsufficientScope, NotFound, TooManyRequests);
documented!(ReplayCodes: InsufficientScope, NotFound, WebhookDisabled, TooManyRequests);

#[derive(ApiResponse)]
enum CreatedResponse {
    /// The webhook, with its secret.
    #[oai(status = 201)]
    Created(Json<WebhookView>),
}

#[derive(ApiResponse)]
enum DeletedResponse {
    /// The webhook was deleted, with its deliveries.
    #[oai(status = 204)]
    Deleted,
}

#[OpenApi(prefix_path = "/api/admin/webhooks", tag = "Tag::Administration")]
impl WebhooksApi {
    /// List webhooks
    ///
    /// Returns the outgoing webhooks, newest first, without their secrets. Needs the scope `admin`.
    #[oai(path = "/", method = "get", operation_id = "listWebhooks")]
    async fn list(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// The maximum number of webhooks to return.
        #[oai(
            default = "default_limit",
            example = "default_limit",
            validator(minimum(value = "1"), maximum(value = "100"))
        )]
        limit: Query<u32>,
        /// `next_after` of the previous page.
        #[oai(example = "example_cursor")]
        after: Query<Option<String>>,
    ) -> Result<Json<Webhooks>, Failure<AdminCodes>> {
        permit(app, throttle, &caller, Operation::ListWebhooks, Target::Service).await?;
        let page = webhooks::list(app, &page::request(&limit, &after)?).await?;
        Ok(Json(page.into()))
    }

    /// Create a webhook
    ///
    /// Registers a URL that gets events by Standard Webhooks 1.0.0. Returns the webhook and its
    /// secret, which is shown only once. Needs the scope `admin`.
    #[oai(path = "/", method = "post", operation_id = "createWebhook")]
    async fn create(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        Input(request): Input<NewWebhookRequest>,
        #[oai(name = "Idempotency-Key")] once: Once,
    ) -> Result<CreatedResponse, Failure<CreateCodes>> {
        permit(app, throttle, &caller, Operation::CreateWebhook, Target::Service).await?;
        let new = NewWebhook {
            url: request.url,
            events: filter(&request.events),
            is_enabled: request.enabled.unwrap_or(true),
        };
        let by = Actor::Admin(&caller.0.admin_key_id);
        let created = match once.begin(app, None).await?.id() {
            Some(id) => webhooks::get(app, &id).await?,
            None => webhooks::create(app, new, by).await?,
        };
        Ok(CreatedResponse::Created(Json(WebhookView::new(&created, true))))
    }

    /// Change a webhook
    ///
    /// Changes the URL, the events, or whether the webhook is enabled, or rotates its secret.
    /// Returns the webhook, with `secret` only if it was rotated. Needs the scope `admin`.
    #[oai(path = "/:webhook_id", method = "patch", operation_id = "updateWebhook")]
    async fn update(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// The webhook's id.
        #[oai(example = "example_webhook")]
        Path(webhook_id): Path<String>,
        Input(request): Input<WebhookChangeRequest>,
    ) -> Result<Json<WebhookView>, Failure<UpdateCodes>> {
        let operation = Operation::UpdateWebhook;
        let id: WebhookId =
            permit_for(app, throttle, &caller, operation, &webhook_id, "webhook").await?;
        let rotates_secret = request.rotate_secret.unwrap_or_default();
        let change = WebhookChange {
            url: request.url,
            events: request.events.as_deref().map(filter),
            is_enabled: request.enabled,
            rotates_secret,
        };
        let by = Actor::Admin(&caller.0.admin_key_id);
        let changed = webhooks::update(app, &id, change, by).await?;
        Ok(Json(WebhookView::new(&changed, rotates_secret)))
    }

    /// Delete a webhook
    ///
    /// Deletes a webhook with its deliveries, also those that wait. Needs the scope `admin`.
    #[oai(path = "/:webhook_id", method = "delete", operation_id = "deleteWebhook")]
    async fn delete(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// The webhook's id.
        #[oai(example = "example_webhook")]
        Path(webhook_id): Path<String>,
    ) -> Result<DeletedResponse, Failure<OneWebhookCodes>> {
        let operation = Operation::DeleteWebhook;
        let id: WebhookId =
            permit_for(app, throttle, &caller, operation, &webhook_id, "webhook").await?;
        webhooks::delete(app, &id, Actor::Admin(&caller.0.admin_key_id)).await?;
        Ok(DeletedResponse::Deleted)
    }

    /// List the deliveries of a webhook
    ///
    /// Returns the deliveries of the last 30 days, newest first: those that were accepted, those
    /// that wait, and those that were given up. Needs the scope `admin`.
    #[oai(path = "/:webhook_id/deliveries", method = "get", operation_id = "listWebhookDeliveries")]
    async fn deliveries(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// The webhook's id.
        #[oai(example = "example_webhook")]
        Path(webhook_id): Path<String>,
        /// The maximum number of deliveries to return.
        #[oai(
            default = "default_limit",
            example = "default_limit",
            validator(minimum(value = "1"), maximum(value = "100"))
        )]
        limit: Query<u32>,
        /// `next_after` of the previous page.
        #[oai(example = "example_cursor")]
        after: Query<Option<String>>,
    ) -> Result<Json<Deliveries>, Failure<OneWebhookCodes>> {
        let operation = Operation::ListWebhookDeliveries;
        let id: WebhookId =
            permit_for(app, throttle, &caller, operation, &webhook_id, "webhook").await?;
        let page = webhooks::deliveries(app, &id, &page::request(&limit, &after)?).await?;
        Ok(Json(page.into()))
    }

    /// Replay a delivery
    ///
    /// Sends a delivery again, whatever its state, with the same id and payload. The response shows
    /// it as due; list the deliveries to see the result. Needs the scope `admin`.
    #[oai(
        path = "/:webhook_id/deliveries/:delivery_id/replay",
        method = "post",
        operation_id = "replayWebhookDelivery"
    )]
    async fn replay(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// The webhook's id.
        #[oai(example = "example_webhook")]
        Path(webhook_id): Path<String>,
        /// The delivery's id.
        #[oai(example = "example_delivery")]
        Path(delivery_id): Path<String>,
        #[oai(name = "Idempotency-Key")] once: Once,
    ) -> Result<Json<DeliveryView>, Failure<ReplayCodes>> {
        let operation = Operation::ReplayWebhookDelivery;
        let id: WebhookId =
            permit_for(app, throttle, &caller, operation, &webhook_id, "webhook").await?;
        let delivery: Result<DeliveryId, _> = delivery_id.parse();
        let delivery = delivery.map_err(|_| Error::NotFound("delivery"))?;
        once.begin(app, None).await?;
        let by = Actor::Admin(&caller.0.admin_key_id);
        Ok(Json(webhooks::replay(app, &id, &delivery, by).await?.into()))
    }
}
