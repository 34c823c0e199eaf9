//! Starting the binary: with nothing configured, with mistakes, and stopping it again.

use crate::harness::TestDatabase;
use crate::harness::process::{Server, licentia, run};

#[tokio::test]
async fn an_empty_folder_is_enough() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::empty(directory.path()).await;
    let server = Server::start(directory.path(), &database, &[]);
    let greeting = &server.greeting;
    assert!(greeting.contains(&format!("Swagger UI  {}/docs", server.client.base)), "{greeting}");
    let request = serde_json::json!({ "email": "ada@example.com", "password": "SecurePass123" });
    let answer = server.client.post("/api/customers/signup", &request).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let claims = licentia_verify::inspect(answer.text("/license/token")).unwrap().claims;
    assert_eq!(claims["aud"], "acme-app");
    assert_eq!(claims["iss"], "http://127.0.0.1:0");
    assert_eq!(server.stop(), Some(0));
    assert!(directory.path().join("keys").is_dir());

    // What was answered is still there after a start on the same files.
    let server = Server::start(directory.path(), &database, &[]);
    let login = server.client.post("/api/customers/login", &request).await;
    assert_eq!(login.status, 200, "{}", login.text);
}

#[test]
fn every_mistake_is_told_at_once_and_nothing_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let refused = run(licentia(directory.path())
        .arg("serve")
        .env("LICENTIA_LISTEN", "everywhere")
        .env("LICENTIA_KEY_DIR", "keys")
        .env("LICENTIA_PUBLIC_URL", "ftp://acme.example"));
    assert_eq!(refused.code, 1);
    for expected in [
        "error: `listen` (LICENTIA_LISTEN): \"everywhere\": use an address and a port",
        "did you mean `keys_dir`?",
        "error: `public_url` (LICENTIA_PUBLIC_URL): \"ftp://acme.example\": use a URL",
    ] {
        assert!(refused.err.contains(expected), "{expected}\nis not in\n{}", refused.err);
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn mistakes_in_plans_and_keys_are_told_together() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("plans.toml"), "product = 7").unwrap();
    std::fs::create_dir(directory.path().join("keys")).unwrap();
    std::fs::write(directory.path().join("keys/mine.pem"), "no key").unwrap();
    let refused = run(licentia(directory.path()).arg("serve"));
    assert_eq!(refused.code, 1);
    for expected in [
        "plans.toml: `product`: 7 does not fit",
        "plans.toml: `trial.plan`: it is missing",
        "keys/mine.pem is not named after the time",
    ] {
        assert!(refused.err.contains(expected), "{expected}\nis not in\n{}", refused.err);
    }
    assert!(!directory.path().join("licentia.db").exists(), "a database was made");
}

#[tokio::test]
async fn an_address_in_use_is_named_with_the_setting() {
    let directory = tempfile::tempdir().unwrap();
    let database = TestDatabase::new(directory.path()).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = run(licentia(directory.path())
        .arg("serve")
        .env("LICENTIA_DATABASE_URL", &database.url)
        .env("LICENTIA_LISTEN", taken.local_addr().unwrap().to_string()));
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("LICENTIA_LISTEN"), "{}", refused.err);
}

#[test]
fn a_database_that_cannot_be_opened_is_named_without_its_password() {
    let directory = tempfile::tempdir().unwrap();
    for url in [
        "sqlite:///nowhere/at/all/licentia.db",
        "postgres://licentia:hunter2@127.0.0.1:1/licentia",
        "postgres://licentia:hunter2@",
    ] {
        let refused =
            run(licentia(directory.path()).arg("serve").env("LICENTIA_DATABASE_URL", url));
        assert_eq!(refused.code, 1, "{url}");
        assert!(refused.err.contains("database"), "{}", refused.err);
        assert!(!refused.err.contains("hunter2"), "{}", refused.err);
    }
}
