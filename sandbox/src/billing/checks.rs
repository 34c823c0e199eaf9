//! Whether an action can happen now.

use serde_json::Value;

use super::subscription;
use crate::objects::{Kind, text};
use crate::world::World;

/// Why an action cannot happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// Nothing has this id.
    #[error("there is no such {what}: '{id}'")]
    NoSuch {
        /// The kind of thing.
        what: &'static str,
        /// The id that was asked for.
        id: String,
    },
    /// It exists, but is in another state than the action needs.
    #[error("'{id}' is {state}; this can only be done while it is {needed}")]
    WrongState {
        /// Its id.
        id: String,
        /// Its state.
        state: String,
        /// The state that the action needs.
        needed: &'static str,
    },
}

impl ActionError {
    /// It is in another state than the action needs.
    pub fn state(id: &str, state: impl Into<String>, needed: &'static str) -> Self {
        Self::WrongState { id: id.to_owned(), state: state.into(), needed }
    }
}

/// Whether it is there.
pub fn exists(world: &World, kind: Kind, what: &'static str, id: &str) -> Result<(), ActionError> {
    if world.exists(kind, id) {
        return Ok(());
    }
    Err(ActionError::NoSuch { what, id: id.to_owned() })
}

/// Whether a subscription has not ended.
pub fn live(world: &World, sub: &str) -> Result<(), ActionError> {
    let goes_on = |subscription: &Value| !subscription::has_ended(subscription);
    stands(world, sub, goes_on, "not at its end")
}

/// Whether a subscription can be changed.
pub fn changeable(world: &World, sub: &str) -> Result<(), ActionError> {
    live(world, sub)?;
    stands(world, sub, subscription::can_change, "past its first payment")
}

/// Whether a subscription is there, and as it is needed.
fn stands(
    world: &World,
    sub: &str,
    is: impl Fn(&Value) -> bool,
    needed: &'static str,
) -> Result<(), ActionError> {
    exists(world, Kind::Subscription, "subscription", sub)?;
    let subscription = world.get(Kind::Subscription, sub);
    if is(subscription) {
        return Ok(());
    }
    let state = text(subscription, "status").to_owned();
    Err(ActionError::WrongState { id: sub.to_owned(), state, needed })
}

/// Whether it is in a certain state.
pub fn require(
    world: &World,
    kind: Kind,
    what: &'static str,
    id: &str,
    needed: &'static str,
) -> Result<(), ActionError> {
    exists(world, kind, what, id)?;
    let state = text(world.get(kind, id), "status").to_owned();
    if state == needed {
        return Ok(());
    }
    Err(ActionError::WrongState { id: id.to_owned(), state, needed })
}
