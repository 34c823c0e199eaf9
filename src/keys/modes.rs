//! The modes of key files and of their directory: who else can use them, and how to correct that.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::error::{Error, Result};

pub const DIRECTORY_MODE: u32 = 0o700;
pub const FILE_MODE: u32 = 0o600;
/// The mode bits for everyone but the owner.
const OTHERS: u32 = 0o077;
/// The mode bits that let others read, or list a directory.
const OTHERS_READ: u32 = 0o044;
/// The mode bits that let others write.
const OTHERS_WRITE: u32 = 0o022;
/// The mode bit that lets the group read.
const GROUP_READS: u32 = 0o040;
/// The mode bit that lets everyone write.
const ANYBODY_WRITES: u32 = 0o002;
/// The mode bits that let anybody at all write, the owner included.
const WRITABLE: u32 = 0o222;

/// The remedy for a file whose mode this user cannot set.
const MOUNT_FILES: &str = "in Kubernetes, set `defaultMode: 0440` for the volume of the Secret \
                           and `fsGroup` for the pod; elsewhere, mount it with mode 0440 and the \
                           group of this user";

/// The remedy for a directory whose mode this user cannot set.
const MOUNT_DIRECTORY: &str = "mount it read-only, as Kubernetes mounts a Secret, or with a mode \
                               that lets only its owner and its group write, such as 0770";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Directory,
    File(Role),
}

/// The use of a key. The advice about a key that others may have read depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It signs licenses.
    Signing,
    /// It signs the key bundle, and apps pin it.
    Root,
}

/// Whether this user can set the mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Control {
    Ours,
    /// It belongs to another user, like a volume of our group.
    Foreign,
    /// It is mounted read-only, like a Secret.
    ReadOnly,
}

/// Fails if others than the owner can use the directory. A directory that we do not own, such as a
/// volume of our group or a mounted Secret, may be listed by others: its files have their own
/// modes.
pub fn check_directory(path: &Path) -> Result<()> {
    check(Kind::Directory, path)
}

/// Fails if others than the owner can read the file of a key, or we cannot. The group may read a
/// file that is read-only or that we do not own, such as a mounted Secret.
pub fn check_file(path: &Path, role: Role) -> Result<()> {
    check(Kind::File(role), path)?;
    let opened = fs::File::open(path);
    if opened.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied) {
        let path = path.display();
        return Err(Error::setup(format!("this user cannot read {path}\n  {MOUNT_FILES}")));
    }
    Ok(())
}

fn check(kind: Kind, path: &Path) -> Result<()> {
    let metadata = fs::metadata(path)
        .map_err(|error| Error::setup(format!("{} cannot be read: {error}", path.display())))?;
    let mode = metadata.permissions().mode() & 0o7777;
    let control = match fs::set_permissions(path, Permissions::from_mode(mode)) {
        Ok(()) => Control::Ours,
        Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => Control::ReadOnly,
        Err(_) => Control::Foreign,
    };
    match problem(kind, mode, control) {
        Some(problem) => {
            let path = path.display().to_string();
            Err(Error::setup(format!("{path} {}", problem.replace("PATH", &path))))
        }
        None => Ok(()),
    }
}

fn is_safe(kind: Kind, mode: u32, control: Control) -> bool {
    let others = mode & OTHERS;
    match kind {
        Kind::Directory => match control {
            Control::Ours => others == 0,
            Control::Foreign => mode & ANYBODY_WRITES == 0,
            Control::ReadOnly => true,
        },
        Kind::File(_) => {
            let is_for_group = others & !GROUP_READS == 0;
            others == 0 || is_for_group && (control != Control::Ours || mode & WRITABLE == 0)
        }
    }
}

/// Returns what is wrong with a mode, and the remedy, in which `PATH` stands for the path. `None`
/// if the mode is safe.
fn problem(kind: Kind, mode: u32, control: Control) -> Option<String> {
    if is_safe(kind, mode, control) {
        return None;
    }
    let is_ours = control == Control::Ours;
    let (reads, writes) = (mode & OTHERS_READ != 0, mode & OTHERS_WRITE != 0);
    let danger = match (kind, reads, writes) {
        (Kind::Directory, _, true) => "write to it, and replace the signing keys",
        (Kind::Directory, _, false) => "use the directory of the signing keys",
        (Kind::File(_), true, true) => "read and write this key",
        (Kind::File(_), false, true) => "write this key",
        (Kind::File(_), _, false) => "read this key",
    };
    let (wanted, mount) = match kind {
        Kind::Directory => (DIRECTORY_MODE, MOUNT_DIRECTORY),
        Kind::File(_) => (FILE_MODE, MOUNT_FILES),
    };
    let remedy = if is_ours {
        format!("run: chmod {wanted:o} PATH")
    } else {
        format!("this user cannot set its mode: {mount}")
    };
    let then = match kind {
        Kind::Directory if writes => "\n  check that every key is yours: licentia keys list",
        Kind::Directory => "",
        Kind::File(Role::Root) => {
            "\n  if somebody may have read it, see \"The root key was stolen\" in docs/keys.md"
        }
        Kind::File(Role::Signing) if is_ours => {
            "\n  if somebody may have read it, generate a new key: licentia keys generate"
        }
        Kind::File(Role::Signing) => {
            "\n  if somebody may have read it, revoke the key (docs/keys.md)"
        }
    };
    Some(format!("has mode {mode:03o}: others can {danger}\n  {remedy}{then}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_safe_or_its_problem_names_a_remedy_that_this_user_can_apply() {
        use Control::{Foreign, Ours, ReadOnly};
        use Kind::Directory;
        const FILE: Kind = Kind::File(Role::Signing);
        const ROOT: Kind = Kind::File(Role::Root);
        let secret = "`defaultMode: 0440`";
        for (kind, mode, control, expected) in [
            (FILE, 0o600, Ours, None),
            (FILE, 0o400, Foreign, None),
            (FILE, 0o440, Foreign, None),
            (FILE, 0o440, ReadOnly, None),
            (FILE, 0o640, Foreign, None),
            // A file that nobody writes, of a user who runs as root.
            (FILE, 0o440, Ours, None),
            (FILE, 0o640, Ours, Some(["640: others can read this key", "run: chmod 600 PATH"])),
            (FILE, 0o644, Ours, Some(["644: others can read this key", "chmod 600 PATH"])),
            (FILE, 0o444, Foreign, Some(["444: others can read this key", secret])),
            (FILE, 0o644, Foreign, Some(["644: others can read this key", "`fsGroup`"])),
            (FILE, 0o644, ReadOnly, Some(["644: others can read this key", secret])),
            (FILE, 0o444, ReadOnly, Some(["444: others can read this key", "mode 0440"])),
            (FILE, 0o460, Foreign, Some(["460: others can read and write", secret])),
            (ROOT, 0o600, Ours, None),
            (ROOT, 0o644, Ours, Some(["\"The root key was stolen\"", "chmod 600 PATH"])),
            (ROOT, 0o644, ReadOnly, Some(["\"The root key was stolen\"", secret])),
            (FILE, 0o602, Ours, Some(["602: others can write this key", "chmod 600 PATH"])),
            (Directory, 0o700, Ours, None),
            (Directory, 0o755, Foreign, None),
            (Directory, 0o2775, Foreign, None),
            // As Kubernetes mounts a Secret.
            (Directory, 0o1777, ReadOnly, None),
            (Directory, 0o3777, ReadOnly, None),
            (Directory, 0o755, Ours, Some(["755: others can use", "run: chmod 700 PATH"])),
            (Directory, 0o1777, Ours, Some(["1777: others can write", "run: chmod 700 PATH"])),
            (Directory, 0o1777, Foreign, Some(["1777: others can write", "such as 0770"])),
            (Directory, 0o777, Foreign, Some(["777: others can write", "mount it read-only"])),
        ] {
            let name = format!("{kind:?} {mode:o} {control:?}");
            let found = problem(kind, mode, control);
            assert_eq!(found.is_some(), expected.is_some(), "{name}: {found:?}");
            let (Some(found), Some(parts)) = (found, expected) else { continue };
            for part in parts {
                assert!(found.contains(part), "{name}: {part}\nis not in\n{found}");
            }
            assert_eq!(found.contains("chmod"), control == Ours, "{name}: {found}");
            assert!(kind != ROOT || !found.contains("generate"), "{name}: {found}");
        }
    }
}
