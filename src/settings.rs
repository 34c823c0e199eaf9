//! Reads settings from a TOML table and collects all problems, so that an operator sees every
//! mistake at once. What the settings mean is defined in [`crate::config`] and [`crate::plans`].

mod lines;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::str::FromStr;

use secrecy::SecretString;
use toml::{Table, Value};

pub use lines::Lines;

/// The smallest similarity of two names (0 to 1, Jaro-Winkler) for a "did you mean".
const SIMILAR: f64 = 0.8;

/// One table of settings. Each value is removed from it when it is read. [`Section::finish`]
/// reports the remaining values as unknown settings.
pub struct Section {
    path: String,
    table: Table,
    known: Vec<&'static str>,
    shared: Rc<Shared>,
}

/// Returns the header of a table: its full name without the numbers of array items.
fn without_indices(name: &str) -> String {
    let parts = name.split('[').map(|part| part.split_once(']').map_or(part, |(_, rest)| rest));
    parts.collect()
}

/// Returns the known name that is most similar to an unknown one, if any is similar enough.
#[must_use]
pub fn similar<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let rated = known.map(|known| (strsim::jaro_winkler(name, known), known));
    let nearest = rated.max_by(|a, b| a.0.total_cmp(&b.0));
    nearest.filter(|(similarity, _)| *similarity >= SIMILAR).map(|(_, known)| known)
}

/// A mistake in a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    line: Option<usize>,
    text: String,
}

impl Problem {
    /// Returns the problem with the name of its file, and its line if that is known.
    #[must_use]
    pub fn in_file(&self, file: &str) -> String {
        let line = self.line.map(|line| format!(":{line}")).unwrap_or_default();
        format!("{file}{line}: {self}")
    }
}

impl Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// The state that all sections of one file share.
struct Shared {
    /// The environment variables that overrode the file, by the setting's full name.
    origins: HashMap<String, String>,
    lines: Lines,
    problems: RefCell<Vec<Problem>>,
    /// The full names of the settings that have problems.
    wrong: RefCell<HashSet<String>>,
    /// The known names of the top level.
    top_level: RefCell<HashSet<&'static str>>,
}

impl Section {
    /// Returns the section of a whole file. `origins` has the environment variables that overrode
    /// the file, by the setting's full name.
    #[must_use]
    pub fn root(table: Table, origins: HashMap<String, String>) -> Self {
        Self::new(table, origins, Lines::default())
    }

    /// Returns the section of a whole file that nothing overrides.
    #[must_use]
    pub fn file(table: Table, lines: Lines) -> Self {
        Self::new(table, HashMap::new(), lines)
    }

    fn new(table: Table, origins: HashMap<String, String>, lines: Lines) -> Self {
        let shared = Shared {
            origins,
            lines,
            problems: RefCell::default(),
            wrong: RefCell::default(),
            top_level: RefCell::default(),
        };
        Self { path: String::new(), table, known: Vec::new(), shared: Rc::new(shared) }
    }

    /// Adds a problem with one value. The text names the fix.
    pub fn problem(&self, key: &str, problem: impl Display) {
        self.problem_within(key, "", problem);
    }

    /// Adds a problem with one item of a list. The text names the item and the fix.
    pub fn item_problem(&self, key: &str, index: usize, problem: impl Display) {
        self.problem_within(key, &format!("[{index}]"), problem);
    }

    /// Adds a problem with a part of a value, for example `[2]` or `.seats`.
    fn problem_within(&self, key: &str, part: &str, problem: impl Display) {
        let name = self.name(key);
        let line = self.shared.lines.line(&format!("{name}{part}"));
        let origin = self.shared.origins.get(&name);
        let origin = origin.map(|origin| format!(" ({origin})")).unwrap_or_default();
        let text = format!("`{name}`{origin}: {problem}");
        self.shared.problems.borrow_mut().push(Problem { line, text });
        self.shared.wrong.borrow_mut().insert(name);
    }

    /// Returns the parsed value, or `None` when it is not set or invalid.
    pub fn parsed<T: FromStr>(&mut self, key: &'static str) -> Option<T>
    where
        T::Err: Display,
    {
        let text = self.text(key)?;
        let parsed = text.parse();
        parsed.map_err(|error| self.problem(key, format_args!("{text:?}: {error}"))).ok()
    }

    /// Returns the value as text.
    pub fn text(&mut self, key: &'static str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => Some(text),
            other => self.wrong(key, &other, "a text in quotes"),
        }
    }

    /// Returns the value as a secret. A problem with it does not quote it.
    pub fn secret(&mut self, key: &'static str) -> Option<SecretString> {
        let Value::String(text) = self.take(key)? else {
            self.problem(key, "this is not a text; put it in quotes");
            return None;
        };
        Some(SecretString::from(text))
    }

    /// Returns the value as true or false. From the environment, it is a text.
    pub fn flag(&mut self, key: &'static str) -> Option<bool> {
        match self.take(key)? {
            Value::Boolean(flag) => Some(flag),
            Value::String(text) if text == "true" => Some(true),
            Value::String(text) if text == "false" => Some(false),
            other => self.wrong(key, &other, "true or false"),
        }
    }

    /// Returns the value as a whole number within a range.
    pub fn integer(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.take(key)?;
        let number = match &value {
            Value::Integer(number) => u64::try_from(*number).ok(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        match number.filter(|number| range.contains(number)) {
            Some(number) => Some(number),
            None => {
                let expected = format!("a whole number from {} to {}", range.start(), range.end());
                self.wrong(key, &value, &expected)
            }
        }
    }

    /// Returns the parsed values of a list: an array of texts, or one text with commas (from the
    /// environment).
    pub fn list<T: FromStr>(&mut self, key: &'static str) -> Vec<T>
    where
        T::Err: Display,
    {
        let texts: Vec<String> = match self.take(key) {
            None => return Vec::new(),
            Some(Value::String(text)) => {
                text.split(',').map(|item| item.trim().to_owned()).collect()
            }
            Some(Value::Array(items)) if items.iter().all(Value::is_str) => {
                items.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            Some(other) => {
                self.wrong::<()>(key, &other, "a list of texts, like [\"one\", \"two\"]");
                return Vec::new();
            }
        };
        let parse = |(index, text): (usize, &String)| {
            let problem = |error| self.item_problem(key, index, format_args!("{text:?}: {error}"));
            text.parse().map_err(problem).ok()
        };
        texts.iter().enumerate().filter_map(parse).collect()
    }

    /// Returns a table of numbers by name, as in `limits = { seats = 5 }`.
    pub fn numbers<K: FromStr + Ord>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
    ) -> Vec<(K, u64)>
    where
        K::Err: Display,
    {
        let table = match self.take(key) {
            None => return Vec::new(),
            Some(Value::Table(table)) => table,
            Some(other) => {
                self.wrong::<()>(key, &other, "a table of numbers, like { seats = 5 }");
                return Vec::new();
            }
        };
        let mut numbers = Vec::new();
        for (name, value) in table {
            let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
            match (name.parse(), number.filter(|number| range.contains(number))) {
                (Ok(name), Some(number)) => numbers.push((name, number)),
                (Err(error), _) => {
                    let problem = format_args!("{name:?}: {error}");
                    self.problem_within(key, &format!(".{name}"), problem);
                }
                (_, None) => {
                    let expected =
                        format!("a whole number from {} to {}", range.start(), range.end());
                    let problem = format_args!("`{name}` is {value}; use {expected}");
                    self.problem_within(key, &format!(".{name}"), problem);
                }
            }
        }
        numbers
    }

    /// Returns the table under a name. It is empty when it is not set.
    pub fn section(&mut self, key: &'static str) -> Self {
        let table = match self.take(key) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(_) => {
                // The value is not shown: it may be a secret that was meant for the table.
                let header = without_indices(&self.name(key));
                let problem = format!("this is a table of settings, [{header}], not one value");
                self.problem(key, problem);
                Table::new()
            }
        };
        self.child(self.name(key), table)
    }

    /// Returns the tables of an array under a name, as in `[[plan]]`.
    pub fn sections(&mut self, key: &'static str) -> Vec<Self> {
        let items = match self.take(key) {
            None => return Vec::new(),
            Some(Value::Array(items)) if items.iter().all(Value::is_table) => items,
            Some(other) => {
                self.wrong::<()>(key, &other, &format!("a list of tables, [[{key}]]"));
                return Vec::new();
            }
        };
        let tables = items.into_iter().filter_map(|item| match item {
            Value::Table(table) => Some(table),
            _ => None,
        });
        let numbered = tables.enumerate();
        numbered.map(|(n, table)| self.child(format!("{}[{n}]", self.name(key)), table)).collect()
    }

    /// Returns whether a value is set, and not read yet.
    #[must_use]
    pub fn is_set(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Returns whether a value has a problem.
    #[must_use]
    pub fn is_wrong(&self, key: &str) -> bool {
        self.shared.wrong.borrow().contains(&self.name(key))
    }

    /// Adds a problem if a required value is missing. Returns the value.
    pub fn require<T>(&self, key: &str, value: Option<T>, example: &str) -> Option<T> {
        if value.is_none() && !self.is_wrong(key) {
            self.problem(key, format_args!("it is missing; for example {key} = {example}"));
        }
        value
    }

    /// Adds a problem for every unknown name, with the most similar known name.
    pub fn finish(&self) {
        for name in self.table.keys() {
            let is_top_level = self.shared.top_level.borrow().contains(name.as_str());
            let advice = match similar(name, self.known.iter().copied()) {
                _ if is_top_level => format!(
                    "`{name}` belongs to the top level: put it above all tables, or use [{name}] \
                     if it is a table"
                ),
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("the settings here are: {}", self.known.join(", ")),
            };
            self.problem(name, format_args!("there is no such setting; {advice}"));
        }
    }

    /// Returns the problems found so far, in all sections, in the order of their lines.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = self.shared.problems.borrow().clone();
        problems.sort_by_key(|problem| problem.line);
        problems
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        if self.path.is_empty() {
            self.shared.top_level.borrow_mut().insert(key);
        }
        self.table.remove(key)
    }

    fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn child(&self, path: String, table: Table) -> Self {
        Self { path, table, known: Vec::new(), shared: Rc::clone(&self.shared) }
    }

    fn wrong<T>(&self, key: &str, value: &Value, expected: &str) -> Option<T> {
        self.problem(key, format_args!("{value} is not valid; use {expected}"));
        None
    }
}
