//! Key files on disk: their names, their modes, and writing one so that a crash leaves either no
//! key or a whole one.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use chrono::NaiveDateTime;
use zeroize::Zeroizing;

use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::files::read_text;

/// A key's file name: when it begins to sign, in UTC.
const NAME_FORMAT: &str = "%Y%m%dT%H%M%SZ";

/// The longest key file, in bytes; an encrypted Ed25519 key has about 400.
const MAX_KEY_BYTES: u64 = 16 * 1024;

const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// The bits that let anybody but the owner in.
const OTHERS: u32 = 0o077;
/// The bit that lets the owner's group read.
const GROUP_READS: u32 = 0o040;
/// The bit that lets everybody write.
const ANYBODY_WRITES: u32 = 0o002;
/// What a volume has that is otherwise empty: our README, and what `mkfs.ext4` makes.
const NO_KEYS: [&str; 2] = ["README.md", "lost+found"];

/// A key file that is there.
pub struct KeyFile {
    pub path: PathBuf,
    pub signs_from: Timestamp,
}

/// The key files of a directory, in the order in which they sign, and what is wrong with the
/// directory and the names. A directory that is not there has none.
pub fn list(directory: &Path) -> Result<(Vec<KeyFile>, Vec<String>)> {
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    for path in entries(directory)? {
        if path.extension().is_some_and(|extension| extension == "pem") {
            match time_in_name(&path) {
                _ if !path.is_file() => problems.push(format!("{} is no file", path.display())),
                Ok(signs_from) => files.push(KeyFile { signs_from, path }),
                Err(error) => problems.push(error.to_string()),
            }
        }
    }
    if !files.is_empty() {
        problems.extend(must_be_closed(directory).err().map(|e| e.to_string()));
    }
    files.sort_by_key(|file| file.signs_from);
    Ok((files, problems))
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

/// The text of a key file, which nobody else may read.
pub fn read(path: &Path) -> Result<Zeroizing<String>> {
    must_be_private(path)?;
    let text = read_text(path, MAX_KEY_BYTES);
    text.map(Zeroizing::new).map_err(|problem| unreadable(path, &problem))
}

/// Lets one process at a time add or rename keys of a directory: held until it is dropped.
pub fn lock(directory: &Path) -> Result<File> {
    make_private(directory)?;
    let locked = File::open(directory).and_then(|opened| opened.lock().map(|()| opened));
    locked.map_err(|error| unreadable(directory, &error))
}

/// Writes a key under the time from which it signs: to a temporary file of its own first, then by a
/// link that never replaces another key.
pub fn write(directory: &Path, signs_from: Timestamp, pem: &str, unique: u128) -> Result<PathBuf> {
    make_private(directory)?;
    let path = directory.join(name(signs_from));
    let temporary = directory.join(format!("{unique:032x}.tmp"));
    let written = (|| {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&temporary)?;
        file.write_all(pem.as_bytes())?;
        file.sync_all()?;
        fs::hard_link(&temporary, &path)
    })();
    // Whatever happened, the temporary file has done its part.
    let _ = fs::remove_file(&temporary);
    let written = written.and_then(|()| File::open(directory)?.sync_all());
    written.map(|()| path.clone()).map_err(|error| {
        if error.kind() == ErrorKind::AlreadyExists {
            Error::setup(format!("there is already a key {}; try again", path.display()))
        } else {
            Error::setup(format!("the key {} cannot be written: {error}", path.display()))
        }
    })
}

/// Renames a key's file, so that the key signs from the given time, or from a second before it for
/// each name that is taken. Returns the new path. Call it with the [`lock`].
pub fn rename(path: &Path, signs_from: Timestamp) -> Result<PathBuf> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut free = signs_from;
    while directory.join(name(free)).exists() {
        free = free.plus(-1);
    }
    let renamed = directory.join(name(free));
    move_to(path, &renamed)?;
    Ok(renamed)
}

/// Renames a key's file, so that it is no key any more and not lost either.
pub fn put_away(path: &Path) -> Result<()> {
    move_to(path, &path.with_extension("revoked"))
}

fn move_to(path: &Path, target: &Path) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let renamed = fs::rename(path, target)
        // Durable: a key that was revoked must not come back with a crash.
        .and_then(|()| File::open(directory)?.sync_all());
    renamed.map_err(|error| {
        Error::setup(format!("the key {} cannot be renamed: {error}", path.display()))
    })
}

/// Makes the directory, or closes one as a checkout leaves it. Any other directory that lets others
/// in is refused: it may be somebody's for another purpose, or its keys may be known already.
fn make_private(directory: &Path) -> Result<()> {
    let refused = |error| Error::setup(format!("{} cannot be made: {error}", directory.display()));
    if !directory.exists() {
        let mut builder = DirBuilder::new();
        return builder.recursive(true).mode(DIRECTORY_MODE).create(directory).map_err(refused);
    }
    let no_keys = |path: &PathBuf| NO_KEYS.iter().any(|name| path.ends_with(name));
    let closed = Permissions::from_mode(DIRECTORY_MODE);
    if entries(directory)?.iter().all(no_keys) && fs::set_permissions(directory, closed).is_ok() {
        return Ok(());
    }
    must_be_closed(directory)
}

/// Only the owner may use the directory. One that we do not own, such as a volume that our group may use
/// or a mounted secret, may be listed by others: its files are private by themselves.
fn must_be_closed(directory: &Path) -> Result<()> {
    let mode = mode(directory)?;
    let closed = mode & OTHERS == 0;
    let mounted = match owned(directory, mode) {
        Ok(()) => false,
        Err(error) => error.kind() == ErrorKind::ReadOnlyFilesystem || mode & ANYBODY_WRITES == 0,
    };
    if closed || mounted { Ok(()) } else { Err(loose(directory, mode, DIRECTORY_MODE)) }
}

/// Only the owner may read the file; or the owner's group, if nobody may write it or we do not own it, as
/// it is for a mounted secret.
fn must_be_private(path: &Path) -> Result<()> {
    let mode = mode(path)?;
    let closed = mode & OTHERS == 0;
    let for_the_group = mode & OTHERS & !GROUP_READS == 0;
    let mounted = for_the_group && (mode & 0o222 == 0 || owned(path, mode).is_err());
    if closed || mounted { Ok(()) } else { Err(loose(path, mode, FILE_MODE)) }
}

fn mode(path: &Path) -> Result<u32> {
    let found = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    Ok(found.permissions().mode() & 0o7777)
}

/// Whether we may change the mode, found out by setting it to what it is.
fn owned(path: &Path, mode: u32) -> std::io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
}

fn loose(path: &Path, mode: u32, wanted: u32) -> Error {
    let path = path.display();
    let found = mode & 0o777;
    Error::setup(format!(
        "{path} has mode {found:03o}: others can read the signing keys\n  \
         run: chmod {wanted:o} {path}\n  \
         and if somebody may have read them, make a new key: licentia keys generate"
    ))
}

fn name(signs_from: Timestamp) -> String {
    format!("{}.pem", signs_from.to_datetime().format(NAME_FORMAT))
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
