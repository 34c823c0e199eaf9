//! `/v1/events`: what happened in the last 30 days.

use super::list::list;
use super::params::Params;
use super::resource::retrieve;
use crate::api_error::ApiResult;
use crate::objects::{Kind, integer, text};
use crate::world::World;

/// Stripe lists events for 30 days.
const EVENTS_KEPT: i64 = 30 * 86_400;

/// Answers the calls of this resource; nothing if there is no such address.
pub fn route(
    world: &mut World,
    method: &str,
    rest: &[&str],
    params: &mut Params,
) -> Option<ApiResult> {
    Some(match (method, rest) {
        ("GET", []) => list_all(world, params),
        ("GET", [id]) => retrieve(world, Kind::Event, id, params),
        _ => return None,
    })
}

/// Answers a thin event; nothing if the call is another.
pub fn thin(world: &World, method: &str, id: &str, params: &Params) -> Option<ApiResult> {
    (method == "GET").then(|| retrieve(world, Kind::ThinEvent, id, params))
}

fn list_all(world: &World, params: &mut Params) -> ApiResult {
    let mut types = params.texts("types")?;
    types.extend(params.text("type")?);
    let succeeded = params.boolean("delivery_success")?;
    list(world, Kind::Event, params, |event| {
        let fits = |wanted: &String| match wanted.strip_suffix(".*") {
            Some(family) => text(event, "type").starts_with(family),
            None => text(event, "type") == wanted,
        };
        (types.is_empty() || types.iter().any(fits))
            && succeeded
                .is_none_or(|wanted| world.deliveries.succeeded(text(event, "id")) == wanted)
            && integer(event, "created") > world.now - EVENTS_KEPT
    })
}
