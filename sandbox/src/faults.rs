//! The faults that can be switched on, and how often each still applies. Their effects are in
//! `api`, `sender` and `smtp`.

use std::time::Duration;

/// How often a fault applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// For the next so many calls, deliveries or mails.
    Next(u32),
    /// Until the faults are cleared.
    Always,
}

/// A fault of an API call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiFault {
    /// The call takes effect, then the connection closes without a response.
    AnswerLost,
    /// 429; the call takes no effect.
    RateLimited,
    /// 400, as for wrong parameters; the call takes no effect.
    Refused,
    /// 403, as for a key without the permission; the call takes no effect.
    Forbidden,
    /// 500; the call takes no effect, and nothing is stored under its idempotency key.
    ErrorBefore,
    /// The call takes effect and returns 500, which is stored under its idempotency key.
    ErrorAfter,
    /// The call takes effect and returns 500 with a page instead of Stripe's error object.
    ErrorPage,
    /// The call is accepted and never gets a response. It takes no effect, but its idempotency key
    /// is in use until the caller disconnects.
    Silence,
    /// The call takes effect, and the response arrives at one byte a second.
    SlowBytes,
}

/// A fault of the delivery of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryFault {
    /// It is not sent, and counts as failed.
    Drop,
    /// It is sent so many times at once.
    Repeat(usize),
}

/// A fault of the delivery of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailFault {
    /// `RCPT` is refused temporarily, with 451.
    RefuseForNow,
    /// `RCPT` is refused permanently, with 550.
    RefuseForGood,
    /// The mail is stored, and no response follows.
    HangAfterData,
    /// The mail is stored, and the connection closes without a response.
    AcceptThenDrop,
    /// The connection closes before the mail is received.
    Drop,
}

/// The faults that are switched on. The first rule that matches applies.
#[derive(Default)]
pub struct FaultRules {
    api: Vec<(Rule<ApiFault>, String)>,
    deliveries: Vec<Rule<DeliveryFault>>,
    mails: Vec<Rule<MailFault>>,
    delay: i64,
}

struct Rule<F> {
    fault: F,
    remaining: Times,
}

impl<F: Copy> Rule<F> {
    fn is_on(&self) -> bool {
        self.remaining != Times::Next(0)
    }

    fn strike(&mut self) -> Option<F> {
        match &mut self.remaining {
            Times::Always => Some(self.fault),
            Times::Next(0) => None,
            Times::Next(remaining) => {
                *remaining -= 1;
                Some(self.fault)
            }
        }
    }
}

impl FaultRules {
    /// Switches on a fault for calls whose method and path begin with `calls`, such as `POST
    /// /v1/customers`. An empty text means all calls.
    pub fn add_api(&mut self, fault: ApiFault, calls: &str, times: Times) {
        self.api.push((Rule { fault, remaining: times }, calls.to_owned()));
    }

    /// Switches on a fault for deliveries.
    pub fn add_delivery(&mut self, fault: DeliveryFault, times: Times) {
        self.deliveries.push(Rule { fault, remaining: times });
    }

    /// Switches on a fault for mails.
    pub fn add_mail(&mut self, fault: MailFault, times: Times) {
        self.mails.push(Rule { fault, remaining: times });
    }

    /// Delays every later event before it is sent.
    pub fn delay_deliveries(&mut self, delay: Duration) {
        self.delay = i64::try_from(delay.as_secs()).unwrap_or(i64::MAX);
    }

    /// Switches every fault off.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns the fault that applies to this call, if any.
    pub fn strike_api(&mut self, call: &str) -> Option<ApiFault> {
        let fitting = self.api.iter_mut().filter(|(_, calls)| call.starts_with(calls.as_str()));
        fitting.map(|(rule, _)| rule).find_map(Rule::strike)
    }

    /// Returns the fault that applies to this delivery, if any.
    pub fn strike_delivery(&mut self) -> Option<DeliveryFault> {
        self.deliveries.iter_mut().find_map(Rule::strike)
    }

    /// Returns the fault that applies to this mail, if any.
    pub fn strike_mail(&mut self) -> Option<MailFault> {
        self.mails.iter_mut().find_map(Rule::strike)
    }

    /// Returns the delay of events before they are sent, in seconds.
    pub fn delivery_delay(&self) -> i64 {
        self.delay
    }

    /// Returns a description of each fault that is switched on.
    pub fn describe(&self) -> Vec<String> {
        let api = self.api.iter().filter(|(rule, _)| rule.is_on()).map(|(rule, calls)| {
            let calls = if calls.is_empty() { "every call" } else { calls };
            format!("API, {calls}: {:?}, {:?}", rule.fault, rule.remaining)
        });
        let deliveries = self.deliveries.iter().filter(|rule| rule.is_on());
        let deliveries =
            deliveries.map(|rule| format!("delivery: {:?}, {:?}", rule.fault, rule.remaining));
        let mails = self.mails.iter().filter(|rule| rule.is_on());
        let mails = mails.map(|rule| format!("mail: {:?}, {:?}", rule.fault, rule.remaining));
        let delay = (self.delay > 0).then(|| format!("deliveries wait {} s", self.delay));
        api.chain(deliveries).chain(mails).chain(delay).collect()
    }
}
