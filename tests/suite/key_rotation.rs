//! Rotation of the signing keys under running servers: no app ever refuses a license, whether it
//! pins the root key or caches the key set. The root key and the bundle are in `key_bundle.rs`, key
//! files in `keys.rs`, commands in `key_commands.rs`.

use std::fs;

use licentia::app::App;
use licentia::clock::{Clock, SystemClock};
use licentia::domain::license::Extras;
use licentia::domain::operator::audit::Actor;
use licentia::flows::license::keys::{KeyRevocation, follow_keys, mark_revoked, retire};
use licentia::flows::license::refresh;
use licentia::flows::operator::licenses::{self, Grant};
use licentia::keys::{KeyRing, ROOT_FILE};
use licentia::random::Random;

use crate::harness::database::execute;
use crate::harness::rotation::{Apps, DAY, HOUR, Hands, Pair, claims_of, customer, issue, verdict};
use crate::key_bundle::keys;
use crate::keys::{Installation, issue_a_license};

#[tokio::test]
async fn no_license_fails_in_a_rotation_under_two_servers_license_2_security_9() {
    let mut pair = Pair::start().await;
    let first = pair.signing()[0].clone();
    let old_ring = KeyRing::load(&pair.place.config).unwrap().unwrap();
    pair.live(HOUR).await;

    let second = pair.generate();
    pair.live(12 * HOUR).await;
    assert_eq!(pair.signing(), [first.clone(), first.clone()], "it was not announced for a day");
    pair.live(16 * HOUR).await;
    assert_eq!(pair.signing(), [second.clone(), second.clone()]);

    // The former key ends: a thief's copy signs nothing that the app with the root accepts.
    let own = pair.servers[0].key_store();
    retire(&own, &first, pair.clock.now()).await.unwrap();
    pair.live(2 * HOUR).await;
    let forged = pair.forged(&first, &old_ring);
    let [by_root, _] = pair.apps.verdicts(&forged, pair.clock.now());
    assert_eq!(by_root.as_deref(), Some("key_not_valid"));

    // Its file may go.
    fs::remove_file(old_ring.key(&first).unwrap().file.as_ref().unwrap()).unwrap();
    pair.live(HOUR).await;
    assert_eq!(pair.signing(), [second.clone(), second.clone()]);
    let later = pair.clock.clone();
    let restarted = pair.place.start_at(later).await.unwrap();
    assert_eq!(restarted.keys.signing(restarted.now()).unwrap().kid, second);
    assert_eq!(restarted.keys.jwks().keys.len(), 2);
}

#[tokio::test]
async fn every_server_publishes_the_same_bundle_and_the_second_adds_none() {
    let pair = Pair::start().await;
    let [first, second] = &pair.servers;
    assert_eq!(first.keys.bundle(), second.keys.bundle());
    pair.generate();
    let (one, two) = tokio::join!(follow_keys(first), follow_keys(second));
    one.and(two).unwrap();
    pair.reload().await;
    assert_eq!(first.keys.bundle(), second.keys.bundle());
    assert_eq!(claims_of(first).content.keys.len(), 2);
    let before = claims_of(first);
    pair.reload().await;
    assert_eq!(claims_of(first), before);
}

#[tokio::test]
async fn a_key_that_was_retired_or_revoked_elsewhere_signs_nothing_more() {
    for is_revoked in [false, true] {
        let mut pair = Pair::start().await;
        let first = pair.signing()[0].clone();
        let second = pair.generate();
        pair.reload().await;
        pair.clock.advance(2 * DAY);
        // The preferred key of a server that has not noticed: both still know the first one only.
        let third = pair.generate();
        pair.reload().await;
        assert_eq!(pair.signing()[0], second);
        let own = pair.servers[0].key_store();
        if is_revoked {
            let marked = mark_revoked(&own, &second, pair.clock.now()).await.unwrap();
            assert_eq!(marked, KeyRevocation::Now);
        } else {
            retire(&own, &second, pair.clock.now()).await.unwrap();
        }
        let plan = pair.servers[1].plans.plan("professional").unwrap();
        let grant = Grant { plan, expires: None, extras: Extras::default(), replace: true };
        let refused =
            licenses::grant(&pair.servers[1], Actor::Operator, &pair.customer_id, &grant).await;
        assert_eq!(refused.unwrap_err().code().status(), 503);
        pair.reload().await;
        assert_eq!(pair.signing(), [first.clone(), first.clone()], "{third} was not announced");
        let license = issue(&pair.servers[1], &pair.customer_id).await;
        pair.apps.fetch(&pair.servers[0], pair.clock.now());
        let token = license.token.expose();
        assert_eq!(pair.apps.verdicts(token, pair.clock.now()), [None, None]);
    }
}

#[tokio::test]
async fn a_server_whose_keys_have_all_ended_signs_nothing() {
    let pair = Pair::start().await;
    let server = &pair.servers[0];
    let license = issue(server, &pair.customer_id).await;
    // Another server has the newer key.
    let keys = server.keys.current();
    let mut records = keys.records.clone();
    for record in &mut records {
        record.ends_at = Some(pair.clock.now());
    }
    server.keys.replace(keys.ring.clone(), records, keys.bundle.clone()).unwrap();
    pair.clock.advance(3_600);
    assert!(server.keys.signing(pair.clock.now()).is_err());
    let refreshed = refresh(server, &license.token).await.unwrap();
    assert_eq!(refreshed.token.expose(), license.token.expose(), "apps accept the one they have");
}

#[tokio::test]
async fn a_revoked_key_is_revoked_in_apps_and_a_late_license_of_it_too_license_2() {
    let (mut pair, [first, second], stolen) = Pair::with_stolen_key().await;
    mark_revoked(&pair.servers[0].key_store(), &first, pair.clock.now()).await.unwrap();
    let forged = pair.forged(&first, &stolen);
    // A license that a server signed with the key meanwhile.
    let kid_of_late = "UPDATE licenses SET key_id = (SELECT MIN(kid) FROM signing_keys
         WHERE revoked_at IS NOT NULL) WHERE superseded_at IS NULL";
    execute(&pair.servers[0].store, kid_of_late).await.unwrap();
    pair.reload().await;
    pair.apps.fetch(&pair.servers[1], pair.clock.now());
    let [by_root, by_jwks] = pair.apps.verdicts(&forged, pair.clock.now());
    assert_eq!(by_root.as_deref(), Some("key_revoked"));
    assert_eq!(by_jwks.as_deref(), Some("unknown_key"));
    let current = pair.servers[0].store.current_license(&pair.customer_id).await.unwrap().unwrap();
    assert_eq!((current.key_id, current.revoked_at), (second, None), "it was not reissued");
}

#[tokio::test]
async fn an_app_from_years_ago_accepts_the_third_successor_and_no_stolen_key_license_2() {
    let mut pair = Pair::start().await;
    let root = pair.apps.root.clone();
    let stolen = KeyRing::load(&pair.place.config).unwrap().unwrap();
    let first = pair.signing()[0].clone();
    for _ in 0..3 {
        pair.generate();
        pair.reload().await;
        pair.clock.advance(400 * DAY);
        let former = pair.signing();
        pair.reload().await;
        assert_ne!(former[0], first);
        let records = pair.servers[0].keys.current().records.clone();
        for record in records.iter().filter(|record| record.is_usable()) {
            if record.kid != former[0] {
                let own = pair.servers[0].key_store();
                retire(&own, &record.kid, pair.clock.now()).await.unwrap();
            }
        }
        pair.reload().await;
    }
    let license = issue(&pair.servers[0], &pair.customer_id).await;
    assert_eq!(claims_of(&pair.servers[0]).content.keys.len(), 4);
    pair.issued.push(license);
    let now = pair.clock.now();
    let file = serde_json::json!({
        "license": pair.issued[0].token.expose(), "keys": pair.servers[1].keys.bundle().unwrap(),
    });
    assert_eq!(verdict(&root, &file.to_string(), None, now), None);
    let forged = pair.forged(&first, &stolen);
    let file = serde_json::json!({
        "license": forged, "keys": pair.servers[1].keys.bundle().unwrap(),
    });
    let code = verdict(&root, &file.to_string(), None, now);
    assert_eq!(code.as_deref(), Some("key_not_valid"));
    // The license was not signed by the root, and the root signs none.
    let unknown = verdict(&root, pair.issued[0].token.expose(), None, now);
    assert_eq!(unknown.as_deref(), Some("unknown_key"));
}

#[tokio::test]
async fn a_key_of_a_fast_clock_signs_licenses_that_apps_with_the_root_accept() {
    for ahead in [2 * HOUR, 400 * DAY] {
        let place = Installation::new(&[]).await;
        let clock = Hands::now_at(SystemClock.now());
        place.start_at(clock.wrong_by(ahead)).await.unwrap();
        let app = place.start_at(clock.clone()).await.unwrap();
        issue_a_license(&app).await;
        let license = issue(&app, &customer(&app).await).await;
        let apps = Apps::new(&app, clock.now()).await;
        assert_eq!(apps.verdicts(license.token.expose(), clock.now()), [None, None]);
    }
}

#[tokio::test]
async fn a_key_from_the_environment_rotates_with_its_former_keys_security_8() {
    let pem = async || {
        let other = Installation::new(&[]).await;
        other.start().await.unwrap();
        fs::read_to_string(other.key_file()).unwrap()
    };
    let (first, second) = (pem().await, pem().await);
    let place = Installation::new(&[("LICENTIA_SIGNING_KEY", &first)]).await;
    let clock = Hands::now_at(SystemClock.now());
    let app = place.start_at(clock.clone()).await.unwrap();
    issue_a_license(&app).await;
    let signs = |app: &App| app.keys.signing(app.now()).unwrap().kid.clone();
    let old = signs(&app);
    assert!(!place.keys().exists(), "a folder was made");
    assert!(app.keys.bundle().is_none());

    // Without the former key, its licenses could not be renewed until the new one is announced.
    let mut config = place.config.clone();
    config.signing_key = Some(second.clone().into());
    let place = Installation { config, ..place };
    let refused = place.start_at(clock.clone()).await.err().unwrap().to_string();
    assert!(refused.contains(&old) && refused.contains("former_signing_keys"), "{refused}");

    for text in [first.clone(), first.replace('\n', "\\n"), format!("\u{feff}{first}")] {
        let mut config = place.config.clone();
        config.former_signing_keys = Some(text.into());
        let ring = KeyRing::load(&config).unwrap().unwrap();
        assert_eq!(ring.jwks().keys.len(), 2);
    }
    let mut config = place.config.clone();
    config.former_signing_keys = Some(first.into());
    let place = Installation { config, ..place };
    let other = app;
    let app = place.start_at(clock.clone()).await.unwrap();
    assert_eq!(signs(&app), old, "the new key was not announced");
    follow_keys(&other).await.unwrap();
    assert_eq!(other.keys.jwks().keys.len(), 2, "a server without the new key publishes it");
    clock.advance(2 * DAY);
    assert_ne!(signs(&app), old);
    retire(&app.key_store(), &old, clock.now()).await.unwrap();
    let mut config = place.config.clone();
    config.former_signing_keys = None;
    let place = Installation { config, ..place };
    let app = place.start_at(clock).await.unwrap();
    assert_eq!(app.keys.jwks().keys.len(), 2, "the retired key stays published");
}

#[tokio::test]
async fn a_key_that_a_slow_server_recorded_signs_a_day_after_the_others_published_it() {
    let mut pair = Pair::start().await;
    pair.servers[1] = pair.place.start_at(pair.clock.wrong_by(-3 * DAY)).await.unwrap();
    pair.live_on_the_first(HOUR).await;
    let first = pair.signing()[0].clone();
    let second = pair.generate_at(pair.servers[1].now());
    follow_keys(&pair.servers[1]).await.unwrap();
    let recorded = pair.servers[1].keys.current().records.clone();
    let recorded = recorded.iter().find(|record| record.kid == second).unwrap();
    assert!(recorded.signs_from < pair.clock.now(), "{recorded:?}");
    // The first server knows that nobody had published the key when it last read the keys.
    pair.live_on_the_first(20 * HOUR).await;
    assert_eq!(pair.signing()[0], first, "it was not announced for a day");
    pair.live_on_the_first(6 * HOUR).await;
    assert_eq!(pair.signing()[0], second);
}

#[tokio::test]
async fn a_key_that_a_slow_command_retires_does_not_end_before_its_last_license() {
    let mut pair = Pair::start().await;
    let first = pair.signing()[0].clone();
    pair.generate();
    pair.reload().await;
    pair.clock.advance(2 * DAY - 10);
    let late = issue(&pair.servers[0], &pair.customer_id).await;
    let kid = late.key_id.clone();
    assert_ne!(kid, first);
    retire(&pair.servers[0].key_store(), &kid, pair.clock.wrong_by(-HOUR).now()).await.unwrap();
    pair.issued.push(late);
    pair.reload().await;
    pair.apps.fetch(&pair.servers[0], pair.clock.now());
    pair.must_verify(&pair.issued[0]);
}

#[tokio::test]
async fn the_list_of_keys_says_of_each_what_it_waits_for_and_when_it_ends() {
    let place = Installation::new(&[]).await;
    let app = place.start().await.unwrap();
    let first = app.keys.signing(app.now()).unwrap().kid;
    let random = Random::from_system().unwrap();
    let (file, _) = KeyRing::add(&place.config, app.now(), false, &random).unwrap();
    let ring = KeyRing::load(&place.config).unwrap().unwrap();
    let second = ring.of_file(&file).unwrap().kid.clone();
    let line = |kid: &str| {
        let list = keys(&place, &["list"]);
        assert_eq!(list.code, 0, "{}", list.err);
        list.out.lines().find(|line| line.contains(kid)).unwrap().to_owned()
    };
    assert!(line(&first).starts_with("signing") && line(&first).contains("  from "));
    assert!(line(&second).contains("not published yet: signs a day after"), "{}", line(&second));
    // The root is elsewhere, so that no bundle has the key.
    fs::rename(place.keys().join(ROOT_FILE), place.directory.path().join("root.key")).unwrap();
    follow_keys(&app).await.unwrap();
    assert!(
        line(&second).contains("a day after the signed key bundle has it"),
        "{}",
        line(&second)
    );
    mark_revoked(&app.key_store(), &first, app.now()).await.unwrap();
    assert!(line(&first).contains("  revoked at "), "{}", line(&first));
    assert!(line(&second).starts_with("signing"), "{}", line(&second));
    assert!(
        line(&second).contains("not in the key bundle: sign a new bundle"),
        "{}",
        line(&second)
    );
}
