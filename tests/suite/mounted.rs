//! A container's file system: a volume of another user, and mounted secrets. The server runs as a
//! user without rights. Only root can arrange that, so other users skip these tests.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use crate::harness::TestDatabase;
use crate::harness::process::{Server, licentia, run, serve};

/// The user `nobody`, and its group.
const NOBODY: u32 = 65534;

/// A container's file system. Files belong to root by default.
struct Container {
    root: tempfile::TempDir,
    binary: PathBuf,
}

impl Container {
    /// Returns none if this user is not root.
    fn new() -> Option<Self> {
        let root = tempfile::tempdir().unwrap();
        if fs::metadata(root.path()).unwrap().uid() != 0 {
            return None;
        }
        set_mode(root.path(), 0o755);
        let binary = root.path().join("licentia");
        fs::copy(env!("CARGO_BIN_EXE_licentia"), &binary).unwrap();
        let container = Self { root, binary };
        // The working directory, with the database.
        let home = container.directory("home", 0o700);
        chown(home, Some(NOBODY), Some(NOBODY)).unwrap();
        Some(container)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Creates a directory that belongs to root and the server's group.
    fn directory(&self, name: &str, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        chown(&path, Some(0), Some(NOBODY)).unwrap();
        set_mode(&path, mode);
        path
    }

    /// Creates a file that belongs to root and the server's group.
    fn file(&self, name: &str, content: &[u8], mode: u32) -> String {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        chown(&path, Some(0), Some(NOBODY)).unwrap();
        set_mode(&path, mode);
        path.to_str().unwrap().to_owned()
    }

    async fn serve(&self, settings: &[(&str, &str)]) -> std::process::Command {
        let home = self.path("home");
        let database = TestDatabase::empty(&home).await;
        let like = serve(&home, &database, settings);
        let mut command = std::process::Command::new(&self.binary);
        command.current_dir(&home).env_clear().args(like.get_args());
        command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.uid(NOBODY).gid(NOBODY);
        command
    }

    async fn must_start(&self, settings: &[(&str, &str)]) {
        let log = fs::File::create(self.path("home").join("server.log")).unwrap();
        let mut command = self.serve(settings).await;
        let server = Server::run(command.stderr(log), &self.path("home"));
        assert_eq!(server.stop(), Some(0));
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Returns a key, as `licentia keys generate` creates it.
fn new_key() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(run(licentia(directory.path()).args(["keys", "generate"])).code, 0);
    let files = fs::read_dir(directory.path().join("keys")).unwrap();
    let mut files = files.map(|entry| entry.unwrap().path());
    fs::read(files.find(|file| file.extension().unwrap() == "pem").unwrap()).unwrap()
}

#[tokio::test]
async fn an_empty_volume_of_another_user_can_store_the_keys() {
    // A freshly formatted volume as Kubernetes mounts it for a group (`fsGroup`), or a private one.
    for mode in [0o2775, 0o2770] {
        let Some(container) = Container::new() else { return };
        let keys = container.directory("keys", mode);
        container.directory("keys/lost+found", 0o700);
        let settings = [("LICENTIA_KEYS_DIR", keys.to_str().unwrap())];
        container.must_start(&settings).await;
        let made = fs::read_dir(&keys).unwrap().map(|entry| entry.unwrap());
        let made: Vec<_> = made.filter(|entry| entry.path().is_file()).collect();
        assert_eq!(made.len(), 2, "a signing key and the root key");
        let is_private = |made: &fs::DirEntry| made.metadata().unwrap().mode() & 0o777 == 0o600;
        assert!(made.iter().all(is_private));
        // Again, with the key.
        container.must_start(&settings).await;
    }
}

#[tokio::test]
async fn mounted_secrets_are_read() {
    let Some(container) = Container::new() else { return };
    // A secret as Kubernetes mounts it: links to links to files that the group may read.
    let keys = container.directory("keys", 0o755);
    container.directory("keys/..2026_11_20", 0o755);
    container.file("keys/..2026_11_20/20261120T150000Z.pem", &new_key(), 0o440);
    symlink("..2026_11_20", keys.join("..data")).unwrap();
    symlink("..data/20261120T150000Z.pem", keys.join("20261120T150000Z.pem")).unwrap();
    let signing_key = container.file("signing_key", &new_key(), 0o440);
    let stripe_key = container.file("stripe_key", b"sk_test_1\n", 0o440);
    container
        .must_start(&[
            ("LICENTIA_KEYS_DIR", keys.to_str().unwrap()),
            ("LICENTIA_SIGNING_KEY_FILE", &signing_key),
            ("LICENTIA_STRIPE__SECRET_KEY_FILE", &stripe_key),
            ("LICENTIA_STRIPE__API_URL", "http://127.0.0.1:1"),
        ])
        .await;
}

#[tokio::test]
async fn keys_that_other_users_can_read_or_replace_are_refused_security_7() {
    for (directory, file) in [(0o777, 0o440), (0o755, 0o444), (0o755, 0o460)] {
        let Some(container) = Container::new() else { return };
        let keys = container.directory("keys", directory);
        container.file("keys/20261120T150000Z.pem", &new_key(), file);
        let settings = [("LICENTIA_KEYS_DIR", keys.to_str().unwrap())];
        let refused = run(&mut container.serve(&settings).await);
        assert_eq!(refused.code, 1, "{directory:o} {file:o}");
        assert!(refused.err.contains("has mode"), "{}", refused.err);
    }
}
