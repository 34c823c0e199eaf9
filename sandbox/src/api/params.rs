//! The parameters of a call: parses Stripe's bracket syntax into a tree. Handlers take parameters
//! out of it; one that is left over is unknown. The meaning of a parameter is in the file of its
//! resource.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use url::form_urlencoded;

use crate::api_error::ApiError;

/// The most fields of a form; Stripe's largest calls have a few hundred.
const MAX_FIELDS: usize = 1_000;

/// The most nested brackets; Stripe's deepest parameters have six.
const MAX_DEPTH: usize = 10;

type Tree = BTreeMap<String, Param>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Param {
    Text(String),
    Map(Tree),
}

/// Parameters that have not been taken yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    tree: Tree,
    prefix: String,
}

impl Params {
    /// Parses a form or a query string.
    ///
    /// # Errors
    /// When it has too many fields.
    pub fn parse(form: &[u8]) -> Result<Self, ApiError> {
        let mut tree = Tree::new();
        for (number, (name, value)) in form_urlencoded::parse(form).enumerate() {
            if number == MAX_FIELDS {
                return Err(ApiError::invalid("Too many parameters.", ""));
            }
            insert(&mut tree, &name, value.into_owned());
        }
        Ok(Self { tree, prefix: String::new() })
    }

    /// Takes a text. To Stripe an empty text means "unset"; it is returned as an empty text.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.tree.remove(name) {
            None => Ok(None),
            Some(Param::Text(text)) => Ok(Some(text)),
            Some(Param::Map(_)) => Err(ApiError::invalid("Invalid string", &self.full_name(name))),
        }
    }

    /// Takes a text that must be present.
    pub fn required(&mut self, name: &str) -> Result<String, ApiError> {
        let text = self.text(name)?.filter(|text| !text.is_empty());
        text.ok_or_else(|| ApiError::missing(&self.full_name(name)))
    }

    /// Takes an integer.
    pub fn integer(&mut self, name: &str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.text(name)?.filter(|text| !text.is_empty()) else { return Ok(None) };
        let number = text.parse().map_err(|_| {
            let message = format!("Invalid integer: {text}");
            ApiError::coded("parameter_invalid_integer", message, &self.full_name(name))
        })?;
        Ok(Some(number))
    }

    /// Takes a boolean.
    pub fn boolean(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.text(name)?.as_deref() {
            None | Some("") => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => {
                Err(ApiError::invalid(format!("Invalid boolean: {other}"), &self.full_name(name)))
            }
        }
    }

    /// Takes a group, or an empty one if it is missing. The caller must `finish` it too.
    pub fn group(&mut self, name: &str) -> Self {
        let prefix = self.full_name(name);
        match self.tree.remove(name) {
            Some(Param::Map(tree)) => Self { tree, prefix },
            Some(text @ Param::Text(_)) => {
                Self { tree: Tree::from([(String::new(), text)]), prefix }
            }
            None => Self { tree: Tree::new(), prefix },
        }
    }

    /// Takes a list of groups.
    pub fn groups(&mut self, name: &str) -> Vec<Self> {
        let mut list = self.group(name);
        list.in_order().iter().map(|place| list.group(place)).collect()
    }

    /// Takes a list of texts.
    pub fn texts(&mut self, name: &str) -> Result<Vec<String>, ApiError> {
        let mut list = self.group(name);
        list.in_order().iter().filter_map(|place| list.text(place).transpose()).collect()
    }

    /// Takes metadata. An empty value means that the key is to be removed.
    pub fn metadata(&mut self, name: &str) -> Result<Option<Map<String, Value>>, ApiError> {
        if !self.has(name) {
            return Ok(None);
        }
        let mut group = self.group(name);
        let mut metadata = Map::new();
        for name in group.names() {
            if let Some(text) = group.text(&name)? {
                metadata.insert(name, text.into());
            }
        }
        Ok(Some(metadata))
    }

    /// Returns the names of the parameters that are left.
    pub fn names(&self) -> Vec<String> {
        self.tree.keys().cloned().collect()
    }

    /// Whether the parameter is present and not taken yet.
    pub fn has(&self, name: &str) -> bool {
        self.tree.contains_key(name)
    }

    /// Drops parameters of Stripe's that the sandbox ignores.
    pub fn ignore(&mut self, names: &[&str]) {
        for name in names {
            self.tree.remove(*name);
        }
    }

    /// Checks that all parameters were taken.
    ///
    /// # Errors
    /// Names the first parameter that is left over.
    pub fn finish(&self) -> Result<(), ApiError> {
        match self.tree.keys().next() {
            None => Ok(()),
            Some(name) => Err(ApiError::unknown(&self.full_name(name))),
        }
    }

    /// Returns the full name of a parameter, as the caller wrote it.
    pub fn full_name(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}[{name}]", self.prefix) }
    }

    fn in_order(&self) -> Vec<String> {
        let mut places: Vec<String> = self.tree.keys().cloned().collect();
        places.sort_by_key(|place| place.parse::<usize>().unwrap_or(usize::MAX));
        places
    }
}

/// Inserts `a[b][c]=value` into the tree. `[]` means the next index.
fn insert(tree: &mut Tree, name: &str, value: String) {
    let (first, rest) = name.split_once('[').unwrap_or((name, ""));
    let mut parts = vec![first];
    if !rest.is_empty() {
        parts.extend(rest.split('[').take(MAX_DEPTH).map(|part| part.trim_end_matches(']')));
    }
    insert_at(tree, &parts, value);
}

fn insert_at(tree: &mut Tree, parts: &[&str], value: String) {
    let Some((first, rest)) = parts.split_first() else { return };
    let place = if first.is_empty() { tree.len().to_string() } else { (*first).to_owned() };
    if rest.is_empty() {
        tree.insert(place, Param::Text(value));
        return;
    }
    let entry = tree.entry(place).or_insert_with(|| Param::Map(Tree::new()));
    if let Param::Text(_) = entry {
        *entry = Param::Map(Tree::new());
    }
    if let Param::Map(inner) = entry {
        insert_at(inner, rest, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_become_a_tree_that_is_taken_apart() {
        let form = b"mode=subscription&line_items[0][price]=price_1&line_items[0][quantity]=2\
                     &expand[]=customer&expand[]=invoice&metadata[a%20b]=c&metadata[gone]=";
        let mut params = Params::parse(form).unwrap();
        assert_eq!(params.text("mode").unwrap().unwrap(), "subscription");
        let mut lines = params.groups("line_items");
        assert_eq!(lines[0].required("price").unwrap(), "price_1");
        assert_eq!(
            lines[0].finish().unwrap_err().body()["error"]["param"],
            "line_items[0][quantity]"
        );
        assert_eq!(params.texts("expand").unwrap(), ["customer", "invoice"]);
        let metadata = params.metadata("metadata").unwrap().unwrap();
        assert_eq!(metadata["a b"], "c");
        assert_eq!(metadata["gone"], "");
        params.finish().unwrap();
    }

    #[test]
    fn a_list_keeps_its_order_past_ten() {
        let form: Vec<String> = (0..12).map(|place| format!("a[{place}]=v{place}")).collect();
        let mut params = Params::parse(form.join("&").as_bytes()).unwrap();
        assert_eq!(params.texts("a").unwrap().last().unwrap(), "v11");
    }
}
