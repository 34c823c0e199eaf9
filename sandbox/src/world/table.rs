//! The objects of one kind, in the order of their creation, indexed by id and by customer. Events
//! about them are in `events`.

use std::collections::HashMap;

use serde_json::Value;

use crate::objects::text;

/// The result of a lookup without an object. Indexing null gives null, so callers never panic.
static NOTHING: Value = Value::Null;

/// The objects of one kind.
#[derive(Default)]
pub struct Table {
    rows: Vec<Value>,
    by_id: HashMap<String, usize>,
    by_customer: HashMap<String, Vec<usize>>,
}

impl Table {
    /// Adds an object at the end.
    pub fn insert(&mut self, object: Value) {
        let place = self.rows.len();
        self.by_id.insert(text(&object, "id").to_owned(), place);
        if let Some(customer) = object["customer"].as_str() {
            self.by_customer.entry(customer.to_owned()).or_default().push(place);
        }
        self.rows.push(object);
    }

    /// Returns a table with the objects that `keep` accepts.
    pub fn part(&self, keep: impl Fn(&Value) -> bool) -> Self {
        let mut part = Self::default();
        self.rows.iter().filter(|row| keep(row)).for_each(|row| part.insert(row.clone()));
        part
    }

    /// Returns the object, or null.
    pub fn get(&self, id: &str) -> &Value {
        self.by_id.get(id).map_or(&NOTHING, |place| &self.rows[*place])
    }

    /// Changes an object; its id must stay. Updates the index if the object gains a customer.
    pub fn update(&mut self, id: &str, change: impl FnOnce(&mut Value)) {
        let Some(place) = self.by_id.get(id).copied() else { return };
        let row = &mut self.rows[place];
        let before = row["customer"].as_str().map(str::to_owned);
        change(row);
        if let (None, Some(customer)) = (before, row["customer"].as_str()) {
            let places = self.by_customer.entry(customer.to_owned()).or_default();
            places.insert(places.partition_point(|other| *other < place), place);
        }
    }

    /// Returns the existing objects, the newest first. `customer` selects those of one customer,
    /// `cursor` those older than that object.
    pub fn newest_first<'a>(
        &'a self,
        customer: Option<&str>,
        cursor: Option<&str>,
    ) -> Box<dyn Iterator<Item = &'a Value> + 'a> {
        let exists = |row: &&Value| row["deleted"] != true;
        let end = cursor.and_then(|id| self.by_id.get(id)).copied().unwrap_or(self.rows.len());
        match customer {
            None => Box::new(self.rows[..end].iter().rev().filter(exists)),
            Some(customer) => {
                let places = self.by_customer.get(customer).map_or(&[][..], Vec::as_slice);
                let places = &places[..places.partition_point(|place| *place < end)];
                Box::new(places.iter().rev().map(|place| &self.rows[*place]).filter(exists))
            }
        }
    }
}
