//! Events: stores each change with a snapshot of the object, and queues it for the webhook
//! endpoints that subscribe to its type. The events are sent in `sender`.

use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value, json};

use super::World;
use crate::objects::{Kind, put, text};
use crate::options::API_VERSION;

impl World {
    /// Creates an object and its event. Returns the object's id.
    pub fn create(&mut self, kind: Kind, fields: Value, event: &str) -> String {
        let id = self.insert(kind, fields);
        self.announce(kind, &id, event);
        id
    }

    /// Changes an object and creates its event, with the previous values of the changed fields.
    pub fn change(&mut self, kind: Kind, id: &str, fields: Value, event: &str) {
        let previous = previous_attributes(self.get(kind, id), &fields);
        self.set(kind, id, fields);
        let object = self.get(kind, id).clone();
        let previous = ("previous_attributes".to_owned(), previous.into());
        self.emit(event, Map::from_iter([("object".to_owned(), object), previous]));
    }

    /// Creates an event with the object as it is now.
    pub fn announce(&mut self, kind: Kind, id: &str, event: &str) {
        let object = self.get(kind, id).clone();
        self.emit(event, Map::from_iter([("object".to_owned(), object)]));
    }

    fn emit(&mut self, event: &str, data: Map<String, Value>) {
        let endpoints = self.endpoints_for(event);
        let request = json!({
            "id": self.cause.request_id,
            "idempotency_key": self.cause.idempotency_key,
        });
        let mut fields = json!({
            "api_version": API_VERSION,
            "pending_webhooks": endpoints.len(),
            "request": request,
            "type": event,
        });
        // Moved, because `json!` would copy the data.
        fields["data"] = data.into();
        let id = self.insert(Kind::Event, fields);
        for endpoint in endpoints {
            self.deliveries.queue(&id, &endpoint, self.now + self.faults.delivery_delay());
        }
    }

    /// Sends a thin event to an endpoint: it names the related object without its fields. Returns
    /// the event's id (<https://docs.stripe.com/events/how-events-work#thin-events>).
    pub fn send_thin(&mut self, endpoint: &str, event: &str, related: &str) -> String {
        let (object, path) = match self.kind_of(related) {
            Some(kind) => (text(&kind.blank(), "object").to_owned(), kind.path()),
            None => ("v2.core.event_destination".to_owned(), "/v2/core/event_destinations"),
        };
        let related = json!({ "id": related, "type": object, "url": format!("{path}/{related}") });
        let created = DateTime::from_timestamp(self.now, 0)
            .map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true));
        let fields = json!({ "created": created, "related_object": related, "type": event });
        let id = self.insert(Kind::ThinEvent, fields);
        self.deliveries.queue(&id, endpoint, self.now + self.faults.delivery_delay());
        id
    }

    fn endpoints_for(&self, event: &str) -> Vec<String> {
        let wants = |endpoint: &&Value| {
            let types = endpoint["enabled_events"].as_array().into_iter().flatten();
            let mut types = types.filter_map(Value::as_str);
            endpoint["status"] == "enabled" && types.any(|wanted| wanted == "*" || wanted == event)
        };
        let endpoints = self.newest_first(Kind::WebhookEndpoint, None).filter(wants);
        endpoints.map(|endpoint| text(endpoint, "id").to_owned()).collect()
    }

    /// Updates the event's count of endpoints that have not received it.
    pub fn update_pending(&mut self, event: &str) {
        let pending = self.deliveries.pending_for(event);
        self.update(Kind::Event, event, |event| {
            put(event, json!({ "pending_webhooks": pending }));
        });
    }
}

fn previous_attributes(object: &Value, fields: &Value) -> Map<String, Value> {
    let changed = fields.as_object().into_iter().flatten();
    let changed = changed.filter(|(key, value)| object[key.as_str()] != **value);
    changed.map(|(key, _)| (key.clone(), object[key.as_str()].clone())).collect()
}
