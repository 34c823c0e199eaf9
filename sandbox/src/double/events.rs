//! Events that nothing here causes: thin ones, and types that do not exist yet.

use super::Double;
use crate::billing::checks::ActionError;

impl Double {
    /// Makes an event of any type about an object, such as one that Stripe adds later.
    ///
    /// # Errors
    /// When nothing has this id.
    pub fn announce(&self, id: &str, event_type: &str) -> Result<(), ActionError> {
        self.shared.write(|world| match world.kind_of(id) {
            Some(kind) => {
                world.announce(kind, id, event_type);
                Ok(())
            }
            None => Err(ActionError::NoSuch { what: "object", id: id.to_owned() }),
        })
    }

    /// Sends a thin event to an endpoint: its type, and where the object is, but not the object. An
    /// id that nothing has is an event destination's, as in Stripe's pings. Returns the event's id.
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
