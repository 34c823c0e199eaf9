//! Checks that report what was expected and what was found, and wait for it with a deadline. The
//! steps say what to expect.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// How long to wait for any condition; each usually holds within milliseconds.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// How often a condition is polled.
const POLL: Duration = Duration::from_millis(10);

/// A check that failed.
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

/// The result of a check.
pub type Proven<T> = Result<T, Unproven>;

/// A step that passed: its summary for the terminal, and the output for the next steps.
pub struct Done<T> {
    pub summary: String,
    pub output: T,
}

/// The result of a step.
pub type Step<T> = Proven<Done<T>>;

/// Returns the result of a step that passed.
pub fn done<T>(output: T, summary: impl Into<String>) -> Step<T> {
    Ok(Done { summary: summary.into(), output })
}

/// Passes if the condition is true.
pub fn hold(holds: bool, expected: impl Into<String>, found: impl fmt::Display) -> Proven<()> {
    if holds { Ok(()) } else { Err(Unproven::new(expected, found.to_string())) }
}

/// Passes if both values are equal. `name` is the name of the value.
pub fn equal<T: PartialEq + fmt::Debug>(name: &str, expected: T, found: T) -> Proven<()> {
    let is_equal = expected == found;
    hold(is_equal, format!("{name} to be {expected:?}"), format!("{found:?}"))
}

/// Waits for a future until the deadline.
pub async fn in_time<T>(expected: &str, work: impl Future<Output = T>) -> Proven<T> {
    let late = |_| {
        let found = format!("nothing of that within {} seconds", DEADLINE.as_secs());
        Unproven::new(expected, found)
    };
    tokio::time::timeout(DEADLINE, work).await.map_err(late)
}

/// Repeats a check until it passes. After the deadline, returns its last failure.
pub async fn until<T>(check: impl AsyncFn() -> Proven<T>) -> Proven<T> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match check().await {
            Err(_) if Instant::now() < deadline => tokio::time::sleep(POLL).await,
            result => return result,
        }
    }
}
