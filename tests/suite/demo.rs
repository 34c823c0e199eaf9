//! `licentia demo`: the walk proves every step, plain `demo` starts and stops, and neither runs
//! where it could do harm. The steps and their checks are in `src/cli/demo`.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::process::{licentia, run};
use crate::openapi::request_example;

/// Returns the demo, with its temporary files where the test sees whether they are removed.
fn demo(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = licentia(directory);
    command.arg("demo").args(arguments).env("TMPDIR", directory);
    command
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().next().is_none()
}

#[test]
fn the_walk_proves_every_step_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    // The configuration is neither needed nor touched.
    let done = run(demo(directory.path(), &["--walk"])
        .env("LICENTIA_DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing")
        .env("LICENTIA_EMAIL__SMTP_URL", "smtp://127.0.0.1:1")
        .env("LICENTIA_STRIPE__SECRET_KEY", "sk_test_1")
        .env("LICENTIA_STRIPE__API_URL", "http://127.0.0.1:1")
        .env("LICENTIA_SIGNING_KEY", "no key"));
    assert_eq!(done.code, 0, "{}{}", done.out, done.err);
    let steps = [
        "signed up ada@example.com: trial license, Stripe was not called",
        "the trial license verifies offline with the published keys (plan trial, until 20",
        "opened a checkout for `professional`; a second call returned the same one",
        "paid with 4242 4242 4242 4242: ",
        "the subscription is active, the order of 49.00 usd succeeded",
        "mail arrived (\"Your new license for acme-app\") with license.jwt attached, the same as",
        "the paid license verifies offline (plan professional, until 20",
        "the app refreshed its old license without a password and got the new one",
        "a month later: renewed, a second order, license until 20",
        "canceled in the portal: cancel_at 20",
        "carol@example.com bought `studio` once: the license has no end, and covers the builds until",
        "after 20",
        "dan@example.com bought 3 seats of `team` with the code LAUNCH20: 21.60 usd instead of 27.00",
        "5 seats instead of 3: ",
        "bob@example.com bought and was refunded in full: the order is `refunded`",
    ];
    let mut lines = done.out.lines();
    for (place, step) in steps.iter().enumerate() {
        let expected = format!("{:>2} ✓ {step}", place + 1);
        let line = lines.next().unwrap_or_default();
        assert!(line.starts_with(&expected), "{expected}\nis not the line\n{line}");
    }
    let last = lines.next().unwrap_or_default();
    assert!(last.starts_with("All 15 steps passed in "), "{last}");
    assert_eq!(lines.next(), None);
    assert_eq!(done.err, "", "nothing is worth a warning");
    assert!(is_empty(directory.path()), "something was left");
}

#[test]
fn the_demo_does_not_run_where_it_could_do_harm() {
    let directory = tempfile::tempdir().unwrap();
    for (name, value, says) in [
        ("LICENTIA_STRIPE__SECRET_KEY", "sk_live_canary", "LICENTIA_STRIPE__SECRET_KEY"),
        ("LICENTIA_STRIPE__SECRET_KEY", "rk_live_canary", "is a live key"),
        ("LICENTIA_LISTEN", "0.0.0.0:0", "loopback address, like 127.0.0.1:3100"),
        ("LICENTIA_LISTEN", "[::]:0", "(LICENTIA_LISTEN)"),
    ] {
        for arguments in [&["--walk"][..], &[]] {
            let refused = run(demo(directory.path(), arguments).env(name, value));
            assert_eq!((refused.code, refused.out.as_str()), (1, ""), "{value}");
            assert!(refused.err.contains(says), "{value}: {}", refused.err);
            assert!(!refused.err.contains("canary"), "a secret is shown: {}", refused.err);
        }
    }
    assert!(is_empty(directory.path()));
}

#[test]
fn a_port_in_use_is_reported_with_its_setting() {
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    // In use are the port of Licentia itself, or the next one, which is the sandbox's.
    for port in [taken.port(), taken.port() - 1] {
        let listen = format!("127.0.0.1:{port}");
        let refused = run(demo(directory.path(), &[]).env("LICENTIA_LISTEN", listen));
        assert_eq!(refused.code, 1, "{}", refused.out);
        assert!(refused.err.contains("LICENTIA_LISTEN"), "{}", refused.err);
    }
    assert!(is_empty(directory.path()));
}

/// A running demo, which ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends the examples of the API description, as Swagger UI does.
async fn the_examples_work(http: &reqwest::Client, service: &str) {
    let document = http.get(format!("{service}/openapi.json")).send().await.unwrap();
    let document: serde_json::Value = document.json().await.unwrap();
    let send = async |path: &str, token: &str| {
        let example = request_example(&document, &document["paths"][path]["post"]);
        let request = http.post(format!("{service}{path}")).bearer_auth(token).json(&example);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json::<serde_json::Value>().await.unwrap())
    };
    let (status, body) = send("/api/customers/signup", "").await;
    assert_eq!(status, 201, "{body}");
    let (status, body) = send("/api/customers/login", "").await;
    assert_eq!(status, 200, "{body}");
    let session = body["access_token"].as_str().unwrap();
    let (status, body) = send("/api/subscriptions/checkout", session).await;
    assert_eq!(status, 200, "{body}");
}

#[tokio::test]
async fn the_demo_starts_prints_its_addresses_and_stops_on_sigterm() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = demo(directory.path(), &[]);
    command.env("LICENTIA_LISTEN", "127.0.0.1:0").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = Running(command.spawn().unwrap());
    let mut out = BufReader::new(running.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut address = |name: &str| {
        let line = out.find(|line| line.trim_start().starts_with(name));
        let line = line.unwrap_or_else(|| panic!("{name} is not told"));
        line.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned()
    };
    let (docs, stripe, mail) = (address("Swagger UI"), address("Stripe"), address("Mail"));
    let service = docs.trim_end_matches("/docs");

    let http = reqwest::Client::new();
    let ask = async |url: &str| {
        let answer = http.get(url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(ask(&format!("{service}/health/live")).await.0, 200);
    assert_eq!(ask(&docs).await.0, 200);
    assert!(ask(&stripe).await.1.contains("A month ahead"));
    assert_eq!(ask(&mail).await.0, 200);
    let login = serde_json::json!({ "email": "ada@example.com", "password": "SecurePass123" });
    let login = http.post(format!("{service}/api/customers/login")).json(&login);
    let session: serde_json::Value = login.send().await.unwrap().json().await.unwrap();
    let wanted = serde_json::json!({
        "plan": "professional", "success_url": &stripe, "cancel_url": &docs,
    });
    let checkout = http.post(format!("{service}/api/subscriptions/checkout")).json(&wanted);
    let opened = checkout.bearer_auth(session["access_token"].as_str().unwrap());
    assert_eq!(opened.send().await.unwrap().status(), 200);
    the_examples_work(&http, service).await;

    let pid = running.0.id().to_string();
    assert!(Command::new("kill").arg(&pid).status().unwrap().success());
    assert_eq!(running.0.wait().unwrap().code(), Some(0));
    let mut err = String::new();
    running.0.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!(err, "");
    assert!(is_empty(directory.path()), "something was left");
}
