//! One history: a few hundred steps that the seed draws, then the end of faults (`calm`), then the
//! checks (`checks`).

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::PoisonError;

use licentia::config::CreateCustomer;
use licentia::domain::account::signup::Verification;
use licentia::domain::sale::policy::{Consequence, Policy};
use licentia::error::Result;
use licentia::flows::sale::reconcile;
use licentia_sandbox::{AfterRetries, Behavior, CancelField, Delivery};

use crate::changes::{Compared, Shown};
use crate::database::PaymentOwner;
use crate::dice::Dice;
use crate::ledger::Ledger;
use crate::people::Person;
use crate::selling;
use crate::server::{Ground, Server};
use crate::trials;
use crate::work::Begun;
use crate::world::{START, World};

/// The result of a history.
#[derive(Default)]
pub struct Ending {
    pub steps: usize,
    pub violations: Vec<String>,
    /// A hash of all steps. The same seed gives the same hash.
    pub digest: u64,
    /// The steps in words, if requested.
    pub trace: Vec<String>,
    pub deaths: BTreeMap<&'static str, usize>,
    /// The changes of subscriptions that were compared with their previews.
    pub compared: Compared,
}

/// A running history.
pub struct History {
    pub world: World,
    pub ground: Ground,
    pub servers: Vec<Server>,
    pub people: Vec<Person>,
    /// Whether events may be lost and customers are reconciled. If not, the inbox alone must lead
    /// to the right result.
    pub lossy: bool,
    /// Whether the newer kinds of mishap are drawn ([`crate::ALL_KINDS_FROM`]).
    pub all_kinds: bool,
    /// Whether customers get more invoices than a sync fetches again
    /// ([`crate::MANY_INVOICES_FROM`]).
    pub many_invoices: bool,
    /// Whether there are steps with accounts ([`crate::ACCOUNTS_FROM`]).
    pub has_accounts: bool,
    /// Whether there is more to sell than subscriptions of one unit ([`crate::SELLING_FROM`]).
    pub sells: bool,
    /// Whether customers change their subscriptions through the API ([`crate::CHANGES_FROM`]).
    pub changes: bool,
    /// Whether links also sell to buyers of whom Stripe has no customer ([`crate::GUESTS_FROM`]).
    pub guests: bool,
    /// Whether two perpetual plans are sold ([`crate::PERPETUAL_FROM`]).
    pub has_two_perpetual: bool,
    /// Whether more than a year may pass at once.
    pub is_long: bool,
    /// The attempts with accounts.
    pub ledger: Ledger,
    /// The server that is paused, if any.
    pub frozen: Option<usize>,
    /// The tasks that were started.
    pub begun: Vec<Begun>,
    /// Deliveries that were taken from Stripe and have not arrived.
    pub air: Vec<(usize, Delivery)>,
    /// Events that got a 200.
    pub acknowledged: BTreeSet<String>,
    /// Subscriptions whose collection was paused.
    pub paused: BTreeSet<String>,
    /// Invoices that the vendor wrote off, whatever became of them later.
    pub written_off: BTreeSet<String>,
    /// The addresses of buyers without an account.
    pub buyers: Vec<String>,
    /// The customers who have claimed payments, by the Checkout session.
    pub claimed: BTreeMap<String, PaymentOwner>,
    /// The previews that customers saw.
    pub shown: Vec<Shown>,
    /// The invoices of changes that waited for their payment.
    pub waiting: BTreeSet<String>,
    /// The latest end of each trial that the vendor moved.
    pub trial_ends: BTreeMap<String, i64>,
    /// The result of the last reconciliation.
    pub report: Option<reconcile::Report>,
    pub ahead: Vec<i64>,
    pub ending: Ending,
    digest: DefaultHasher,
    is_traced: bool,
}

/// The kinds of step.
#[derive(Clone, Copy)]
enum Step {
    GoOn,
    Deliver,
    WorkOnEvents,
    SendMails,
    Act,
    Buy,
    Time,
    Restart,
    Kill,
    Freeze,
    Weather,
    Compare,
    Account,
    Webhooks,
    Remind,
}

/// Runs the history of a seed. An error that stops it counts as a violation.
pub async fn run(ground: &Ground, seed: u64, is_traced: bool) -> Result<Ending> {
    let mut history = History::new(ground, seed, is_traced)?;
    if let Err(error) = history.live().await {
        history.violation(format!("it stopped: {error}"));
    }
    // No task may continue into the next history.
    history.servers.iter().for_each(Server::kill);
    history.nothing_runs().await;
    let world = &history.world;
    history.ending.deaths =
        std::mem::take(&mut *world.deaths.lock().unwrap_or_else(PoisonError::into_inner));
    history.ending.digest = history.digest.finish();
    Ok(history.ending)
}

/// Returns how the Stripe account behaves, at random.
fn behavior(dice: &Dice, sells: bool) -> Behavior {
    let after_retries = [AfterRetries::Cancel, AfterRetries::Unpaid, AfterRetries::PastDue];
    let fields = [CancelField::CancelAt, CancelField::PeriodEnd];
    Behavior {
        after_retries: *dice.pick(&after_retries).unwrap_or(&AfterRetries::Cancel),
        portal_cancels_by: *dice.pick(&fields).unwrap_or(&CancelField::CancelAt),
        drafts_renewals: dice.happens(700),
        // Credits that are carried over would change the events of saved seeds.
        carries_credits: sells,
        // Another event would change the later draws.
        announces_trial_ends: sells,
    }
}

/// Returns the default policy, or a random one.
fn policy(dice: &Dice, all_kinds: bool, sells: bool) -> Policy {
    // Histories without other ways to sell draw no more than they did.
    let in_part = sells && dice.happens(500);
    let partial_refund = if in_part { Consequence::Revoke } else { Consequence::Keep };
    if dice.happens(600) {
        return Policy { partial_refund, ..Policy::default() };
    }
    let either = || if dice.happens(500) { Consequence::Keep } else { Consequence::Revoke };
    let (refund, dispute, dispute_lost) = (either(), either(), either());
    // The plans file requires that a policy that revokes at a dispute also revokes at a lost one.
    let dispute_lost = dispute_lost.max(dispute);
    let forgiven = if all_kinds { either() } else { Policy::default().forgiven };
    Policy { refund, partial_refund, dispute, dispute_lost, forgiven }
}

impl History {
    fn new(ground: &Ground, seed: u64, is_traced: bool) -> Result<Self> {
        let dice = Dice::seeded(seed);
        let all_kinds = seed >= crate::ALL_KINDS_FROM;
        let sells = seed >= crate::SELLING_FROM;
        let changes = seed >= crate::CHANGES_FROM;
        let has_accounts = seed >= crate::ACCOUNTS_FROM && !sells;
        let behavior = behavior(&dice, sells);
        let (world, secret) = World::new(dice.clone(), behavior, all_kinds, has_accounts, sells);
        let mut ground = ground.clone();
        if sells {
            ground.plans = ground.selling_plans.clone();
        }
        if let Some(stripe) = &mut ground.config.stripe {
            stripe.webhook_secrets = vec![secret.into()];
            if dice.happens(300) {
                stripe.create_customer = CreateCustomer::Signup;
            }
        }
        if has_accounts && dice.happens(300) {
            ground.config.signup_verification = Verification::Required;
        }
        let ahead: Vec<i64> = match dice.below(3) {
            0 => vec![0],
            1 => vec![0, 0],
            _ => vec![0, i64::try_from(dice.below(120)).unwrap_or(0) - 60],
        };
        let lossy = dice.happens(400);
        ground.plans.policy = policy(&dice, all_kinds, sells);
        if changes {
            trials::draw(&dice, &mut ground.plans);
            ground.plans.checkout.allow_unknown_buyers = dice.happens(500);
        }
        let mut servers = Vec::new();
        for (number, ahead) in ahead.iter().enumerate() {
            servers.push(Server::start(&ground, &world, number, *ahead)?);
        }
        let has_two_perpetual = seed >= crate::PERPETUAL_FROM;
        let is_long = sells && dice.happens(if has_two_perpetual { 500 } else { 100 });
        let mut history = Self {
            world,
            ground,
            servers,
            people: Vec::new(),
            lossy,
            all_kinds,
            many_invoices: seed >= crate::MANY_INVOICES_FROM && !sells,
            has_accounts,
            sells,
            changes,
            guests: (crate::GUESTS_FROM..crate::PERPETUAL_FROM).contains(&seed),
            has_two_perpetual,
            is_long,
            ledger: Ledger::default(),
            frozen: None,
            begun: Vec::new(),
            air: Vec::new(),
            acknowledged: BTreeSet::new(),
            paused: BTreeSet::new(),
            written_off: BTreeSet::new(),
            buyers: Vec::new(),
            claimed: BTreeMap::new(),
            shown: Vec::new(),
            waiting: BTreeSet::new(),
            trial_ends: BTreeMap::new(),
            report: None,
            ahead,
            ending: Ending::default(),
            digest: DefaultHasher::new(),
            is_traced,
        };
        history.change_weather();
        if all_kinds {
            history.draw_account();
        }
        if sells {
            selling::add_codes(&history.world);
        }
        if changes {
            history.add_more_codes();
        }
        Ok(history)
    }

    /// Adds a line to the trace.
    pub fn tell(&mut self, what: impl FnOnce() -> String) {
        let what = what();
        what.hash(&mut self.digest);
        if self.is_traced {
            let time = self.world.now() - START;
            let (days, time) = (time / 86_400, time % 86_400);
            let (hours, minutes, seconds) = (time / 3600, time / 60 % 60, time % 60);
            let line = format!("{days:>3}d {hours:02}:{minutes:02}:{seconds:02} {what}");
            self.ending.trace.push(line);
        }
    }

    /// Adds a violation.
    pub fn violation(&mut self, what: String) {
        self.tell(|| format!("VIOLATION {what}"));
        self.ending.violations.push(what);
    }

    async fn live(&mut self) -> Result<()> {
        if self.has_accounts {
            self.add_webhook().await?;
        }
        // An address is changed and the change undone only after many steps. A subscription is
        // changed only once it was bought.
        let least = if self.has_accounts || self.changes { 300 } else { 150 };
        let steps = least + self.world.dice.below(200);
        for _ in 0..steps {
            self.step().await?;
        }
        if self.has_accounts && self.world.dice.happens(200) {
            self.pass_a_trial().await?;
        } else if self.world.dice.happens(500) {
            self.pass_a_renewal().await;
            self.quiet().await;
        }
        self.settle().await
    }

    async fn step(&mut self) -> Result<()> {
        self.ending.steps += 1;
        self.take_from_stripe();
        let waiting = self.world.gate.waiting(self.frozen).len();
        let dead = self.servers.iter().filter(|server| server.is_dead()).count();
        let with_accounts = |weight| if self.has_accounts { weight } else { 0 };
        let steps = [
            (if waiting > 0 { 30 + 10 * waiting } else { 0 }, Step::GoOn),
            (if self.air.is_empty() { 0 } else { 20 + 2 * self.air.len() }, Step::Deliver),
            (14, Step::WorkOnEvents),
            (7 + with_accounts(13), Step::SendMails),
            (if self.changes { 20 } else { 12 }, Step::Act),
            (14, Step::Buy),
            (8, Step::Time),
            (12 * dead, Step::Restart),
            (1, Step::Kill),
            (1, Step::Freeze),
            (2, Step::Weather),
            (usize::from(self.lossy), Step::Compare),
            (with_accounts(45), Step::Account),
            (with_accounts(14), Step::Webhooks),
            (with_accounts(2), Step::Remind),
        ];
        match self.world.dice.weighted(&steps).unwrap_or(Step::Time) {
            Step::GoOn => self.go_on(),
            Step::Deliver => self.deliver(),
            Step::WorkOnEvents => self.work_on_events(),
            Step::SendMails => self.send_mails(),
            Step::Act => self.act().await?,
            Step::Buy => self.buy(),
            Step::Time => self.let_time_pass().await,
            Step::Restart => self.restart().await?,
            Step::Kill => self.kill(),
            Step::Freeze => self.freeze(),
            Step::Weather => self.change_weather(),
            Step::Compare => self.compare(),
            Step::Account => self.account().await?,
            Step::Webhooks => {
                self.note_given_up().await?;
                self.deliver_webhooks();
            }
            Step::Remind => self.remind(),
        }
        self.quiet().await;
        Ok(())
    }
}
