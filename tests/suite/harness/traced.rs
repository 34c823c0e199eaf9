//! What a test's thread reports by `tracing`: warnings, or the statements of the database.

use std::fmt;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, set_default};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

/// The texts of the selected events.
#[derive(Clone)]
struct Texts {
    is_selected: fn(&Metadata<'_>) -> bool,
    /// The field that has the text.
    field: &'static str,
    texts: Arc<Mutex<Vec<String>>>,
}

/// Listens to this thread until it is dropped.
pub struct Listener {
    heard: Texts,
    /// With one subscriber in the process, tracing would ask only the thread that is the first to
    /// report something, perhaps one of another test. With two, it asks both.
    _another: Dispatch,
    _guard: DefaultGuard,
}

impl Listener {
    /// Listens to the texts of warnings.
    pub fn to_warnings() -> Self {
        Self::to(|metadata| *metadata.level() == Level::WARN, "message")
    }

    /// Listens to the texts of statements.
    pub fn to_statements() -> Self {
        Self::to(|metadata| metadata.target() == "licentia::statements", "text")
    }

    fn to(is_selected: fn(&Metadata<'_>) -> bool, field: &'static str) -> Self {
        let heard = Texts { is_selected, field, texts: Arc::default() };
        let _another = Dispatch::new(heard.clone());
        let _guard = set_default(heard.clone());
        Self { heard, _another, _guard }
    }

    /// Returns the texts so far, in their order.
    pub fn texts(&self) -> Vec<String> {
        self.heard.texts.lock().unwrap().clone()
    }
}

impl Subscriber for Texts {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        (self.is_selected)(metadata)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }
}

impl Visit for Texts {
    fn record_str(&mut self, field: &Field, text: &str) {
        if field.name() == self.field {
            self.texts.lock().unwrap().push(text.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
