//! Events without an action that causes them: thin events, and types that Stripe may add later.

use super::Double;
use crate::billing::checks::ActionError;

impl Double {
    /// Creates an event of any type about an object, such as a type that Stripe adds later.
    ///
    /// # Errors
    /// When no object has this id.
    pub fn announce(&self, id: &str, event_type: &str) -> Result<(), ActionError> {
        self.shared.write(|world| match world.kind_of(id) {
            Some(kind) => {
                world.announce(kind, id, event_type);
                Ok(())
            }
            None => Err(ActionError::NoSuch { what: "object", id: id.to_owned() }),
        })
    }

    /// Sends a thin event to an endpoint: its type and the object's URL, without the object. An
    /// unknown id counts as an event destination, as in Stripe's pings. Returns the event's id.
    ///
    /// # Errors
    /// When there is no such endpoint.
    pub fn send_thin_event(
        &self,
        endpoint: &str,
        event_type: &str,
        related: &str,
    ) -> Result<String, ActionError> {
        self.shared.write(|world| {
            if !world.webhook_secrets.contains_key(endpoint) {
                let id = endpoint.to_owned();
                return Err(ActionError::NoSuch { what: "webhook endpoint", id });
            }
            Ok(world.send_thin(endpoint, event_type, related))
        })
    }
}
