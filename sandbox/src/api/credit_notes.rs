//! `/v1/credit_notes`: reads the parameters. The amounts are checked and booked in
//! `billing::credit`.

use serde_json::{Map, Value};

use super::list::lines;
use super::params::Params;
use super::resource::{Route, require, require_param, take_fields, take_metadata};
use crate::api_error::{ApiError, ApiResult};
use crate::billing::credit::{self, CreditNote, NoteDetails};
use crate::objects::{Kind, integer, text};
use crate::world::World;

/// Handles the calls that only this resource has.
pub fn route(world: &mut World, route: Route<'_>, params: &mut Params) -> Option<ApiResult> {
    Some(match route {
        ("POST", []) => create(world, params),
        ("GET", [id, "lines"]) => lines(world, Kind::CreditNote, id, params),
        ("POST", [id, "void"]) => void(world, id, params),
        _ => return None,
    })
}

fn create(world: &mut World, params: &mut Params) -> ApiResult {
    let invoice = params.required("invoice")?;
    let amount = take_amount(world, &invoice, params)?;
    let note = CreditNote {
        amount,
        refund: params.integer("refund_amount")?.unwrap_or(0),
        balance: params.integer("credit_amount")?.unwrap_or(0),
        out_of_band: params.integer("out_of_band_amount")?.unwrap_or(0),
    };
    let linked = take_refunds(world, params)?;
    let mut fields = Map::new();
    take_fields(params, Kind::CreditNote, &["memo", "reason"], &mut fields)?;
    take_metadata(params, &Value::Null, &mut fields)?;
    params.ignore(&["email_type", "effective_at"]);
    params.finish()?;
    require_param(world, Kind::Invoice, &invoice, "invoice")?;
    let sum = linked.iter().map(|(_, amount)| amount).sum();
    if let Some(problem) = credit::problem(world, &invoice, &note, sum) {
        return Err(ApiError::invalid(problem, "amount"));
    }
    let id = credit::issue(world, &invoice, &note, NoteDetails { linked, fields: fields.into() });
    Ok(world.get(Kind::CreditNote, &id).clone())
}

/// Returns the amount of the note, or the sum of its lines. A line has its own amount, or bills a
/// whole line of the invoice.
fn take_amount(world: &World, invoice: &str, params: &mut Params) -> Result<i64, ApiError> {
    let mut lines = 0;
    let mut has_lines = false;
    for mut line in params.groups("lines") {
        let own = line.integer("amount")?;
        let unit = line.integer("unit_amount")?;
        let quantity = line.integer("quantity")?.unwrap_or(1);
        let named = line.text("invoice_line_item")?;
        line.ignore(&["type", "description"]);
        line.finish()?;
        let all = world.get(Kind::Invoice, invoice)["lines"]["data"].as_array();
        let billed = all.into_iter().flatten().find(|line| line["id"].as_str() == named.as_deref());
        let billed = billed.map(|line| integer(line, "amount"));
        let unit = unit.map(|unit| unit * quantity);
        lines += own.or(unit).or(billed).unwrap_or(0);
        has_lines = true;
    }
    match params.integer("amount")? {
        Some(amount) => Ok(amount),
        None if has_lines => Ok(lines),
        None => Err(ApiError::missing("amount")),
    }
}

/// Takes the existing refunds that belong to the note. Returns their ids and amounts.
fn take_refunds(world: &World, params: &mut Params) -> Result<Vec<(String, i64)>, ApiError> {
    let mut refunds = Vec::new();
    for mut refund in params.groups("refunds") {
        let at = refund.full_name("refund");
        let id = refund.required("refund")?;
        let amount = refund.integer("amount_refunded")?;
        refund.ignore(&["type"]);
        refund.finish()?;
        require_param(world, Kind::Refund, &id, &at)?;
        let amount = amount.unwrap_or_else(|| integer(world.get(Kind::Refund, &id), "amount"));
        refunds.push((id, amount));
    }
    Ok(refunds)
}

fn void(world: &mut World, id: &str, params: &Params) -> ApiResult {
    params.finish()?;
    require(world, Kind::CreditNote, id)?;
    let note = world.get(Kind::CreditNote, id);
    let open = world.get(Kind::Invoice, text(note, "invoice"))["status"] == "open";
    if note["status"] != "issued" || !open {
        let message = "Only a credit note that is issued, for an open invoice, can be voided.";
        return Err(ApiError::invalid(message, "id"));
    }
    credit::void(world, id);
    Ok(world.get(Kind::CreditNote, id).clone())
}
