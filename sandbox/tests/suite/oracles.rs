//! Stripe's own packages use the sandbox, with only its address and key, and a browser uses its
//! pages.
//!
//! They need Python, Node and Chromium, which `./scripts/test` installs before it runs these.

use std::path::{Path, PathBuf};
use std::process::Command;

use licentia_sandbox::{Options, Sandbox};

use crate::harness::Stripe;

const SAID: &str = "customers: created, changed, found, listed
checkout: declined, then paid, under one idempotency key
subscription: active, ending, going on, in the portal
invoice: paid, refunded in part; subscription: canceled
one-time payment: discounted, in euros, then its invoice
seats: previewed, then changed and paid
trial: paused without a card; its invoice: taxed, with the tax id
payment link: opened, discounted, paid for two items
cards: the fingerprint is that of the number
change of two items with a discount: declined, then paid on the page of its invoice
webhook: accepted; altered: refused; events: listed
errors: as Stripe's
";

fn oracles() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracles")
}

/// Runs a script against a sandbox. Returns its output; it must succeed.
async fn drive(sandbox: &Sandbox, program: PathBuf, script: &str, more: &[&Path]) -> String {
    let mut command = Command::new(program);
    command.arg(oracles().join(script)).args([sandbox.url(), sandbox.secret_key()]).args(more);
    let done = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let problem = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "needs the packages: run ./scripts/test\n{said}{problem}");
    said
}

#[tokio::test]
#[ignore = "needs Python: run ./scripts/test"]
async fn the_python_package_of_stripe_works_with_the_sandbox() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    let python = oracles().join(".venv/bin/python");
    assert_eq!(drive(&sandbox, python, "drive_stripe.py", &[]).await, SAID);
}

#[tokio::test]
#[ignore = "needs Node: run ./scripts/test"]
async fn the_npm_package_of_stripe_works_with_the_sandbox() {
    let sandbox = Sandbox::start(Options::default()).await.unwrap();
    assert_eq!(drive(&sandbox, "node".into(), "drive_stripe.mjs", &[]).await, SAID);
}

#[tokio::test]
#[ignore = "needs Node and Chromium: run ./scripts/test"]
async fn a_browser_pays_is_declined_authenticates_and_cancels() {
    let stripe = Stripe::start().await;
    let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
    std::fs::create_dir_all(&screenshots).unwrap();
    let script = "sandbox_pages.mjs";
    let said = drive(&stripe.sandbox, "node".into(), script, &[&screenshots]).await;
    assert!(said.ends_with("complaints of the browser: 0\n"), "{said}");
}
