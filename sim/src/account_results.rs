//! The results of attempts with accounts: what the ledger and the people learn from them.

use licentia::domain::account::signup::Verification;
use licentia::domain::ids::CustomerId;
use licentia::error::{Error, Result};

use crate::accounts::{Account, Done};
use crate::history::History;
use crate::ledger::{Action, Actor, Attempt, Opened, reader};
use crate::people::Person;

/// A day, in seconds.
const DAY: i64 = 86_400;

impl History {
    /// Records the death of a server during an attempt.
    pub fn lost_attempt(&mut self, number: usize) {
        self.ledger.attempts[number].ended = Some(self.world.tick());
    }

    /// Records the result of an attempt.
    pub fn record_result(&mut self, number: usize, result: Result<Done>) {
        let tick = self.world.tick();
        let waits = self.ground.config.signup_verification == Verification::Required;
        let one = &mut self.ledger.attempts[number];
        one.ended = Some(tick);
        let Attempt { action, who, .. } = *one;
        match result {
            Ok(done) => {
                one.done = if action == Action::SignUp && waits { None } else { Some(true) };
                self.tell(|| format!("  {action:?} of {who:?} is done"));
                self.done(number, done);
            }
            Err(error) => {
                one.done = Some(false);
                if let Some(who) = who.filter(|_| action == Action::Delete) {
                    self.people[who].leaving = !self.ledger.of(who, |one| one == action).is_empty();
                }
                self.refused(action, who, error);
            }
        }
    }

    /// Checks that a refusal is an expected one.
    fn refused(&mut self, action: Action, who: Option<usize>, error: Error) {
        let may_be_undone =
            who.is_some_and(|who| !self.ledger.of(who, |one| one == Action::Undo).is_empty());
        let is_of_kind = match error {
            Error::TooManyRequests { .. } => action == Action::SignUp,
            Error::ResetRequired => action.needs_owner() && may_be_undone,
            _ => false,
        };
        let is_usual = is_of_kind
            || matches!(
                error,
                Error::InvalidCredentials
                    | Error::InvalidLink
                    | Error::LinkUsed
                    | Error::LinkExpired
                    | Error::LoginRequired
                    | Error::WouldShorten(_)
                    | Error::NothingToExtend
                    | Error::NothingToSend(_)
            );
        if is_usual {
            self.tell(|| format!("  {action:?}: {error}"));
        } else {
            self.must_be_usual(&format!("{action:?}"), Err(error));
        }
    }

    fn done(&mut self, number: usize, done: Done) {
        if let Some(account) = done.account {
            self.found(number, account);
        }
        let Attempt { action, who, address, done: is_done, .. } =
            self.ledger.attempts[number].clone();
        let Some(who) = who.filter(|_| is_done == Some(true)) else { return };
        if let Some(token) = done.session {
            let at = self.world.now();
            self.ledger.opened.push(Opened { who, token, by: number, at });
        }
        if action.sets_address() {
            self.people[who].mailboxes.insert(address.clone());
            self.held(who, address);
        }
        if action == Action::Delete {
            self.people[who].deleted = true;
        }
    }

    /// Records whose account an attempt acted on.
    fn found(&mut self, number: usize, Account { id, trial, was_there }: Account) {
        let Attempt { action, who, address, .. } = self.ledger.attempts[number].clone();
        let known = self.person_with(&id);
        if action == Action::SignUp && was_there {
            // Their own account, whose response was lost, or another person's.
            self.ledger.attempts[number].done = Some(false);
            if let Some(who) = who.filter(|who| self.people[*who].customer_id.is_none())
                && known.is_none()
            {
                self.tell(|| format!("  {who} is {id}"));
                self.people[who].signed_up(id, String::new());
            }
            return;
        }
        if known.is_some() && who.is_some() && who != known {
            self.violation(format!("{action:?} for {who:?} acted on the account of {known:?}"));
            return;
        }
        let owner = known.unwrap_or_else(|| self.new_owner(who, &address));
        self.ledger.attempts[number].who = Some(owner);
        if known.is_some() {
            return;
        }
        self.tell(|| format!("  {owner} is {id}, with a trial: {}", trial.is_some()));
        // One of the sign-ups that waited with this address was confirmed, whoever sent it.
        let waits = |one: &&Attempt| {
            let is_of = one.action == Action::SignUp && one.address == address;
            is_of && one.done.is_none() && one.who != Some(owner)
        };
        let waiting: Vec<Attempt> = self.ledger.attempts.iter().filter(waits).cloned().collect();
        let own = waiting.into_iter().map(|one| Attempt { who: Some(owner), ..one });
        self.ledger.attempts.extend(own);
        self.people[owner].signed_up(id.clone(), trial.clone().unwrap_or_default());
        if trial.is_some() {
            self.only_trial(&id, address);
        }
    }

    /// Returns the person with a new account: the one who signed up, or waits for it; or somebody
    /// whose sign-up arrived very late.
    fn new_owner(&mut self, who: Option<usize>, address: &str) -> usize {
        let waits = |person: &Person| person.customer_id.is_none() && person.email == address;
        let own = who.filter(|who| self.people[*who].customer_id.is_none());
        own.or_else(|| self.people.iter().position(waits)).unwrap_or_else(|| {
            let human = reader(address).unwrap_or(Actor::Stranger);
            self.people.push(Person::new(human, address.to_owned()));
            self.people.len() - 1
        })
    }

    /// Checks that no customer who had this address before has had a trial.
    fn only_trial(&mut self, id: &CustomerId, address: String) {
        let now = self.world.now();
        let remembered = i64::from(self.ground.plans.trial_remember_days - 1) * DAY;
        let had = self.ledger.trials.entry(address.clone()).or_default();
        let before = had.iter().find(|(other, at)| other != id && now < at + remembered).cloned();
        had.push((id.clone(), now));
        self.ledger.customers_with_trial.insert(id.to_string());
        if let Some((before, at)) = before {
            let what = format!("{address} got a trial as {id}, and as {before} at {at}");
            self.violation(format!("H: {what}"));
        }
    }

    /// Records that a customer has an address.
    fn held(&mut self, who: usize, address: String) {
        let Some(id) = self.people[who].customer_id.clone() else { return };
        if self.ledger.customers_with_trial.contains(id.as_str()) {
            let now = self.world.now();
            self.ledger.trials.entry(address).or_default().push((id, now));
        }
    }
}
