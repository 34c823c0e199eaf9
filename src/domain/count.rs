//! Numbers of things as text.

/// Returns a number of things, such as `1 unit` and `2 units`.
#[must_use]
pub fn counted(number: impl Into<u64>, thing: &str) -> String {
    let number = number.into();
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}
