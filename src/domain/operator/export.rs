//! The audit log as text for other programs: CSV and JSON lines.

use serde_json::{Value, json};

use super::audit::StoredAuditEntry;
use crate::domain::private::Private;

/// The columns of the CSV form.
const COLUMNS: &str = "audit_id,at,actor,action,customer_id,request_id,before,after,detail\r\n";

/// An entry with the values before and after in one place each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditFacts {
    /// The values before the change, an object; null if there are none.
    pub before: Value,
    /// The values after the change, an object; null if there are none.
    pub after: Value,
    /// Further facts, an object.
    pub detail: Value,
}

impl AuditFacts {
    /// Returns the facts of an entry. The values that name a person are stored apart from the
    /// others.
    #[must_use]
    pub fn of(entry: &StoredAuditEntry) -> Self {
        let mut detail: Value = serde_json::from_str(&entry.detail).unwrap_or_default();
        let personal = entry.personal.as_ref().map(Private::as_str);
        let mut personal: Value =
            personal.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let mut part = |name: &str| {
            let values = [&mut detail, &mut personal].map(|all| {
                all.as_object_mut().and_then(|all| all.remove(name)).unwrap_or_default()
            });
            let [mut values, personal] = values;
            match (&mut values, personal) {
                (Value::Object(values), Value::Object(personal)) => values.extend(personal),
                (Value::Object(_), _) => {}
                (_, personal) => return personal,
            }
            values
        };
        Self { before: part("before"), after: part("after"), detail }
    }
}

/// Returns the entries as CSV (RFC 4180), with a line of the columns. Objects are JSON.
#[must_use]
pub fn csv(entries: &[StoredAuditEntry]) -> String {
    let mut text = COLUMNS.to_owned();
    for entry in entries {
        let AuditFacts { before, after, detail } = AuditFacts::of(entry);
        let object = |value: Value| if value.is_null() { String::new() } else { value.to_string() };
        let id = |id: Option<String>| id.unwrap_or_default();
        let fields = [
            entry.audit_id.to_string(),
            entry.at.to_string(),
            entry.actor.clone(),
            entry.action.clone(),
            id(entry.customer_id.as_ref().map(ToString::to_string)),
            id(entry.request_id.clone()),
            object(before),
            object(after),
            object(detail),
        ];
        text.push_str(&fields.map(|field| cell(&field)).join(","));
        text.push_str("\r\n");
    }
    text
}

/// Returns a cell. A text that a spreadsheet would run as a formula begins with `'`
/// (<https://owasp.org/www-community/attacks/CSV_Injection>).
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let guard = if is_formula { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

/// Returns the entries as JSON lines: one object in each.
#[must_use]
pub fn json_lines(entries: &[StoredAuditEntry]) -> String {
    entries.iter().map(|entry| format!("{}\n", json(entry))).collect()
}

/// Returns an entry as JSON, with the fields of the API.
#[must_use]
pub fn json(entry: &StoredAuditEntry) -> Value {
    let AuditFacts { before, after, detail } = AuditFacts::of(entry);
    json!({
        "audit_id": entry.audit_id.as_str(),
        "at": entry.at.to_string(),
        "actor": entry.actor,
        "action": entry.action,
        "customer_id": entry.customer_id.as_ref().map(ToString::to_string),
        "before": before,
        "after": after,
        "detail": detail,
        "request_id": entry.request_id,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::AuditId;
    use crate::domain::time::Timestamp;

    fn entry(actor: &str) -> StoredAuditEntry {
        StoredAuditEntry {
            audit_id: AuditId::from_random(1),
            at: Timestamp::saturating(1_795_186_800),
            actor: actor.to_owned(),
            action: "customer.changed".to_owned(),
            customer_id: None,
            detail: json!({ "n": 1, "before": { "a": 1 }, "after": { "a": 2 } }).to_string(),
            personal: Some(
                json!({ "before": { "name": "=1" }, "after": { "name": null } }).to_string().into(),
            ),
            request_id: Some("0123".to_owned()),
        }
    }

    #[test]
    fn the_values_before_and_after_are_in_one_place() {
        let facts = AuditFacts::of(&entry("operator"));
        assert_eq!(facts.before, json!({ "a": 1, "name": "=1" }));
        assert_eq!(facts.after, json!({ "a": 2, "name": null }));
        assert_eq!(facts.detail, json!({ "n": 1 }));
        let none = StoredAuditEntry { personal: None, detail: "{}".into(), ..entry("operator") };
        let nothing = AuditFacts { before: Value::Null, after: Value::Null, detail: json!({}) };
        assert_eq!(AuditFacts::of(&none), nothing);
        let lines = json_lines(&[entry("a\nb"), none]);
        assert_eq!(lines.lines().count(), 2, "{lines}");
        assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    }

    #[test]
    fn security_21_a_cell_is_never_a_formula() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            let line = csv(&[entry(formula)]);
            assert!(line.contains(&format!("\"'{formula}\"")), "{line}");
        }
        assert_eq!(cell("a \"b\", c"), "\"a \"\"b\"\", c\"");
        assert_eq!(csv(&[]), COLUMNS);
    }
}
