//! Key files on disk: their names, and crash-safe writing. [`super::modes`] checks their modes, and
//! [`super`] parses their content.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use chrono::{NaiveDateTime, TimeDelta};
use zeroize::Zeroizing;

use super::modes::{DIRECTORY_MODE, FILE_MODE, Role, check_directory, check_file};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::files::read_text;

/// The file name of a key: the time from which it signs, in UTC.
const NAME_FORMAT: &str = "%Y%m%dT%H%M%SZ";

/// The file name of the root key. It is not that of a signing key, so the root never signs a
/// license.
pub const ROOT_FILE: &str = "root.key";

/// The longest key file, in bytes; an encrypted Ed25519 key has about 400.
pub const MAX_KEY_BYTES: u64 = 16 * 1024;

/// The extension of the file of a signing key.
const KEY: &str = "pem";

/// The extension of the file of a revoked key.
const REVOKED: &str = "revoked";

/// The hint for a directory that we cannot write.
const IN_A_SECRET: &str = "; if this is a mounted Secret, add a key to the Secret instead \
                           (docs/keys.md)";
/// The files of an otherwise empty volume: our README, and a directory of `mkfs.ext4`.
const NO_KEYS: [&str; 2] = ["README.md", "lost+found"];

/// A key file in the directory.
pub struct KeyFile {
    pub path: PathBuf,
    pub named_time: Timestamp,
}

/// Returns the key files of a directory, in the order in which they sign, and the problems of the
/// directory and its files. A missing directory has no keys.
pub fn list(directory: &Path) -> Result<(Vec<KeyFile>, Vec<String>)> {
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    for path in entries(directory)? {
        if path.extension().is_some_and(|extension| extension == KEY) {
            match time_in_name(&path) {
                _ if !path.is_file() => problems.push(format!("{} is not a file", path.display())),
                Ok(named_time) => files.push(KeyFile { named_time, path }),
                Err(error) => problems.push(error.to_string()),
            }
        }
    }
    if !files.is_empty() {
        problems.extend(check_directory(directory).err().map(|error| error.to_string()));
    }
    files.sort_by_key(|file| file.named_time);
    Ok((files, problems))
}

/// Returns the files of revoked keys in a directory, oldest first.
pub fn list_revoked(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = entries(directory)?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == REVOKED));
    files.sort();
    Ok(files)
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(directory, &error)),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    paths.collect::<std::io::Result<_>>().map_err(|error| unreadable(directory, &error))
}

/// Returns the names, times, sizes and places of all files in a directory, as a text. Links are
/// followed.
pub fn fingerprint(directory: &Path) -> String {
    let mut files = entries(directory).unwrap_or_default();
    files.sort();
    let print = |path: &PathBuf| {
        let metadata = fs::metadata(path).ok()?;
        let (inode, size, mode) = (metadata.ino(), metadata.size(), metadata.mode());
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Some(format!("{}:{inode}:{size}:{mode}:{changed:?}\n", path.display()))
    };
    files.iter().filter_map(print).collect()
}

/// Returns the text of a key file.
///
/// # Errors
/// [`Error::Setup`] when others can read the file, or we cannot.
pub fn read(path: &Path, role: Role) -> Result<Zeroizing<String>> {
    check_file(path, role)?;
    let text = read_text(path, MAX_KEY_BYTES);
    text.map(Zeroizing::new).map_err(|problem| unreadable(path, &problem))
}

/// Locks a directory until the returned file is dropped: one process at a time may add or rename
/// keys.
pub fn lock(directory: &Path) -> Result<File> {
    make_private(directory)?;
    let locked = File::open(directory).and_then(|opened| opened.lock().map(|()| opened));
    locked.map_err(|error| unreadable(directory, &error))
}

/// Writes a key that signs from the given time. Returns the file's path.
pub fn write(directory: &Path, named_time: Timestamp, pem: &str, unique: u128) -> Result<PathBuf> {
    make_private(directory)?;
    write_new(&directory.join(name(named_time)), pem, unique)
}

/// Writes the root key into the directory of the keys. Returns the file's path.
pub fn write_root(directory: &Path, pem: &str, unique: u128) -> Result<PathBuf> {
    make_private(directory)?;
    write_new(&directory.join(ROOT_FILE), pem, unique)
}

/// Writes a key into a new file. Returns the file's path. A crash leaves either the whole key or
/// none: the text goes to a temporary file, and a hard link never replaces another key.
pub fn write_new(path: &Path, pem: &str, unique: u128) -> Result<PathBuf> {
    let directory = directory_of(path);
    let temporary = directory.join(format!("{unique:032x}.tmp"));
    let written = (|| {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&temporary)?;
        file.write_all(pem.as_bytes())?;
        file.sync_all()?;
        fs::hard_link(&temporary, path)
    })();
    // The link keeps the content. After a failure, the file is not needed.
    let _ = fs::remove_file(&temporary);
    let written = written.and_then(|()| File::open(directory)?.sync_all());
    written.map(|()| path.to_owned()).map_err(|error| {
        if error.kind() == ErrorKind::AlreadyExists {
            Error::setup(format!("the key {} already exists; try again", path.display()))
        } else {
            let hint = match error.kind() {
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => IN_A_SECRET,
                _ => "",
            };
            Error::setup(format!("the key {} cannot be written: {error}{hint}", path.display()))
        }
    })
}

/// Returns the command that makes a key to add to a mounted Secret, with the name of its file.
#[must_use]
pub fn command_for_a_secret(now: Timestamp) -> String {
    format!("openssl genpkey -algorithm ed25519 -out {}", name(now))
}

/// Returns this time, or the next second that is not the name of a file. The caller must hold the
/// [`lock`].
pub fn free_time(directory: &Path, named_time: Timestamp) -> Timestamp {
    let mut free = named_time;
    while directory.join(name(free)).exists() && free < Timestamp::MAX {
        free = free + TimeDelta::seconds(1);
    }
    free
}

/// Renames a key's file, so that the key signs from the given time. If that name is taken, an
/// earlier second is used. Returns the new path. The caller must hold the [`lock`].
pub fn rename(path: &Path, named_time: Timestamp) -> Result<PathBuf> {
    let directory = directory_of(path);
    let mut free = named_time;
    while directory.join(name(free)).exists() {
        free = free - TimeDelta::seconds(1);
    }
    let renamed = directory.join(name(free));
    move_to(path, &renamed)?;
    Ok(renamed)
}

/// Renames a key's file to `.revoked`, so that it is kept but no longer loaded. It never replaces
/// the file of another revoked key.
pub fn put_away(path: &Path) -> Result<()> {
    let mut target = path.with_extension(REVOKED);
    for number in 2.. {
        if !target.exists() {
            break;
        }
        target = path.with_extension(format!("{number}.{REVOKED}"));
    }
    move_to(path, &target)
}

/// Returns the directory of a file.
fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn move_to(path: &Path, target: &Path) -> Result<()> {
    let directory = directory_of(path);
    let renamed = fs::rename(path, target)
        // Synced, so that a revoked key is not active again after a crash.
        .and_then(|()| File::open(directory)?.sync_all());
    renamed.map_err(|error| {
        Error::setup(format!("the key {} cannot be renamed: {error}", path.display()))
    })
}

/// Creates the directory, or makes a directory without keys private. Any other directory that
/// others can use is refused: it may serve another purpose, or its keys may be exposed already.
fn make_private(directory: &Path) -> Result<()> {
    let refused =
        |error| Error::setup(format!("{} cannot be created: {error}", directory.display()));
    if !directory.exists() {
        let mut builder = DirBuilder::new();
        return builder.recursive(true).mode(DIRECTORY_MODE).create(directory).map_err(refused);
    }
    let is_no_key = |path: &PathBuf| NO_KEYS.iter().any(|name| path.ends_with(name));
    let private = Permissions::from_mode(DIRECTORY_MODE);
    if entries(directory)?.iter().all(is_no_key) && fs::set_permissions(directory, private).is_ok()
    {
        return Ok(());
    }
    check_directory(directory)
}

fn name(named_time: Timestamp) -> String {
    format!("{}.{KEY}", named_time.to_datetime().format(NAME_FORMAT))
}

/// Returns whether a file has the name of a signing key.
#[must_use]
pub fn is_named_after_a_time(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == KEY) && time_in_name(path).is_ok()
}

fn time_in_name(path: &Path) -> Result<Timestamp> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let time = NaiveDateTime::parse_from_str(&stem, NAME_FORMAT);
    time.map(|time| time.and_utc().into()).map_err(|_| {
        Error::setup(format!(
            "{} is not named after the time from which it signs, like 20261120T150000Z.pem",
            path.display()
        ))
    })
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::setup(format!("{} cannot be read: {error}", path.display()))
}
