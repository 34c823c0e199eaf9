//! The oracle for perpetual licenses: single payments, replayed in the order of their charges.

use crate::calendar::months_later;
use crate::units::{Bill, MONTHS};

/// The price of a perpetual license, and that of its updates.
pub const STUDIO: &str = "price_studio_once";
const UPDATES: &str = "price_studio_updates";

/// Returns the units and the end of the updates after these payments, in the order of their
/// charges; none without a purchase.
pub fn replay<'b>(bills: impl Iterator<Item = &'b Bill>) -> Option<(i64, i64)> {
    let mut owned: Option<(i64, i64)> = None;
    let mut bills: Vec<&Bill> = bills.collect();
    // Updates are sold after what they extend, perhaps in the same second.
    bills.sort_by_key(|bill| (bill.at, bill.lines.iter().all(|line| line.price != STUDIO)));
    for bill in bills {
        for line in bill.lines.iter().filter(|line| line.units > 0) {
            let a_year_later = |from: i64| months_later(from, MONTHS);
            owned = match (line.price.as_str(), owned) {
                (STUDIO, None) => Some((line.units, a_year_later(bill.at))),
                (STUDIO, Some((units, until))) => {
                    let until = if line.units >= units {
                        a_year_later(bill.at.max(until))
                    } else {
                        let each = |units: i64, until: i64| (0..units).map(move |_| until);
                        let old = each(units, until.max(bill.at) - bill.at);
                        let new = each(line.units, a_year_later(bill.at) - bill.at);
                        let all: i64 = old.chain(new).sum();
                        until.max(bill.at + all / (units + line.units))
                    };
                    Some((units + line.units, until))
                }
                (UPDATES, Some((units, until))) if line.units >= units => {
                    Some((units, a_year_later(bill.at.max(until))))
                }
                (_, owned) => owned,
            };
        }
    }
    owned
}
