//! Switches for the faults, for tests. The faults themselves are in `faults`.

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

    /// Switches on a fault for all calls of the API.
    pub fn api(&self, fault: ApiFault, times: Times) {
        self.api_call(fault, "", times);
    }

    /// Switches on a fault for calls whose method and path begin with `call`, such as `POST
    /// /v1/customers`.
    pub fn api_call(&self, fault: ApiFault, call: &str, times: Times) {
        self.0.write(|world| world.faults.add_api(fault, call, times));
    }

    /// Switches on a fault for deliveries.
    pub fn delivery(&self, fault: DeliveryFault, times: Times) {
        self.0.write(|world| world.faults.add_delivery(fault, times));
    }

    /// Delays every later event, in the sandbox's time, before it is sent.
    pub fn delay_deliveries(&self, delay: Duration) {
        self.0.write(|world| world.faults.delay_deliveries(delay));
    }

    /// Holds all deliveries until they are released.
    pub fn hold_deliveries(&self) {
        self.0.write(|world| world.deliveries.hold());
    }

    /// Sends the held deliveries one by one, in this order.
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

    /// Switches on a fault for mails.
    pub fn mail(&self, fault: MailFault, times: Times) {
        self.0.write(|world| world.faults.add_mail(fault, times));
    }

    /// Switches off every fault. Held deliveries stay held until they are released.
    pub fn clear(&self) {
        self.0.write(|world| world.faults.clear());
    }

    /// Returns a description of each fault that is switched on.
    #[must_use]
    pub fn active(&self) -> Vec<String> {
        self.0.read(|world| world.faults.describe())
    }
}
