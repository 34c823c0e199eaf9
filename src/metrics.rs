//! The metrics that `GET /metrics` shows. Each is declared once, in [`Metrics`]. They belong to one
//! [`App`](crate::app::App), except the counter of lost log lines: the log is one for the process.

pub mod series;

use std::sync::LazyLock;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, prometheus_text};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use series::{Counter, Gauge, Series, labels};

/// The media type of [`Metrics::text`].
pub use prometheus_text::CONTENT_TYPE;

/// The histogram buckets for request times, in seconds: from a fast read to a wait for password
/// hashing.
const BUCKETS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// The counter of log lines that could not be written.
pub static LOG_LINES_LOST: LazyLock<Counter> = LazyLock::new(Counter::default);

/// Declares the metrics. The text of `///` is shown as the help. The name is `licentia_` and the
/// name of the field; the library appends `_total` to the name of a counter.
macro_rules! metrics {
    ($(#[doc = $help:literal] $field:ident: $kind:ty $(= $initial:expr)?,)+) => {
        /// All metrics of a service.
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            $(#[doc = $help] pub $field: $kind,)+
        }

        impl Default for Metrics {
            fn default() -> Self {
                let mut registry = Registry::with_prefix("licentia");
                $(
                    let $field: $kind = metrics!(@initial $($initial)?);
                    registry.register(stringify!($field), $help.trim(), $field.clone());
                )+
                Self { registry, $($field,)+ }
            }
        }
    };
    (@initial) => { Default::default() };
    (@initial $initial:expr) => { $initial };
}

metrics! {
    /// HTTP responses
    http_requests: Family<ResponseLabels, Counter>,
    /// HTTP responses with an error, such as failed logins
    http_errors: Family<ErrorLabels, Counter>,
    /// Time from the head of an HTTP request to the start of its response
    http_request_seconds: Family<OperationLabel, Histogram> =
        Family::new_with_constructor(histogram),
    /// Connections that were closed to limit their number
    http_connections_closed: Series<ClosedFor, Counter>,
    /// Webhook deliveries with a valid signature
    webhooks: Series<WebhookResult, Counter>,
    /// Attempts to process an event from Stripe
    events: Series<EventResult, Counter>,
    /// Attempts to send a mail
    mails: Series<MailResult, Counter>,
    /// Attempts to deliver an outgoing webhook
    webhook_deliveries: Series<DeliveryResult, Counter>,
    /// Alerts for an operator; each sync counts an alert again
    sync_alerts: Counter,
    /// Customers who paid and have no working license
    paid_customers_without_license: Gauge,
    /// Buyers at Stripe who pay for a plan and are not linked to a customer here
    unknown_buyers: Gauge,
    /// Events from Stripe that are not processed
    inbox_events: Series<QueueState, Gauge>,
    /// Mails that are not sent
    outbox_mails: Series<QueueState, Gauge>,
    /// Deliveries of outgoing webhooks that the receiver has not accepted
    undelivered_webhooks: Series<QueueState, Gauge>,
    /// Customers for whom the last reconciliation found drift
    drifted_customers: Gauge,
    /// Customers whom the last reconciliation could not compare with Stripe
    uncompared_customers: Gauge,
    /// Background tasks that ended and were restarted
    background_restarts: Series<Background, Counter>,
    /// Log lines that could not be written to standard error
    log_lines_lost: Counter = LOG_LINES_LOST.clone(),
}

impl Metrics {
    /// Returns all metrics in Prometheus' text format, version 0.0.4
    /// (<https://prometheus.io/docs/instrumenting/exposition_formats/>).
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = prometheus_text::encode(&mut text, &self.registry);
        text
    }

    /// Returns the metrics of HTTP responses with these labels. Keep them for frequent responses:
    /// finding them takes longer than counting.
    #[must_use]
    pub fn of_response(&self, labels: &ResponseLabels) -> ResponseMetrics {
        let operation = OperationLabel { operation: labels.operation };
        ResponseMetrics {
            requests: self.http_requests.get_or_create_owned(labels),
            seconds: self.http_request_seconds.get_or_create_owned(&operation),
        }
    }
}

/// The metrics of HTTP responses with the same labels.
#[derive(Clone, Debug)]
pub struct ResponseMetrics {
    requests: Counter,
    seconds: Histogram,
}

impl ResponseMetrics {
    /// Counts a response, and the time until it started.
    pub fn count(&self, elapsed: Duration) {
        self.requests.inc();
        self.seconds.observe(elapsed.as_secs_f64());
    }
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

/// The labels of an HTTP response. None may be chosen by the client, which could fill the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResponseLabels {
    /// The operation's id, or `none` for pages outside of the description and for errors.
    pub operation: &'static str,
    /// The method, or `other`.
    pub method: &'static str,
    /// The status.
    pub status: u16,
}

/// The labels of an error. None may be chosen by the client.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ErrorLabels {
    /// As [`ResponseLabels::operation`], also for requests that did not reach the handler.
    pub operation: String,
    /// The code of the problem.
    pub code: &'static str,
}

/// The label of a request time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OperationLabel {
    /// As [`ResponseLabels::operation`].
    operation: &'static str,
}

labels! {
    /// Work that runs as long as the server.
    pub enum Background as "task" {
        /// Processes events from Stripe.
        Inbox = "inbox",
        /// Sends mails.
        Outbox = "outbox",
        /// Delivers outgoing webhooks.
        Webhooks = "webhooks",
        /// Compares all customers with Stripe daily.
        Reconcile = "reconcile",
        /// Sets the gauges for alarms.
        Counts = "counts",
        /// Adds reminders to the outbox.
        Reminders = "reminders",
        /// Writes SQLite's write-ahead log into the database file.
        Checkpoint = "checkpoint",
        /// Reads the signing keys again.
        Keys = "keys",
        /// Writes the search terms of customers who are older than the search.
        Search = "search",
    }
}

labels! {
    /// The reason why a connection was closed.
    pub enum ClosedFor as "reason" {
        /// All slots were taken.
        Full = "full",
        /// The client had too many connections.
        Client = "client",
        /// The client read too slowly.
        SlowReader = "slow_reader",
    }
}

labels! {
    /// The result of a webhook delivery.
    pub enum WebhookResult as "result" {
        /// The event is new and was stored.
        Stored = "stored",
        /// The event was stored before.
        Repeated = "repeated",
        /// The event is of the other mode, or of a type that is not used.
        Ignored = "ignored",
        /// The event is a thin event, which cannot be used.
        Thin = "thin",
    }
}

labels! {
    /// The result of an attempt to process an event.
    pub enum EventResult as "result" {
        /// The customer was synced.
        Done = "done",
        /// The event is not about a customer here.
        Foreign = "foreign",
        /// The attempt failed.
        Failed = "failed",
    }
}

labels! {
    /// The result of an attempt to send a mail.
    pub enum MailResult as "result" {
        /// The mail server accepted it.
        Sent = "sent",
        /// The mail server refused it permanently.
        Refused = "refused",
        /// The attempt failed and is repeated later.
        Failed = "failed",
    }
}

labels! {
    /// The result of an attempt to deliver an outgoing webhook.
    pub enum DeliveryResult as "result" {
        /// The receiver accepted it.
        Delivered = "delivered",
        /// The attempt failed and is repeated later.
        Failed = "failed",
        /// It was given up.
        GivenUp = "given_up",
    }
}

labels! {
    /// The state of a queue's entry that is not done.
    pub enum QueueState as "state" {
        /// It waits, or will be retried.
        Waiting = "waiting",
        /// It was given up.
        GivenUp = "given_up",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_is_absent_until_it_is_counted_and_while_it_cannot_be() {
        let metrics = Metrics::default();
        let shown = |name: &str| metrics.text().contains(name);
        assert!(!shown("licentia_unknown_buyers") && !shown("licentia_inbox_events"));
        metrics.unknown_buyers.set(Some(0));
        metrics.inbox_events.of(QueueState::GivenUp).set(Some(7));
        assert!(shown("\nlicentia_unknown_buyers 0\n"));
        assert!(shown("\nlicentia_inbox_events{state=\"given_up\"} 7\n"));
        assert!(!shown("state=\"waiting\""));
        metrics.unknown_buyers.set(None);
        metrics.inbox_events.of(QueueState::GivenUp).set(None);
        assert!(!shown("licentia_unknown_buyers") && !shown("licentia_inbox_events"));
    }

    #[test]
    fn the_text_is_in_the_format_of_prometheus() {
        let metrics = Metrics::default();
        let response = ResponseLabels { operation: "getJwks", method: "GET", status: 200 };
        metrics.of_response(&response).count(Duration::from_millis(20));
        metrics.mails.of(MailResult::Sent).inc();
        let text = metrics.text();
        let requests = "\
# HELP licentia_http_requests_total HTTP responses.
# TYPE licentia_http_requests_total counter
licentia_http_requests_total{operation=\"getJwks\",method=\"GET\",status=\"200\"} 1
";
        let seconds = "\
# TYPE licentia_http_request_seconds histogram
licentia_http_request_seconds_bucket{operation=\"getJwks\",le=\"0.001\"} 0
licentia_http_request_seconds_bucket{operation=\"getJwks\",le=\"0.005\"} 0
licentia_http_request_seconds_bucket{operation=\"getJwks\",le=\"0.01\"} 0
licentia_http_request_seconds_bucket{operation=\"getJwks\",le=\"0.05\"} 1
";
        let mails = "\
# TYPE licentia_mails_total counter
licentia_mails_total{result=\"sent\"} 1
licentia_mails_total{result=\"refused\"} 0
licentia_mails_total{result=\"failed\"} 0
";
        for part in [requests, seconds, mails] {
            assert!(text.contains(part), "{text}");
        }
        // OpenMetrics, a later format, ends with this line. Prometheus' own has no such comment.
        assert!(!text.contains("# EOF"), "{text}");
    }
}
