//! The actions of people: customers, on the service's API and on Stripe's pages; banks; and the
//! vendor, in Stripe's dashboard. The unusual actions with money are in `money`.

use std::collections::BTreeSet;

use licentia::domain::account::password::Password;
use licentia::domain::account::session::Session;
use licentia::domain::contact::{DisplayName, Email};
use licentia::domain::ids::{CustomerId, SessionId};
use licentia::domain::license::LicenseToken;
use licentia::domain::sale::plan::Interval;
use licentia::domain::sale::selection::PurchaseRequest;
use licentia::domain::time::Timestamp;
use licentia::error::Result;
use licentia::flows::account::customer::{self, AccountChange, Change};
use licentia::flows::account::session::SignedIn;
use licentia::flows::account::signup::{self, Signup};
use licentia::flows::license;
use licentia::flows::sale::checkout::{self, CheckoutRequest};
use licentia::flows::sale::subscription;
use licentia_sandbox::{Call, Card, SECRET_KEY};
use serde_json::Value;

use crate::history::History;
use crate::ledger::{Actor, mailboxes};
use crate::work::Outcome;
use crate::world::PRICES;

/// The most people in a history. They are few, so much happens to each.
const PEOPLE: usize = 4;

/// The share of unusual actions with money, in a thousand. Usual ones remain more frequent.
const UNUSUAL: usize = 350;

/// The time before the end of a period in which the difference between two plans is less than a
/// cent, in seconds, rounded up.
const COSTS_NOTHING: i64 = 3600;

/// A person, possibly with an account.
pub struct Person {
    /// The human being, who may have several accounts, one after the other.
    pub human: Actor,
    /// The address of the sign-up.
    pub email: String,
    /// Every address that the account may have had.
    pub mailboxes: BTreeSet<String>,
    pub customer_id: Option<CustomerId>,
    /// The first license.
    token: Option<String>,
    /// The Checkout sessions that they opened.
    sessions: Vec<String>,
    /// Their Stripe customers that were deleted at Stripe.
    pub former: Vec<String>,
    /// Whether the vendor created a Stripe customer for them, so they may have several.
    pub by_hand: bool,
    /// Whether the vendor sold them something in the dashboard, possibly before they were linked.
    pub sold_by_hand: bool,
    /// Whether the account followed from a purchase by a payment link.
    pub bought_first: bool,
    /// Whether they asked to delete the account, and whether that got a response.
    pub leaving: bool,
    pub deleted: bool,
    /// Whether support changed a license, so that payments alone do not decide.
    pub helped: bool,
}

impl Person {
    pub fn new(human: Actor, email: String) -> Self {
        Self {
            human,
            mailboxes: BTreeSet::from([email.clone()]),
            email,
            customer_id: None,
            token: None,
            sessions: Vec::new(),
            former: Vec::new(),
            by_hand: false,
            sold_by_hand: false,
            bought_first: false,
            leaving: false,
            deleted: false,
            helped: false,
        }
    }

    pub fn signed_up(&mut self, id: CustomerId, token: String) {
        (self.customer_id, self.token) = (Some(id), Some(token));
    }

    pub fn got(&mut self, url: &str) {
        let session = url.rsplit('/').next().unwrap_or_default().to_owned();
        if !self.sessions.contains(&session) {
            self.sessions.push(session);
        }
    }
}

impl History {
    /// Lets a person call the service.
    pub async fn act(&mut self) -> Result<()> {
        let Some(server) = self.any_server() else { return Ok(()) };
        let dice = self.world.dice.clone();
        if self.people.is_empty() || (self.people.len() < PEOPLE && dice.happens(150)) {
            self.sign_up(server);
            return Ok(());
        }
        let who = dice.below(self.people.len());
        if self.people[who].customer_id.is_none() && dice.happens(700) {
            self.sign_up_again(server, who);
            return Ok(());
        }
        let Some(caller) = self.caller(who).await? else { return Ok(()) };
        if self.changes && dice.happens(self.share_by_api(who)) {
            self.change_by_api(server, who, caller);
            return Ok(());
        }
        let app = self.servers[server].app.clone();
        match dice.below(20) {
            0..=9 => self.check_out(server, who, caller),
            10..=13 => {
                self.tell(|| format!("{who} fetches the license from {server}"));
                self.begin(server, async move {
                    Outcome::Done("license", license::current(&app, &caller).await.map(drop))
                });
            }
            14 | 15 => {
                let token = LicenseToken::new(self.people[who].token.clone().unwrap_or_default());
                self.tell(|| format!("{who} refreshes at {server}"));
                self.begin(server, async move {
                    Outcome::Done("refresh", license::refresh(&app, &token).await.map(drop))
                });
            }
            16 | 17 => {
                let name = format!("Name {}", dice.below(100)).parse::<DisplayName>().ok();
                self.tell(|| format!("{who} changes the name"));
                let name = name.map_or(Change::Clear, Change::Set);
                let change = AccountChange {
                    email: None,
                    name,
                    company_name: Change::Keep,
                    language: Change::Keep,
                };
                self.begin(server, async move {
                    Outcome::Done("update", customer::update(&app, &caller, change).await.map(drop))
                });
            }
            18 => {
                self.tell(|| format!("{who} opens the portal"));
                self.begin(server, async move {
                    let opened = subscription::portal_for_owner(&app, &caller.customer, None).await;
                    Outcome::Done("portal", opened.map(drop))
                });
            }
            _ if dice.happens(200) => {
                if self.has_accounts {
                    self.delete_account(server, who);
                    return Ok(());
                }
                self.tell(|| format!("{who} deletes the account"));
                self.people[who].leaving = true;
                let mut caller = caller;
                self.begin(server, async move {
                    // They have just logged in, whatever that server's clock shows by now.
                    caller.session.password_at = app.now();
                    Outcome::Deleted(who, customer::delete(&app, &caller).await)
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn sign_up(&mut self, server: usize) {
        let human = Actor::Human(self.people.len());
        let [email, _] = mailboxes(human);
        self.people.push(Person::new(human, email));
        self.sign_up_again(server, self.people.len() - 1);
    }

    fn sign_up_again(&mut self, server: usize, who: usize) {
        if self.has_accounts {
            return self.sign_up_account(server, who);
        }
        let Ok(email) = self.people[who].email.parse::<Email>() else { return };
        self.tell(|| format!("{who} signs up at {server}"));
        let password = Password::new("SecurePass123".to_owned());
        let request = Signup {
            email: email.clone(),
            password,
            name: None,
            company_name: None,
            language: None,
        };
        let app = self.servers[server].app.clone();
        self.begin_hashing(server, async move {
            let signed_up = match signup::signup(&app, request, None).await {
                Ok(made) => {
                    let token = made.license.map(|license| license.token.expose().to_owned());
                    Ok((made.customer.customer_id, token.unwrap_or_default()))
                }
                // The account was stored before the server died, but the response was lost: the
                // person logs in.
                Err(licentia::error::Error::EmailTaken) => log_in(&app, &email).await,
                Err(error) => Err(error),
            };
            Outcome::SignedUp(who, signed_up)
        });
    }

    /// Returns a person's login session, if they have an account.
    async fn caller(&self, who: usize) -> Result<Option<SignedIn>> {
        let person = &self.people[who];
        let Some(id) = person.customer_id.as_ref().filter(|_| !person.deleted) else {
            return Ok(None);
        };
        let customer = self.ground.store.read().await?.customer(id).await?;
        let now = Timestamp::saturating(self.world.now());
        Ok(customer.map(|customer| {
            let session = Session {
                session_id: SessionId::from_random(0),
                user_id: customer.user_id.clone(),
                client: None,
                created_at: now,
                password_at: now,
                expires_at: now,
            };
            SignedIn { session, customer }
        }))
    }

    fn check_out(&mut self, server: usize, who: usize, caller: SignedIn) {
        if self.sells {
            return self.check_out_selling(server, who, caller);
        }
        let dice = &self.world.dice;
        let plan = if dice.happens(600) { "professional" } else { "starter" };
        let interval = if dice.happens(800) { Interval::Month } else { Interval::Year };
        let back = format!("{}/docs", self.ground.config.public_url);
        let purchase = PurchaseRequest {
            plan: plan.to_owned(),
            interval: Some(interval),
            currency: None,
            quantity: None,
            addons: Vec::new(),
            accept_smaller: false,
        };
        let request = CheckoutRequest {
            purchase,
            promotion_code: None,
            success_url: back.clone(),
            cancel_url: back,
        };
        self.tell(|| format!("{who} checks out {plan} at {server}"));
        let app = self.servers[server].app.clone();
        self.begin(server, async move {
            Outcome::Opened(who, checkout::open(&app, &caller.customer.customer_id, request).await)
        });
    }

    /// Lets a person, a bank or the vendor act on Stripe's pages.
    pub fn buy(&mut self) {
        if self.people.is_empty() {
            return;
        }
        let who = self.world.dice.below(self.people.len());
        if self.sells {
            return self.buy_selling(who);
        }
        if self.all_kinds && self.world.dice.happens(UNUSUAL) && self.unusual(who) {
            return;
        }
        if self.world.dice.happens(400) && self.pay(who) {
            return;
        }
        let Some(stripe_id) = self.stripe_customer(who) else { return };
        let live = self.list("/v1/subscriptions", &format!("customer={stripe_id}"));
        match self.world.dice.pick(&live).map(id_of) {
            Some(subscription) => self.change(who, &stripe_id, &subscription),
            None => self.reverse(who, &stripe_id),
        }
    }

    /// Pays an open Checkout session, if there is one.
    fn pay(&mut self, who: usize) -> bool {
        let Some(session) = self.open_session(who) else { return false };
        self.pay_session(who, &session);
        true
    }

    /// Returns one of a person's open Checkout sessions.
    pub fn open_session(&self, who: usize) -> Option<String> {
        let stripe = &self.world.stripe;
        let open = |id: &&String| stripe.look(id, |found| found["status"] == "open");
        let open: Vec<String> = self.people[who].sessions.iter().filter(open).cloned().collect();
        self.world.dice.pick(&open).cloned()
    }

    /// Pays a Checkout session by some card.
    pub fn pay_session(&mut self, who: usize, session: &str) {
        let cards = [(8, Card::Paid), (1, Card::Declined), (2, Card::Authenticate)];
        let late = [(1, Card::DeclinedLater), (2, Card::DelayedPaid), (1, Card::DelayedFailed)];
        let cards: Vec<_> = cards.into_iter().chain(late).collect();
        let card = self.world.dice.weighted(&cards).unwrap_or(Card::Paid);
        let card = self.draw_card(who, card);
        let paid = self.world.stripe.pay(session, card);
        self.tell(|| format!("{who} pays {session}: {card:?}, {paid:?}"));
    }

    fn change(&mut self, who: usize, stripe_id: &str, subscription: &str) {
        let (stripe, dice) = (self.world.stripe.clone(), self.world.dice.clone());
        let done = match dice.below(17) {
            0..=2 => {
                let cancel = dice.happens(600);
                format!("cancels {cancel}: {:?}", stripe.cancel(subscription, cancel))
            }
            3 => format!("cancels now: {:?}", stripe.cancel_now(subscription)),
            4..=6 if self.has_time_left(subscription) => {
                let (price, ..) = *dice.pick(&PRICES).unwrap_or(&PRICES[0]);
                format!("changes to {price}: {:?}", stripe.change_plan(subscription, price))
            }
            7 => {
                let (price, ..) = *dice.pick(&PRICES).unwrap_or(&PRICES[0]);
                let then = dice.happens(700);
                let done = if then {
                    stripe.schedule_change(subscription, price)
                } else {
                    stripe.unschedule(subscription)
                };
                format!("has {price} from the next period on, {then}: {done:?}")
            }
            8 | 9 => {
                let cards =
                    [Card::Paid, Card::DeclinedLater, Card::DelayedPaid, Card::DelayedFailed];
                let card = *dice.pick(&cards).unwrap_or(&Card::Paid);
                format!("pays by {card:?} from now on: {:?}", stripe.replace_card(stripe_id, card))
            }
            10 => {
                let pauses = dice.happens(500);
                let form =
                    if pauses { "pause_collection[behavior]=void" } else { "pause_collection=" };
                let after = self.call("POST", &format!("/v1/subscriptions/{subscription}"), form);
                if after["id"].is_string() {
                    self.paused.insert(subscription.to_owned());
                }
                format!("{form}: {} {}", after["pause_collection"], after["error"])
            }
            11 if dice.happens(150) => {
                self.people[who].former.push(stripe_id.to_owned());
                let gone = self.call("DELETE", &format!("/v1/customers/{stripe_id}"), "");
                format!("is deleted at Stripe: {}", gone["deleted"])
            }
            _ => return self.reverse(who, stripe_id),
        };
        self.tell(|| format!("{who} {subscription} {done}"));
    }

    /// Whether enough of the period is left for a plan change to cost a cent. Stripe charges
    /// nothing for less.
    pub fn has_time_left(&self, subscription: &str) -> bool {
        let item = |found: &Value| found["items"]["data"][0]["current_period_end"].as_i64();
        let end = self.world.stripe.look(subscription, item);
        end.is_some_and(|end| end - self.world.now() > COSTS_NOTHING)
    }

    /// Completes, retries, refunds or disputes a payment.
    pub fn reverse(&mut self, who: usize, stripe_id: &str) {
        let (stripe, dice) = (self.world.stripe.clone(), self.world.dice.clone());
        let of = format!("customer={stripe_id}");
        let disputes = self.list("/v1/disputes", "");
        let open: Vec<String> = disputes
            .iter()
            .filter(|dispute| dispute["status"] == "needs_response")
            .map(id_of)
            .collect();
        if let Some(dispute) = dice.pick(&open).filter(|_| dice.happens(500)) {
            let won = dice.happens(500);
            self.tell(|| format!("{dispute} won {won}"));
            let _ = stripe.close_dispute(dispute, won);
            return;
        }
        let intents = self.list("/v1/payment_intents", &of);
        let Some(intent) = dice.pick(&intents) else { return };
        let (id, status) = (id_of(intent), intent["status"].as_str().unwrap_or_default());
        let good = dice.happens(700);
        let done = match status {
            "requires_action" => format!("3-D Secure {good}: {:?}", stripe.authenticate(&id, good)),
            "processing" => format!("the debit {good}: {:?}", stripe.settle(&id, good)),
            "requires_payment_method" => {
                let invoices = self.list("/v1/invoices", &of);
                let open = invoices.iter().find(|invoice| invoice["status"] == "open").map(id_of);
                let Some(invoice) = open else { return };
                format!("pays {invoice}: {:?}", stripe.pay_invoice(&invoice))
            }
            // A bank disputes a payment only once.
            "succeeded"
                if dice.happens(150)
                    && !disputes.iter().any(|d| d["payment_intent"] == id.as_str()) =>
            {
                format!("disputes: {:?}", stripe.open_dispute(&id))
            }
            "succeeded" if dice.happens(250) => {
                let part = Some(500).filter(|_| dice.happens(500));
                format!("refund of {part:?}: {:?}", stripe.refund(&id, part))
            }
            _ => return,
        };
        self.tell(|| format!("{who} {id} {done}"));
    }

    /// Returns a person's Stripe customer, if they have one.
    pub fn stripe_customer(&self, who: usize) -> Option<String> {
        let customer_id = self.people[who].customer_id.as_ref()?;
        let all = self.list("/v1/customers", "");
        let ours = |found: &&Value| found["metadata"]["customer_id"] == customer_id.as_str();
        all.iter().find(ours).map(id_of)
    }

    /// Returns one of Stripe's lists, by a call without faults.
    pub fn list(&self, path: &str, query: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut after = String::new();
        loop {
            let mut body = self.call("GET", path, &format!("limit=100&{query}{after}"));
            all.extend(body["data"].as_array_mut().map(std::mem::take).unwrap_or_default());
            match all.last() {
                Some(last) if body["has_more"] == true => {
                    after = format!("&starting_after={}", id_of(last));
                }
                _ => return all,
            }
        }
    }

    pub fn call(&self, method: &str, path: &str, form: &str) -> Value {
        let call = Call {
            method: method.to_owned(),
            path: path.to_owned(),
            form: form.trim_end_matches('&').as_bytes().to_vec(),
            key: Some(SECRET_KEY.to_owned()),
            idempotency_key: None,
        };
        let answer = self.world.stripe.call(&call);
        futures_util::FutureExt::now_or_never(answer)
            .flatten()
            .map_or(Value::Null, |(_, body)| body)
    }
}

/// Returns a login session, without the password.
async fn log_in(app: &licentia::app::App, email: &Email) -> Result<(CustomerId, String)> {
    let mut tx = app.store.read().await?;
    let gone = || licentia::error::Error::NotFound("customer");
    let customer = tx.customer_by_email(email).await?.ok_or_else(gone)?;
    let license = tx.current_license(&customer.customer_id).await?.ok_or_else(gone)?;
    Ok((customer.customer_id, license.token.expose().to_owned()))
}

pub fn id_of(object: &Value) -> String {
    object["id"].as_str().unwrap_or_default().to_owned()
}
