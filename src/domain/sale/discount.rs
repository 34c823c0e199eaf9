//! The discounts that a subscription has: whether a promotion code may be added to them, and which
//! of them lower the next invoice.

use std::fmt;

use crate::domain::sale::promotion::{CodeRefused, PromotionCode};
use crate::domain::time::Timestamp;

/// The object that has a discount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The subscription.
    Subscription,
    /// One item of the subscription.
    Item,
    /// The Stripe customer. It counts while the subscription has none
    /// (<https://docs.stripe.com/billing/subscriptions/coupons>).
    Customer,
}

/// A discount at Stripe (<https://docs.stripe.com/api/discounts/object>).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discount {
    /// Stripe's id of it.
    pub id: String,
    /// The object that has it.
    pub holder: Holder,
    /// Stripe's id of the coupon.
    pub coupon: Option<String>,
    /// Its end; `None` if it is for one invoice, or has no end.
    pub ends: Option<Timestamp>,
}

impl Discount {
    /// Returns whether an invoice of this time gets it.
    #[must_use]
    pub fn is_active(&self, at: Timestamp) -> bool {
        self.ends.is_none_or(|end| at < end)
    }
}

/// How long the invoices get a coupon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duration {
    /// One invoice.
    Once,
    /// For this many months.
    Months(u32),
    /// All of them.
    Forever,
}

impl Duration {
    /// Returns the end of a discount that begins now, if it has one.
    #[must_use]
    pub fn ends(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Months(months) => Some(now.plus_months(months)),
            Self::Once | Self::Forever => None,
        }
    }
}

/// A coupon at Stripe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coupon {
    /// The name, which invoices show.
    pub name: Option<String>,
    /// How long the invoices get it.
    pub duration: Duration,
}

/// How long a discount lasts, as text for the customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lasts {
    /// For one invoice.
    NextInvoice,
    /// Until this time.
    Until(Timestamp),
    /// It has no end.
    Always,
    /// Only Stripe knows.
    Unknown,
}

impl fmt::Display for Lasts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NextInvoice => formatter.write_str(
                ", for the next invoice of a whole period; use the code once that is paid",
            ),
            Self::Until(end) => write!(formatter, " until {end}; use the code after that"),
            Self::Always => formatter
                .write_str(", which has no end; ask the vendor to end it if you prefer the code"),
            Self::Unknown => formatter.write_str("; use the code once that has ended"),
        }
    }
}

/// Returns the active discount that lasts longest; `None` if there is none, so that a code can be
/// added.
#[must_use]
pub fn longest(discounts: &[Discount], now: Timestamp) -> Option<&Discount> {
    let active = discounts.iter().filter(|discount| discount.is_active(now));
    active.max_by_key(|discount| (discount.ends.is_none(), discount.ends))
}

/// Returns the refusal of a code beside this discount, with its coupon if that is known.
#[must_use]
pub fn refused_beside(discount: &Discount, coupon: Option<Coupon>) -> CodeRefused {
    let lasts = match (discount.ends, coupon.as_ref().map(|coupon| coupon.duration)) {
        (Some(end), _) => Lasts::Until(end),
        (None, Some(Duration::Once)) => Lasts::NextInvoice,
        (None, Some(Duration::Forever)) => Lasts::Always,
        (None, Some(Duration::Months(_)) | None) => Lasts::Unknown,
    };
    CodeRefused::Discounted { name: coupon.and_then(|coupon| coupon.name), lasts }
}

/// The discounts that an invoice after a change gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discounts {
    /// Those that the subscription has after the change.
    OfChange,
    /// Only these of the subscription, by Stripe's ids.
    Only(Vec<String>),
}

/// Returns the discounts of the next invoice after a change, at `next`. `code` is added by the
/// change, and `is_code_used` says whether the invoice of the change uses it up. `None` if no
/// preview can show them: a discount of an item ends before, or that of the Stripe customer counts
/// again.
#[must_use]
pub fn of_next_invoice(
    held: &[Discount],
    code: Option<(&PromotionCode, bool)>,
    (now, next): (Timestamp, Timestamp),
) -> Option<Discounts> {
    let active = || held.iter().filter(|discount| discount.is_active(now));
    let of = |holder| active().filter(move |discount| discount.holder == holder);
    let ends = |discount: &Discount| !discount.is_active(next);
    if of(Holder::Item).any(ends) {
        return None;
    }
    if let Some((code, is_code_used)) = code {
        // A code is never added beside another discount.
        let has_ended = code.duration.ends(now).is_some_and(|end| end <= next);
        let is_gone = has_ended || (is_code_used && code.duration == Duration::Once);
        return Some(if is_gone { Discounts::Only(Vec::new()) } else { Discounts::OfChange });
    }
    let own: Vec<&Discount> = of(Holder::Subscription).collect();
    let counted = if own.is_empty() { of(Holder::Customer).collect() } else { own.clone() };
    if !counted.iter().any(|discount| ends(discount)) {
        return Some(Discounts::OfChange);
    }
    let kept: Vec<String> =
        own.iter().filter(|own| !ends(own)).map(|discount| discount.id.clone()).collect();
    let is_of_customer_again = !own.is_empty() && of(Holder::Customer).any(|one| !ends(one));
    (!kept.is_empty() || !is_of_customer_again).then_some(Discounts::Only(kept))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sale::promotion::tests::code;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::saturating(seconds)
    }

    fn now() -> Timestamp {
        at(1_000_000)
    }

    fn discount(id: &str, holder: Holder, ends: Option<i64>) -> Discount {
        let ends = ends.map(at);
        Discount { id: id.into(), holder, coupon: None, ends }
    }

    #[test]
    fn the_discount_that_lasts_longest_is_named() {
        let ended = discount("ended", Holder::Subscription, Some(1_000_000));
        let soon = discount("soon", Holder::Item, Some(1_000_001));
        let late = discount("late", Holder::Customer, Some(3_000_000));
        let always = discount("always", Holder::Subscription, None);
        let of = |all: &[&Discount]| {
            let all: Vec<Discount> = all.iter().map(|one| (*one).clone()).collect();
            longest(&all, now()).map(|found| found.id.clone())
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[&ended]), None);
        assert_eq!(of(&[&ended, &soon]), Some("soon".into()));
        assert_eq!(of(&[&late, &soon]), Some("late".into()));
        assert_eq!(of(&[&always, &late]), Some("always".into()));
    }

    #[test]
    fn a_refusal_says_which_discount_applies_until_when() {
        let coupon = |duration| Some(Coupon { name: Some("Loyal".into()), duration });
        let text = |ends, coupon| {
            refused_beside(&discount("di_1", Holder::Subscription, ends), coupon).to_string()
        };
        for (text, expected) in [
            (text(Some(0), coupon(Duration::Months(3))), "`Loyal` until 1970-01-01T00:00:00Z; use"),
            (text(None, coupon(Duration::Once)), "`Loyal`, for the next invoice of"),
            (text(None, coupon(Duration::Forever)), "`Loyal`, which has no end; ask the vendor"),
            (text(None, None), "has a discount; use the code once that has ended"),
        ] {
            assert!(text.starts_with("discounted: ") && text.contains(expected), "{text}");
        }
    }

    #[test]
    fn a_discount_that_ends_before_the_next_invoice_does_not_lower_it() {
        let of = |holder, ends| discount("di_1", holder, ends);
        let (own, other) = (Holder::Subscription, |ends| discount("di_2", Holder::Customer, ends));
        let (ends, lasts) = (Some(2_000_000), Some(2_000_001));
        let only =
            |ids: &[&str]| Some(Discounts::Only(ids.iter().map(|id| (*id).to_owned()).collect()));
        for (held, expected) in [
            (vec![], Some(Discounts::OfChange)),
            (vec![of(own, lasts)], Some(Discounts::OfChange)),
            (vec![of(own, None)], Some(Discounts::OfChange)),
            (vec![of(own, ends)], only(&[])),
            (vec![of(own, Some(1_000_000))], Some(Discounts::OfChange)),
            (vec![of(own, ends), discount("di_3", own, None)], only(&["di_3"])),
            (vec![of(Holder::Item, lasts)], Some(Discounts::OfChange)),
            (vec![of(Holder::Item, ends)], None),
            (vec![other(ends)], only(&[])),
            (vec![other(lasts)], Some(Discounts::OfChange)),
            (vec![of(own, ends), other(lasts)], None),
            (vec![of(own, ends), other(ends)], only(&[])),
            (vec![of(own, lasts), other(ends)], Some(Discounts::OfChange)),
        ] {
            assert_eq!(of_next_invoice(&held, None, (now(), at(2_000_000))), expected, "{held:?}");
        }
    }

    #[test]
    fn a_code_lowers_the_next_invoice_if_it_lasts() {
        let next = now().plus_months(3);
        let gone = Some(Discounts::Only(Vec::new()));
        for (duration, is_used, expected) in [
            (Duration::Once, false, Some(Discounts::OfChange)),
            (Duration::Once, true, gone.clone()),
            (Duration::Months(3), true, gone),
            (Duration::Months(4), true, Some(Discounts::OfChange)),
            (Duration::Forever, true, Some(Discounts::OfChange)),
        ] {
            let added = PromotionCode { duration, ..code() };
            let of_next = of_next_invoice(&[], Some((&added, is_used)), (now(), next));
            assert_eq!(of_next, expected, "{duration:?} {is_used}");
        }
    }
}
