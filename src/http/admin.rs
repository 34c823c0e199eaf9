//! What operators see and do over HTTP, with an admin key. Stripe's ids are shown here, and nowhere
//! else.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object, OpenApi};

use super::Tag;
use super::caller::AdminCaller;
use super::problem::{Failure, documented};
use super::throttle::Throttle;
use crate::app::App;
use crate::domain::admin_key::Operation;
use crate::domain::audit::Actor;
use crate::domain::queue::Backlog;
use crate::domain::time::Timestamp;
use crate::error::Result as Outcome;
use crate::flows::admin;
use crate::flows::drift::{self, Drift};
use crate::flows::events::{self, Explained, MAX_LISTED, State, Troubled};

pub struct AdminApi;

documented!(AdminCodes: InsufficientScope, TooManyRequests);
documented!(AdminEventCodes: InsufficientScope, NotFound, TooManyRequests);

/// A customer who paid and lacks a license that works.
#[derive(Object)]
#[oai(rename = "PaidWithoutLicense", example)]
struct PaidWithoutLicenseView {
    /// Who.
    customer_id: String,
    /// The plan's id; none if no plan has the price.
    #[oai(nullable)]
    plan: Option<String>,
    /// Where the subscription stands.
    status: String,
    /// The end of the period that was paid.
    current_period_end: DateTime<Utc>,
}

impl Example for PaidWithoutLicenseView {
    fn example() -> Self {
        Self {
            customer_id: "cust_0123456789abcdef0123456789abcdef".into(),
            plan: Some("professional".into()),
            status: "active".into(),
            current_period_end: Timestamp::saturating(1_797_778_800).to_datetime(),
        }
    }
}

/// What waits, and what was given up.
#[derive(Object)]
#[oai(rename = "Backlog")]
struct BacklogView {
    /// How many are still to be done, those that are tried again among them.
    waiting: i64,
    /// How many did not work for days, and are left to an operator.
    given_up: i64,
}

impl From<Backlog> for BacklogView {
    fn from(backlog: Backlog) -> Self {
        Self { waiting: backlog.waiting, given_up: backlog.given_up }
    }
}

/// A comparison of everybody with Stripe, which repaired what differed.
#[derive(Object)]
#[oai(rename = "Comparison")]
struct ComparisonView {
    /// When it ended.
    at: DateTime<Utc>,
    /// Customers that were compared.
    checked: usize,
    /// How many of them were not as Stripe has them.
    drifted: usize,
    /// How many could not be compared.
    failed: usize,
    /// How many are left to an operator: they pay for what no plan has, or twice. `licentia reconcile` says
    /// who.
    left: usize,
}

/// A Stripe customer who pays for a plan and is linked to nobody here. `licentia stripe claim` links them.
#[derive(Object)]
#[oai(rename = "UnknownBuyer", example)]
struct UnknownBuyerView {
    /// The Stripe customer.
    stripe_customer_id: String,
    /// The plan's id.
    plan: String,
    /// When the purchase was first noticed.
    first_seen_at: DateTime<Utc>,
}

impl Example for UnknownBuyerView {
    fn example() -> Self {
        Self {
            stripe_customer_id: "cus_Abc123".into(),
            plan: "professional".into(),
            first_seen_at: Timestamp::saturating(1_795_186_800).to_datetime(),
        }
    }
}

/// Whether everything is as it should be.
#[derive(Object)]
#[oai(rename = "Drift", example)]
struct DriftView {
    /// How many customers who paid lack a license that works.
    paid_customers_without_license: i64,
    /// Who they are, the first hundred.
    customers: Vec<PaidWithoutLicenseView>,
    /// How many Stripe customers pay for a plan and are linked to nobody here: they bought by a payment
    /// link, a quote or the dashboard.
    unknown_buyers: i64,
    /// Who they are, the first hundred.
    buyers: Vec<UnknownBuyerView>,
    /// The events from Stripe.
    events: BacklogView,
    /// The mails.
    mails: BacklogView,
    /// The last comparison of everybody with Stripe, by whichever server or command; none if there
    /// never was one.
    #[oai(nullable)]
    compared: Option<ComparisonView>,
}

impl Example for DriftView {
    fn example() -> Self {
        let at = Timestamp::saturating(1_795_186_800).to_datetime();
        Self {
            paid_customers_without_license: 0,
            customers: Vec::new(),
            unknown_buyers: 0,
            buyers: Vec::new(),
            events: BacklogView { waiting: 2, given_up: 0 },
            mails: BacklogView { waiting: 1, given_up: 0 },
            compared: Some(ComparisonView { at, checked: 1200, drifted: 0, failed: 0, left: 0 }),
        }
    }
}

impl From<Drift> for DriftView {
    fn from(drift: Drift) -> Self {
        let customers = drift.customers.into_iter().map(|row| PaidWithoutLicenseView {
            customer_id: row.customer_id.to_string(),
            plan: row.plan,
            status: row.status.to_string(),
            current_period_end: row.current_period_end.to_datetime(),
        });
        let buyers = drift.buyers.into_iter().map(|buyer| UnknownBuyerView {
            stripe_customer_id: buyer.stripe_customer_id.to_string(),
            plan: buyer.plan,
            first_seen_at: buyer.first_seen_at.to_datetime(),
        });
        Self {
            unknown_buyers: drift.unknown_buyers,
            buyers: buyers.collect(),
            paid_customers_without_license: drift.paid_without_license,
            customers: customers.collect(),
            events: drift.events.into(),
            mails: drift.mails.into(),
            compared: drift.compared.map(|(at, found)| ComparisonView {
                at: at.to_datetime(),
                checked: found.checked,
                drifted: found.drifted,
                failed: found.failed,
                left: found.left,
            }),
        }
    }
}

/// Where an event stands.
#[derive(Enum)]
#[oai(rename = "EventState", rename_all = "snake_case")]
enum StateView {
    /// It came, and was not tried yet.
    Waiting,
    /// It did not work, and is tried again.
    Retrying,
    /// It did not work for days.
    GivenUp,
    /// It took effect, or is about nobody here.
    Done,
    /// It is of no use: a thin event, or one of a type that says nothing about a sale.
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

/// Something that came from Stripe, or work of our own that needs Stripe, explained. What Stripe sent
/// is not shown: it names people; `licentia events show` and Stripe's dashboard have it.
#[derive(Object)]
#[oai(rename = "Event", example)]
struct EventView {
    /// Stripe's id for it, `evt_…`, or that of a task of ours.
    event_id: String,
    /// Its type.
    kind: String,
    /// Whose it is; none if it is about nobody here.
    #[oai(nullable)]
    customer_id: Option<String>,
    /// Whose it is, by Stripe's name.
    #[oai(nullable)]
    stripe_customer_id: Option<String>,
    /// The payment that it is about, for those that name one.
    #[oai(nullable)]
    stripe_payment_intent_id: Option<String>,
    /// When it happened at Stripe.
    happened_at: DateTime<Utc>,
    /// When it came.
    received_at: DateTime<Utc>,
    /// Where it stands.
    state: StateView,
    /// How often it was tried in vain.
    attempts: i64,
    /// Why it did not work the last time.
    #[oai(nullable)]
    last_error: Option<String>,
    /// When it is tried next, or was tried last.
    due_at: DateTime<Utc>,
    /// When it was done.
    #[oai(nullable)]
    done_at: Option<DateTime<Utc>>,
    /// When it was given up.
    #[oai(nullable)]
    given_up_at: Option<DateTime<Utc>>,
    /// What happens to it next, in words.
    next: String,
}

/// For the API description.
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
            next: "nothing, until it is replayed; the daily comparison with Stripe looks at its \
                   customer all the same"
                .into(),
        }
    }
}

impl From<Explained> for EventView {
    fn from(explained: Explained) -> Self {
        let next = explained.next();
        let Explained { event, customer_id, state } = explained;
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

/// The events that did not work.
#[derive(Object)]
struct Events {
    /// The oldest first.
    events: Vec<EventView>,
    /// Whether there are more than were asked for.
    more: bool,
    /// One event of each type that is of no use, with the remedy in `next`: thin events, and types
    /// that say nothing about a sale.
    ignored: Vec<EventView>,
}

/// Counts a call against its key's limit, and lets it pass if the key may; the use is written down.
async fn permit(
    app: &App,
    throttle: &Throttle,
    caller: &AdminCaller,
    operation: Operation,
    target: Option<&str>,
) -> Outcome<()> {
    throttle.admin(&caller.0.admin_key_id)?;
    admin::permit(app, &caller.0, operation, target).await
}

#[OpenApi(prefix_path = "/api/admin", tag = "Tag::Administration")]
impl AdminApi {
    /// Is everything as it should be?
    ///
    /// How many customers who paid lack a license that works, and who; which purchases belong to nobody
    /// here; what waits and what was given up; when everybody was last compared with Stripe. 0 is the normal answer, and the metric
    /// `licentia_paid_customers_without_license` says the same without a key. `licentia reconcile`
    /// repairs what can be. Needs the scope `read`.
    #[oai(path = "/drift", method = "get", operation_id = "getDrift")]
    async fn drift(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
    ) -> Result<Json<DriftView>, Failure<AdminCodes>> {
        permit(app, throttle, &caller, Operation::GetDrift, None).await?;
        Ok(Json(drift::look(app).await?.into()))
    }

    /// List the events that did not work
    ///
    /// Those that were given up, and those that are tried again, the oldest first. None is the normal
    /// answer. In `ignored`, an event of each type that is of no use, which the webhook endpoint should
    /// not send. Needs the scope `read`.
    #[oai(path = "/events", method = "get", operation_id = "listEvents")]
    async fn list_events(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// How many to answer at the most.
        #[oai(
            default = "max_events",
            example = "max_events",
            validator(minimum(value = "1"), maximum(value = "1000"))
        )]
        limit: Query<i64>,
    ) -> Result<Json<Events>, Failure<AdminCodes>> {
        permit(app, throttle, &caller, Operation::ListEvents, None).await?;
        let Troubled { events, more, ignored } = events::troubled(app, limit.0).await?;
        let views = |events: Vec<Explained>| events.into_iter().map(EventView::from).collect();
        Ok(Json(Events { events: views(events), more, ignored: views(ignored) }))
    }

    /// Show an event
    ///
    /// Whose it is, where it stands, why it did not work, and what happens to it next. Needs the scope
    /// `read`.
    #[oai(path = "/events/:event_id", method = "get", operation_id = "getEvent")]
    async fn event(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// As `GET /api/admin/events` or Stripe's dashboard tells it.
        #[oai(example = "example_event")]
        Path(event_id): Path<String>,
    ) -> Result<Json<EventView>, Failure<AdminEventCodes>> {
        permit(app, throttle, &caller, Operation::GetEvent, Some(&event_id)).await?;
        Ok(Json(events::explain(app, &event_id).await?.into()))
    }

    /// Work on an event again
    ///
    /// As if it had just come, whatever became of it before. What it is about is looked up at Stripe, so
    /// a replay never does harm. It is due when this answers; ask for it again to see what became of
    /// it. Needs the scope `support`.
    #[oai(path = "/events/:event_id/replay", method = "post", operation_id = "replayEvent")]
    async fn replay(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// As `GET /api/admin/events` or Stripe's dashboard tells it.
        #[oai(example = "example_event")]
        Path(event_id): Path<String>,
    ) -> Result<Json<EventView>, Failure<AdminEventCodes>> {
        permit(app, throttle, &caller, Operation::ReplayEvent, Some(&event_id)).await?;
        let by = Actor::Admin(&caller.0.admin_key_id);
        Ok(Json(events::replay(app, &event_id, by).await?.into()))
    }
}

fn max_events() -> i64 {
    MAX_LISTED
}
