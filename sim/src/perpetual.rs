//! The oracle for perpetual licenses: single payments, replayed in the order of their charges. In
//! one payment, plans count before updates, the lower plan before the higher one, and of two lines
//! for the same price, the one with more units first; payments of the same second do, too.

use std::cmp::Reverse;

use crate::bills::{Bill, Sold};
use crate::calendar::months_later;
use crate::units::MONTHS;

/// The price of the higher perpetual plan, and that of its updates.
pub const STUDIO: &str = "price_studio_once";
const UPDATES: &str = "price_studio_updates";

/// Those of the lower one.
const SOLO: &str = "price_solo_once";
const SOLO_UPDATES: &str = "price_solo_updates";

/// The months of updates that the purchase of the lower plan includes.
const SOLO_MONTHS: i64 = 24;

/// The perpetual plans that single payments bought.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Owned {
    /// The end of the updates of the lower plan.
    pub solo: Option<i64>,
    /// The units of the higher plan, and the end of their updates.
    pub studio: Option<(i64, i64)>,
}

/// Returns the lines that sell something, in the order in which they count.
fn in_order(lines: &[Sold]) -> Vec<&Sold> {
    let mut sold: Vec<&Sold> = lines.iter().filter(|line| line.units > 0).collect();
    sold.sort_by_key(|line| place(line));
    sold
}

/// Returns the place of a line in that order.
fn place(line: &Sold) -> (usize, Reverse<i64>) {
    const ORDER: [&str; 4] = [SOLO, STUDIO, SOLO_UPDATES, UPDATES];
    let place = ORDER.iter().position(|price| *price == line.price);
    (place.unwrap_or(ORDER.len()), Reverse(line.units))
}

/// Returns the plans that these payments bought, in the order of their charges.
pub fn replay<'b>(bills: impl Iterator<Item = &'b Bill>) -> Owned {
    let mut owned = Owned::default();
    let mut bills: Vec<&Bill> = bills.collect();
    // Of those in the same second, nobody knows which came first.
    bills.sort_by_key(|bill| (bill.at, in_order(&bill.lines).first().map(|line| place(line))));
    for bill in bills {
        for line in in_order(&bill.lines) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_lines_of_one_payment_does_not_matter() {
        let owned = |lines: &[(&str, i64)]| {
            let paid = [Bill::of(1_000, &[(SOLO, 1)]), Bill::of(90_000, lines)];
            replay(paid.iter())
        };
        let lines = [(UPDATES, 4), (STUDIO, 1), (SOLO_UPDATES, 1), (STUDIO, 3), (SOLO, 1)];
        let expected = owned(&lines);
        assert!(expected.solo.is_some() && expected.studio.is_some_and(|(units, _)| units == 4));
        for turn in 1..lines.len() {
            let mut turned = lines;
            turned.rotate_left(turn);
            assert_eq!(owned(&turned), expected, "{turned:?}");
            turned.reverse();
            assert_eq!(owned(&turned), expected, "{turned:?}");
        }
    }
}
