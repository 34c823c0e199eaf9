//! The start and the end of billing periods. Renewals are in `renewal`.

use chrono::{DateTime, Days, Months};
use serde_json::Value;

use crate::objects::{integer, text};

/// Returns the first end of a period that lies after `after`. Periods are counted in whole
/// intervals from `anchor`, so a subscription of the 31st returns to the 31st after a shorter
/// month.
pub fn end_after(anchor: i64, recurring: &Value, after: i64) -> i64 {
    let count = integer(recurring, "interval_count").max(1);
    let interval = text(recurring, "interval");
    let mut number = 1;
    while let Some(end) = add(anchor, interval, number * count) {
        if end > after {
            return end;
        }
        number += 1;
    }
    i64::MAX
}

/// Returns the start and the end of the period around `now`, counted from `anchor`.
pub fn around(anchor: i64, recurring: &Value, now: i64) -> (i64, i64) {
    let mut start = anchor;
    loop {
        // Counted from the anchor each time: months differ in length.
        let end = end_after(anchor, recurring, start);
        if end > now || end == i64::MAX {
            return (start, end);
        }
        start = end;
    }
}

/// Whether two prices have the same billing interval.
pub fn same_interval(one: &Value, other: &Value) -> bool {
    let keys = ["interval", "interval_count"];
    keys.iter().all(|key| one["recurring"][*key] == other["recurring"][*key])
}

fn add(start: i64, interval: &str, count: i64) -> Option<i64> {
    let start = DateTime::from_timestamp(start, 0)?;
    let count = u32::try_from(count).ok()?;
    let end = match interval {
        "day" => start.checked_add_days(Days::new(u64::from(count)))?,
        "week" => start.checked_add_days(Days::new(u64::from(count) * 7))?,
        "year" => start.checked_add_months(Months::new(count.checked_mul(12)?))?,
        _ => start.checked_add_months(Months::new(count))?,
    };
    Some(end.timestamp())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_month_that_is_too_short_does_not_move_the_later_ones() {
        let monthly = json!({ "interval": "month", "interval_count": 1 });
        let anchor = DateTime::parse_from_rfc3339("2026-01-31T12:00:00Z").unwrap().timestamp();
        let february = end_after(anchor, &monthly, anchor);
        let march = end_after(anchor, &monthly, february);
        let day = |time| DateTime::from_timestamp(time, 0).unwrap().format("%m-%d").to_string();
        assert_eq!([day(february), day(march)], ["02-28", "03-31"]);
    }
}
