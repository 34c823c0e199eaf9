//! The end of a history: the faults stop, and the service runs until nothing is left to do. The
//! checks that follow are in `checks`.

use std::time::Duration;

use licentia::error::{Error, Result};
use licentia::flows::sale::reconcile;

use crate::checks;
use crate::history::History;

/// The most rounds of a minute until everything is settled. Work that failed for long is retried
/// after an hour.
const ROUNDS: usize = 75;

/// More deliveries and work than any history has.
const MOST: usize = 100_000;

/// The most reconciliations until none is incomplete, one a minute.
const TRIES: usize = 3;

impl History {
    /// Settles everything: running work ends, and everything due is done.
    pub async fn settle(&mut self) -> Result<()> {
        self.world.weather.calm();
        self.frozen = None;
        self.tell(|| "calm".to_owned());
        self.note_given_up().await?;
        let since = self.world.now();
        self.restart().await?;
        self.rest(2).await?;
        checks::fresh_work_is_done(self, since).await?;
        self.rest(ROUNDS).await?;
        let (_, lost) = self.world.stripe.undelivered();
        let dead = checks::given_up(self).await?;
        if lost + dead > 0 {
            self.tell(|| format!("{lost} lost, {dead} given up"));
            self.compare_now().await?;
            self.rest(ROUNDS).await?;
        }
        if self.has_accounts {
            self.remind();
            self.rest(ROUNDS).await?;
        }
        if checks::updates_have_ended(self).await? {
            // No event announces that. The daily reconciliation finds it.
            self.compare_now().await?;
            self.rest(ROUNDS).await?;
        }
        checks::everything(self).await
    }

    /// Lets rounds of a minute pass, until no work is left.
    pub async fn rest(&mut self, rounds: usize) -> Result<()> {
        for _ in 0..rounds {
            self.drain().await?;
            if !checks::work_is_left(self).await? {
                break;
            }
            self.pass(Duration::from_secs(61)).await;
        }
        self.drain().await
    }

    /// Returns the time of the clock that is furthest ahead.
    pub fn latest_clock(&self) -> i64 {
        self.world.now() + self.ahead.iter().max().copied().unwrap_or(0)
    }

    /// Reconciles all customers without faults, and does the resulting work.
    pub async fn compare_now(&mut self) -> Result<reconcile::Report> {
        let missing = || Error::Internal("the comparison did not end".into());
        for _ in 0..TRIES {
            self.compare();
            self.drain().await?;
            if self.report.as_ref().is_some_and(|report| report.failed.is_empty()) {
                break;
            }
            // A server that died may still hold a lease.
            self.pass(Duration::from_secs(61)).await;
        }
        self.report.take().ok_or_else(missing)
    }

    /// Delivers and works until nothing is due.
    pub async fn drain(&mut self) -> Result<()> {
        for _ in 0..MOST {
            self.take_from_stripe();
            self.quiet().await;
            let waiting = self.world.gate.waiting(None);
            if let Some(number) = waiting.first() {
                self.world.gate.open(*number);
            } else if let Some((number, delivery)) = self.air.pop() {
                self.arrive(number, delivery, true);
            } else if self.world.stripe.undelivered().0 > 0 {
                self.world.stripe.faults().release_deliveries(licentia_sandbox::Order::Shuffled);
            } else if !self.begun.is_empty() {
                // A task waits for a lease, or for a response that never comes.
                let now = self.world.timers.now();
                let next = self.world.timers.next(None).map_or(now + 1000, |due| due.0.max(now));
                self.pass(Duration::from_millis(next - now)).await;
            } else if checks::work_is_due(self).await? {
                self.work_on_events();
                self.send_mails();
                if self.has_accounts {
                    self.deliver_webhooks();
                }
            } else {
                return Ok(());
            }
            self.quiet().await;
        }
        Err(Error::Internal("it does not come to rest".into()))
    }
}
