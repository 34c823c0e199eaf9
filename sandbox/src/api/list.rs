//! Stripe's lists: newest first, filtered, one page at a time. The filters are in the files of the
//! resources.

use serde_json::Value;

use super::params::Params;
use super::resource::{noun, require, require_param};
use crate::api_error::{ApiError, ApiResult};
use crate::objects::{self, Kind, integer, text};
use crate::world::World;

/// Stripe's page size, unless the call asks for another.
const DEFAULT_LIMIT: i64 = 10;

/// Stripe's largest page size.
const MAX_LIMIT: i64 = 100;

/// Takes the parameters that every list has. Returns the page of the objects that `keep` accepts.
pub fn list(
    world: &World,
    kind: Kind,
    params: &mut Params,
    keep: impl Fn(&Value) -> bool,
) -> ApiResult {
    let customer = if kind.names_customers() { params.text("customer")? } else { None };
    if let Some(customer) = &customer
        && world.get(Kind::Customer, customer).is_null()
    {
        return Err(ApiError::no_such(&noun(Kind::Customer), customer, "customer"));
    }
    let limit = take_limit(params)?;
    let created = Created::take(params)?;
    let after = cursor(world, kind, params, "starting_after")?;
    let before = cursor(world, kind, params, "ending_before")?;
    params.finish()?;
    let wanted = |object: &&Value| created.contains(integer(object, "created")) && keep(object);
    let (page, has_more): (Vec<&Value>, bool) = if let Some(before) = before {
        let all = world.newest_first(kind, customer.as_deref());
        let newer = all.take_while(|object| text(object, "id") != before);
        let newer: Vec<&Value> = newer.filter(wanted).collect();
        let first = newer.len().saturating_sub(limit);
        (newer[first..].to_vec(), first > 0)
    } else {
        let older = world.older_than(kind, customer.as_deref(), after.as_deref());
        let mut page: Vec<&Value> = older.filter(wanted).take(limit + 1).collect();
        let has_more = page.len() > limit;
        page.truncate(limit);
        (page, has_more)
    };
    Ok(objects::list(page.into_iter().cloned().collect(), has_more, kind.path()))
}

/// Returns one page of a list within an object, such as the lines of an invoice.
pub fn page_of(mut data: Vec<Value>, url: &str, params: &mut Params) -> ApiResult {
    let limit = take_limit(params)?;
    let after = params.text("starting_after")?.filter(|id| !id.is_empty());
    params.finish()?;
    if let Some(after) = after {
        let place = data.iter().position(|object| object["id"] == after.as_str());
        let place = place.ok_or_else(|| ApiError::no_such("object", &after, "starting_after"))?;
        data.drain(..=place);
    }
    let has_more = data.len() > limit;
    data.truncate(limit);
    Ok(objects::list(data, has_more, url))
}

/// Takes the size of a page.
fn take_limit(params: &mut Params) -> Result<usize, ApiError> {
    let limit = params.integer("limit")?.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        let message = format!("Invalid integer: limit must be from 1 to {MAX_LIMIT}");
        return Err(ApiError::coded("parameter_invalid_integer", message, "limit"));
    }
    Ok(usize::try_from(limit).unwrap_or_default())
}

/// Lists the lines of the object that the path names.
pub fn lines(world: &World, kind: Kind, id: &str, params: &mut Params) -> ApiResult {
    require(world, kind, id)?;
    let lines = world.get(kind, id)["lines"]["data"].as_array().cloned();
    page_of(lines.unwrap_or_default(), &format!("{}/{id}/lines", kind.path()), params)
}

fn cursor(
    world: &World,
    kind: Kind,
    params: &mut Params,
    name: &str,
) -> Result<Option<String>, ApiError> {
    let cursor = params.text(name)?.filter(|id| !id.is_empty());
    if let Some(id) = &cursor {
        require_param(world, kind, id, name)?;
    }
    Ok(cursor)
}

/// The `created` filter.
#[derive(Default)]
struct Created {
    from: Option<i64>,
    until: Option<i64>,
}

impl Created {
    fn take(params: &mut Params) -> Result<Self, ApiError> {
        let mut group = params.group("created");
        let exact = group.integer("")?;
        let from = group.integer("gte")?.or(group.integer("gt")?.map(|time| time + 1)).or(exact);
        let until = group.integer("lte")?.or(group.integer("lt")?.map(|time| time - 1)).or(exact);
        group.finish()?;
        Ok(Self { from, until })
    }

    fn contains(&self, created: i64) -> bool {
        self.from.is_none_or(|from| created >= from)
            && self.until.is_none_or(|until| created <= until)
    }
}
