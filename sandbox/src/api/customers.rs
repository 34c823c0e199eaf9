//! `/v1/customers`: customers, their balance transactions, and the search for customers.

use serde_json::{Map, Value, json};

use super::list::list;
use super::params::Params;
use super::resource::{Route, require, take_fields, take_metadata};
use super::tax;
use crate::api_error::{ApiError, ApiResult};
use crate::billing::{balance, customer, ending};
use crate::objects::{Kind, integer, put};
use crate::world::World;

/// Parameters of Stripe's that the sandbox ignores.
const IGNORED: [&str; 5] = ["phone", "preferred_locales", "shipping", "tax", "tax_exempt"];

/// The parts of an address.
const ADDRESS: [&str; 6] = ["city", "country", "line1", "line2", "postal_code", "state"];

/// Handles the calls that only this resource has.
pub fn route(world: &mut World, route: Route<'_>, params: &mut Params) -> Option<ApiResult> {
    Some(match route {
        ("POST", []) => create(world, params),
        ("GET", ["search"]) => search(world, params),
        ("POST", [id]) => update(world, id, params),
        ("GET", [id, "balance_transactions"]) => list_transactions(world, id, params),
        ("POST", [id, "balance_transactions"]) => adjust_balance(world, id, params),
        ("DELETE", [id]) => delete(world, id, params),
        (method, [id, "tax_ids", rest @ ..]) => return tax::ids(world, id, (method, rest), params),
        _ => return None,
    })
}

fn create(world: &mut World, params: &mut Params) -> ApiResult {
    let balance = params.integer("balance")?;
    let mut tax_ids = Vec::new();
    for mut one in params.groups("tax_id_data") {
        tax_ids.push(tax::take(&mut one)?);
        one.finish()?;
    }
    let fields = fields(params, &Value::Null)?;
    let id = customer::create(world, fields.into());
    for (kind, value) in tax_ids {
        customer::add_tax_id(world, &id, &kind, &value);
    }
    if let Some(balance) = balance {
        balance::change(world, &id, balance, "initial", json!({}));
    }
    Ok(world.get(Kind::Customer, &id).clone())
}

fn update(world: &mut World, id: &str, params: &mut Params) -> ApiResult {
    require(world, Kind::Customer, id)?;
    let fields = fields(params, world.get(Kind::Customer, id))?;
    world.change(Kind::Customer, id, fields.into(), "customer.updated");
    Ok(world.get(Kind::Customer, id).clone())
}

fn fields(params: &mut Params, before: &Value) -> Result<Map<String, Value>, ApiError> {
    let mut fields = Map::new();
    take_fields(params, Kind::Customer, &["description", "email", "name"], &mut fields)?;
    take_metadata(params, before, &mut fields)?;
    names(params, &mut fields)?;
    if let Some(address) = address(params)? {
        fields.insert("address".to_owned(), address);
    }
    let mut settings = params.group("invoice_settings");
    if let Some(method) = settings.text("default_payment_method")? {
        let mut settings = Kind::Customer.blank()["invoice_settings"].take();
        put(&mut settings, json!({ "default_payment_method": method }));
        fields.insert("invoice_settings".to_owned(), settings);
    }
    settings.finish()?;
    params.ignore(&IGNORED);
    params.finish()?;
    Ok(fields)
}

/// Takes the names of a company and of a person. Unless the call has a name, it is the company's,
/// otherwise the person's
/// (<https://docs.stripe.com/changelog/clover/2025-09-30/customer-business-and-individual-name>).
fn names(params: &mut Params, fields: &mut Map<String, Value>) -> Result<(), ApiError> {
    let names = ["business_name", "individual_name"];
    take_fields(params, Kind::Customer, &names, fields)?;
    let first = names.iter().find_map(|name| fields.get(*name)).filter(|name| name.is_string());
    if let Some(name) = first.filter(|_| !fields.contains_key("name")).cloned() {
        fields.insert("name".to_owned(), name);
    }
    Ok(())
}

/// Takes the address, if there is one. Its parts replace the former address as a whole.
pub fn address(params: &mut Params) -> Result<Option<Value>, ApiError> {
    if !params.has("address") {
        return Ok(None);
    }
    let mut group = params.group("address");
    let mut address = Kind::Customer.blank()["address"].take();
    group.text("")?; // An empty value unsets it.
    for name in ADDRESS {
        if let Some(part) = group.text(name)?.filter(|part| !part.is_empty()) {
            address[name] = part.into();
        }
    }
    group.finish()?;
    Ok(Some(address))
}

fn delete(world: &mut World, id: &str, params: &Params) -> ApiResult {
    require(world, Kind::Customer, id)?;
    params.finish()?;
    Ok(ending::delete_customer(world, id))
}

fn adjust_balance(world: &mut World, id: &str, params: &mut Params) -> ApiResult {
    require(world, Kind::Customer, id)?;
    let amount = params.integer("amount")?.ok_or_else(|| ApiError::missing("amount"))?;
    let mut fields = Map::new();
    fields.insert("currency".to_owned(), params.required("currency")?.into());
    take_fields(params, Kind::CustomerBalanceTransaction, &["description"], &mut fields)?;
    take_metadata(params, &Value::Null, &mut fields)?;
    params.finish()?;
    let id = balance::change(world, id, amount, "adjustment", fields.into());
    Ok(world.get(Kind::CustomerBalanceTransaction, &id).clone())
}

fn list_transactions(world: &World, id: &str, params: &mut Params) -> ApiResult {
    require(world, Kind::Customer, id)?;
    list(world, Kind::CustomerBalanceTransaction, params, |transaction| {
        transaction["customer"] == id
    })
}

/// Supports the one kind of query that a licensing backend needs: exact values, joined by `AND`.
fn search(world: &World, params: &mut Params) -> ApiResult {
    let query = params.required("query")?;
    params.ignore(&["limit", "page"]);
    params.finish()?;
    let clauses: Option<Vec<(String, String)>> = query.split(" AND ").map(clause).collect();
    let clauses = clauses.ok_or_else(|| {
        let message = "The sandbox supports only metadata['key']:'value', email:'…' and \
                       name:'…', joined by AND.";
        ApiError::invalid(message, "query")
    })?;
    let fits = |customer: &&Value| {
        let age = world.now - integer(customer, "created");
        age >= world.search_lag_seconds
            && clauses.iter().all(|(pointer, wanted)| {
                customer.pointer(pointer).and_then(Value::as_str) == Some(wanted.as_str())
            })
    };
    let customers: Vec<Value> =
        world.newest_first(Kind::Customer, None).filter(fits).cloned().collect();
    Ok(json!({
        "object": "search_result",
        "url": "/v1/customers/search",
        "has_more": false,
        "next_page": null,
        "data": customers,
    }))
}

/// Returns `metadata['key']:'value'` as a JSON pointer and a value; none if it cannot be read.
fn clause(clause: &str) -> Option<(String, String)> {
    let (field, value) = clause.trim().split_once(':')?;
    let unquote = |text: &str| {
        let text = text.trim();
        let quote = text.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
        Some(text.strip_prefix(quote)?.strip_suffix(quote)?.replace('\\', ""))
    };
    let pointer = match field.strip_prefix("metadata[") {
        Some(key) => format!("/metadata/{}", unquote(key.strip_suffix(']')?)?),
        None if matches!(field, "email" | "name") => format!("/{field}"),
        None => return None,
    };
    Some((pointer, unquote(value)?))
}
