//! `/v1/subscription_schedules`: those that the portal made are listed, shown and released. None is
//! made here.

use super::list::list;
use super::params::Params;
use super::resource::{require, retrieve};
use crate::api_error::{ApiError, ApiResult};
use crate::billing::schedule;
use crate::objects::{Kind, text};
use crate::world::World;

/// Answers the calls of this resource; nothing if there is no such address.
pub fn route(
    world: &mut World,
    method: &str,
    rest: &[&str],
    params: &mut Params,
) -> Option<ApiResult> {
    Some(match (method, rest) {
        ("GET", []) => list(world, Kind::SubscriptionSchedule, params, |_| true),
        ("GET", [id]) => retrieve(world, Kind::SubscriptionSchedule, id, params),
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
