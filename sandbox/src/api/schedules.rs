//! `/v1/subscription_schedules`: lists, returns and releases the schedules that the portal created.
//! This API does not create any.

use super::params::Params;
use super::resource::{Route, require};
use crate::api_error::{ApiError, ApiResult};
use crate::billing::schedule;
use crate::objects::{Kind, text};
use crate::world::World;

/// Handles the calls that only this resource has.
pub fn route(world: &mut World, route: Route<'_>, params: &mut Params) -> Option<ApiResult> {
    Some(match route {
        ("POST", [id, "release"]) => release(world, id, params),
        _ => return None,
    })
}

fn release(world: &mut World, id: &str, params: &mut Params) -> ApiResult {
    params.ignore(&["preserve_cancel_date"]);
    params.finish()?;
    require(world, Kind::SubscriptionSchedule, id)?;
    let schedule = world.get(Kind::SubscriptionSchedule, id);
    let status = text(schedule, "status");
    if status != "active" {
        let message = format!("You cannot release a subscription schedule that is {status}.");
        return Err(ApiError::invalid(message, ""));
    }
    let sub = text(schedule, "subscription").to_owned();
    schedule::release(world, &sub);
    Ok(world.get(Kind::SubscriptionSchedule, id).clone())
}
