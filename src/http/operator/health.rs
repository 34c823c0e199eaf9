//! Health checks: liveness and readiness.

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use crate::app::App;
use crate::http::Tag;
use crate::http::problem::{Failure, NothingMore, documented};

documented!(ReadinessCodes: BackgroundTaskDown);

pub struct HealthApi;

/// The health of the service.
#[derive(Object)]
struct Health {
    /// Always `ok`. An unhealthy service returns another HTTP status.
    status: String,
    /// The version of the running server.
    version: String,
}

impl Health {
    fn ok() -> Json<Self> {
        Json(Self { status: "ok".into(), version: env!("CARGO_PKG_VERSION").into() })
    }
}

#[OpenApi(prefix_path = "/health", tag = "Tag::Operations")]
impl HealthApi {
    /// Check liveness
    ///
    /// Returns 200 while the process can respond. For a supervisor that restarts the process. The
    /// check does not use the database.
    #[oai(path = "/live", method = "get", operation_id = "getLiveness")]
    async fn live(&self) -> Result<Json<Health>, Failure<NothingMore>> {
        Ok(Health::ok())
    }

    /// Check readiness
    ///
    /// Returns 200 if the server can handle requests, and 503 while the database does not respond,
    /// a background task is not running, or every signing key of this server was retired or revoked
    /// (`busy`). For a load balancer. A read-only database counts as
    /// ready: keys and licenses are still served, and requests that write get 503.
    #[oai(path = "/ready", method = "get", operation_id = "getReadiness")]
    async fn ready(&self, Data(app): Data<&App>) -> Result<Json<Health>, Failure<ReadinessCodes>> {
        app.tasks.must_all_run()?;
        app.store.ping().await?;
        app.keys.signing(app.now())?;
        Ok(Health::ok())
    }
}
