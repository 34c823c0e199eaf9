//! The file of an app's memory, which `licentia license verify` and `explain` read and write back.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::texts::{Problem, file};

/// The members that the verifier knows (docs/license-format.md, "Memory and clocks").
const MEMBERS: [&str; 6] = ["v", "time", "signed", "keys_seq", "seq", "lists"];

/// The file of an app's memory. Besides the memory of the verifier, it has members of the app: the
/// clients in `sdks/` keep the key bundle and the status list there, to which the memory refers.
pub struct MemoryFile {
    path: PathBuf,
    /// The text of the file; empty if it does not exist yet.
    text: String,
    /// The memory for the verifier.
    memory: String,
    /// The members of the app.
    others: Map<String, Value>,
}

impl MemoryFile {
    /// Reads the file, which need not exist yet.
    ///
    /// # Errors
    /// The reason why it cannot be read. Also if it is another file: it will be written.
    pub fn read(path: &Path) -> Result<Self, Problem> {
        let is_new = fs::metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound);
        let text = if is_new { String::new() } else { file(path, "")? };
        let is_memory = text.trim_start().starts_with('{') && text.contains("\"v\"");
        if !is_memory && !text.trim().is_empty() {
            return Err(format!(
                "{}: this is no memory of `licentia license verify`, and would be overwritten; \
                 give another file with --memory",
                path.display()
            ));
        }
        Ok(Self::of(path, text))
    }

    fn of(path: &Path, text: String) -> Self {
        let all: Map<String, Value> = serde_json::from_str(&text).unwrap_or_default();
        let is_known = |name: &str| MEMBERS.contains(&name);
        let (known, others): (Map<_, _>, Map<_, _>) =
            all.into_iter().partition(|(name, _)| is_known(name));
        // A text that is not JSON is lost memory: the verifier decides that.
        let memory =
            if others.is_empty() { text.clone() } else { Value::Object(known).to_string() };
        Self { path: path.to_owned(), text, memory, others }
    }

    /// Returns the memory for the verifier.
    #[must_use]
    pub fn memory(&self) -> &str {
        &self.memory
    }

    /// Returns the text of the file with another memory. `documents` replace those of the app that
    /// have the same name: the memory refuses older ones from now on.
    fn with(&self, memory: &str, documents: &[(&str, &str)]) -> String {
        if self.others.is_empty() {
            return memory.to_owned();
        }
        let mut members: Map<String, Value> = serde_json::from_str(memory).unwrap_or_default();
        members.extend(self.others.clone());
        for (name, text) in documents {
            if let Some(member) = members.get_mut(*name) {
                *member = (*text).into();
            }
        }
        Value::Object(members).to_string()
    }

    /// Writes another memory, all or nothing, if anything changes. The members of the app are kept,
    /// with `documents` in place of those that have the same name.
    ///
    /// # Errors
    /// The reason why it cannot be written.
    pub fn store(&self, memory: &str, documents: &[(&str, &str)]) -> Result<(), Problem> {
        let text = self.with(memory, documents);
        if text == self.text {
            return Ok(());
        }
        let mut new = self.path.as_os_str().to_owned();
        new.push(format!(".{}.new", std::process::id()));
        let new = PathBuf::from(new);
        let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &self.path));
        written.map_err(|error| {
            let _ = fs::remove_file(&new);
            format!("{}: the memory cannot be written: {error}", self.path.display())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_of_an_app_are_kept_and_do_not_reach_the_verifier() {
        let own = r#"{"v":1,"time":5,"signed":4,"keys_seq":3,"seq":{"c":1},"lists":{}}"#;
        let of = |text: &str| MemoryFile::of(Path::new("memory.json"), text.to_owned());
        for text in ["", "{", "[1]", own] {
            let file = of(text);
            assert_eq!(file.memory(), text);
            assert_eq!(file.with("new", &[("keys", "k")]), "new");
        }
        let others = r#""keys":"old","app":{"x":[1]}}"#;
        let file = of(&format!("{},{others}", own.strip_suffix('}').unwrap()));
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(json(file.memory()), json(own));
        let newer = own.replace("\"time\":5", "\"time\":6");
        let kept = json(&file.with(&newer, &[]));
        assert_eq!((&kept["time"], &kept["keys"]), (&6.into(), &"old".into()));
        assert_eq!(kept["app"], json(r#"{"x":[1]}"#));
        // The bundle that counts now; there is no list that would refer to another one.
        let replaced = json(&file.with(&newer, &[("keys", "new"), ("status", "list")]));
        assert_eq!((&replaced["keys"], replaced.get("status")), (&"new".into(), None));
    }
}
