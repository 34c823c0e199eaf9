//! The parts of a license or a purchase besides its plan, as text. Reports, messages and the
//! timeline say them in the same way, and so do audit entries.

use serde_json::{Value, json};

use super::{Basis, Source};
use crate::domain::count::counted;
use crate::domain::ids::LicenseId;
use crate::domain::sale::addon_ids::AddonIds;
use crate::domain::time::Timestamp;

/// Returns the parts of a license ([`parts_text`]). A single unit is left out: a plan that is not
/// sold by the unit has one too.
pub(super) fn license_parts(
    quantity: u32,
    addons: &AddonIds,
    updates_until: Option<Timestamp>,
) -> String {
    let until = updates_until.map(|until| until.to_string());
    parts_text((quantity > 1).then_some(quantity), &addons.texts(), until.as_deref())
}

/// Returns the details of an audit entry about the issue of a license. Outgoing webhooks publish
/// most of them.
pub(super) fn issue_detail(
    license_id: &LicenseId,
    (plan, source, bought_by): (&str, Source, Option<Basis>),
    (quantity, addons, updates_until): (u32, &AddonIds, Option<Timestamp>),
) -> Value {
    json!({
        "license_id": license_id.as_str(),
        "plan": plan,
        "source": source.as_str(),
        "basis": bought_by.map(Basis::as_str),
        "quantity": quantity,
        "addons": addons.texts(),
        "updates_until": updates_until.map(|until| until.to_string()),
    })
}

/// Returns the units, the add-ons and the end of the updates as text that follows the name of a
/// plan, such as `` with 5 units and the add-on `pdf`, for builds until 2027-11-20T15:00:00Z``. The
/// text is empty if there are none. `None` leaves a part out.
#[must_use]
pub fn parts_text(units: Option<u32>, addons: &[String], updates_until: Option<&str>) -> String {
    let units = units.map(|units| counted(units, "unit"));
    let addons = (!addons.is_empty()).then(|| addons_text(addons));
    let with: Vec<_> = units.into_iter().chain(addons).collect();
    let with =
        if with.is_empty() { String::new() } else { format!(" with {}", with.join(" and ")) };
    let builds = updates_until.map(|until| format!(", for builds until {until}"));
    with + &builds.unwrap_or_default()
}

/// Returns add-ons as text: ``the add-on `pdf` ``, ``the add-ons `cad` and `pdf` ``.
#[must_use]
pub fn addons_text(addons: &[String]) -> String {
    let names: Vec<_> = addons.iter().map(|addon| format!("`{addon}`")).collect();
    match names.as_slice() {
        [name] => format!("the add-on {name}"),
        [first @ .., last] => format!("the add-ons {} and {last}", first.join(", ")),
        [] => "no add-on".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_named_as_far_as_there_are_any() {
        let addons = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let text = |units, ids: &[&str], until| parts_text(units, &addons(ids), until);
        assert_eq!(text(None, &[], None), "");
        assert_eq!(text(Some(1), &[], None), " with 1 unit");
        assert_eq!(text(None, &["pdf"], None), " with the add-on `pdf`");
        let all = text(Some(5), &["cad", "pdf"], Some("2027"));
        assert_eq!(all, " with 5 units and the add-ons `cad` and `pdf`, for builds until 2027");
        assert_eq!(text(None, &[], Some("2027")), ", for builds until 2027");
        assert_eq!(addons_text(&addons(&["a", "b", "c"])), "the add-ons `a`, `b` and `c`");
    }
}
