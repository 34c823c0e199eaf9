//! `/v1/events`: the events of the last 30 days. Their delivery is in `sender`.

use super::list::list;
use super::params::Params;
use super::resource::Route;
use crate::api_error::ApiResult;
use crate::objects::{Kind, integer, text};
use crate::world::World;

/// Stripe lists events for 30 days.
const LISTED_FOR_SECONDS: i64 = 30 * 86_400;

/// Handles the calls that only this resource has.
pub fn route(world: &mut World, route: Route<'_>, params: &mut Params) -> Option<ApiResult> {
    Some(match route {
        ("GET", []) => list_all(world, params),
        _ => return None,
    })
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
            && integer(event, "created") > world.now - LISTED_FOR_SECONDS
    })
}
