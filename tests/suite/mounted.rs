//! A container's file system: a volume of another user, and mounted secrets. The server runs as a
//! user without rights. Only root can arrange that, so other users skip these tests, except in the
//! strict run of `scripts/test`.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::process::{Server, licentia, run, serve};
use crate::harness::{TestDatabase, until};

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
            let is_strict = std::env::var_os("TEST_STRICT").is_some();
            assert!(!is_strict, "these tests need root, and a strict run may skip none");
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

    /// Returns a command like this one, run by the user without rights.
    fn as_nobody(&self, like: &Command) -> Command {
        let mut command = Command::new(&self.binary);
        command.current_dir(self.path("home")).env_clear().args(like.get_args());
        command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.uid(NOBODY).gid(NOBODY);
        command
    }

    async fn serve(&self, settings: &[(&str, &str)]) -> Command {
        let home = self.path("home");
        let database = TestDatabase::empty(&home).await;
        self.as_nobody(&serve(&home, &database, settings))
    }

    /// Mounts a Secret as Kubernetes does: links to links to files that the group may read. It
    /// replaces a former one. Returns its directory.
    fn mount_secret(&self, version: &str, files: &[(&str, &[u8])]) -> PathBuf {
        let keys = self.path("keys");
        if !keys.exists() {
            self.directory("keys", 0o755);
        }
        for entry in fs::read_dir(&keys).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_symlink() {
                fs::remove_file(entry).unwrap();
            }
        }
        self.directory(&format!("keys/..{version}"), 0o755);
        symlink(format!("..{version}"), keys.join("..data")).unwrap();
        for (name, content) in files {
            self.file(&format!("keys/..{version}/{name}"), content, 0o440);
            symlink(format!("..data/{name}"), keys.join(name)).unwrap();
        }
        keys
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
    let keys = container.mount_secret("2026_11_20", &[("20261120T150000Z.pem", &new_key())]);
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
    let defaults = "`defaultMode: 0440`";
    for (directory, file, problem, remedy) in [
        (0o777, 0o440, "keys has mode 777: others can write to it", "mount it read-only"),
        (0o1777, 0o440, "keys has mode 1777: others can write to it", "such as 0770"),
        (0o755, 0o444, "pem has mode 444: others can read this key", defaults),
        (0o755, 0o644, "pem has mode 644: others can read this key", "`fsGroup`"),
        (0o755, 0o460, "pem has mode 460: others can read and write this key", defaults),
        (0o755, 0o400, "this user cannot read", defaults),
    ] {
        let Some(container) = Container::new() else { return };
        let keys = container.directory("keys", directory);
        container.file("keys/20261120T150000Z.pem", &new_key(), file);
        let settings = [("LICENTIA_KEYS_DIR", keys.to_str().unwrap())];
        let refused = run(&mut container.serve(&settings).await);
        assert_eq!(refused.code, 1, "{directory:o} {file:o}");
        for part in [problem, remedy] {
            assert!(refused.err.contains(part), "{part}\nis not in\n{}", refused.err);
        }
        assert!(!refused.err.contains("chmod"), "{}", refused.err);
    }
}

#[tokio::test]
async fn a_stolen_key_in_a_mounted_secret_is_revoked_once_the_secret_has_another_security_7() {
    let Some(container) = Container::new() else { return };
    let (home, stolen) = (container.path("home"), new_key());
    let (old, new) = ("20261120T150000Z.pem", "20261130T150000Z.pem");
    let keys = container.mount_secret("1", &[(old, &stolen)]);
    let database = TestDatabase::empty(&home).await;
    let settings = [("LICENTIA_KEYS_DIR", keys.to_str().unwrap())];
    let log = fs::File::create(home.join("server.log")).unwrap();
    let mut server = container.as_nobody(&serve(&home, &database, &settings));
    let server = Server::run(server.stderr(log), &home);
    let command = |arguments: &[&str]| {
        let mut like = licentia(&home);
        like.args(arguments).envs(settings).env("LICENTIA_DATABASE_URL", &database.url);
        run(&mut container.as_nobody(&like))
    };
    let states = || {
        let list = command(&["keys", "list"]).out;
        let words = list.lines().filter_map(|line| line.split_whitespace().next());
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    let sign_up = async |email: &str| {
        let request = serde_json::json!({ "email": email, "password": "SecurePass123" });
        server.client.post("/api/customers/signup", &request).await
    };
    let key_of = |signed_up: &crate::harness::Answer| {
        let inspected = licentia_verify::inspect(signed_up.text("/license/token")).unwrap();
        inspected.header["kid"].as_str().unwrap().to_owned()
    };
    let first = sign_up("ada@example.com").await;
    let kid = key_of(&first);

    // Nothing else could sign, so nothing is revoked. The advice works.
    let refused = command(&["keys", "revoke", &kid]);
    assert_eq!(refused.code, 1, "{refused:?}");
    for part in ["is not revoked yet", "add a new key to the Secret first", "openssl genpkey"] {
        assert!(refused.err.contains(part), "{part}\nis not in\n{}", refused.err);
    }
    assert_eq!(states(), ["signing"]);
    assert_eq!(key_of(&sign_up("bob@example.com").await), kid);
    let generated = command(&["keys", "generate"]);
    assert!(generated.err.contains("add a key to the Secret instead"), "{generated:?}");

    container.mount_secret("2", &[(old, &stolen), (new, &new_key())]);
    let revoked = command(&["keys", "revoke", &kid]);
    assert_eq!(revoked.code, 0, "{}", revoked.err);
    assert!(revoked.out.contains("Revoked 2 licenses") && revoked.out.contains("reissued 2"));
    let todo = "the key is revoked, but its private part is here";
    assert!(revoked.err.contains(todo), "{}", revoked.err);
    assert!(revoked.err.contains("remove it from the Secret"), "{}", revoked.err);
    assert_eq!(states(), ["revoked", "signing"]);
    // The server follows the files of the Secret and the records.
    until(async || sign_up("eve@example.com").await.status == 201).await;
    server.signal("HUP");
    let verify = serde_json::json!({ "token": first.text("/license/token") });
    let verdict = server.client.post("/api/licenses/verify", &verify).await;
    assert_eq!(verdict.text("/code"), "key_revoked", "{verdict:?}");
    let again = command(&["keys", "revoke", &kid]);
    assert!(again.code == 0 && again.out.contains("was revoked before"), "{again:?}");
    assert!(again.err.contains(todo), "{}", again.err);

    let key = fs::read(keys.join(new)).unwrap();
    container.mount_secret("3", &[(new, &key)]);
    let last = command(&["keys", "revoke", &kid]);
    assert!(last.code == 0 && !last.err.contains(todo), "{last:?}");
    assert_eq!(server.stop(), Some(0));
    let log = fs::File::create(home.join("server.log")).unwrap();
    let mut server = container.as_nobody(&serve(&home, &database, &settings));
    let server = Server::run(server.stderr(log), &home);
    let request = serde_json::json!({ "email": "zoe@example.com", "password": "SecurePass123" });
    let signed_up = server.client.post("/api/customers/signup", &request).await;
    assert_ne!(key_of(&signed_up), kid);
}
