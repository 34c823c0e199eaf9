//! Metrics for Prometheus.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use poem_openapi::OpenApi;
use poem_openapi::payload::PlainText;

use crate::http::Tag;
use crate::http::problem::{Failure, NothingMore};

pub struct MetricsApi;

/// The histogram buckets for request times, in seconds: from a fast read to a wait for password
/// hashing.
const BUCKETS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// How often samples are merged into buckets. Without this, they accumulate between two scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

static RECORDER: OnceLock<Result<PrometheusHandle, BuildError>> = OnceLock::new();

/// Returns the recorder of the process. The first call installs it; counts made before it are lost.
pub fn recorder() -> Option<&'static PrometheusHandle> {
    let install = || {
        PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &BUCKETS)?
            .install_recorder()
    };
    RECORDER.get_or_init(install).as_ref().ok()
}

/// Merges samples into buckets for as long as the server runs.
pub async fn upkeep() {
    let Some(recorder) = recorder() else { return std::future::pending().await };
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        ticks.tick().await;
        recorder.run_upkeep();
    }
}

#[OpenApi(prefix_path = "/metrics", tag = "Tag::Operations")]
impl MetricsApi {
    /// Get the metrics
    ///
    /// Returns counters and histograms in the Prometheus text format.
    #[oai(path = "/", method = "get", operation_id = "getMetrics")]
    async fn show(&self) -> Result<PlainText<String>, Failure<NothingMore>> {
        Ok(PlainText(recorder().map(PrometheusHandle::render).unwrap_or_default()))
    }
}
