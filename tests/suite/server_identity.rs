//! The server's identity in licenses: a command without the server's settings, or with others,
//! issues licenses with the same identity as the server's.

use std::sync::Arc;
use std::time::Duration;

use licentia::app::{App, Files};
use licentia::clock::{Clock, SystemClock};
use licentia::domain::license::IssuedLicense;
use licentia::domain::operator::audit::Actor;
use licentia::flows::license::{refresh, status_list};
use licentia::flows::operator::licenses;
use licentia::random::Random;
use licentia_verify::{Claims, Code, KeySet, Request, inspect};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::TestDatabase;
use crate::harness::database::{execute, number};
use crate::harness::process::{Done, Server, licentia, run};
use crate::harness::rotation::{HOUR, Hands, claims, customer, issue, root_of};
use crate::keys;

const ADDRESS: &str = "https://licenses.acme.example";

/// A server in a process of its own, and the commands beside it.
struct Installation {
    directory: TempDir,
    database: TestDatabase,
    server: Server,
}

impl Installation {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = TestDatabase::empty(directory.path()).await;
        let server = Server::start(directory.path(), &database, settings);
        Self { directory, database, server }
    }

    fn restart(&mut self, settings: &[(&str, &str)]) {
        self.server.end();
        self.server = Server::start(self.directory.path(), &self.database, settings);
    }

    /// Runs a command with settings of its own.
    fn command(&self, arguments: &[&str], settings: &[(&str, &str)]) -> Done {
        let mut command = licentia(self.directory.path());
        command.args(arguments).env("LICENTIA_DATABASE_URL", &self.database.url);
        run(command.envs(settings.iter().copied()))
    }

    /// Issues a license by a command. Returns its token, and the warnings.
    fn issue(&self, settings: &[(&str, &str)]) -> (String, String) {
        let issue =
            ["license", "issue", "--email", "ada@example.com", "--plan", "professional", "--days"];
        let done = self.command(&[&issue[..], &["30", "--json", "--replace"]].concat(), settings);
        assert_eq!(done.code, 0, "{}", done.err);
        let issued: Value = serde_json::from_str(&done.out).unwrap();
        (issued["token"].as_str().unwrap().to_owned(), done.err)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.directory.path().join(name), text).unwrap();
    }
}

/// Returns the claims `iss` and `aud` of a license, the address of its list, and its algorithm.
fn identity(token: &str) -> (String, String, String, Value) {
    let claims = claims(token);
    let uri = claims.status.unwrap().status_list.uri;
    (claims.iss, claims.aud, uri, inspect(token).unwrap().header["alg"].clone())
}

#[tokio::test]
async fn a_command_without_the_servers_settings_issues_what_the_server_would() {
    let settings = [("LICENTIA_PUBLIC_URL", ADDRESS), ("LICENTIA_LICENSE_ALGORITHM", "Ed25519")];
    let installation = Installation::start(&settings).await;
    let request = json!({ "email": "ada@example.com", "password": "SecurePass123" });
    let signed_up = installation.server.client.post("/api/customers/signup", &request).await;
    let of_server = identity(signed_up.text("/license/token"));
    assert_eq!(of_server.0, ADDRESS);
    assert!(of_server.2.starts_with(ADDRESS), "{of_server:?}");

    let (token, warnings) = installation.issue(&[]);
    assert_eq!((identity(&token), warnings.as_str()), (of_server.clone(), ""));
    let verdict =
        installation.server.client.post("/api/licenses/verify", &json!({ "token": token })).await;
    assert_eq!(verdict.body["valid"], true, "{verdict:?}");

    for (name, value) in [
        ("LICENTIA_PUBLIC_URL", "https://other.example"),
        ("LICENTIA_LISTEN", "0.0.0.0:3200"),
        ("LICENTIA_LICENSE_ALGORITHM", "EdDSA"),
    ] {
        let (token, warnings) = installation.issue(&[(name, value)]);
        assert_eq!(identity(&token), of_server, "{name}");
        let is_warned = warnings.contains("warning: `public_url` is https://other.example here");
        assert_eq!(is_warned, name == "LICENTIA_PUBLIC_URL", "{warnings}");
        assert_eq!(warnings.contains(ADDRESS), is_warned, "{warnings}");
    }
    let unsigned = installation.command(&["keys", "bundle", "show", "--unsigned"], &[]);
    let unsigned: Value = serde_json::from_str(&unsigned.out).unwrap();
    assert_eq!(unsigned["iss"], ADDRESS);
    let exported = installation.command(&["status", "export", "--out", "usb", "--json"], &[]);
    let exported: Value = serde_json::from_str(&exported.out).unwrap();
    assert_eq!(exported["lists"].as_array().unwrap().len(), 1);
    assert_eq!(exported["lists"][0]["uri"], of_server.2.as_str());
}

#[tokio::test]
async fn another_issuer_or_algorithm_causes_a_warning_and_another_product_is_refused() {
    const PLANS: &str = "product = \"acme-app\"\nissuer = \"https://issuer.example\"
        [trial]\nplan = \"professional\"\ndays = 14
        [[plan]]\nid = \"professional\"\nname = \"Professional\"\n";
    let mut installation = Installation::start(&[("LICENTIA_PUBLIC_URL", ADDRESS)]).await;
    installation.write("licenses.toml", PLANS);
    installation.write("other.toml", &PLANS.replace("acme-app", "other-app"));
    let request = json!({ "email": "ada@example.com", "password": "SecurePass123" });
    installation.server.client.post("/api/customers/signup", &request).await;
    let plans = ("LICENTIA_PLANS_FILE", "licenses.toml");
    let (token, warnings) = installation.issue(&[plans, ("LICENTIA_LICENSE_ALGORITHM", "Ed25519")]);
    assert_eq!(claims(&token).iss, ADDRESS);
    assert_eq!(identity(&token).3, "EdDSA");
    let warning = "warning: `license_algorithm` is Ed25519 here and does not count: the server has";
    assert!(warnings.contains(warning), "{warnings}");
    let warning = "warning: `issuer` of the plans file is https://issuer.example here";
    assert!(warnings.contains(warning), "{warnings}");
    // Settings with the default value are warned about too, if they were set.
    installation
        .restart(&[("LICENTIA_PUBLIC_URL", ADDRESS), ("LICENTIA_LICENSE_ALGORITHM", "Ed25519")]);
    let (token, warnings) = installation.issue(&[]);
    assert_eq!((identity(&token).3, warnings.as_str()), ("Ed25519".into(), ""));
    let defaults = [
        ("LICENTIA_LICENSE_ALGORITHM", "EdDSA"),
        ("LICENTIA_LISTEN", "127.0.0.1:3100"),
        ("LICENTIA_PUBLIC_URL", "http://127.0.0.1:3100"),
    ];
    let (token, warnings) = installation.issue(&defaults);
    assert_eq!(identity(&token).3, "Ed25519");
    for setting in ["`license_algorithm` is EdDSA", "`public_url` is http://127.0.0.1:3100"] {
        let warning = format!("warning: {setting} here and does not count: the server has");
        assert!(warnings.contains(&warning), "{warnings}");
    }
    installation.restart(&[("LICENTIA_PUBLIC_URL", ADDRESS)]);

    let warning = "warning: `issuer` of the plans file is https://issuer.example here";
    let listed = installation.command(&["keys", "bundle", "show", "--unsigned"], &[plans]);
    assert!(listed.err.contains(warning) && listed.out.contains(ADDRESS), "{listed:?}");

    let issue = ["license", "issue", "--email", "ada@example.com", "--plan", "professional"];
    let issue = [&issue[..], &["--forever"]].concat();
    let refused = installation.command(&issue, &[("LICENTIA_PLANS_FILE", "other.toml")]);
    assert_eq!(refused.code, 1);
    for text in ["\"other-app\"", "\"acme-app\"", "LICENTIA_PLANS_FILE"] {
        assert!(refused.err.contains(text), "{}", refused.err);
    }

    // What the server has at its next start counts from then on, and is recorded once.
    installation.restart(&[("LICENTIA_PUBLIC_URL", ADDRESS), plans]);
    let (token, warnings) = installation.issue(&[plans]);
    assert_eq!((claims(&token).iss.as_str(), warnings.as_str()), ("https://issuer.example", ""));
    let store = installation.database.open().await;
    assert_eq!(number(&store, "SELECT COUNT(*) FROM server_identity").await, 1);
}

/// Starts another server on the database of an installation, at another address.
async fn start_at(installation: &keys::Installation, public_url: &str, clock: &Hands) -> App {
    let mut config = installation.config.clone();
    config.public_url = public_url.parse().unwrap();
    let random = Random::from_system().unwrap();
    App::start(&config, Arc::new(clock.clone()), random).await.unwrap()
}

#[tokio::test]
async fn a_refresh_replaces_a_license_that_names_a_former_address_or_no_list() {
    const NEW: &str = "https://new.acme.example";
    let installation = keys::Installation::new(&[]).await;
    let clock = Hands::now_at(SystemClock.now());
    let former = start_at(&installation, ADDRESS, &clock).await;
    keys::issue_a_license(&former).await;
    let customer_id = customer(&former).await;
    let first = issue(&former, &customer_id).await;
    assert_eq!(claims(first.token.expose()).iss, ADDRESS);

    let server = start_at(&installation, NEW, &clock).await;
    // Servers that disagree about the address replace a license once an hour.
    clock.advance(HOUR - 1);
    assert_eq!(refresh(&server, &first.token).await.unwrap().license_id, first.license_id);
    clock.advance(1);
    let second = refresh(&server, &first.token).await.unwrap();
    let (iss, _, uri, _) = identity(second.token.expose());
    assert_eq!((iss.as_str(), uri), (NEW, format!("{NEW}/.well-known/license-status/2")));
    for server in [&server, &former] {
        let again = refresh(server, &second.token).await.unwrap();
        assert_eq!(again.license_id, second.license_id, "it was replaced again at once");
    }
    // The former one works until its end, with its list, and each is revoked in its own list.
    let keys = KeySet::from_root(&root_of(&server).await, "acme-app").unwrap();
    let code = async |license: &IssuedLicense, list_id: i64| {
        let list = status_list::signed(&server, list_id).await.unwrap();
        let bundle = server.keys.bundle().unwrap();
        let list = std::str::from_utf8(&list.text).unwrap();
        let now = clock.now().to_system_time();
        let request = Request {
            keys: Some(&bundle),
            status: Some(list),
            max_status_age: Some(Duration::from_secs(3_700)),
            ..Request::new(license.token.expose(), now)
        };
        keys.verdict(&request).0.code
    };
    assert_eq!((code(&first, 1).await, code(&second, 2).await), (None, None));
    licenses::revoke(&server, Actor::Operator, &first.license_id).await.unwrap();
    assert_eq!((code(&first, 1).await, code(&second, 2).await), (Some(Code::Revoked), None));

    // A license of a version without lists.
    let key = server.keys.signing(clock.now()).unwrap();
    let old = key.sign(&Claims { status: None, ..claims(second.token.expose()) }).unwrap();
    let token = old.expose();
    let store = &server.store;
    let sql = format!(
        "UPDATE licenses SET token = '{token}', status_list = NULL, status_idx = NULL
         WHERE superseded_at IS NULL"
    );
    execute(store, &sql).await.unwrap();
    clock.advance(HOUR);
    let third = refresh(&server, &old).await.unwrap();
    assert_eq!(code(&third, 2).await, None, "it has an index in the list");
}

#[tokio::test]
async fn a_command_on_a_copy_of_the_database_without_the_servers_keys_signs_nothing() {
    let place = keys::Installation::new(&[]).await;
    let clock = Hands::now_at(SystemClock.now());
    let server = start_at(&place, ADDRESS, &clock).await;
    let mut config = place.config.clone();
    config.keys_dir = place.directory.path().join("keys-of-staging");
    let random = Random::from_system().unwrap();
    licentia::keys::KeyRing::add(&config, server.now(), true, &random).unwrap();
    let refused = App::open(&config, Arc::new(clock), random).await;
    let error = refused.err().expect("it signs").to_string();
    assert!(error.contains("every signing key here"), "{error}");
}

/// A key that is recorded counts as published, so a start that fails must not record one.
#[tokio::test]
async fn a_server_that_does_not_start_records_no_keys_and_no_identity() {
    let place = keys::Installation::new(&[]).await;
    let clock = Hands::now_at(SystemClock.now());
    let server = start_at(&place, ADDRESS, &clock).await;
    let recorded = async || {
        let mut tx = server.store.read().await.unwrap();
        (tx.server_identity().await.unwrap(), tx.key_records().await.unwrap())
    };
    let before = recorded().await;
    assert_eq!(before.0.as_ref().unwrap().public_url, ADDRESS);
    assert_eq!(before.1.len(), 1);
    let mut config = place.config.clone();
    config.public_url = "https://new.acme.example".parse().unwrap();
    let refusal = async || {
        let random = Random::from_system().unwrap();
        let refused = App::start(&config, Arc::new(clock.clone()), random).await;
        refused.err().expect("it started").to_string()
    };
    let random = Random::from_system().unwrap();
    clock.advance(HOUR);
    licentia::keys::KeyRing::add(&config, server.now(), false, &random).unwrap();

    let root = place.keys().join(licentia::keys::ROOT_FILE);
    let kept = place.directory.path().join("kept.key");
    std::fs::rename(&root, &kept).unwrap();
    licentia::keys::RootKey::create(&config, None, &random).unwrap();
    let error = refusal().await;
    assert!(error.contains("is not the root key"), "{error}");
    assert_eq!(recorded().await, before);

    // The key that signs is missing, and the new one has not been announced.
    std::fs::rename(&kept, &root).unwrap();
    let signs = server.keys.current().signing(server.now()).unwrap().file.clone().unwrap();
    std::fs::rename(&signs, &kept).unwrap();
    let error = refusal().await;
    assert!(error.contains("the key that signs until then is missing"), "{error}");
    assert_eq!(recorded().await, before);

    // Nor does one whose Stripe account was not checked yet.
    std::fs::rename(&kept, &signs).unwrap();
    let files = Files::read(&config).unwrap();
    let prepared = files.prepare(&config, Arc::new(clock.clone()), random).await.unwrap();
    assert_eq!(recorded().await, before);
    prepared.publish().await.unwrap();
    let after = recorded().await;
    assert_eq!(after.0.unwrap().public_url, config.public_url.to_string());
    assert_eq!(after.1.len(), 2);
    let bundled = after.1.iter().all(|record| record.bundled_at.is_some());
    assert!(bundled, "{:?}", after.1);
}

#[tokio::test]
async fn a_command_about_keys_with_another_products_plans_changes_nothing() {
    let place = keys::Installation::new(&[]).await;
    let clock = Hands::now_at(SystemClock.now());
    let server = start_at(&place, ADDRESS, &clock).await;
    keys::issue_a_license(&server).await;
    let kid = server.keys.signing(server.now()).unwrap().kid;
    let plans = "product = \"other-app\"\n[trial]\nplan = \"pro\"\ndays = 14
        [[plan]]\nid = \"pro\"\nname = \"Pro\"\n";
    std::fs::write(place.directory.path().join("other.toml"), plans).unwrap();
    std::fs::write(place.directory.path().join("root.json"), root_of(&server).await).unwrap();
    std::fs::write(place.directory.path().join("keys.jwt"), server.keys.bundle().unwrap()).unwrap();
    let url = secrecy::ExposeSecret::expose_secret(&place.config.database_url).to_owned();
    let keys = |arguments: &[&str], settings: &[(&str, &str)]| {
        run(licentia(place.directory.path())
            .arg("keys")
            .args(arguments)
            .env("LICENTIA_DATABASE_URL", &url)
            .envs(settings.iter().copied()))
    };
    let state = async || {
        let files = std::fs::read_dir(place.keys()).unwrap().map(|file| file.unwrap().file_name());
        let mut files: Vec<_> = files.collect();
        files.sort();
        let records = server.store.read().await.unwrap().key_records().await.unwrap();
        (files, records)
    };
    let before = state().await;
    for arguments in [
        &["revoke", &kid][..],
        &["retire", &kid],
        &["generate"],
        &["reload"],
        &["root", "init"],
        &["bundle", "show", "--unsigned"],
        &["bundle", "import", "keys.jwt"],
    ] {
        let refused = keys(arguments, &[("LICENTIA_PLANS_FILE", "other.toml")]);
        assert_eq!(refused.code, 1, "{arguments:?}: {refused:?}");
        assert!(refused.err.contains("\"other-app\""), "{arguments:?}: {}", refused.err);
        assert_eq!(state().await, before, "{arguments:?}");
    }
    let warned = keys(&["revoke", &kid], &[("LICENTIA_PUBLIC_URL", "https://other.example")]);
    assert_eq!(warned.code, 0, "{warned:?}");
    assert_eq!(warned.err.matches("warning: `public_url`").count(), 1, "{}", warned.err);
}
