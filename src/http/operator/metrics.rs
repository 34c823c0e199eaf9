//! Metrics for Prometheus.

use poem::IntoResponse;
use poem::web::Data;
use poem_openapi::payload::PlainText;
use poem_openapi::registry::{MetaResponses, Registry};
use poem_openapi::{ApiResponse, OpenApi};

use crate::app::App;
use crate::http::Tag;
use crate::http::problem::{Failure, NothingMore};
use crate::metrics::CONTENT_TYPE;

pub struct MetricsApi;

/// The metrics, in Prometheus' text format.
struct MetricsText(String);

impl IntoResponse for MetricsText {
    fn into_response(self) -> poem::Response {
        poem::Response::builder().content_type(CONTENT_TYPE).body(self.0)
    }
}

impl ApiResponse for MetricsText {
    fn meta() -> MetaResponses {
        PlainText::<String>::meta()
    }

    fn register(registry: &mut Registry) {
        PlainText::<String>::register(registry);
    }
}

#[OpenApi(prefix_path = "/metrics", tag = "Tag::Operations")]
impl MetricsApi {
    /// Get the metrics
    ///
    /// Returns counters, gauges and histograms in the Prometheus text format.
    #[oai(path = "/", method = "get", operation_id = "getMetrics")]
    async fn show(&self, Data(app): Data<&App>) -> Result<MetricsText, Failure<NothingMore>> {
        Ok(MetricsText(app.metrics.text()))
    }
}
