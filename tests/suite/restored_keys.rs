//! Keys after a backup of the database was restored: a key that was revoked since then is not
//! trusted again, and what a newer key signed since then still verifies.

use std::fs;
use std::path::PathBuf;

use licentia::clock::{Clock, SystemClock};
use licentia::flows::license::keys::follow_keys;
use licentia::keys::KeyRing;
use licentia::random::Random;
use licentia_verify::KeySet;
use serde_json::Value;

use crate::harness::database::execute;
use crate::harness::process::{licentia, run};
use crate::harness::rotation::{
    DAY, HOUR, Hands, Pair, claims_of, customer, issue, root_of, verdict,
};
use crate::key_bundle::{json, keys};
use crate::keys::{Installation, issue_a_license};

/// Renames the file of a key as `licentia keys revoke` does. The database is then as it was before
/// the revocation. Returns the new name.
fn put_away(place: &Installation, kid: &str) -> PathBuf {
    let ring = KeyRing::load(&place.config).unwrap().unwrap();
    assert_eq!(ring.put_away(kid), None);
    ring.key(kid).unwrap().file.as_ref().unwrap().with_extension("revoked")
}

fn add_key(place: &Installation, now: licentia::domain::time::Timestamp, at_once: bool) -> String {
    let random = Random::from_system().unwrap();
    let (file, _) = KeyRing::add(&place.config, now, at_once, &random).unwrap();
    KeyRing::load(&place.config).unwrap().unwrap().of_file(&file).unwrap().kid.clone()
}

#[tokio::test]
async fn a_start_on_a_restored_database_names_the_file_and_the_command_that_revokes_again() {
    for knows_the_second in [true, false] {
        let place = Installation::new(&[]).await;
        let app = place.start().await.unwrap();
        issue_a_license(&app).await;
        let first = app.keys.signing(app.now()).unwrap().kid;
        let root = root_of(&app).await;
        let second = add_key(&place, app.now(), false);
        if knows_the_second {
            follow_keys(&app).await.unwrap();
        }
        let stolen = issue(&app, &customer(&app).await).await;
        let file = put_away(&place, &first);

        let refused = place.start().await.err().expect("it started").to_string();
        let named = [file.to_str().unwrap(), &first, "restored from a backup"];
        for part in [&named[..], &["run: licentia keys revoke", "do not restore"]].concat() {
            assert!(refused.contains(part), "{part}\nis not in\n{refused}");
        }
        assert!(!refused.contains("restore their files"), "{refused}");
        let list = keys(&place, &["list"]);
        let line = list.out.lines().find(|line| line.contains(&first)).unwrap();
        assert!(line.starts_with("revoked") && line.contains(".revoked"), "{list:?}");

        let revoked = keys(&place, &["revoke", &first]);
        assert!(revoked.code == 0 && revoked.out.contains("reissued 1"), "{revoked:?}");
        let app = place.start().await.unwrap();
        assert_eq!(claims_of(&app).content.revoked, [&*first]);
        let current = app.store.current_license(&customer(&app).await).await.unwrap().unwrap();
        assert_eq!(current.key_id, second);
        let root = KeySet::from_root(&root, "acme-app").unwrap();
        let code = |token: &str| verdict(&root, token, app.keys.bundle().as_deref(), app.now());
        assert_eq!(code(stolen.token.expose()).as_deref(), Some("key_revoked"));
        assert_eq!(code(current.token.expose()), None);
    }
}

#[tokio::test]
async fn a_start_records_and_publishes_keys_that_are_revoked_by_their_files() {
    let place = Installation::new(&[]).await;
    let app = place.start().await.unwrap();
    let first = app.keys.signing(app.now()).unwrap().kid;
    let second = add_key(&place, app.now(), false);
    follow_keys(&app).await.unwrap();
    put_away(&place, &first);
    // A key that the backup does not know at all.
    let third = add_key(&place, app.now(), true);
    put_away(&place, &third);
    for _ in 0..2 {
        let app = place.start().await.unwrap();
        let mut revoked = claims_of(&app).content.revoked;
        revoked.sort();
        let mut expected = [first.clone(), third.clone()];
        expected.sort();
        assert_eq!(revoked, expected);
        let published: Vec<_> = app.keys.jwks().keys.into_iter().map(|key| key.kid).collect();
        assert_eq!(published, [&*second]);
        assert_eq!(app.keys.signing(app.now()).unwrap().kid, second);
        let records = app.store.read().await.unwrap().key_records().await.unwrap();
        let is_revoked = |kid: &str| {
            records.iter().any(|record| record.kid == kid && record.revoked_at.is_some())
        };
        assert!(is_revoked(&first) && is_revoked(&third), "{records:?}");
    }
}

#[tokio::test]
async fn running_servers_revoke_a_key_again_when_the_database_under_them_is_restored() {
    let (mut pair, [first, second], stolen) = Pair::with_stolen_key().await;
    put_away(&pair.place, &first);
    pair.reload().await;
    // The records of the backup; the files do not change.
    for round in 0..2 {
        let forged = pair.forged(&first, &stolen);
        pair.apps.fetch(&pair.servers[round], pair.clock.now());
        let [by_root, by_jwks] = pair.apps.verdicts(&forged, pair.clock.now());
        assert_eq!(by_root.as_deref(), Some("key_revoked"), "{round}");
        assert_eq!(by_jwks.as_deref(), Some("unknown_key"), "{round}");
        assert_eq!(pair.signing(), [second.clone(), second.clone()]);
        let left = format!(
            "SELECT COUNT(*) FROM licenses WHERE key_id = '{first}' AND revoked_at IS NULL"
        );
        let left = crate::harness::database::number(&pair.servers[0].store, &left).await;
        assert_eq!(left, 0, "{round}");
        let sql = "UPDATE signing_keys SET revoked_at = NULL";
        execute(&pair.servers[0].store, sql).await.unwrap();
        let sql = "DELETE FROM key_bundles WHERE seq > (SELECT MIN(seq) FROM key_bundles)";
        execute(&pair.servers[0].store, sql).await.unwrap();
        pair.clock.advance(HOUR);
        pair.reload().await;
    }
}

#[tokio::test]
async fn commands_on_a_restored_database_do_not_trust_a_key_that_is_revoked_by_its_file() {
    for command in [
        &["keys", "reload"][..],
        &["keys", "generate"],
        &["keys", "bundle", "show", "--unsigned"],
        &["keys", "retire", "KID"],
        &["license", "issue", "--email", "ada@example.com", "--plan", "professional", "--forever"],
    ] {
        let place = Installation::new(&[]).await;
        let app = place.start().await.unwrap();
        issue_a_license(&app).await;
        let first = app.keys.signing(app.now()).unwrap().kid;
        let second = add_key(&place, app.now(), false);
        follow_keys(&app).await.unwrap();
        let file = put_away(&place, &first);
        let url = secrecy::ExposeSecret::expose_secret(&place.config.database_url).to_owned();
        let words = command.iter().map(|word| if *word == "KID" { second.as_str() } else { word });
        let done =
            run(licentia(place.directory.path()).args(words).env("LICENTIA_DATABASE_URL", url));
        if command[0] == "license" {
            // It records nothing, so that a server can tell what it has found.
            assert_eq!(done.code, 0, "{done:?}");
            let license = licentia_verify::inspect(done.out.trim()).unwrap();
            assert_eq!(license.header["kid"], second.as_str());
            continue;
        }
        // Without the other key, nothing could sign.
        let is_refused = command[1] == "retire";
        assert_eq!(done.code, i32::from(is_refused), "{done:?}");
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(done.err.contains(name) && done.err.contains(&first), "{done:?}");
        let list = json(&keys(&place, &["list", "--json"]));
        let is_revoked =
            |key: &Value| key["kid"] == first.as_str() && key["revoked_at"].is_string();
        assert!(list["keys"].as_array().unwrap().iter().any(is_revoked), "{list}");
    }
}

#[tokio::test]
async fn a_file_of_a_revoked_key_that_cannot_be_read_stops_nothing_and_is_named() {
    let place = Installation::new(&[("LICENTIA_KEYS_PASSPHRASE", "a former passphrase")]).await;
    let app = place.start().await.unwrap();
    let first = app.keys.signing(app.now()).unwrap().kid;
    add_key(&place, app.now(), true);
    let file = put_away(&place, &first);
    fs::write(place.keys().join("20200101T000000Z.revoked"), "half a k").unwrap();
    fs::create_dir(place.keys().join("folder.revoked")).unwrap();
    app.store.close().await;
    let app = place.start().await.unwrap();
    assert_eq!(claims_of(&app).content.revoked, [&*first]);
    let warnings = app.keys.current().ring.warnings().join("\n");
    assert!(!warnings.contains(file.to_str().unwrap()), "{warnings}");
    for part in ["20200101T000000Z.revoked is damaged", "folder.revoked", "you may delete it"] {
        assert!(warnings.contains(part), "{part}\nis not in\n{warnings}");
    }
}

#[tokio::test]
async fn the_file_of_a_revoked_key_never_replaces_that_of_another_one() {
    let place = Installation::new(&[]).await;
    let now = SystemClock.now();
    let random = Random::from_system().unwrap();
    let mut expected = Vec::new();
    add_key(&place, now + chrono::TimeDelta::days(9), true);
    for _ in 0..3 {
        let file = KeyRing::generate(&place.config, now, &random).unwrap();
        let ring = KeyRing::load(&place.config).unwrap().unwrap();
        let kid = ring.of_file(&file).unwrap().kid.clone();
        assert_eq!(ring.put_away(&kid), None);
        expected.push(kid);
    }
    let ring = KeyRing::load(&place.config).unwrap().unwrap();
    let mut revoked: Vec<_> = ring.revoked_files().iter().map(|key| key.kid.clone()).collect();
    revoked.sort();
    expected.sort();
    assert_eq!(revoked, expected);
}

/// How a newer key came to sign before the backup was restored.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Newer {
    AtOnce,
    Announced,
    /// The former key was revoked before the day was over.
    BeforeItsTime,
    FromTheEnvironment,
}

#[tokio::test]
async fn what_a_newer_key_signed_before_a_backup_was_restored_still_verifies() {
    use Newer::{Announced, AtOnce, BeforeItsTime, FromTheEnvironment};
    for how in [AtOnce, Announced, BeforeItsTime, FromTheEnvironment] {
        let mut place = Installation::new(&[]).await;
        let clock = Hands::now_at(SystemClock.now());
        let app = place.start_at(clock.clone()).await.unwrap();
        issue_a_license(&app).await;
        let customer_id = customer(&app).await;
        let first = app.keys.signing(app.now()).unwrap().kid;
        let root = KeySet::from_root(&root_of(&app).await, "acme-app").unwrap();
        let second = if how == FromTheEnvironment {
            let other = Installation::new(&[]).await;
            other.start().await.unwrap();
            place.config.signing_key = Some(fs::read_to_string(other.key_file()).unwrap().into());
            let ring = KeyRing::load(&place.config).unwrap().unwrap();
            ring.signing(clock.now()).kid.clone()
        } else {
            add_key(&place, clock.now(), how == AtOnce)
        };
        let app = place.start_at(clock.clone()).await.unwrap();
        match how {
            AtOnce | BeforeItsTime => {
                let ring = KeyRing::load(&place.config).unwrap().unwrap();
                clock.advance(HOUR);
                let own = app.key_store();
                own.register(&ring, Some(&second), clock.now()).await.unwrap();
            }
            Announced | FromTheEnvironment => clock.advance(2 * DAY),
        }
        follow_keys(&app).await.unwrap();
        assert_eq!(app.keys.signing(app.now()).unwrap().kid, second, "{how:?}");
        let license = issue(&app, &customer_id).await;
        let token = license.token.expose();
        assert_eq!(verdict(&root, token, app.keys.bundle().as_deref(), app.now()), None);

        // The backup from before the second key.
        for sql in [
            format!("UPDATE licenses SET key_id = '{first}' WHERE key_id = '{second}'"),
            format!("DELETE FROM signing_keys WHERE kid = '{second}'"),
            "DELETE FROM key_bundles WHERE seq > (SELECT MIN(seq) FROM key_bundles)".to_owned(),
        ] {
            execute(&app.store, &sql).await.unwrap();
        }
        clock.advance(3 * HOUR);
        let app = place.start_at(clock.clone()).await.unwrap();
        let bundle = app.keys.bundle();
        assert_eq!(verdict(&root, token, bundle.as_deref(), app.now()), None, "{how:?}");
        let records = app.store.read().await.unwrap().key_records().await.unwrap();
        let record = records.iter().find(|record| record.kid == second).unwrap();
        let announced = record.signs_from - app.now();
        assert_eq!(announced.num_seconds(), DAY, "{how:?}: it is announced for a day");
    }
}
