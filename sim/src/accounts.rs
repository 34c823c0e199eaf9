//! The steps of people with their accounts: they sign up, log in, change the address and the
//! password by the links in mails, rename and delete the account, and come back. A stranger does
//! some of it with stolen sessions, and with the addresses of others. Each attempt is kept in the
//! `ledger`.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use licentia::app::App;
use licentia::domain::account::mail_link::{LinkKind, LinkToken};
use licentia::domain::account::password::Password;
use licentia::domain::account::session::SessionToken;
use licentia::domain::account::signup::Verification;
use licentia::domain::contact::{DisplayName, Email};
use licentia::domain::ids::CustomerId;
use licentia::domain::license::Source;
use licentia::error::{Error, Result};
use licentia::flows::account::customer::{self, AccountChange, Change, NewEmail};
use licentia::flows::account::session::{self, SignedIn};
use licentia::flows::account::signup::{self, Signup};
use licentia::flows::account::{address, password, pending};

use crate::history::History;
use crate::ledger::{Action, Actor, Attempt, Letter, Opened, mailboxes, reader, typed};
use crate::people::Person;
use crate::work::Outcome;
use crate::world::World;

/// The address of every client. The HTTP layer counts attempts by client; only the mailbox budget
/// of sign-ups is counted here.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The most accounts that one history has, those of returning people included.
const MOST_PEOPLE: usize = 9;

/// The newest mails, of which most links are taken: the older ones have expired.
const RECENT: usize = 4;

/// The most licenses that are read to find a trial.
const FEW: i64 = 100;

/// The result of an attempt.
#[derive(Default)]
pub struct Done {
    /// The token of a new login session.
    pub session: Option<String>,
    /// The account on which it acted.
    pub account: Option<Account>,
}

/// An account on which an attempt acted.
pub struct Account {
    pub id: CustomerId,
    /// The license token of its trial.
    pub trial: Option<String>,
    /// Whether a sign-up found that the address has this account already.
    pub was_there: bool,
}

impl Done {
    fn by(session: &SessionToken, id: CustomerId) -> Self {
        let account = Some(Account { id, trial: None, was_there: false });
        Self { session: Some(session.expose().to_owned()), account }
    }
}

/// The way of a request through a server.
pub struct RequestSteps {
    world: World,
    server: usize,
    hashes: Arc<AtomicBool>,
}

impl RequestSteps {
    /// Waits at this place, if the network does.
    pub async fn wait(&self) {
        self.hashes.store(false, Ordering::SeqCst);
        self.world.may_wait(self.server).await;
    }

    /// Must be called before a password is hashed. Nothing may wait until the next `wait`.
    pub fn hashes(&self) {
        self.hashes.store(true, Ordering::SeqCst);
    }

    /// Returns the caller with this session token.
    pub async fn caller(&self, app: &App, token: &str) -> Result<SignedIn> {
        self.wait().await;
        let caller = session::authenticate(app, token).await?;
        self.wait().await;
        Ok(caller)
    }
}

/// The kinds of step.
#[derive(Clone, Copy)]
enum Step {
    UseLink,
    LogIn,
    Forget,
    RequestAddress,
    ChangePassword,
    Rename,
    Delete,
    Return,
    Help,
}

impl History {
    /// Lets a person, or the stranger, do something with an account.
    pub async fn account(&mut self) -> Result<()> {
        let Some(server) = self.any_server() else { return Ok(()) };
        let dice = self.world.dice.clone();
        if self.people.is_empty() {
            return Ok(());
        }
        let who = dice.below(self.people.len());
        let steps = [
            (14, Step::UseLink),
            (6, Step::LogIn),
            (5, Step::Forget),
            (8, Step::RequestAddress),
            (3, Step::ChangePassword),
            (3, Step::Rename),
            (2, Step::Delete),
            (4, Step::Return),
            (4, Step::Help),
        ];
        match dice.weighted(&steps).unwrap_or(Step::LogIn) {
            Step::UseLink => return self.use_link(server).await,
            Step::LogIn => self.log_in(server, who),
            Step::Forget => self.forget(server, who),
            Step::RequestAddress => self.request_address(server, who),
            Step::ChangePassword => self.change_password(server, who),
            Step::Rename => self.rename(server, who),
            Step::Delete => self.delete_account(server, who),
            Step::Return => self.come_back(who),
            Step::Help => self.help(server, who),
        }
        Ok(())
    }

    /// Returns a new attempt.
    pub fn new_attempt(&self, action: Action, who: Option<usize>, by: Actor) -> Attempt {
        Attempt {
            action,
            who,
            by,
            text: String::new(),
            address: String::new(),
            key: String::new(),
            name: String::new(),
            begun: self.world.tick(),
            ended: None,
            done: None,
        }
    }

    /// Starts an attempt on a server.
    pub fn begin_attempt<F>(
        &mut self,
        server: usize,
        new: Attempt,
        work: impl FnOnce(App, RequestSteps) -> F,
    ) where
        F: Future<Output = Result<Done>> + Send + 'static,
    {
        let Attempt { action, who, by, text, address, .. } = &new;
        let about = format!("{by:?} attempts {action:?} of {who:?} at {server}: {address} {text}");
        self.tell(|| about);
        let number = self.ledger.attempts.len();
        self.ledger.attempts.push(new);
        let hashes = Arc::new(AtomicBool::new(false));
        let steps = RequestSteps { world: self.world.clone(), server, hashes: Arc::clone(&hashes) };
        let work = work(self.servers[server].app.clone(), steps);
        self.spawn_attempt(server, number, hashes, async move {
            Outcome::Attempted(number, work.await)
        });
    }

    fn new_password(&self) -> String {
        format!("four purple trains at noon {}", self.world.tick())
    }

    /// Returns the person, or the stranger.
    fn somebody(&self, who: usize) -> Actor {
        if self.world.dice.happens(150) { Actor::Stranger } else { self.people[who].human }
    }

    /// Returns one of a person's sessions, often the newest one.
    fn session_of(&self, who: usize) -> Option<String> {
        let dice = &self.world.dice;
        let all: Vec<&Opened> = self.ledger.opened.iter().filter(|one| one.who == who).collect();
        let newest = all.last().filter(|_| dice.happens(700)).copied();
        newest.or_else(|| dice.pick(&all).copied()).map(|one| one.token.clone())
    }

    /// Signs up a person, or the stranger with the person's address.
    pub fn sign_up_account(&mut self, server: usize, who: usize) {
        let address = self.people[who].email.clone();
        let Ok(email) = address.parse::<Email>() else { return };
        let by = self.somebody(who);
        let (password, typed) = (self.new_password(), typed(by, self.world.tick()));
        let (text, name) = (password.clone(), typed.clone());
        let new =
            Attempt { text, address, name, ..self.new_attempt(Action::SignUp, Some(who), by) };
        let waits = self.ground.config.signup_verification == Verification::Required;
        let request = Signup {
            email: email.clone(),
            password: Password::new(password),
            name: typed.parse().ok(),
            company_name: None,
            language: None,
        };
        self.begin_attempt(server, new, async move |app, steps| {
            steps.wait().await;
            steps.hashes();
            if waits {
                return pending::sign_up(&app, request).await.map(|()| Done::default());
            }
            match signup::signup(&app, request, None).await {
                Ok(made) => {
                    let session = Some(made.session_token.expose().to_owned());
                    let trial = made.license.ok().map(|one| one.token.expose().to_owned());
                    let id = made.customer.customer_id;
                    let account = Some(Account { id, trial, was_there: false });
                    Ok(Done { session, account })
                }
                // The account may be their own: its response was lost.
                Err(Error::EmailTaken) => {
                    let found = app.store.read().await?.customer_by_email(&email).await?;
                    let id = found.ok_or(Error::EmailTaken)?.customer_id;
                    let account = Some(Account { id, trial: None, was_there: true });
                    Ok(Done { session: None, account })
                }
                Err(error) => Err(error),
            }
        });
    }

    fn log_in(&mut self, server: usize, who: usize) {
        let dice = self.world.dice.clone();
        let attempts = self.ledger.of(who, Action::sets_password);
        let any = dice.pick(&attempts).map(|t| t.text.clone());
        let text = if dice.happens(700) { self.ledger.password(who) } else { any };
        let Some(text) = text else { return };
        let addresses: Vec<String> = self.people[who].mailboxes.iter().cloned().collect();
        let Some(address) = dice.pick(&addresses).cloned() else { return };
        let (by, email) = (self.somebody(who), address.parse::<Email>().ok());
        let password = Password::new(text.clone());
        let new = Attempt { text, address, ..self.new_attempt(Action::LogIn, Some(who), by) };
        self.begin_attempt(server, new, async move |app, steps| {
            steps.wait().await;
            steps.hashes();
            let (opened, customer) = session::login(&app, email, password, None).await?;
            Ok(Done::by(&opened.token, customer.customer_id))
        });
    }

    /// Requests the mail with the link that sets a password.
    fn forget(&mut self, server: usize, who: usize) {
        let address = self.any_address(who);
        let Ok(email) = address.parse::<Email>() else { return };
        let new =
            Attempt { address, ..self.new_attempt(Action::Forgot, None, self.people[who].human) };
        self.begin_attempt(server, new, async move |app, steps| {
            steps.wait().await;
            password::forgot(&app, &email).await.map(|()| Done::default())
        });
    }

    /// Returns an address that a person may want: an own one, another person's, or the stranger's.
    pub fn any_address(&self, who: usize) -> String {
        let dice = &self.world.dice;
        let human = match dice.below(10) {
            0 => Actor::Stranger,
            1 | 2 => self.people[dice.below(self.people.len())].human,
            _ => self.people[who].human,
        };
        mailboxes(human)[dice.below(2)].clone()
    }

    fn request_address(&mut self, server: usize, who: usize) {
        let (key, text) = (self.session_of(who), self.ledger.password(who));
        let (Some(key), Some(text)) = (key, text) else { return };
        let address = self.any_address(who);
        let Ok(email) = address.parse::<Email>() else { return };
        self.people[who].mailboxes.insert(address.clone());
        let by = self.somebody(who);
        let (token, password) = (key.clone(), Password::new(text));
        let new =
            Attempt { key, address, ..self.new_attempt(Action::RequestAddress, Some(who), by) };
        self.begin_attempt(server, new, async move |app, steps| {
            let caller = steps.caller(&app, &token).await?;
            steps.hashes();
            let email = Some(NewEmail { email, current_password: Some(password) });
            let change = AccountChange { email, ..no_change() };
            customer::update(&app, &caller, change).await.map(|_| Done::default())
        });
    }

    fn change_password(&mut self, server: usize, who: usize) {
        let (key, current) = (self.session_of(who), self.ledger.password(who));
        let (Some(key), Some(current)) = (key, current) else { return };
        let (by, text, token) = (self.somebody(who), self.new_password(), key.clone());
        let (current, password) = (Password::new(current), Password::new(text.clone()));
        let new = Attempt { key, text, ..self.new_attempt(Action::ChangePassword, Some(who), by) };
        self.begin_attempt(server, new, async move |app, steps| {
            let caller = steps.caller(&app, &token).await?;
            steps.hashes();
            password::change(&app, &caller, current, password).await.map(|()| Done::default())
        });
    }

    fn rename(&mut self, server: usize, who: usize) {
        let Some(key) = self.session_of(who) else { return };
        let by = self.somebody(who);
        let (text, token) = (typed(by, self.world.tick()), key.clone());
        let change = text.parse::<DisplayName>().map_or(Change::Clear, Change::Set);
        let new = Attempt { key, name: text, ..self.new_attempt(Action::Rename, Some(who), by) };
        self.begin_attempt(server, new, async move |app, steps| {
            let caller = steps.caller(&app, &token).await?;
            let change = AccountChange { name: change, ..no_change() };
            customer::update(&app, &caller, change).await.map(|_| Done::default())
        });
    }

    /// Logs in and deletes the account.
    pub fn delete_account(&mut self, server: usize, who: usize) {
        let Some(id) = self.people[who].customer_id.clone() else { return };
        let Some(text) = self.ledger.password(who) else { return };
        self.people[who].leaving = true;
        let password = Password::new(text);
        let new = self.new_attempt(Action::Delete, Some(who), self.people[who].human);
        self.begin_attempt(server, new, async move |app, steps| {
            steps.wait().await;
            let customer = app.store.read().await?.customer(&id).await?;
            let email = customer.ok_or(Error::Unauthenticated)?.email;
            steps.hashes();
            let (opened, _) = session::login(&app, Some(email), password, None).await?;
            let caller = steps.caller(&app, opened.token.expose()).await?;
            customer::delete(&app, &caller).await.map(|()| Done::default())
        });
    }

    /// Lets a person who has left sign up again, with an address that they had.
    fn come_back(&mut self, who: usize) {
        let Person { human, leaving, .. } = self.people[who];
        let waits = |other: &Person| other.human == human && other.customer_id.is_none();
        if !leaving || self.people.len() >= MOST_PEOPLE || self.people.iter().any(waits) {
            return;
        }
        let own = mailboxes(human);
        let had: Vec<&String> =
            own.iter().filter(|address| self.people[who].mailboxes.contains(*address)).collect();
        let email = self.world.dice.pick(&had).map(|address| (*address).clone());
        let Some(email) = email else { return };
        let new = self.people.len();
        self.tell(|| format!("{who} comes back as {new} with {email}"));
        self.people.push(Person::new(human, email));
    }

    /// Lets the reader of a mailbox open a link.
    async fn use_link(&mut self, server: usize) -> Result<()> {
        let dice = self.world.dice.clone();
        let kind = [(4, LinkKind::Verify), (3, LinkKind::Reset), (3, LinkKind::Undo)];
        let kind = dice.weighted(&kind).unwrap_or(LinkKind::Verify);
        let letters = self.world.letters();
        let again = dice.happens(250);
        let is_used = |token: &str| self.ledger.attempts.iter().any(|one| one.key == token);
        let link = |letter: &Letter| {
            let own = |(other, token): &&(LinkKind, String)| {
                *other == kind && (again || !is_used(token)) && reader(&letter.to).is_some()
            };
            letter.links.iter().find(own).map(|(_, token)| (letter.clone(), token.clone()))
        };
        let links: Vec<(Letter, String)> = letters.iter().filter_map(link).collect();
        let recent = &links[links.len().saturating_sub(RECENT)..];
        let link = if dice.happens(850) { dice.pick(recent) } else { dice.pick(&links) };
        let Some((letter, token)) = link.cloned() else { return Ok(()) };
        let by = reader(&letter.to).unwrap_or(Actor::Stranger);
        let who = self.holder(kind, &token).await?;
        let (address, key) = (letter.to.clone(), token.clone());
        let new =
            |action, text| Attempt { text, address, key, ..self.new_attempt(action, who, by) };
        match kind {
            LinkKind::Verify => {
                let new = new(Action::Verify, String::new());
                self.begin_attempt(server, new, async move |app, steps| {
                    steps.wait().await;
                    let customer = address::verify(&app, &token).await?;
                    let mut tx = app.store.read().await?;
                    let id = customer.customer_id;
                    let licenses = tx.licenses_of(&id, i64::MAX, FEW).await?;
                    let trial = licenses.iter().find(|one| one.source == Source::Trial);
                    let trial = trial.map(|one| one.token.expose().to_owned());
                    let account = Some(Account { id, trial, was_there: false });
                    Ok(Done { session: None, account })
                });
            }
            LinkKind::Reset | LinkKind::FirstPassword => {
                let text = self.new_password();
                let password = Password::new(text.clone());
                self.begin_attempt(server, new(Action::Reset, text), async move |app, steps| {
                    steps.wait().await;
                    steps.hashes();
                    let reset = password::reset(&app, &token, password, None, CLIENT).await?;
                    let (opened, customer) = reset;
                    Ok(Done::by(&opened.token, customer.customer_id))
                });
            }
            LinkKind::Undo => {
                let new = new(Action::Undo, String::new());
                self.begin_attempt(server, new, async move |app, steps| {
                    steps.wait().await;
                    address::undo(&app, &token).await.map(|_| Done::default())
                });
            }
            LinkKind::Portal => {}
        }
        Ok(())
    }

    /// Returns the person whose account a link is about, unless it is of a sign-up.
    async fn holder(&self, kind: LinkKind, token: &str) -> Result<Option<usize>> {
        let Ok(parsed) = token.parse::<LinkToken>() else { return Ok(None) };
        let link = self.ground.store.read().await?.mail_link(&parsed.hash(), kind).await?;
        Ok(link.and_then(|link| self.person_with(&link.customer_id)))
    }

    pub fn person_with(&self, id: &CustomerId) -> Option<usize> {
        self.people.iter().position(|person| person.customer_id.as_ref() == Some(id))
    }
}

fn no_change() -> AccountChange {
    AccountChange {
        email: None,
        name: Change::Keep,
        company_name: Change::Keep,
        language: Change::Keep,
    }
}
