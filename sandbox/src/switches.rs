//! The faults as tests and the index page switch them.

use std::sync::Arc;
use std::time::Duration;

use crate::deliveries::Order;
use crate::faults::{ApiFault, DeliveryFault, MailFault, Times};
use crate::shared::Shared;

/// Switches faults on and off.
#[derive(Clone)]
pub struct Faults(Arc<Shared>);

impl Faults {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }

    /// Lets any call of the API go wrong.
    pub fn api(&self, fault: ApiFault, times: Times) {
        self.api_call(fault, "", times);
    }

    /// Lets calls go wrong whose method and path begin with `call`, such as `POST /v1/customers`.
    pub fn api_call(&self, fault: ApiFault, call: &str, times: Times) {
        self.0.write(|world| world.faults.add_api(fault, call, times));
    }

    /// Lets deliveries go wrong.
    pub fn delivery(&self, fault: DeliveryFault, times: Times) {
        self.0.write(|world| world.faults.add_delivery(fault, times));
    }

    /// Has every event from now on wait, by the sandbox's clock, before it is sent.
    pub fn delay_deliveries(&self, delay: Duration) {
        self.0.write(|world| world.faults.delay_deliveries(delay));
    }

    /// Keeps every delivery back until it is released.
    pub fn hold_deliveries(&self) {
        self.0.write(|world| world.deliveries.hold());
    }

    /// Sends what was held back, one after the other, in this order.
    pub fn release_deliveries(&self, order: Order) {
        self.0.write(|world| {
            let mut places = world.deliveries.waiting();
            match order {
                Order::AsCreated => {}
                Order::Reversed => places.reverse(),
                Order::Shuffled => world.shuffle(&mut places),
            }
            world.deliveries.release(&places, world.now);
        });
    }

    /// Lets mails go wrong.
    pub fn mail(&self, fault: MailFault, times: Times) {
        self.0.write(|world| world.faults.add_mail(fault, times));
    }

    /// Switches every fault off; deliveries that are held back stay so until they are released.
    pub fn clear(&self) {
        self.0.write(|world| world.faults.clear());
    }

    /// What is switched on and can still strike, in words.
    #[must_use]
    pub fn active(&self) -> Vec<String> {
        self.0.read(|world| world.faults.describe())
    }
}
