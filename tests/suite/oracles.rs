//! Third-party tools against a running server: PyJWT and jose verify a license without our code,
//! openvc-core and @sd-jwt/jwt-status-list read a status list, the receivers in the documentation
//! verify outgoing webhooks, schemathesis tests the whole API, clients generated from the API
//! description sign up and verify a license, linters check the description, and a browser uses
//! Swagger UI and the account page. Those that read mails are in `oracles_mail`.
//!
//! They need Python, Node and Chromium, which `./scripts/test` installs before it runs these.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;

use licentia_sandbox::{Options, Sandbox};
use licentia_verify::Code;

use crate::harness::process::{Server, licentia, run};
use crate::harness::shop::add_prices;
use crate::harness::{TestDatabase, until};
use crate::openapi::COMMITTED as DESCRIPTION;
use crate::status_lists::{offline_now, place};

pub const WHY: &str = "needs Python, Node and Chromium: run ./scripts/test";

/// Returns the directory of the programs and packages.
pub fn oracles() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracles")
}

struct Place {
    server: Server,
    database: TestDatabase,
    directory: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    async fn with(settings: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = TestDatabase::empty(directory.path()).await;
        let server = Server::start(directory.path(), &database, settings);
        Self { server, database, directory }
    }

    /// Returns a new admin key with every scope.
    fn admin_key(&self) -> String {
        let mut make = licentia(self.directory.path());
        make.args(["admin-key", "create", "--name", "schemathesis", "--scope", "admin"]);
        must_succeed(make.env("LICENTIA_DATABASE_URL", &self.database.url)).trim().to_owned()
    }

    /// Writes a license and the key set to files, as an app would store them.
    async fn license(&self) -> (PathBuf, PathBuf) {
        let request =
            serde_json::json!({ "email": "ada@example.com", "password": "SecurePass123" });
        let answer = self.server.client.post("/api/customers/signup", &request).await;
        let (token, jwks) =
            (self.directory.path().join("license.jwt"), self.directory.path().join("jwks.json"));
        std::fs::write(&token, answer.text("/license/token")).unwrap();
        let published = self.server.client.get("/.well-known/jwks.json").await.text;
        std::fs::write(&jwks, published).unwrap();
        (token, jwks)
    }
}

/// Runs a command that must succeed. Returns its output.
pub fn must_succeed(command: &mut Command) -> String {
    let done = run(command);
    assert_eq!(done.code, 0, "{WHY}\n{}{}", done.out, done.err);
    done.out
}

#[tokio::test]
#[ignore = "needs Python: run ./scripts/test"]
async fn pyjwt_verifies_a_license_and_refuses_a_forged_one() {
    let place = Place::new().await;
    let (token, jwks) = place.license().await;
    let python = oracles().join(".venv/bin/python");
    let said = must_succeed(
        Command::new(python).arg(oracles().join("verify_pyjwt.py")).args([jwks, token]),
    );
    assert_eq!(
        said,
        "valid: trial\nrefused: InvalidSignatureError\nrefused: InvalidAudienceError\n\
         accepted, although it is over\n"
    );
}

#[tokio::test]
#[ignore = "needs Node: run ./scripts/test"]
async fn jose_verifies_a_license_and_refuses_a_forged_one() {
    let place = Place::new().await;
    let (token, jwks) = place.license().await;
    let said = must_succeed(
        Command::new("node").arg(oracles().join("verify_jose.mjs")).args([jwks, token]),
    );
    assert_eq!(
        said,
        "valid: trial\nrefused: ERR_JWS_SIGNATURE_VERIFICATION_FAILED\n\
         refused: ERR_JWT_CLAIM_VALIDATION_FAILED\naccepted, although it is over\n"
    );
}

impl Place {
    /// Issues licenses and revokes every third one. Writes the key set, the status list and the
    /// licenses to files. Returns their paths, and what a reader of the list should print.
    async fn status_list(&self) -> ([PathBuf; 3], String) {
        let (_, jwks) = self.license().await;
        let command = |arguments: &[&str]| {
            let mut command = licentia(self.directory.path());
            command.args(arguments).env("LICENTIA_DATABASE_URL", &self.database.url);
            // The list's address must be the one that the licenses name.
            must_succeed(command.env("LICENTIA_PUBLIC_URL", "https://acme.example"))
        };
        let issue = ["license", "issue", "--email", "ada@example.com", "--plan", "starter"];
        let issued = (0..9).map(|_| command(&[&issue[..], &["--forever"]].concat()));
        let licenses: Vec<_> = issued.map(|token| token.trim().to_owned()).collect();
        // The last is the current license, which would be revoked with all that it replaced.
        let every_third = 3;
        for license in licenses.iter().step_by(every_third) {
            let claims = licentia_verify::inspect(license).unwrap().claims;
            command(&["license", "revoke", claims["jti"].as_str().unwrap()]);
        }
        let mut expected = String::new();
        for (number, license) in licenses.iter().enumerate() {
            let code = (number % every_third == 0).then_some(Code::Revoked);
            // The server shows what a command did within two seconds.
            until(async || offline_now(&self.server.client, license).await == code).await;
            expected.push_str(code.map_or("valid\n", |_| "revoked\n"));
        }
        expected.push_str("1048576 places, 3 revoked\n");
        let path = place(&licenses[0]).0;
        let [list, texts] =
            ["list.jwt", "licenses.txt"].map(|file| self.directory.path().join(file));
        std::fs::write(&list, self.server.client.get(&path).await.text).unwrap();
        std::fs::write(&texts, licenses.join("\n") + "\n").unwrap();
        ([jwks, list, texts], expected)
    }
}

#[tokio::test]
#[ignore = "needs Python: run ./scripts/test"]
async fn the_python_package_openvc_core_reads_the_same_bits_of_a_status_list_license_3() {
    let place = Place::new().await;
    let (files, expected) = place.status_list().await;
    let python = oracles().join(".venv/bin/python");
    let program = oracles().join("read_status_list.py");
    assert_eq!(must_succeed(Command::new(python).arg(program).args(files)), expected);
}

#[tokio::test]
#[ignore = "needs Node: run ./scripts/test"]
async fn the_npm_package_sd_jwt_reads_the_same_bits_of_a_status_list_license_3() {
    let place = Place::new().await;
    let (files, expected) = place.status_list().await;
    let program = oracles().join("read_status_list.mjs");
    assert_eq!(must_succeed(Command::new("node").arg(program).args(files)), expected);
}

#[tokio::test]
#[ignore = "needs Node and Chromium: run ./scripts/test"]
async fn a_browser_signs_up_in_swagger_ui_and_sees_the_license() {
    let place = Place::new().await;
    let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    std::fs::create_dir_all(&screenshots).unwrap();
    let said = must_succeed(
        Command::new("node")
            .arg(oracles().join("swagger_ui.mjs"))
            .arg(&place.server.client.base)
            .arg(&screenshots),
    );
    assert!(said.contains("signed up: 201\n"), "{said}");
    assert!(said.contains("authorized\n"), "{said}");
    assert!(said.contains("current license: 200 trial\n"), "{said}");
    assert!(said.contains("own example of each error: 3 of 422\n"), "{said}");
}

/// The output of the programs that use a generated client.
const CLIENT_OUTPUT: &str = "signed up: Grace Hopper\nrefused: 409 email_taken\n\
     verified: trial\nrefused: 401 unauthenticated\n";

#[tokio::test]
#[ignore = "needs Python: run ./scripts/test"]
async fn the_python_client_that_is_generated_signs_up_and_verifies_the_license() {
    let place = Place::new().await;
    let (directory, base) = (place.directory.path(), &place.server.client.base);
    must_succeed(
        Command::new(oracles().join(".venv/bin/openapi-python-client"))
            .args(["generate", "--meta", "none", "--fail-on-warning", "--config"])
            .arg(oracles().join("openapi_python_client.yaml"))
            .args(["--url", &format!("{base}/openapi.json"), "--output-path"])
            .arg(directory.join("licentia_client")),
    );
    let said = must_succeed(
        Command::new(oracles().join(".venv/bin/python"))
            .arg(oracles().join("generated_client.py"))
            .arg(base)
            .env("PYTHONPATH", directory),
    );
    assert_eq!(said, CLIENT_OUTPUT);
}

#[tokio::test]
#[ignore = "needs Node: run ./scripts/test"]
async fn the_npm_client_that_is_generated_signs_up_and_verifies_the_license() {
    let place = Place::new().await;
    let (base, packages) = (&place.server.client.base, oracles().join("node_modules"));
    let directory = place.directory.path().join("client");
    std::fs::create_dir(&directory).unwrap();
    for file in ["generated_client.ts", "package.json"] {
        std::fs::copy(oracles().join(file), directory.join(file)).unwrap();
    }
    std::os::unix::fs::symlink(&packages, directory.join("node_modules")).unwrap();
    must_succeed(
        Command::new(packages.join(".bin/openapi-typescript"))
            .args([&format!("{base}/openapi.json"), "--output", "api.ts"])
            .current_dir(&directory),
    );
    // The compiler checks the program against the description. No other types are in its way.
    must_succeed(
        Command::new(packages.join(".bin/tsc"))
            .args(["--strict", "--target", "es2022", "--module", "nodenext", "--skipLibCheck"])
            .args(["--typeRoots", "none", "generated_client.ts"])
            .current_dir(&directory),
    );
    let said =
        must_succeed(Command::new("node").arg(directory.join("generated_client.js")).arg(base));
    assert_eq!(said, CLIENT_OUTPUT);
}

#[test]
#[ignore = "needs Node: run ./scripts/test"]
fn the_npm_linters_redocly_and_spectral_find_no_error_in_the_description() {
    let programs = oracles().join("node_modules/.bin");
    must_succeed(
        Command::new(programs.join("redocly"))
            .args(["lint", DESCRIPTION])
            .env("REDOCLY_TELEMETRY", "off")
            .env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true"),
    );
    must_succeed(
        Command::new(programs.join("spectral"))
            .args(["lint", "--fail-severity", "warn", "--ruleset"])
            .arg(oracles().join("spectral.yaml"))
            .arg(DESCRIPTION),
    );
}

#[tokio::test]
#[ignore = "needs Node and Chromium: run ./scripts/test"]
async fn a_browser_logs_in_at_the_account_page_that_mails_link_to() {
    let place = Place::new().await;
    let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    std::fs::create_dir_all(&screenshots).unwrap();
    let said = must_succeed(
        Command::new("node")
            .arg(oracles().join("account_page.mjs"))
            .arg(&place.server.client.base)
            .arg(&screenshots),
    );
    assert!(said.ends_with("\nclosed: /account/portal/closed\n"), "{said}");
}

/// A receiver of outgoing webhooks: a program from the documentation.
struct DocumentedReceiver {
    child: std::process::Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    port: u16,
}

impl DocumentedReceiver {
    /// Starts the program in the block of this language, with this secret.
    fn start(mut command: Command, language: &str, file: &Path, secret: &str) -> Self {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/outgoing-webhooks.md");
        let page = std::fs::read_to_string(page).unwrap();
        let (_, program) = page.split_once(&format!("```{language}\n")).unwrap();
        std::fs::write(file, program.split_once("\n```\n").unwrap().0).unwrap();
        let mut child = command
            .arg(file)
            .current_dir(file.parent().unwrap())
            .env("WEBHOOK_SECRET", secret)
            .env("PORT", "0")
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect(WHY);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let listening = lines.next().expect(WHY).unwrap();
        let port = listening.strip_prefix("listening on ").unwrap().parse().unwrap();
        Self { child, lines, port }
    }

    /// Returns the next line that it printed about an event.
    fn event(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }
}

impl Drop for DocumentedReceiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Signs a customer up. Returns the customer's id.
async fn sign_up(place: &Place, email: &str) -> String {
    let request = serde_json::json!({ "email": email, "password": "SecurePass123" });
    let answer = place.server.client.post("/api/customers/signup", &request).await;
    answer.text("/customer/customer_id").to_owned()
}

/// Delivers events to a receiver from the documentation.
async fn deliver_to(command: Command, language: &str, file: &str) {
    let place = Place::with(&[("LICENTIA_WEBHOOKS__ALLOW_PRIVATE", "true")]).await;
    let admin = place.server.client.with_token(&place.admin_key());
    let new = serde_json::json!({ "url": "http://127.0.0.1:1/", "events": ["customer.created"] });
    let created = admin.post("/api/admin/webhooks", &new).await;
    let directory = place.directory.path();
    let packages = directory.join("node_modules");
    std::os::unix::fs::symlink(oracles().join("node_modules"), packages).unwrap();
    let file = directory.join(file);
    let secret = created.text("/secret");
    let mut receiver = DocumentedReceiver::start(command, language, &file, secret);
    let url = format!("http://127.0.0.1:{}/", receiver.port);
    let path = format!("/api/admin/webhooks/{}", created.text("/webhook_id"));
    admin.patch(&path, &serde_json::json!({ "url": url })).await;

    let ada = sign_up(&place, "ada@example.com").await;
    assert_eq!(receiver.event(), format!("customer.created {ada}"));
    // A delivery that arrives again has the same id and no effect. A request without a signature is
    // refused.
    let deliveries = format!("{path}/deliveries");
    let state = async || {
        let listed = admin.get(&deliveries).await;
        let last = listed.body["deliveries"].as_array().unwrap().last().unwrap().clone();
        (last["state"].clone(), last["delivery_id"].as_str().unwrap().to_owned())
    };
    until(async || state().await.0 == "delivered").await;
    let replay = format!("{deliveries}/{}/replay", state().await.1);
    assert_eq!(admin.send(reqwest::Method::POST, &replay, None).await.status, 200);
    until(async || state().await.0 == "delivered").await;
    let forged = reqwest::Client::new().post(&url).body("{}").send().await.unwrap();
    assert_eq!(forged.status(), 401);
    // After a rotation, the former secret still verifies.
    let rotated = admin.patch(&path, &serde_json::json!({ "rotate_secret": true })).await;
    assert_ne!(rotated.text("/secret"), secret);
    let bob = sign_up(&place, "bob@example.com").await;
    assert_eq!(receiver.event(), format!("customer.created {bob}"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Python: run ./scripts/test"]
async fn the_python_package_standardwebhooks_verifies_deliveries() {
    deliver_to(Command::new(oracles().join(".venv/bin/python")), "python", "receiver.py").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Node: run ./scripts/test"]
async fn the_npm_package_standardwebhooks_verifies_deliveries() {
    deliver_to(Command::new("node"), "js", "receiver.mjs").await;
}

/// The requests come from a fixed seed, so the test does not fail by chance; `scripts/soak` sets
/// another one.
#[tokio::test]
#[ignore = "needs Python: run ./scripts/test"]
async fn schemathesis_finds_no_violation() {
    // With an account at Stripe's double, because without one, buying returns 503 by design.
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    add_prices(&sandbox);
    let place = Place::with(&[
        ("LICENTIA_STRIPE__SECRET_KEY", sandbox.secret_key()),
        ("LICENTIA_STRIPE__API_URL", sandbox.url()),
        ("LICENTIA_STRIPE__WEBHOOK_SECRET", "whsec_1"),
        ("LICENTIA_TRUSTED_PROXIES", "127.0.0.1"),
    ])
    .await;
    let mut command = Command::new(oracles().join(".venv/bin/schemathesis"));
    command
        .arg("--config-file")
        .arg(oracles().join("schemathesis.toml"))
        .arg("run")
        .arg(format!("{}/openapi.json", place.server.client.base))
        .args(["--seed", &std::env::var("SCHEMATHESIS_SEED").unwrap_or_else(|_| "1".to_owned())])
        .env("NO_COLOR", "1")
        .env("ADMIN_KEY", place.admin_key())
        .env("PYTHONPATH", oracles())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(place.directory.path());
    // In a thread of its own, because the double responds in this one.
    tokio::task::spawn_blocking(move || must_succeed(&mut command)).await.unwrap();
}
