//! Whether the service lives, and whether it can work.

use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use super::Tag;
use super::problem::{Failure, NothingMore, documented};
use crate::app::App;

documented!(ReadinessCodes: BackgroundTaskDown);

pub struct HealthApi;

/// How the service is.
#[derive(Object)]
struct Health {
    /// Always `ok`; a service that is not answers another status.
    status: String,
    /// The version that runs.
    version: String,
}

impl Health {
    fn ok() -> Json<Self> {
        Json(Self { status: "ok".into(), version: env!("CARGO_PKG_VERSION").into() })
    }
}

#[OpenApi(prefix_path = "/health", tag = "Tag::Operations")]
impl HealthApi {
    /// Is the process alive?
    ///
    /// For a supervisor that restarts it. It asks nothing of the database.
    #[oai(path = "/live", method = "get", operation_id = "getLiveness")]
    async fn live(&self) -> Result<Json<Health>, Failure<NothingMore>> {
        Ok(Health::ok())
    }

    /// Can it serve?
    ///
    /// For a load balancer: 503 while the database does not answer, or a background task is not running. A
    /// database that answers and takes no writes is enough: keys and licenses are served from it, and what
    /// would write is 503 by itself.
    #[oai(path = "/ready", method = "get", operation_id = "getReadiness")]
    async fn ready(&self, Data(app): Data<&App>) -> Result<Json<Health>, Failure<ReadinessCodes>> {
        app.tasks.must_all_run()?;
        app.store.ping().await?;
        Ok(Health::ok())
    }
}
