//! The line of each setting in its file, for the messages about it.

use std::collections::HashMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The line of each setting, by its full name, for example `plan[1].prices[0].amount`.
#[derive(Debug, Default)]
pub struct Lines(HashMap<String, usize>);

impl Lines {
    /// Reads the lines of a TOML text.
    ///
    /// # Errors
    /// The text is not TOML.
    pub fn of(text: &str) -> Result<Self, toml::de::Error> {
        let root = DeTable::parse(text)?;
        // Lines begin at these bytes.
        let begins: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
        let line_of = |at: usize| begins.partition_point(|begin| *begin <= at) + 1;
        let mut lines = HashMap::new();
        add_table("", root.get_ref(), &line_of, &mut lines);
        Ok(Self(lines))
    }

    /// Returns the line of a setting. One that is not in the file has the line of its table.
    #[must_use]
    pub fn line(&self, mut name: &str) -> Option<usize> {
        loop {
            if let Some(line) = self.0.get(name) {
                return Some(*line);
            }
            name = &name[..name.rfind(['.', '['])?];
        }
    }
}

fn add_table(
    path: &str,
    table: &DeTable<'_>,
    line_of: &impl Fn(usize) -> usize,
    lines: &mut HashMap<String, usize>,
) {
    for (key, value) in table {
        let dot = if path.is_empty() { "" } else { "." };
        let name = format!("{path}{dot}{}", key.get_ref());
        lines.insert(name.clone(), line_of(key.span().start));
        add_value(&name, value, line_of, lines);
    }
}

fn add_value(
    name: &str,
    value: &Spanned<DeValue<'_>>,
    line_of: &impl Fn(usize) -> usize,
    lines: &mut HashMap<String, usize>,
) {
    match value.get_ref() {
        DeValue::Table(table) => add_table(name, table, line_of, lines),
        DeValue::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                let name = format!("{name}[{n}]");
                lines.insert(name.clone(), line_of(item.span().start));
                add_value(&name, item, line_of, lines);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_and_every_item_of_a_list_has_its_line() {
        let text = "name = 1\r\n\n[[plan]]\nid = 2\n[[plan]]\nlist = [\n  3,\n  { a = 4,\n \
                    b.c = 5 },\n]\n[plan.table]\nd = 6\n";
        let lines = Lines::of(text).unwrap();
        for (name, line) in [
            ("name", Some(1)),
            ("plan[0]", Some(3)),
            ("plan[0].id", Some(4)),
            ("plan[1]", Some(5)),
            ("plan[1].list", Some(6)),
            ("plan[1].list[0]", Some(7)),
            ("plan[1].list[1].a", Some(8)),
            ("plan[1].list[1].b.c", Some(9)),
            ("plan[1].table.d", Some(12)),
            ("plan[0].missing", Some(3)),
            ("plan[1].list[1].missing", Some(8)),
            ("missing", None),
        ] {
            assert_eq!(lines.line(name), line, "{name}");
        }
    }
}
