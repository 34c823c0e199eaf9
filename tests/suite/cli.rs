//! The command line: verdicts, exit codes, help. Commands of one subject are tested with it.

use std::io::Write;
use std::process::Stdio;

use licentia::domain::license::BACKDATED;
use serde_json::Value;

use crate::harness::TestApp;
use crate::harness::database::{Kind, kind};
use crate::harness::process::{Done, licentia, run};

struct Licensed {
    app: TestApp,
    token: String,
}

impl Licensed {
    async fn new() -> Self {
        let app = TestApp::start().await;
        let token = app.sign_up("ada@example.com").await.text("/license/token").to_owned();
        let jwks = app.client.get("/.well-known/jwks.json").await.text;
        std::fs::write(app.directory.path().join("jwks.json"), jwks).unwrap();
        Self { app, token }
    }

    fn license(&self, arguments: &[&str]) -> Done {
        let directory = self.app.directory.path();
        let url = secrecy::ExposeSecret::expose_secret(&self.app.config.database_url);
        run(licentia(directory).arg("license").args(arguments).env("LICENTIA_DATABASE_URL", url))
    }

    fn verify(&self, more: &[&str], token: &str) -> (i32, Value) {
        let now = crate::harness::START.to_string();
        let mut arguments = vec!["verify", "--jwks", "jwks.json", "--audience", "acme-app"];
        if !more.contains(&"--now") {
            arguments.extend(["--now", &now]);
        }
        arguments.extend(more);
        arguments.push(token);
        let done = self.license(&arguments);
        let verdict = serde_json::from_str(&done.out).unwrap_or(Value::Null);
        assert!(done.code == 2 || verdict.is_object(), "{done:?}");
        (done.code, verdict)
    }
}

#[tokio::test]
async fn verify_says_whether_a_license_covers_a_build() {
    let licensed = Licensed::new().await;
    let app = &licensed.app.app;
    let claims = licentia_verify::inspect(&licensed.token).unwrap().claims;
    let mut claims: licentia_verify::Claims = serde_json::from_value(claims.into()).unwrap();
    claims.updates_until = Some(crate::harness::START);
    let limited = app.keys.signing(app.now()).unwrap().sign(&claims).unwrap();
    let verify = |build: &str, token: &str| {
        let (code, verdict) = licensed.verify(&["--build", build], token);
        (code, verdict["reason"].as_str().unwrap_or_default().to_owned())
    };
    for covered in ["1795186800", "2026-11-20T15:00:00Z", "2026-11-20T16:00:00+01:00"] {
        assert_eq!(verify(covered, limited.expose()), (0, String::new()), "{covered}");
    }
    for later in ["1795186801", "2026-11-20T15:00:01Z"] {
        assert_eq!(verify(later, limited.expose()), (1, "update_not_covered".into()), "{later}");
        assert_eq!(verify(later, &licensed.token), (0, String::new()), "it covers every build");
    }
    assert_eq!(licensed.verify(&[], limited.expose()).0, 0, "the build is unknown");
    assert_eq!(verify("soon", limited.expose()).0, 2);
}

#[tokio::test]
async fn verify_exits_0_for_valid_1_for_invalid_2_for_a_wrong_call() {
    let licensed = Licensed::new().await;
    let token = &licensed.token;
    let (code, verdict) = licensed.verify(&[], token);
    assert_eq!((code, &verdict["valid"], &verdict["state"]), (0, &true.into(), &"active".into()));
    assert_eq!(verdict["claims"]["plan"], "trial");
    assert_eq!(verdict["changes_at"], crate::harness::START + 14 * 86_400, "epoch seconds");
    for member in ["code", "reason", "updates_until"] {
        assert_eq!(verdict[member], Value::Null, "{member}");
    }

    let late = (crate::harness::START + 14 * 86_400).to_string();
    for (more, reason) in [
        (&["--now", &late][..], "license_expired"),
        (&["--now", "1"], "not_yet_valid"),
        (&["--audience", "other-app"], ""),
        (&["--issuer", "https://other.example"], "wrong_issuer"),
    ] {
        let (code, verdict) = licensed.verify(more, token);
        if reason.is_empty() {
            assert_eq!(code, 2, "the same option twice is a wrong call");
            continue;
        }
        assert_eq!(
            (code, &verdict["valid"], &verdict["code"], &verdict["reason"]),
            (1, &false.into(), &reason.into(), &reason.into())
        );
    }
    let issuer = licensed.app.app.issuer.clone();
    assert_eq!(licensed.verify(&["--issuer", &issuer], token).0, 0);
    assert_eq!(licensed.verify(&[], "nonsense").1["reason"], "malformed");

    let missing = licensed.license(&["verify", "--jwks", "no.json", "--audience", "a", token]);
    assert_eq!(missing.code, 2);
    assert!(missing.err.contains("no.json"), "{}", missing.err);
    assert_eq!(licensed.license(&["verify", token]).code, 2);
    assert_eq!(licensed.verify(&["--now", "soon"], token).0, 2);
    std::fs::write(licensed.app.directory.path().join("jwks.json"), "{}").unwrap();
    assert_eq!(licensed.verify(&[], token).0, 2);
}

#[tokio::test]
async fn a_license_is_read_from_standard_input() {
    let licensed = Licensed::new().await;
    let now = crate::harness::START.to_string();
    let arguments =
        ["license", "verify", "--jwks", "jwks.json", "--audience", "acme-app", "--now", &now, "-"];
    let mut child = licentia(licensed.app.directory.path())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{}", licensed.token).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn inspect_shows_the_claims_and_says_that_nothing_was_verified() {
    let licensed = Licensed::new().await;
    let done = licensed.license(&["inspect", &licensed.token]);
    let shown: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((done.code, &shown["verified"]), (0, &false.into()));
    assert_eq!(shown["header"]["typ"], "license+jwt");
    assert_eq!(shown["claims"]["plan"], "trial");
    let wrong = licensed.license(&["inspect", "nonsense"]);
    assert_eq!(wrong.code, 1);
    assert!(wrong.err.contains("this is not a license"), "{}", wrong.err);
}

#[tokio::test]
async fn issue_grants_a_customer_a_license() {
    let licensed = Licensed::new().await;
    let email = ["issue", "--email", "ada@example.com", "--plan", "professional"];
    let done = licensed.license(&[&email[..], &["--days", "365"]].concat());
    assert_eq!(done.code, 0, "{}", done.err);
    let claims = licentia_verify::inspect(done.out.trim()).unwrap().claims;
    assert_eq!(
        (&claims["plan"], &claims["trial"], &claims["seq"]),
        (&"professional".into(), &false.into(), &2.into())
    );
    let lasts = claims["license_expires"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    // `iat` lies before the time of signing, for devices whose clock is behind.
    assert_eq!(lasts, 365 * 86_400 + BACKDATED.num_seconds());

    let forever = licensed.license(&[&email[..], &["--forever", "--json"]].concat());
    let issued: Value = serde_json::from_str(&forever.out).unwrap();
    assert!(issued["expires_at"].is_null());
    assert_eq!(licensed.app.count("licenses").await, 3);

    for (arguments, code, says) in [
        (
            &["--email", "eve@example.com", "--plan", "professional", "--forever"][..],
            1,
            "no such customer",
        ),
        (
            &["--email", "ada@example.com", "--plan", "gold", "--forever"],
            1,
            "there is no plan \"gold\"; the plans are: trial",
        ),
        (&["--email", "ada@example.com", "--plan", "professional"], 2, "--days"),
        (&["--plan", "professional", "--forever"], 2, "--email"),
        (&["--customer", "cus_1", "--plan", "professional", "--forever"], 2, "cust_"),
        (&["--email", "ada@example.com", "--plan", "professional", "--days", "0"], 2, "--days"),
    ] {
        let done = licensed.license(&[&["issue"], arguments].concat());
        assert_eq!(done.code, code, "{arguments:?}: {}", done.err);
        assert!(done.err.contains(says), "{arguments:?}: {}", done.err);
    }
    assert_eq!(licensed.app.count("licenses").await, 3);
}

#[test]
fn a_command_that_only_reads_never_creates_a_database() {
    if kind() == Kind::Postgres {
        return; // Only SQLite creates a database by itself.
    }
    let directory = tempfile::tempdir().unwrap();
    for arguments in [
        &["migrate", "status"][..],
        &["migrate", "down"],
        &["license", "issue", "--email", "a@example.com", "--plan", "trial", "--forever"],
    ] {
        let done = run(licentia(directory.path()).args(arguments));
        assert_eq!(done.code, 1, "{arguments:?}");
        assert!(done.err.contains("there is no database licentia.db"), "{}", done.err);
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn every_command_has_help_with_an_example() {
    let directory = tempfile::tempdir().unwrap();
    for command in [
        "",
        "serve",
        "demo",
        "migrate",
        "migrate up",
        "migrate down",
        "migrate status",
        "keys",
        "keys generate",
        "keys revoke",
        "keys list",
        "admin-key",
        "admin-key create",
        "admin-key list",
        "admin-key revoke",
        "email",
        "stripe",
        "stripe setup",
        "stripe backfill",
        "import",
        "import customers",
        "reconcile",
        "events",
        "events list",
        "events show",
        "events replay",
        "license",
        "license verify",
        "license explain",
        "license inspect",
        "license issue",
        "openapi",
    ] {
        let arguments = command.split_whitespace().chain(["--help"]);
        let help = run(licentia(directory.path()).args(arguments));
        assert_eq!(help.code, 0, "{command}");
        assert!(help.out.contains("Example"), "{command}: {}", help.out);
        assert!(help.out.contains("licentia "), "{command}: {}", help.out);
    }
    let nothing = run(&mut licentia(directory.path()));
    assert_eq!(nothing.code, 2);
    let wrong = run(licentia(directory.path()).arg("sevre"));
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("serve"), "{}", wrong.err);
    let version = run(licentia(directory.path()).arg("--version"));
    assert_eq!(version.out, format!("licentia {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn openapi_prints_what_is_served() {
    let directory = tempfile::tempdir().unwrap();
    let printed = run(licentia(directory.path()).arg("openapi"));
    assert_eq!(printed.out, licentia::http::openapi::text());
}
