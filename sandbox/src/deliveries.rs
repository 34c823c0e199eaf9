//! The queue of events for webhook endpoints: due times, attempts, results. The events are sent in
//! `sender`.

use std::collections::{BTreeSet, HashMap};

/// The seconds between attempts, similar to Stripe's in live mode: for three days, with growing
/// delays. The last one repeats.
const BACKOFF_SECONDS: [i64; 6] = [5, 300, 1_800, 7_200, 18_000, 43_200];

/// Stripe gives up after about three days.
const MAX_ATTEMPTS: usize = 11;

/// The state of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// It waits until it is due.
    Pending {
        /// When it is due, in epoch seconds of the sandbox.
        due: i64,
    },
    /// It was sent, and waits for the response.
    Sending,
    /// The endpoint returned 2xx.
    Delivered,
    /// Every attempt failed, or a fault dropped it.
    Failed,
}

/// The delivery of one event to one endpoint.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The event's id.
    pub event: String,
    /// The endpoint's id.
    pub endpoint: String,
    /// Its state.
    pub state: DeliveryState,
    /// The number of attempts.
    pub attempts: usize,
    /// The result of the last attempt: an HTTP status, or the problem.
    pub last: String,
}

/// The order in which held deliveries are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The oldest first.
    AsCreated,
    /// The newest first.
    Reversed,
    /// Any, decided by the seed.
    Shuffled,
}

/// All deliveries.
#[derive(Default)]
pub struct Deliveries {
    all: Vec<Delivery>,
    by_event: HashMap<String, Vec<usize>>,
    /// Due time, rank among those due at the same time, index in `all`.
    pending: BTreeSet<(i64, usize, usize)>,
    sending: usize,
    held: bool,
    /// Set while released deliveries are sent, one by one to keep their order.
    in_order: bool,
}

impl Deliveries {
    /// Adds an event for an endpoint.
    pub fn queue(&mut self, event: &str, endpoint: &str, due: i64) {
        let place = self.all.len();
        self.all.push(Delivery {
            event: event.to_owned(),
            endpoint: endpoint.to_owned(),
            state: DeliveryState::Pending { due },
            attempts: 0,
            last: String::new(),
        });
        self.by_event.entry(event.to_owned()).or_default().push(place);
        self.pending.insert((due, place, place));
    }

    /// Returns all deliveries, the oldest first.
    pub fn all(&self) -> &[Delivery] {
        &self.all
    }

    /// Returns how many endpoints have not received the event.
    pub fn pending_for(&self, event: &str) -> usize {
        self.of(event).filter(|delivery| delivery.state != DeliveryState::Delivered).count()
    }

    /// Whether all endpoints have received the event.
    pub fn succeeded(&self, event: &str) -> bool {
        self.pending_for(event) == 0
    }

    /// Takes the next due delivery, to be sent. Returns its index, which `record_result` and
    /// `give_up` need.
    pub fn take_due(&mut self, now: i64) -> Option<(usize, Delivery)> {
        let blocked = self.held || (self.in_order && self.sending > 0);
        if blocked || self.next_due()? > now {
            return None;
        }
        let (_, _, place) = self.pending.pop_first()?;
        self.in_order &= !self.pending.is_empty();
        self.sending += 1;
        let delivery = &mut self.all[place];
        delivery.state = DeliveryState::Sending;
        Some((place, delivery.clone()))
    }

    /// Records the result of an attempt, and queues the next one if it failed. Returns the event's
    /// id.
    pub fn record_result(
        &mut self,
        place: usize,
        outcome: Result<u16, String>,
        now: i64,
    ) -> String {
        self.sending -= 1;
        let delivery = &mut self.all[place];
        delivery.attempts += 1;
        let delivered = matches!(outcome, Ok(200..=299));
        delivery.last = match outcome {
            Ok(status) => format!("HTTP {status}"),
            Err(problem) => problem,
        };
        if delivered {
            delivery.state = DeliveryState::Delivered;
        } else if delivery.attempts >= MAX_ATTEMPTS {
            delivery.state = DeliveryState::Failed;
        } else {
            let due = now + BACKOFF_SECONDS[(delivery.attempts - 1).min(BACKOFF_SECONDS.len() - 1)];
            delivery.state = DeliveryState::Pending { due };
            self.pending.insert((due, place, place));
        }
        self.all[place].event.clone()
    }

    /// Ends a delivery without an attempt.
    pub fn give_up(&mut self, place: usize, why: &str) {
        self.sending -= 1;
        let delivery = &mut self.all[place];
        delivery.state = DeliveryState::Failed;
        why.clone_into(&mut delivery.last);
    }

    /// Returns when the next one is due; none while deliveries are held.
    pub fn next_due(&self) -> Option<i64> {
        if self.held { None } else { self.pending.first().map(|(due, ..)| *due) }
    }

    /// Whether nothing is due and nothing is being sent.
    pub fn settled(&self, now: i64) -> bool {
        self.sending == 0 && self.next_due().is_none_or(|due| due > now)
    }

    /// Makes all pending and all failed deliveries due now.
    pub fn retry_all(&mut self, now: i64) {
        self.pending.clear();
        for (place, delivery) in self.all.iter_mut().enumerate() {
            if matches!(delivery.state, DeliveryState::Pending { .. } | DeliveryState::Failed) {
                delivery.state = DeliveryState::Pending { due: now };
                self.pending.insert((now, place, place));
            }
        }
    }

    /// Returns how many are pending and how many failed.
    pub fn undelivered(&self) -> (usize, usize) {
        let failed = self.all.iter().filter(|delivery| delivery.state == DeliveryState::Failed);
        (self.pending.len(), failed.count())
    }

    /// Holds all deliveries until `release`.
    pub fn hold(&mut self) {
        self.held = true;
    }

    /// Returns the indexes of the pending deliveries, the oldest first.
    pub fn waiting(&self) -> Vec<usize> {
        let mut places: Vec<usize> = self.pending.iter().map(|(.., place)| *place).collect();
        places.sort_unstable();
        places
    }

    /// Makes these pending deliveries due now, to be sent one by one in this order.
    pub fn release(&mut self, places: &[usize], now: i64) {
        self.held = false;
        self.in_order = !places.is_empty();
        self.pending.clear();
        for (rank, place) in places.iter().enumerate() {
            self.all[*place].state = DeliveryState::Pending { due: now };
            self.pending.insert((now, rank, *place));
        }
    }

    fn of(&self, event: &str) -> impl Iterator<Item = &Delivery> {
        let places = self.by_event.get(event).map_or(&[][..], Vec::as_slice);
        places.iter().map(|place| &self.all[*place])
    }
}
