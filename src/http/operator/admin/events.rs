//! The events that failed: listed, explained and replayed. The responses have Stripe ids.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object, OpenApi};

use super::{AdminCodes, permit};
use crate::app::App;
use crate::domain::operator::admin_key::{Operation, Target};
use crate::domain::operator::audit::Actor;
use crate::domain::time::Timestamp;
use crate::flows::operator::events::{self, EventDetails, FailedEvents, MAX_LISTED, State};
use crate::http::Tag;
use crate::http::caller::AdminCaller;
use crate::http::problem::{Failure, documented};
use crate::http::throttle::Throttle;

pub struct EventsApi;

documented!(AdminEventCodes: InsufficientScope, NotFound, TooManyRequests);

/// The state of an event.
#[derive(Enum)]
#[oai(rename = "EventState", rename_all = "snake_case")]
enum StateView {
    /// The event was received and not processed yet.
    Waiting,
    /// Processing failed and is retried.
    Retrying,
    /// Processing failed for days and is not retried.
    GivenUp,
    /// The event was processed, or concerns none of our customers.
    Done,
    /// The event is ignored: a thin event, or one of a type that is not used.
    Ignored,
}

impl From<State> for StateView {
    fn from(state: State) -> Self {
        match state {
            State::Waiting => Self::Waiting,
            State::Retrying => Self::Retrying,
            State::GivenUp => Self::GivenUp,
            State::Done => Self::Done,
            State::Ignored => Self::Ignored,
        }
    }
}

/// An event from Stripe, or a task of this server that needs Stripe. The payload is not shown
/// because it contains personal data; `licentia events show` and Stripe's dashboard show it.
#[derive(Object)]
#[oai(rename = "Event", example)]
pub(super) struct EventView {
    /// Stripe's event id (`evt_…`), or the id of a task of this server.
    event_id: String,
    /// The type of the event.
    kind: String,
    /// The customer that it concerns. `null` if it concerns none of our customers.
    #[oai(nullable)]
    customer_id: Option<String>,
    /// The id of the Stripe customer.
    #[oai(nullable)]
    stripe_customer_id: Option<String>,
    /// The id of the payment, if the event names one.
    #[oai(nullable)]
    stripe_payment_intent_id: Option<String>,
    /// When it happened at Stripe.
    happened_at: DateTime<Utc>,
    /// When it was received.
    received_at: DateTime<Utc>,
    /// The state.
    state: StateView,
    /// The number of failed attempts.
    attempts: i64,
    /// The error of the last attempt.
    #[oai(nullable)]
    last_error: Option<String>,
    /// When it is due next, or was last attempted.
    due_at: DateTime<Utc>,
    /// When it was processed.
    #[oai(nullable)]
    done_at: Option<DateTime<Utc>>,
    /// When it was given up.
    #[oai(nullable)]
    given_up_at: Option<DateTime<Utc>>,
    /// What happens next, as text.
    next: String,
}

/// An example for the API description.
const EXAMPLE_EVENT: &str = "evt_1QabcdEFGH";

fn example_event() -> String {
    EXAMPLE_EVENT.into()
}

impl Example for EventView {
    fn example() -> Self {
        let time = |seconds| Timestamp::saturating(seconds).to_datetime();
        Self {
            event_id: example_event(),
            kind: "invoice.paid".into(),
            customer_id: Some("cust_0123456789abcdef0123456789abcdef".into()),
            stripe_customer_id: Some("cus_Abc123".into()),
            stripe_payment_intent_id: None,
            happened_at: time(1_795_186_800),
            received_at: time(1_795_186_801),
            state: StateView::GivenUp,
            attempts: 84,
            last_error: Some("Stripe cannot be reached: connection refused".into()),
            due_at: time(1_795_446_001),
            done_at: None,
            given_up_at: Some(time(1_795_446_001)),
            next: "nothing until it is replayed; the daily reconciliation with Stripe syncs its \
                   customer anyway"
                .into(),
        }
    }
}

impl From<EventDetails> for EventView {
    fn from(explained: EventDetails) -> Self {
        let next = explained.next();
        let EventDetails { event, customer_id, state } = explained;
        Self {
            event_id: event.event_id,
            kind: event.kind,
            customer_id: customer_id.map(|id| id.to_string()),
            stripe_customer_id: event.stripe_customer_id.map(|id| id.to_string()),
            stripe_payment_intent_id: event.stripe_payment_intent_id.map(|id| id.to_string()),
            happened_at: event.happened_at.to_datetime(),
            received_at: event.received_at.to_datetime(),
            state: state.into(),
            attempts: event.attempts,
            last_error: event.last_error,
            due_at: event.due_at.to_datetime(),
            done_at: event.done_at.map(Timestamp::to_datetime),
            given_up_at: event.given_up_at.map(Timestamp::to_datetime),
            next,
        }
    }
}

/// Events that failed.
#[derive(Object)]
struct Events {
    /// The events, oldest first.
    events: Vec<EventView>,
    /// Whether there are more events than `limit`.
    more: bool,
    /// One ignored event of each type: thin events, and types that are not used. `next` has the
    /// fix.
    ignored: Vec<EventView>,
}

#[OpenApi(prefix_path = "/api/admin", tag = "Tag::Administration")]
impl EventsApi {
    /// List failed events
    ///
    /// Returns the events that were given up or are being retried, oldest first. Normally there are
    /// none. `ignored` has one event of each type that is not used and that the webhook endpoint
    /// should not send. Needs the scope `read`.
    #[oai(path = "/events", method = "get", operation_id = "listEvents")]
    async fn list_events(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// The maximum number of events to return.
        #[oai(
            default = "max_events",
            example = "max_events",
            validator(minimum(value = "1"), maximum(value = "1000"))
        )]
        limit: Query<i64>,
    ) -> Result<Json<Events>, Failure<AdminCodes>> {
        permit(app, throttle, &caller, Operation::ListEvents, Target::Service).await?;
        let FailedEvents { events, more, ignored } = events::failed(app, limit.0).await?;
        let views = |events: Vec<EventDetails>| events.into_iter().map(EventView::from).collect();
        Ok(Json(Events { events: views(events), more, ignored: views(ignored) }))
    }

    /// Get an event
    ///
    /// Returns the customer, the state, the last error and the next step of an event. Needs the
    /// scope `read`.
    #[oai(path = "/events/:event_id", method = "get", operation_id = "getEvent")]
    async fn event(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// The event's id, from `GET /api/admin/events` or Stripe's dashboard.
        #[oai(example = "example_event")]
        Path(event_id): Path<String>,
    ) -> Result<Json<EventView>, Failure<AdminEventCodes>> {
        permit(app, throttle, &caller, Operation::GetEvent, Target::Object(&event_id)).await?;
        Ok(Json(events::explain(app, &event_id).await?.into()))
    }

    /// Replay an event
    ///
    /// Processes an event again, whatever its state. A replay is always safe, because the current
    /// state is fetched from Stripe. The response shows the event as due; get it again to see the
    /// result. Needs the scope `support`.
    #[oai(path = "/events/:event_id/replay", method = "post", operation_id = "replayEvent")]
    async fn replay(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// The event's id, from `GET /api/admin/events` or Stripe's dashboard.
        #[oai(example = "example_event")]
        Path(event_id): Path<String>,
    ) -> Result<Json<EventView>, Failure<AdminEventCodes>> {
        permit(app, throttle, &caller, Operation::ReplayEvent, Target::Object(&event_id)).await?;
        let by = Actor::Admin(&caller.0.admin_key_id);
        Ok(Json(events::replay(app, &event_id, by).await?.into()))
    }
}

fn max_events() -> i64 {
    MAX_LISTED
}
