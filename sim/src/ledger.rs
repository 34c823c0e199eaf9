//! The attempts of people with accounts, and the results. The checks of `account_checks` derive
//! from it what may be true, independently of the database.

use std::collections::{BTreeMap, BTreeSet};

use licentia::domain::account::mail_link::LinkKind;
use licentia::domain::ids::CustomerId;
use licentia::domain::outbox::LeasedMail;
use licentia_sandbox::Mail;

/// Somebody who acts on accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A person with accounts, by number.
    Human(usize),
    /// Steals login sessions, has a mailbox, and signs up with the addresses of others.
    Stranger,
    Support,
}

/// The action of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    SignUp,
    LogIn,
    Forgot,
    Reset,
    ChangePassword,
    RequestAddress,
    Verify,
    Undo,
    Rename,
    Delete,
    EndSessions,
    SetAddress,
    /// Support changed a license.
    Help,
}

impl Action {
    /// Whether it sets a password.
    pub fn sets_password(self) -> bool {
        matches!(self, Self::SignUp | Self::Reset | Self::ChangePassword)
    }

    /// Whether the customer has the address of the attempt afterwards.
    pub fn sets_address(self) -> bool {
        matches!(self, Self::SignUp | Self::Verify | Self::Undo | Self::SetAddress)
    }

    /// Whether an address that was requested before is not waited for any more. Support may have
    /// set the present one, which changes nothing.
    pub fn ends_request(self) -> bool {
        matches!(self, Self::RequestAddress | Self::Reset | Self::Undo)
    }

    /// Whether the customer is refused it after an undone change of the address, until a reset.
    pub fn needs_owner(self) -> bool {
        matches!(self, Self::Delete | Self::RequestAddress | Self::ChangePassword)
    }

    /// Whether it ends login sessions.
    pub fn ends_sessions(self) -> bool {
        matches!(self, Self::Reset | Self::ChangePassword | Self::Undo | Self::EndSessions)
    }
}

/// One attempt. Its times are numbers of the history's sequence of beginnings and ends.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub action: Action,
    /// The person whose account it is about; unknown for the link of a sign-up.
    pub who: Option<usize>,
    pub by: Actor,
    /// The new password; `verified` if support vouches for an address.
    pub text: String,
    /// The address that it is about.
    pub address: String,
    /// The login session or the link that was used.
    pub key: String,
    /// The name that was typed.
    pub name: String,
    pub begun: u64,
    /// Its end; for a server that died, the death.
    pub ended: Option<u64>,
    /// Whether it was done. Unknown if the server died, or for a sign-up that must be confirmed.
    pub done: Option<bool>,
}

impl Attempt {
    /// Returns its end, or the end of time.
    pub fn end(&self) -> u64 {
        self.ended.unwrap_or(u64::MAX)
    }

    /// Whether it was certainly done, and began after the other one had ended.
    pub fn replaces(&self, other: &Self) -> bool {
        self.done == Some(true) && self.begun > other.end()
    }

    /// Whether it may have been done after `time`.
    pub fn may_follow(&self, time: u64) -> bool {
        self.done != Some(false) && self.end() > time
    }
}

/// A login session that somebody got.
#[derive(Clone, Debug)]
pub struct Opened {
    pub who: usize,
    pub token: String,
    /// The attempt that opened it.
    pub by: usize,
    /// In epoch seconds.
    pub at: i64,
}

/// A mail in a mailbox.
#[derive(Clone, Debug)]
pub struct Letter {
    pub mail_id: String,
    pub to: String,
    /// Everything that its reader sees.
    pub text: String,
    pub links: Vec<(LinkKind, String)>,
    /// When it arrived, in the history's sequence.
    pub arrived: u64,
}

impl Letter {
    pub fn new(mail_id: String, to: String, mail: &Mail, arrived: u64) -> Self {
        let plain = mail.text.clone().unwrap_or_default();
        let links = LinkKind::ALL.into_iter().flat_map(|kind| {
            let start = format!("/account/{kind}#token=");
            let found = plain.split(&start).skip(1).filter_map(|rest| {
                let token = rest.split_whitespace().next()?;
                Some((kind, token.to_owned()))
            });
            found.collect::<Vec<_>>()
        });
        let links = links.collect();
        let html = mail.html.as_deref().unwrap_or_default();
        let text = format!("{} {}\n{plain}\n{html}", mail.header("To"), mail.subject());
        Self { mail_id, to, text, links, arrived }
    }
}

/// The record that a history keeps about accounts.
#[derive(Default)]
pub struct Ledger {
    pub attempts: Vec<Attempt>,
    pub opened: Vec<Opened>,
    /// Each mail that was sent or skipped.
    pub leased: BTreeMap<String, LeasedMail>,
    /// The customers with a trial that had an address, and the time since when they are known to.
    pub trials: BTreeMap<String, Vec<(CustomerId, i64)>>,
    /// The customers that got a trial.
    pub customers_with_trial: BTreeSet<String>,
    /// The payloads of webhooks that were given up.
    pub given_up: BTreeSet<String>,
}

impl Ledger {
    /// Returns the attempts of these kinds for a person's account that may have been done.
    pub fn of(&self, who: usize, is: impl Fn(Action) -> bool) -> Vec<&Attempt> {
        let of = |t: &&Attempt| t.who == Some(who) && is(t.action) && t.done != Some(false);
        self.attempts.iter().filter(of).collect()
    }

    /// Returns those of the attempts that may have been the last one.
    pub fn may_be_last<'a>(attempts: &[&'a Attempt]) -> Vec<&'a Attempt> {
        let replaced = |t: &Attempt| attempts.iter().any(|other| other.replaces(t));
        attempts.iter().copied().filter(|t| !replaced(t)).collect()
    }

    /// Returns whether the address of one of these attempts may have counted at `time`, unless
    /// another of them had certainly replaced it.
    pub fn may_be(attempts: &[&Attempt], address: &str, time: u64) -> bool {
        let replaced = |t: &Attempt| attempts.iter().any(|o| o.end() < time && o.replaces(t));
        attempts.iter().any(|t| t.address == address && t.begun < time && !replaced(t))
    }

    /// Returns the password that a person believes to be the present one.
    pub fn password(&self, who: usize) -> Option<String> {
        let attempts = self.of(who, Action::sets_password);
        attempts.into_iter().max_by_key(|t| t.begun).map(|t| t.text.clone())
    }

    /// Returns the number of attempts of this kind that were certainly done, and the number that
    /// may have been.
    pub fn counts(&self, who: usize, action: Action) -> (usize, usize) {
        let attempts = self.of(who, |one| one == action);
        (attempts.iter().filter(|t| t.done == Some(true)).count(), attempts.len())
    }
}

/// The only mailbox of the stranger.
const STRANGERS: &str = "stranger@example.net";

/// Returns the first address of a person, and the second one. Support has none of its own.
pub fn mailboxes(actor: Actor) -> [String; 2] {
    match actor {
        Actor::Human(number) => ["com", "org"].map(|end| format!("person{number}@example.{end}")),
        Actor::Stranger | Actor::Support => [STRANGERS, STRANGERS].map(str::to_owned),
    }
}

/// Returns the person who reads a mailbox.
pub fn reader(address: &str) -> Option<Actor> {
    if address == STRANGERS {
        return Some(Actor::Stranger);
    }
    address.strip_prefix("person")?.split('@').next()?.parse().ok().map(Actor::Human)
}

/// Returns a name, which says who typed it.
pub fn typed(by: Actor, number: u64) -> String {
    let by = match by {
        Actor::Human(person) => person.to_string(),
        Actor::Stranger => "stranger".to_owned(),
        Actor::Support => "support".to_owned(),
    };
    format!("Typed {by}x{number}x")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(begun: u64, ended: Option<u64>, done: Option<bool>) -> Attempt {
        let (action, text) = (Action::Reset, begun.to_string());
        let (address, key, name) = (String::new(), String::new(), String::new());
        Attempt {
            action,
            who: Some(0),
            by: Actor::Human(0),
            text,
            address,
            key,
            name,
            begun,
            ended,
            done,
        }
    }

    fn last(attempts: Vec<Attempt>) -> Vec<u64> {
        let ledger = Ledger { attempts, ..Ledger::default() };
        let attempts = ledger.of(0, Action::sets_password);
        Ledger::may_be_last(&attempts).iter().map(|t| t.begun).collect()
    }

    #[test]
    fn the_last_one_that_was_done_replaces_those_that_ended_before() {
        let done = Some(true);
        assert_eq!(last(vec![attempt(1, Some(2), done), attempt(3, Some(4), done)]), [3]);
        assert_eq!(last(vec![attempt(1, Some(4), done), attempt(3, Some(5), done)]), [1, 3]);
        assert_eq!(last(vec![attempt(1, Some(2), done), attempt(3, Some(4), None)]), [1, 3]);
        assert_eq!(last(vec![attempt(1, Some(2), None), attempt(3, Some(4), done)]), [3]);
        assert_eq!(last(vec![attempt(1, Some(2), done), attempt(3, Some(4), Some(false))]), [1]);
        assert_eq!(last(vec![attempt(1, None, None), attempt(3, Some(4), done)]), [1, 3]);
    }

    #[test]
    fn a_mailbox_names_its_reader() {
        for actor in [Actor::Human(0), Actor::Human(3), Actor::Stranger] {
            assert!(mailboxes(actor).iter().all(|address| reader(address) == Some(actor)));
        }
        assert_eq!(reader("else@example.com"), None);
    }
}
