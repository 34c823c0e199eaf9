//! The messages about a wrong file or argument of the commands for keys and licenses: which one it
//! is, and what to do. Other wrong files are in `explain.rs`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use licentia::domain::license::key_bundle::RootRecord;
use licentia::flows::license::keys::import_bundle;

use crate::harness::process::{Done, licentia, run};
use crate::harness::rotation::{customer, issue};
use crate::key_bundle::{json, keys};
use crate::keys::{Installation, issue_a_license};

/// Runs a command in a folder, without a database.
fn offline(folder: &Path, arguments: &str, settings: &[(&str, &str)]) -> Done {
    run(licentia(folder).args(arguments.split(' ')).envs(settings.iter().copied()))
}

/// A folder with the root key in `root.key` and its public part in `root.json`.
fn with_root(settings: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made = offline(folder.path(), "keys root init --out root.key", settings);
    assert_eq!(made.code, 0, "{made:?}");
    let public = offline(folder.path(), "keys root export --in root.key", settings);
    fs::write(folder.path().join("root.json"), public.out).unwrap();
    fs::write(folder.path().join("unsigned.json"), "{}").unwrap();
    folder
}

const SIGN: &str = "keys bundle sign --in unsigned.json --out keys.jwt --root-key";

/// Checks that a command fails with all of these parts in its message.
#[track_caller]
fn must_say(done: &Done, parts: &[&str]) {
    assert!(done.code != 0 && done.out.is_empty(), "{done:?}");
    for part in parts {
        assert!(done.err.contains(part), "{part}\nis not in\n{}", done.err);
    }
}

#[test]
fn a_root_key_that_others_can_read_is_no_reason_for_another_signing_key() {
    let folder = with_root(&[]);
    let root = folder.path().join("root.key");
    fs::set_permissions(&root, Permissions::from_mode(0o644)).unwrap();
    let refused = offline(folder.path(), &format!("{SIGN} root.key"), &[]);
    must_say(&refused, &["chmod 600 root.key", "\"The root key was stolen\" in docs/keys.md"]);
    assert!(!refused.err.contains("keys generate"), "{refused:?}");
}

#[test]
fn the_public_part_in_place_of_the_root_key_is_named_as_such() {
    let folder = with_root(&[]);
    let pem = "-----BEGIN PUBLIC KEY-----\nMCow\n-----END PUBLIC KEY-----\n";
    fs::write(folder.path().join("root.pub"), pem).unwrap();
    for file in ["root.json", "root.pub"] {
        fs::set_permissions(folder.path().join(file), Permissions::from_mode(0o644)).unwrap();
        let refused = offline(folder.path(), &format!("{SIGN} {file}"), &[]);
        must_say(&refused, &[file, "has the public part of a key", "(root.key)"]);
        assert!(!refused.err.contains("chmod"), "{refused:?}");
    }
}

#[test]
fn a_wrong_passphrase_is_named_as_such() {
    let folder = with_root(&[("LICENTIA_KEYS_PASSPHRASE", "the right one")]);
    let wrong = [("LICENTIA_KEYS_PASSPHRASE", "a wrong one")];
    let refused = offline(folder.path(), &format!("{SIGN} root.key"), &wrong);
    must_say(&refused, &["cannot be decrypted with this passphrase", "LICENTIA_KEYS_PASSPHRASE"]);
    assert!(!refused.err.contains("PKCS#8"), "{refused:?}");
}

#[test]
fn a_private_key_in_place_of_a_public_one_is_named_as_such() {
    let folder = with_root(&[]);
    for (option, advice) in [("root", "keys root export --in"), ("jwks", "jwks.json")] {
        let command = format!("license verify --audience acme-app --{option} root.key eyJ.eyJ.x");
        let refused = offline(folder.path(), &command, &[]);
        assert_eq!(refused.code, 2);
        must_say(&refused, &["root.key: this is a private key", advice]);
        assert!(!refused.err.contains("digits"), "{refused:?}");
    }
}

#[test]
fn an_empty_argument_is_named_as_such() {
    let folder = with_root(&[]);
    for option in ["--audience", "--issuer", "--device"] {
        for command in ["verify", "explain"] {
            let mut arguments = vec!["license", command, "--root", "root.json", option, ""];
            if option != "--audience" {
                arguments.extend(["--audience", "acme-app"]);
            }
            let refused = run(licentia(folder.path()).args(arguments).arg("eyJ.eyJ.x"));
            assert_eq!(refused.code, 2);
            must_say(&refused, &[option]);
            assert!(!refused.err.contains("jwks.json"), "{refused:?}");
        }
    }
}

#[test]
fn a_verification_without_keys_names_both_options_that_give_them() {
    let folder = with_root(&[]);
    let refused = offline(folder.path(), "license verify --audience acme-app eyJ.eyJ.x", &[]);
    assert_eq!(refused.code, 2);
    must_say(&refused, &["--jwks", "--root"]);
}

#[tokio::test]
async fn a_signing_key_is_no_root_key() {
    let place = Installation::new(&[]).await;
    place.start().await.unwrap();
    let (folder, key) = (place.directory.path(), place.key_file());
    // By its name, by the keys in the directory, and by the database.
    let name = key.file_name().unwrap().to_str().unwrap();
    let safe = tempfile::tempdir().unwrap();
    fs::copy(&key, safe.path().join(name)).unwrap();
    fs::copy(&key, folder.join("a.key")).unwrap();
    fs::copy(&key, safe.path().join("b.key")).unwrap();
    fs::write(safe.path().join("unsigned.json"), "{}").unwrap();
    fs::write(folder.join("unsigned.json"), "{}").unwrap();
    let by_database = safe.path().join("b.key").to_str().unwrap().to_owned();
    for command in ["keys root export --in", SIGN] {
        must_say(&offline(safe.path(), &format!("{command} {name}"), &[]), &["is the signing key"]);
        must_say(&offline(folder, &format!("{command} a.key"), &[]), &["is the signing key"]);
        let command = format!("{command} {by_database}");
        let arguments: Vec<_> = command.split(' ').skip(1).collect();
        must_say(&keys(&place, &arguments), &["is the signing key", "root.key"]);
    }
    // The server does not pin one either.
    let other = Installation::new(&[]).await;
    fs::create_dir(other.keys()).unwrap();
    fs::set_permissions(other.keys(), Permissions::from_mode(0o700)).unwrap();
    fs::copy(&key, other.keys().join(name)).unwrap();
    fs::copy(&key, other.keys().join("root.key")).unwrap();
    let refused = other.start().await.err().expect("it started").to_string();
    assert!(refused.contains("root.key is one of the signing keys"), "{refused}");
    let pem = fs::read_to_string(&key).unwrap();
    let without_root = Installation::new(&[("LICENTIA_SIGNING_KEY", &pem)]).await;
    let app = without_root.start().await.unwrap();
    let record = app.keys.current().records[0].clone();
    let given = RootRecord { kid: record.kid, public_key: record.public_key.unwrap() };
    let imported = import_bundle(&app.key_store(), "eyJ.eyJ.x", Some(&given), app.now()).await;
    let refused = imported.expect_err("it was imported").to_string();
    assert!(refused.contains("is a signing key"), "{refused}");
}

#[tokio::test]
async fn the_export_of_another_root_key_than_the_servers_warns() {
    let place = Installation::new(&[]).await;
    let app = place.start().await.unwrap();
    let own = json(&keys(&place, &["root", "export"]));
    let same = keys(&place, &["root", "export", "--in", "keys/root.key"]);
    assert_eq!((json(&same), same.err.as_str()), (own.clone(), ""));
    let made = keys(&place, &["root", "init", "--out", "other.key"]);
    assert_eq!(made.code, 0, "{made:?}");
    let other = keys(&place, &["root", "export", "--in", "other.key"]);
    assert_ne!(json(&other), own);
    let kid = own["kid"].as_str().unwrap();
    let warning = format!("warning: the server publishes another root key, {kid}");
    assert!(other.err.contains(&warning), "{other:?}");
    drop(app);
}

#[tokio::test]
async fn a_refusal_of_support_names_the_option_of_the_command_line() {
    let place = Installation::new(&[]).await;
    let app = place.start().await.unwrap();
    issue_a_license(&app).await;
    let license = issue(&app, &customer(&app).await).await;
    let url = secrecy::ExposeSecret::expose_secret(&place.config.database_url).to_owned();
    let support = |arguments: &str| {
        run(licentia(place.directory.path())
            .args(arguments.split(' '))
            .env("LICENTIA_DATABASE_URL", &url))
    };
    let shorter = "license issue --email ada@example.com --plan starter --days 3";
    must_say(&support(shorter), &["this would shorten it", "--replace"]);
    let id = license.license_id.as_str();
    assert_eq!(support(&format!("license revoke {id}")).code, 0);
    must_say(&support(&format!("license resend {id}")), &["was revoked", "--reissue"]);
}
