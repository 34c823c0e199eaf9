//! The guides in docs/ are true: each runs as a reader would run it, against the service and
//! Stripe's double.
//!
//! The first `toml` block of a guide is the plans file. Each `sh` block runs in one folder, with
//! curl, sed and `licentia`; a `json` block after it is what it prints. In that, `"…"` stands for
//! any value, and the member `"…": "…"` for more members. What a person does on Stripe's pages is
//! marked by a comment: `<!-- test: pay -->`, `code`, `buy` or `refund`; and time that passes by
//! `<!-- test: pass 30 days -->`.

use std::path::{Path, PathBuf};
use std::process::Command;

use licentia_sandbox::{Card, CouponDuration, Options, Paid};
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::harness::shop::{Buyer, Shop, session_of};

/// A part of a guide that the test acts on.
#[derive(Debug)]
enum Step {
    /// A shell script, with its first line.
    Run(usize, String),
    /// The expected output of the last script.
    Prints(String),
    /// Something that a person does.
    Act(String),
}

/// Returns the plans file of a guide, and its steps.
fn read(guide: &str) -> (String, Vec<Step>) {
    let (mut plans, mut steps) = (None, Vec::new());
    let mut lines = guide.lines().enumerate();
    while let Some((n, line)) = lines.next() {
        if let Some(act) = line.strip_prefix("<!-- test: ") {
            steps.push(Step::Act(act.trim_end_matches(" -->").to_owned()));
        }
        let Some(language) = line.strip_prefix("```").filter(|language| !language.is_empty())
        else {
            continue;
        };
        let block = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
        let block: String = block.map(|line| format!("{line}\n")).collect();
        match language {
            "toml" if plans.is_none() => plans = Some(block),
            "sh" => steps.push(Step::Run(n + 2, block)),
            "json" => steps.push(Step::Prints(block)),
            _ => {}
        }
    }
    (plans.expect("a plans file"), steps)
}

/// A reader of a guide, and what the reader has.
struct Reader {
    shop: Shop,
    buyer: Buyer,
    folder: tempfile::TempDir,
    printed: String,
    /// The page of the last checkout.
    checkout: Option<String>,
    /// The token of the link in the last mail to somebody who bought by a payment link.
    mailed: String,
}

impl Reader {
    async fn new(plans: &str) -> Self {
        let shop = Shop::selling_plans(Options::default(), plans).await;
        let buyer = shop.buyer("ada@example.com").await;
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_licentia"), bin.join("licentia")).unwrap();
        Self { shop, buyer, folder, printed: String::new(), checkout: None, mailed: String::new() }
    }

    /// Runs a script in a thread of its own, because the service responds in this one.
    async fn run(&mut self, place: &str, script: &str) {
        let (path, config) = (std::env::var("PATH").unwrap(), &self.shop.app.config);
        let mut command = Command::new("bash");
        command
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(self.folder.path())
            .env("PATH", format!("{}:{path}", self.folder.path().join("bin").display()))
            .env("LICENTIA", &self.shop.app.client.base)
            .env("LICENTIA_DATABASE_URL", config.database_url.expose_secret())
            .env("LICENTIA_KEYS_DIR", &config.keys_dir)
            .env("TOKEN", self.buyer.client.token())
            .env("MAILED", &self.mailed);
        let done = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let error = String::from_utf8_lossy(&done.stderr).into_owned();
        self.printed = String::from_utf8(done.stdout).unwrap();
        assert!(done.status.success(), "{place}: {error}\n{}", self.printed);
        let answer: Option<Value> = serde_json::from_str(&self.printed).ok();
        if let Some(url) = answer.as_ref().and_then(|answer| answer["checkout_url"].as_str()) {
            self.checkout = Some(session_of(url));
        }
    }

    /// Does what a person does at Stripe: pays the open checkout, creates a promotion code for so
    /// many percent, buys by a payment link for a price, or refunds the last payment. Or lets days
    /// pass.
    async fn act(&mut self, what: &str) {
        let words: Vec<_> = what.split(' ').collect();
        match words.as_slice() {
            ["pay"] => {
                let session = self.checkout.take().expect("an open checkout");
                let paid = self.shop.sandbox.pay(&session, Card::Paid).unwrap();
                assert_eq!(paid, Paid::Completed);
                self.shop.settled_with_invoice().await;
            }
            ["code", code, percent] => {
                let percent = percent.parse().unwrap();
                self.shop.sandbox.add_coupon(code, percent, CouponDuration::Once);
                self.shop.sandbox.add_promotion_code(code, code).unwrap();
            }
            ["buy", price, email] => {
                let terms = [("line_items[0][price]", *price), ("line_items[0][quantity]", "1")];
                let link = self.shop.at_stripe("payment_links", &terms).await;
                let link = link["id"].as_str().unwrap();
                let session = self.shop.sandbox.open_payment_link(link, None).unwrap();
                self.shop.sandbox.pay_as(&session, Card::Paid, email).unwrap();
                self.shop.settled_with_invoice().await;
                let mails = self.shop.mails_about_sales(email);
                let text = mails.last().expect("a mail to the buyer").text.clone().unwrap();
                let (_, rest) = text.split_once("/account/reset#token=").expect("a link");
                rest.split_whitespace().next().unwrap().clone_into(&mut self.mailed);
            }
            ["refund"] => {
                let intents = self.shop.sandbox.events("payment_intent.succeeded");
                let last = self.shop.sandbox.object(intents.last().expect("a payment"));
                let payment = last["data"]["object"]["id"].as_str().unwrap();
                self.shop.sandbox.refund(payment, None).unwrap();
                self.shop.settled().await;
            }
            ["pass", days, "days"] => {
                self.shop.pass_days(&mut self.buyer, days.parse().unwrap()).await;
            }
            other => panic!("there is no action {other:?}"),
        }
    }
}

/// Returns whether a value is the expected one, in which `"…"` stands for anything.
fn is_like(value: &Value, expected: &Value) -> bool {
    match (value, expected) {
        (_, Value::String(any)) if any == "…" => true,
        (Value::Object(value), Value::Object(expected)) => {
            let named = expected.iter().filter(|(name, _)| *name != "…");
            let has_all = named
                .clone()
                .all(|(name, wanted)| value.get(name).is_some_and(|found| is_like(found, wanted)));
            has_all && (expected.contains_key("…") || named.count() == value.len())
        }
        (Value::Array(value), Value::Array(expected)) => {
            value.len() == expected.len()
                && value.iter().zip(expected).all(|(value, expected)| is_like(value, expected))
        }
        (value, expected) => value == expected,
    }
}

fn guide(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)
}

async fn follow(name: &str) {
    let (plans, steps) = read(&std::fs::read_to_string(guide(name)).unwrap());
    let mut reader = Reader::new(&plans).await;
    let mut place = String::new();
    for step in steps {
        match step {
            Step::Run(line, script) => {
                place = format!("docs/{name}:{line}");
                reader.run(&place, &script).await;
            }
            Step::Prints(expected) => {
                let printed: Value = serde_json::from_str(&reader.printed)
                    .unwrap_or_else(|_| panic!("{place} printed {}", reader.printed));
                let expected = serde_json::from_str(&expected).unwrap();
                assert!(is_like(&printed, &expected), "{place} printed {printed:#}");
            }
            Step::Act(what) => reader.act(&what).await,
        }
    }
}

#[tokio::test]
async fn sell_once() {
    follow("sell-once.md").await;
}

#[tokio::test]
async fn sell_by_the_seat() {
    follow("sell-by-the-seat.md").await;
}

#[tokio::test]
async fn revocation() {
    follow("revocation.md").await;
}

#[tokio::test]
async fn payment_links() {
    follow("payment-links.md").await;
}

#[tokio::test]
async fn codes_tax_and_invoices() {
    follow("codes-tax-and-invoices.md").await;
}
