//! Reads a vendor's mail templates from the folder `email.templates`, and reports every mistake at
//! once. What templates are is defined in [`crate::domain::message`].

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::config::EmailConfig;
use crate::domain::message::{InvalidTemplate, Language, Templates, built_in_templates};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::files::read_text;
use crate::plans;
use crate::settings::similar;

/// The longest template, in bytes: a mail with a small embedded picture. Mail programs cut longer
/// ones off.
const MAX_FILE_BYTES: u64 = 256 * 1024;

/// The time in the mails that check the templates, whose texts are discarded: a day with two digits
/// in a long month, in seconds since 1970.
const TIME_OF_CHECK: i64 = 1_790_000_000;

/// Returns the templates: the vendor's, and the built-in ones for the rest. Each mail of the
/// vendor's is rendered once with made-up facts.
///
/// # Errors
/// [`Error::Setup`] with every template that cannot be read, parsed or rendered.
pub fn load(config: &EmailConfig) -> Result<Templates> {
    let Some(folder) = &config.templates else { return parsed(None, Vec::new()) };
    let (found, problems) = read(folder);
    if !problems.is_empty() {
        return Err(Error::Setup(problems));
    }
    let templates = parsed(Some(folder), found)?;
    let invalid = templates.check(&plans::load(None)?, Timestamp::saturating(TIME_OF_CHECK));
    if invalid.is_empty() { Ok(templates) } else { Err(refused(Some(folder), invalid)) }
}

fn parsed(folder: Option<&Path>, found: Vec<(String, String)>) -> Result<Templates> {
    Templates::new(found).map_err(|invalid| refused(folder, invalid))
}

fn refused(folder: Option<&Path>, invalid: Vec<InvalidTemplate>) -> Error {
    let problem = |invalid: InvalidTemplate| match folder.map(|folder| folder.join(&invalid.name)) {
        Some(path) if path.exists() => {
            let folder = folder.unwrap_or(Path::new("")).display();
            format!("`email.templates`: {folder}/{invalid}")
        }
        _ => format!("the built-in mail template {invalid}"),
    };
    Error::Setup(invalid.into_iter().map(problem).collect())
}

/// Writes every built-in template into a folder, as a vendor's own to start from. An existing file
/// is kept. Returns the number of files written.
///
/// # Errors
/// [`Error::Setup`] when a file cannot be written.
pub fn export(folder: &Path) -> Result<usize> {
    let mut written = 0;
    for (name, text) in built_in_templates() {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        let made = fs::create_dir_all(parent).and_then(|()| fs::File::create_new(&path));
        let made = made.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
        match made {
            Ok(()) => written += 1,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(Error::setup(format!("{} cannot be written: {error}", path.display())));
            }
        }
    }
    Ok(written)
}

/// Reads a vendor's folder. Returns the names and texts of its templates, and the problems.
fn read(folder: &Path) -> (Vec<(String, String)>, Vec<String>) {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    let folders = Language::ALL.map(|language| format!("{language}/"));
    for (prefix, is_needed) in
        std::iter::once((String::new(), true)).chain(folders.map(|name| (name, false)))
    {
        let path = folder.join(&prefix);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound && !is_needed => continue,
            Err(error) => {
                let path = path.display();
                problems.push(format!("`email.templates`: {path} cannot be read: {error}"));
                continue;
            }
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            match template(&path, &prefix) {
                Ok(template) => found.extend(template),
                Err(problem) => {
                    problems.push(format!("`email.templates`: {}: {problem}", path.display()));
                }
            }
        }
    }
    (found, problems)
}

/// Reads a file of a vendor's folder. Returns `None` for a file that is no template, such as a
/// `README.md`, and for the folder of a language.
fn template(path: &Path, prefix: &str) -> std::result::Result<Option<(String, String)>, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_hidden = name.starts_with('.');
    if path.is_dir() {
        return match name.parse::<Language>() {
            Err(unknown) if prefix.is_empty() && !is_hidden => {
                Err(format!("there is no such language; {unknown}"))
            }
            _ => Ok(None),
        };
    }
    if is_hidden || !(name.ends_with(".txt") || name.ends_with(".html")) {
        return Ok(None);
    }
    let name = format!("{prefix}{name}");
    if built_in_templates().all(|(known, _)| known != name) {
        let meant = similar(&name, built_in_templates().map(|(known, _)| known));
        let meant = meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
        return Err(format!("there is no such template{meant}"));
    }
    Ok(Some((name, read_text(path, MAX_FILE_BYTES)?)))
}
