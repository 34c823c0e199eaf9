//! The key set and the key bundle that servers publish, right after a command has changed the keys.
//! Commands beside running servers are in `key_commands.rs`.

use licentia::app::App;
use licentia::domain::time::Timestamp;
use licentia::flows::license::keys::mark_revoked;
use licentia::keys::{COMPARED_EVERY, KeyRing, RootKey, bundle};
use licentia::random::Random;
use licentia_verify::KeySet;
use serde_json::json;

use crate::harness::database::HeldLock;
use crate::harness::rotation::{customer, issue, root_of, verdict};
use crate::harness::{Client, TestApp};

const BUNDLE: &str = "/.well-known/license-keys";
const JWKS: &str = "/.well-known/jwks.json";

/// Returns the app of a command, and the key that `licentia keys generate --now` makes with it.
async fn generate_now(app: &TestApp) -> (App, String) {
    let random = || Random::from_system().unwrap();
    let open = async || {
        let opened = App::open(&app.config, app.clock.clone(), random()).await;
        opened.unwrap().0
    };
    let (command, now) = (open().await, app.app.now());
    let (file, _) = KeyRing::add(&app.config, now, true, &random()).unwrap();
    let ring = KeyRing::load(&app.config).unwrap().unwrap();
    let kid = ring.of_file(&file).unwrap().kid.clone();
    command.key_store().register(&ring, Some(&kid), now).await.unwrap();
    publish(app, &command).await;
    (open().await, kid)
}

/// Signs the next bundle, as each command does.
async fn publish(app: &TestApp, command: &App) {
    let root = RootKey::load(&app.config).unwrap().unwrap();
    let oldest = Timestamp::saturating(0);
    command.key_store().publish(&root, oldest, app.app.now()).await.unwrap();
}

/// Returns the codes of an app with the root and of one with the key set, which fetch both now.
async fn codes(app: &TestApp, server: &Client, token: &str) -> [Option<String>; 2] {
    let root = KeySet::from_root(&root_of(&app.app).await, "acme-app").unwrap();
    let jwks = KeySet::from_jwks(&server.get(JWKS).await.text, "acme-app").unwrap();
    let (bundle, now) = (server.get(BUNDLE).await.text, app.app.now());
    [verdict(&root, token, Some(&bundle), now), verdict(&jwks, token, None, now)]
}

#[tokio::test]
async fn what_a_command_signs_and_revokes_shows_on_every_server_after_two_seconds_license_2() {
    let app = TestApp::start().await;
    let servers = [app.client.clone(), app.second_server().await];
    app.sign_up("ada@example.com").await;
    let customer_id = customer(&app.app).await;
    let former = issue(&app.app, &customer_id).await;
    for server in &servers {
        assert_eq!(codes(&app, server, former.token.expose()).await, [None, None]);
    }

    let (command, kid) = generate_now(&app).await;
    let license = issue(&command, &customer_id).await;
    assert_eq!(license.key_id, kid);
    let token = license.token.expose();
    // A server asks the database every two seconds at most.
    let unknown = || Some("unknown_key".to_owned());
    assert_eq!(codes(&app, &servers[1], token).await, [unknown(), unknown()]);
    app.clock.advance_seconds(COMPARED_EVERY.num_seconds());
    for server in &servers {
        assert_eq!(codes(&app, server, token).await, [None, None]);
    }

    mark_revoked(&command.key_store(), &former.key_id, app.app.now()).await.unwrap();
    publish(&app, &command).await;
    app.clock.advance_seconds(COMPARED_EVERY.num_seconds());
    // The response to a refresh has the same bundle.
    let bearer = servers[1].with_token(token);
    let refreshed = bearer.post("/api/licenses/refresh", &json!({})).await;
    assert_eq!(refreshed.status, 200, "{refreshed:?}");
    let claims = bundle::read(refreshed.text("/keys")).unwrap();
    assert_eq!(claims.content.revoked, [former.key_id]);
    for server in &servers {
        let found = codes(&app, server, former.token.expose()).await;
        assert_eq!(found, [Some("key_revoked".to_owned()), unknown()]);
        assert_eq!(codes(&app, server, token).await, [None, None]);
    }
}

#[tokio::test]
async fn the_keys_are_published_while_the_database_fails_or_is_slow() {
    let app = TestApp::start().await;
    app.sign_up("ada@example.com").await;
    let before = [app.client.get(BUNDLE).await.text, app.client.get(JWKS).await.text];
    // The server sees a new record, and cannot write its own new key and bundle.
    let (command, kid) = generate_now(&app).await;
    mark_revoked(&command.key_store(), &kid, app.app.now()).await.unwrap();
    let random = Random::from_system().unwrap();
    KeyRing::add(&app.config, app.app.now(), false, &random).unwrap();
    let lock = HeldLock::take(&app.config.database_url, "signing_keys, key_bundles").await;
    app.clock.advance_seconds(COMPARED_EVERY.num_seconds());
    let ask = |_| app.client.get(BUNDLE);
    for response in futures_util::future::join_all((0..20).map(ask)).await {
        assert_eq!((response.status, &response.text), (200, &before[0]));
    }
    lock.release().await;
    app.app.reload_keys().await.unwrap();
    app.clock.advance_seconds(COMPARED_EVERY.num_seconds());
    let after = [app.client.get(BUNDLE).await.text, app.client.get(JWKS).await.text];
    assert_ne!(after, before);

    app.clock.advance_seconds(7_200);
    app.app.store.close().await;
    assert_eq!([app.client.get(BUNDLE).await.text, app.client.get(JWKS).await.text], after);
}
