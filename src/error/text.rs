//! The messages that are more than one text with values in it.

use std::fmt;
use std::time::Duration;

/// Names the limit of a request.
pub(super) fn took_too_long(limit: &Duration, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(formatter, "the request took longer than {} seconds", limit.as_secs())
}

/// Names the currencies, and the way out.
pub(super) fn pinned_currency(
    pinned: &str,
    sold: &[String],
    formatter: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let remedy = if sold.iter().any(|currency| currency == pinned) {
        format!("leave `currency` out, or send `{pinned}`")
    } else {
        "it can be bought once the other subscriptions have ended".to_owned()
    };
    write!(
        formatter,
        "the customer's subscriptions are in {pinned}, and the payment provider allows one \
         currency at a time; this plan is sold in {}; {remedy}",
        sold.join(", ")
    )
}

/// Lists problems, one on each line.
pub(super) fn lines(problems: &[String], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    formatter.write_str(&problems.join("\n"))
}
