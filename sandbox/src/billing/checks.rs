//! Checks before an action: the object exists and has the status that the action needs.

use serde_json::Value;

use super::{price, subscription};
use crate::objects::{Kind, text};
use crate::world::World;

/// The reason why an action is not possible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// No object has this id.
    #[error("there is no such {what}: '{id}'")]
    NoSuch {
        /// The kind of object.
        what: &'static str,
        /// The requested id.
        id: String,
    },
    /// The object require_exists, but its state does not allow the action.
    #[error("'{id}' is {state}; this can only be done while it is {needed}")]
    WrongState {
        /// Its id.
        id: String,
        /// Its state.
        state: String,
        /// The state that the action needs.
        needed: &'static str,
    },
    /// The action does not fit the object for another reason.
    #[error("'{id}': {problem}")]
    NotPossible {
        /// The object's id.
        id: String,
        /// The problem, in words.
        problem: String,
    },
}

impl ActionError {
    /// Returns an error about an object whose state does not allow the action.
    pub fn state(id: &str, state: impl Into<String>, needed: &'static str) -> Self {
        Self::WrongState { id: id.to_owned(), state: state.into(), needed }
    }

    /// Returns an error about an object for another reason.
    pub fn not_possible(id: &str, problem: impl Into<String>) -> Self {
        Self::NotPossible { id: id.to_owned(), problem: problem.into() }
    }
}

/// Checks that an object exists.
pub fn require_exists(
    world: &World,
    kind: Kind,
    what: &'static str,
    id: &str,
) -> Result<(), ActionError> {
    if world.exists(kind, id) {
        return Ok(());
    }
    Err(ActionError::NoSuch { what, id: id.to_owned() })
}

/// Checks that a subscription has not ended.
pub fn require_live(world: &World, sub: &str) -> Result<(), ActionError> {
    let is_live = |subscription: &Value| !subscription::has_ended(subscription);
    require_subscription(world, sub, is_live, "not ended")
}

/// Checks that a subscription can be changed.
pub fn require_changeable(world: &World, sub: &str) -> Result<(), ActionError> {
    require_live(world, sub)?;
    require_subscription(world, sub, subscription::can_change, "not incomplete")
}

/// Checks that a price is sold in the currency of a subscription.
pub fn require_currency(world: &World, sub: &str, price: &str) -> Result<(), ActionError> {
    let currency = text(world.get(Kind::Subscription, sub), "currency");
    if price::is_sold_in(world, price, currency) {
        return Ok(());
    }
    Err(ActionError::not_possible(price, format!("it is not sold in {currency}")))
}

/// Checks that a subscription exists and satisfies `is`.
fn require_subscription(
    world: &World,
    sub: &str,
    is: impl Fn(&Value) -> bool,
    needed: &'static str,
) -> Result<(), ActionError> {
    require_exists(world, Kind::Subscription, "subscription", sub)?;
    let subscription = world.get(Kind::Subscription, sub);
    if is(subscription) {
        return Ok(());
    }
    let state = text(subscription, "status").to_owned();
    Err(ActionError::WrongState { id: sub.to_owned(), state, needed })
}

/// Checks that an object has a status.
pub fn require_status(
    world: &World,
    kind: Kind,
    what: &'static str,
    id: &str,
    needed: &'static str,
) -> Result<(), ActionError> {
    require_exists(world, kind, what, id)?;
    let state = text(world.get(kind, id), "status").to_owned();
    if state == needed {
        return Ok(());
    }
    Err(ActionError::WrongState { id: id.to_owned(), state, needed })
}
