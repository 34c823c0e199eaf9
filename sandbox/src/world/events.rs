//! Events: every change is written down with a snapshot of what changed, and queued for the
//! webhook endpoints that asked for it.

use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value, json};

use super::World;
use crate::objects::{Kind, put, text};
use crate::options::API_VERSION;

impl World {
    /// Makes an object and the event that says so; gives its id.
    pub fn create(&mut self, kind: Kind, fields: Value, event: &str) -> String {
        let id = self.insert(kind, fields);
        self.announce(kind, &id, event);
        id
    }

    /// Changes an object and makes the event that says so, with what the fields were before.
    pub fn change(&mut self, kind: Kind, id: &str, fields: Value, event: &str) {
        let previous = previous_attributes(self.get(kind, id), &fields);
        self.set(kind, id, fields);
        let object = self.get(kind, id).clone();
        let previous = ("previous_attributes".to_owned(), previous.into());
        self.emit(event, Map::from_iter([("object".to_owned(), object), previous]));
    }

    /// Makes an event that shows the object as it is now.
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
        // Moved, where `json!` would copy all of it.
        fields["data"] = data.into();
        let id = self.insert(Kind::Event, fields);
        for endpoint in endpoints {
            self.deliveries.queue(&id, &endpoint, self.now + self.faults.delivery_delay());
        }
    }

    /// Sends an endpoint an event that names an object and does not hold it; returns the event's id
    /// (<https://docs.stripe.com/events/how-events-work#thin-events>).
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

    /// Notes in the event how many endpoints still wait for it.
    pub fn note_pending(&mut self, event: &str) {
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
