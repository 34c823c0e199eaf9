//! The faults that can be switched on, and how often each still strikes.

use std::time::Duration;

/// How often a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// The next so many times.
    Next(u32),
    /// Until the faults are cleared.
    Always,
}

/// What can go wrong with a call of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiFault {
    /// The call takes effect, then the connection closes without an answer.
    AnswerLost,
    /// 429; the call takes no effect.
    RateLimited,
    /// 400, as if its parameters were wrong; the call takes no effect.
    Refused,
    /// 500; the call takes no effect, and nothing is kept under its idempotency key.
    ErrorBefore,
    /// The call takes effect, the answer is 500, and it is that which the idempotency key keeps.
    ErrorAfter,
    /// The same, with a page of text instead of Stripe's error.
    ErrorPage,
    /// The call is accepted and never answered; it takes no effect, but its idempotency key is
    /// in use for as long as the caller waits.
    Silence,
    /// The call takes effect, and the answer comes at one byte a second.
    SlowBytes,
}

/// What can go wrong with the delivery of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryFault {
    /// It is never sent, and counts as failed.
    Drop,
    /// It is sent so many times at once.
    Repeat(usize),
}

/// What can go wrong with a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailFault {
    /// Refused after `RCPT` for now, with 451.
    RefuseForNow,
    /// Refused after `RCPT` for good, with 550.
    RefuseForGood,
    /// Received, kept, and never answered.
    HangAfterData,
    /// Received, kept, and the connection closes without an answer.
    AcceptThenDrop,
    /// The connection closes before the mail is received.
    Drop,
}

/// The faults that are switched on. The first rule that fits strikes.
#[derive(Default)]
pub struct FaultRules {
    api: Vec<(Rule<ApiFault>, String)>,
    deliveries: Vec<Rule<DeliveryFault>>,
    mails: Vec<Rule<MailFault>>,
    delay: i64,
}

struct Rule<F> {
    fault: F,
    left: Times,
}

impl<F: Copy> Rule<F> {
    fn is_on(&self) -> bool {
        self.left != Times::Next(0)
    }

    fn strike(&mut self) -> Option<F> {
        match &mut self.left {
            Times::Always => Some(self.fault),
            Times::Next(0) => None,
            Times::Next(left) => {
                *left -= 1;
                Some(self.fault)
            }
        }
    }
}

impl FaultRules {
    /// Switches a fault on for the calls whose method and path begin with `calls`, such as
    /// `POST /v1/customers`; an empty text means every call.
    pub fn add_api(&mut self, fault: ApiFault, calls: &str, times: Times) {
        self.api.push((Rule { fault, left: times }, calls.to_owned()));
    }

    /// Switches a fault on for deliveries.
    pub fn add_delivery(&mut self, fault: DeliveryFault, times: Times) {
        self.deliveries.push(Rule { fault, left: times });
    }

    /// Switches a fault on for mails.
    pub fn add_mail(&mut self, fault: MailFault, times: Times) {
        self.mails.push(Rule { fault, left: times });
    }

    /// Has every event from now on wait for so long before it is sent.
    pub fn delay_deliveries(&mut self, delay: Duration) {
        self.delay = i64::try_from(delay.as_secs()).unwrap_or(i64::MAX);
    }

    /// Switches every fault off.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The fault that strikes this call, if any.
    pub fn strike_api(&mut self, call: &str) -> Option<ApiFault> {
        let fitting = self.api.iter_mut().filter(|(_, calls)| call.starts_with(calls.as_str()));
        fitting.map(|(rule, _)| rule).find_map(Rule::strike)
    }

    /// The fault that strikes this delivery, if any.
    pub fn strike_delivery(&mut self) -> Option<DeliveryFault> {
        self.deliveries.iter_mut().find_map(Rule::strike)
    }

    /// The fault that strikes this mail, if any.
    pub fn strike_mail(&mut self) -> Option<MailFault> {
        self.mails.iter_mut().find_map(Rule::strike)
    }

    /// How long an event waits before it is sent, in seconds.
    pub fn delivery_delay(&self) -> i64 {
        self.delay
    }

    /// What is switched on, in words.
    pub fn describe(&self) -> Vec<String> {
        let api = self.api.iter().filter(|(rule, _)| rule.is_on()).map(|(rule, calls)| {
            let calls = if calls.is_empty() { "every call" } else { calls };
            format!("API, {calls}: {:?}, {:?}", rule.fault, rule.left)
        });
        let deliveries = self.deliveries.iter().filter(|rule| rule.is_on());
        let deliveries =
            deliveries.map(|rule| format!("delivery: {:?}, {:?}", rule.fault, rule.left));
        let mails = self.mails.iter().filter(|rule| rule.is_on());
        let mails = mails.map(|rule| format!("mail: {:?}, {:?}", rule.fault, rule.left));
        let delay = (self.delay > 0).then(|| format!("deliveries wait {} s", self.delay));
        api.chain(deliveries).chain(mails).chain(delay).collect()
    }
}
