//! Proving: an expectation beside what was found, and waiting for it, with a deadline. What is
//! expected is said by the steps.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// How long anything may take that is waited for; all of it takes milliseconds.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// How often a condition is looked at that nobody announces.
const POLL: Duration = Duration::from_millis(10);

/// Something that does not hold.
#[derive(Debug)]
pub struct Unproven {
    expected: String,
    found: String,
}

impl Unproven {
    pub fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { expected: expected.into(), found: found.into() }
    }
}

impl fmt::Display for Unproven {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "expected {}; found {}", self.expected, self.found)
    }
}

/// What a proof gives, or what does not hold.
pub type Proven<T> = Result<T, Unproven>;

/// A step that holds: what it proved, for people, and what the next steps need.
pub struct Done<T> {
    pub said: String,
    pub gained: T,
}

/// A step.
pub type Step<T> = Proven<Done<T>>;

/// The end of a step.
pub fn done<T>(gained: T, said: impl Into<String>) -> Step<T> {
    Ok(Done { said: said.into(), gained })
}

/// Holds if it is true.
pub fn hold(holds: bool, expected: impl Into<String>, found: impl fmt::Display) -> Proven<()> {
    if holds { Ok(()) } else { Err(Unproven::new(expected, found.to_string())) }
}

/// Holds if both are the same.
pub fn equal<T: PartialEq + fmt::Debug>(what: &str, expected: T, found: T) -> Proven<()> {
    let shown = (format!("{what} to be {expected:?}"), format!("{found:?}"));
    hold(expected == found, shown.0, shown.1)
}

/// Waits for something that somebody announces.
pub async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> Proven<T> {
    let late = |_| {
        let found = format!("nothing of that within {} seconds", DEADLINE.as_secs());
        Unproven::new(what, found)
    };
    tokio::time::timeout(DEADLINE, work).await.map_err(late)
}

/// Looks until it holds; after the deadline, what did not hold is the answer.
pub async fn until<T>(look: impl AsyncFn() -> Proven<T>) -> Proven<T> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match look().await {
            Err(_) if Instant::now() < deadline => tokio::time::sleep(POLL).await,
            looked => return looked,
        }
    }
}
