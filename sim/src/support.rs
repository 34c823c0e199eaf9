//! The steps of the vendor's support for customers: it changes addresses, ends login sessions,
//! mails links, deletes accounts, and grants, extends, revokes and resends licenses.

use chrono::TimeDelta;
use licentia::domain::ids::CustomerId;
use licentia::domain::license::Extras;
use licentia::domain::operator::audit::{Actor, OwnedActor};
use licentia::error::Error;
use licentia::flows::account::customer::Change;
use licentia::flows::operator::licenses::{self, Grant};
use licentia::flows::operator::support::{self, RecordChange};

use crate::accounts::Done;
use crate::history::History;
use crate::ledger::{self, Action, Attempt};

/// A step of support.
#[derive(Clone, Copy)]
enum Help {
    SetAddress,
    EndSessions,
    MailReset,
    Delete,
    Grant,
    Extend,
    Revoke,
    Resend,
}

impl History {
    /// Lets support help a customer.
    pub fn help(&mut self, server: usize, who: usize) {
        let dice = self.world.dice.clone();
        let Some(id) = self.people[who].customer_id.clone() else { return };
        let helps = [
            (4, Help::SetAddress),
            (2, Help::EndSessions),
            (2, Help::MailReset),
            (1, Help::Delete),
            (2, Help::Grant),
            (2, Help::Extend),
            (1, Help::Revoke),
            (2, Help::Resend),
        ];
        let help = dice.weighted(&helps).unwrap_or(Help::MailReset);
        match help {
            Help::SetAddress => self.set_address(server, who, id),
            Help::EndSessions => {
                let new = self.new_attempt(Action::EndSessions, Some(who), ledger::Actor::Support);
                self.begin_attempt(server, new, async move |app, steps| {
                    steps.wait().await;
                    let ended = support::end_sessions(&app, Actor::Operator, &id).await;
                    ended.map(|_| Done::default())
                });
            }
            Help::MailReset => {
                let new = self.new_attempt(Action::Forgot, Some(who), ledger::Actor::Support);
                self.begin_attempt(server, new, async move |app, steps| {
                    steps.wait().await;
                    let mailed = support::send_password_reset(&app, Actor::Operator, &id).await;
                    mailed.map(|()| Done::default())
                });
            }
            Help::Delete => {
                self.people[who].leaving = true;
                let new = self.new_attempt(Action::Delete, Some(who), ledger::Actor::Support);
                self.begin_attempt(server, new, async move |app, steps| {
                    steps.wait().await;
                    let deleted = support::delete(&app, OwnedActor::Operator, &id).await;
                    deleted.map(|()| Done::default())
                });
            }
            Help::Grant | Help::Extend | Help::Revoke | Help::Resend => {
                self.help_with_license(server, who, id, help);
            }
        }
    }

    /// Changes an address at once. Support often vouches for it.
    fn set_address(&mut self, server: usize, who: usize, id: CustomerId) {
        let (address, vouches) = (self.any_address(who), self.world.dice.happens(500));
        let Ok(email) = address.parse() else { return };
        self.people[who].mailboxes.insert(address.clone());
        let change = RecordChange {
            email: Some(email),
            email_verified: vouches.then_some(true),
            name: Change::Keep,
            company_name: Change::Keep,
            metadata: None,
        };
        let text = if vouches { "verified" } else { "" }.to_owned();
        let new = Attempt {
            address,
            text,
            ..self.new_attempt(Action::SetAddress, Some(who), ledger::Actor::Support)
        };
        self.begin_attempt(server, new, async move |app, steps| {
            steps.wait().await;
            let changed = support::change(&app, Actor::Operator, &id, change).await;
            changed.map(|()| Done::default())
        });
    }

    /// Changes a license beside what was paid. The checks of payments do not apply to the customer
    /// from then on.
    fn help_with_license(&mut self, server: usize, who: usize, id: CustomerId, help: Help) {
        let dice = self.world.dice.clone();
        let days = i64::try_from(1 + dice.below(60)).unwrap_or(1);
        let (is_flag, plan) = (dice.happens(500), dice.below(self.ground.plans.plans.len()));
        self.people[who].helped = true;
        let new = self.new_attempt(Action::Help, Some(who), ledger::Actor::Support);
        self.begin_attempt(server, new, async move |app, steps| {
            steps.wait().await;
            let current = app.store.read().await?.current_license(&id).await?;
            let current = current.map(|license| license.license_id);
            let current = current.ok_or(Error::NotFound("license"));
            let done = match help {
                Help::Grant => {
                    let plan = app.plans.plans.get(plan).ok_or(Error::NotFound("plan"))?;
                    let expires = Some(app.now() + TimeDelta::days(days));
                    let extras = Extras::default();
                    let grant = Grant { plan, expires, extras, replace: is_flag };
                    licenses::grant(&app, Actor::Operator, &id, &grant).await
                }
                Help::Extend => {
                    let days = TimeDelta::days(days);
                    licenses::extend(&app, Actor::Operator, &id, days, None).await
                }
                Help::Revoke => licenses::revoke(&app, Actor::Operator, &current?).await,
                _ => licenses::resend(&app, &OwnedActor::Operator, &current?, is_flag).await,
            };
            done.map(|_| Done::default())
        });
    }
}
