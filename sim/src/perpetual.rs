//! The oracle for perpetual licenses: single payments, replayed in the order of their charges.

use crate::calendar::months_later;
use crate::units::{Bill, MONTHS, Sold};

/// The price of the higher perpetual plan, and that of its updates.
pub const STUDIO: &str = "price_studio_once";
const UPDATES: &str = "price_studio_updates";

/// Those of the lower one.
const SOLO: &str = "price_solo_once";
const SOLO_UPDATES: &str = "price_solo_updates";

/// The months of updates that the purchase of the lower plan includes.
const SOLO_MONTHS: i64 = 24;

/// The perpetual plans that single payments bought.
#[derive(Default)]
pub struct Owned {
    /// The end of the updates of the lower plan.
    pub solo: Option<i64>,
    /// The units of the higher plan, and the end of their updates.
    pub studio: Option<(i64, i64)>,
}

/// Returns the plans that these payments bought, in the order of their charges.
pub fn replay<'b>(bills: impl Iterator<Item = &'b Bill>) -> Owned {
    let mut owned = Owned::default();
    let mut bills: Vec<&Bill> = bills.collect();
    // Updates are sold after what they extend, perhaps in the same second.
    let is_plan = |line: &Sold| line.price == STUDIO || line.price == SOLO;
    bills.sort_by_key(|bill| (bill.at, !bill.lines.iter().any(is_plan)));
    for bill in bills {
        for line in bill.lines.iter().filter(|line| line.units > 0) {
            let a_year_later = |from: i64| months_later(from, MONTHS);
            owned.solo = match (line.price.as_str(), owned.solo) {
                (SOLO, until) => Some(months_later(until.unwrap_or(0).max(bill.at), SOLO_MONTHS)),
                (SOLO_UPDATES, Some(until)) => Some(a_year_later(until.max(bill.at))),
                (_, solo) => solo,
            };
            owned.studio = match (line.price.as_str(), owned.studio) {
                // One unit takes over the updates of the lower plan, a year of them at most. All
                // units share that.
                (STUDIO, None) => {
                    let own = a_year_later(bill.at);
                    let more = owned.solo.map_or(0, |until| until.min(a_year_later(own)) - own);
                    let all = (own - bill.at) * line.units + more.max(0);
                    Some((line.units, bill.at + all / line.units))
                }
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
                (_, studio) => studio,
            };
        }
    }
    owned
}
