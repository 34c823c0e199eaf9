//! Decides whether a customer can use a promotion code: a pure function of the codes that Stripe
//! has with that text and of what is sold. A purchase and a change of a subscription use the same
//! one.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::domain::sale::discount::{Duration, Lasts};
use crate::domain::sale::plan::Currency;
use crate::domain::time::Timestamp;

/// The promotion code of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnteredCode {
    /// The text.
    pub text: String,
    /// The client, whose wrong codes are counted.
    pub client: IpAddr,
}

/// A promotion code at Stripe (<https://docs.stripe.com/api/promotion_codes/object>).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromotionCode {
    /// Stripe's id of it.
    pub id: String,
    /// Whether it can be used. Stripe clears this for a used-up or expired code too.
    pub is_active: bool,
    /// The end of the code or of its coupon, whichever is earlier.
    pub ends: Option<Timestamp>,
    /// Whether the code or its coupon was redeemed as often as allowed.
    pub is_used_up: bool,
    /// The only Stripe customer that can use it.
    pub customer: Option<String>,
    /// Whether it is only for a customer's first purchase.
    pub is_for_first_purchase: bool,
    /// The least amount of a purchase, with its currency.
    pub minimum: Option<(i64, String)>,
    /// The Stripe products that it makes cheaper; none for all.
    pub products: Option<BTreeSet<String>>,
    /// How long the invoices get its discount.
    pub duration: Duration,
}

/// The purchase that a code is used for.
#[derive(Clone, Debug)]
pub struct CodeUse<'a> {
    /// The Stripe customer; `None` if there is none yet.
    pub customer: Option<&'a str>,
    /// Whether the customer has bought anything before.
    pub has_bought: bool,
    /// The amount without discounts and exclusive tax, in the currency's smallest unit. `None` if
    /// only Stripe knows it.
    pub amount: Option<i64>,
    /// The currency.
    pub currency: &'a Currency,
    /// The ids of the prices.
    pub prices: Vec<&'a str>,
    /// Stripe's ids of the codes that the subscription had before, if one is changed.
    pub used: BTreeSet<String>,
}

/// The reason why a code cannot be used. A code for another customer, or for a first purchase, is
/// refused like an unknown one: nobody can find out which codes exist for others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum CodeRefused {
    /// The subscription has a discount.
    #[error(
        "discounted: a subscription has one discount at a time, and this one has a discount{}{lasts}",
        name.as_ref().map(|name| format!(" `{name}`")).unwrap_or_default()
    )]
    Discounted {
        /// The name of the discount that lasts longest.
        name: Option<String>,
        /// How long it lasts.
        lasts: Lasts,
    },
    /// The subscription had it before.
    #[error(
        "already_used: the subscription had this code before, and can have each code once; change \
         it without the code"
    )]
    AlreadyUsed,
    /// The purchase is too small.
    #[error("too_small: the purchase must be at least {least} {currency} (in the smallest unit)")]
    TooSmall {
        /// The least amount, in the currency's smallest unit.
        least: i64,
        /// ISO 4217, lower case.
        currency: String,
    },
    /// It is for something else.
    #[error("other_product: the code is for other plans or add-ons")]
    OtherProduct,
    /// It was redeemed as often as allowed.
    #[error("used_up: the code was used as often as it can be")]
    UsedUp,
    /// It has expired, or was deactivated.
    #[error("expired: the code is no longer valid")]
    Expired,
    /// There is none for this customer.
    #[error("unknown: there is no such code for this customer")]
    Unknown,
    /// Stripe refuses it for another reason.
    #[error(
        "not_accepted: the payment provider does not accept the code for this purchase; it may be \
         for another currency"
    )]
    NotAccepted,
}

impl CodeRefused {
    /// Returns whether the attempt may be a guess. The others say nothing about which codes exist
    /// for the customer.
    #[must_use]
    pub fn may_be_guess(&self) -> bool {
        !matches!(self, Self::Discounted { .. } | Self::AlreadyUsed)
    }
}

/// Returns the codes that are not for others: a customer must not learn, even from the duration of
/// a response, that such a code exists.
#[must_use]
pub fn not_for_others(mut codes: Vec<PromotionCode>, code_use: &CodeUse<'_>) -> Vec<PromotionCode> {
    codes.retain(|code| !is_for_others(code, code_use));
    codes
}

fn is_for_others(code: &PromotionCode, code_use: &CodeUse<'_>) -> bool {
    let is_for_another = code.customer.is_some() && code.customer.as_deref() != code_use.customer;
    is_for_another || (code.is_for_first_purchase && code_use.has_bought)
}

/// Returns the code that the customer can use. Several codes can have the same text: at most one of
/// those for everybody is active, and one for each customer.
///
/// `products` are the Stripe products of [`CodeUse::prices`]; they only matter if a code is for
/// some.
///
/// # Errors
/// The reason that helps most.
pub fn choose<'c>(
    codes: &'c [PromotionCode],
    code_use: &CodeUse<'_>,
    products: &BTreeSet<String>,
    now: Timestamp,
) -> Result<&'c PromotionCode, CodeRefused> {
    let mut reasons = BTreeSet::new();
    for code in codes {
        match check(code, code_use, products, now) {
            Ok(()) => return Ok(code),
            Err(reason) => reasons.insert(reason),
        };
    }
    Err(reasons.pop_first().unwrap_or(CodeRefused::Unknown))
}

fn check(
    code: &PromotionCode,
    code_use: &CodeUse<'_>,
    products: &BTreeSet<String>,
    now: Timestamp,
) -> Result<(), CodeRefused> {
    if is_for_others(code, code_use) {
        return Err(CodeRefused::Unknown);
    }
    if code_use.used.contains(&code.id) {
        return Err(CodeRefused::AlreadyUsed);
    }
    if code.is_used_up {
        return Err(CodeRefused::UsedUp);
    }
    if !code.is_active || code.ends.is_some_and(|end| end <= now) {
        return Err(CodeRefused::Expired);
    }
    if code.products.as_ref().is_some_and(|of| of.is_disjoint(products)) {
        return Err(CodeRefused::OtherProduct);
    }
    // Stripe knows the minimum in other currencies.
    let own = code.minimum.as_ref().filter(|(_, currency)| currency == code_use.currency.as_str());
    match own {
        Some((least, currency)) if code_use.amount.is_some_and(|amount| amount < *least) => {
            Err(CodeRefused::TooSmall { least: *least, currency: currency.clone() })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub fn code() -> PromotionCode {
        PromotionCode {
            id: "promo_1".into(),
            is_active: true,
            ends: None,
            is_used_up: false,
            customer: None,
            is_for_first_purchase: false,
            minimum: None,
            products: None,
            duration: Duration::Forever,
        }
    }

    #[test]
    fn each_restriction_of_a_code_has_its_reason() {
        let (now, usd) = (Timestamp::saturating(1000), "usd".parse().unwrap());
        let code_use = CodeUse {
            customer: Some("cus_1"),
            has_bought: true,
            amount: Some(900),
            currency: &usd,
            prices: vec!["price_1"],
            used: ["promo_used".to_owned()].into(),
        };
        let own: BTreeSet<String> = ["prod_1".to_owned()].into();
        let of = |code| choose(&[code], &code_use, &own, now).map(|found| found.id.clone());
        let products = |id: &str| Some(BTreeSet::from([id.to_owned()]));
        let least = |amount, currency: &str| Some((amount, currency.to_owned()));
        let (id, none) = (Ok("promo_1".to_owned()), CodeRefused::Unknown);
        let small = CodeRefused::TooSmall { least: 901, currency: "usd".into() };
        let table = [
            (code(), id.clone()),
            (
                PromotionCode { id: "promo_used".into(), is_used_up: true, ..code() },
                Err(CodeRefused::AlreadyUsed),
            ),
            (PromotionCode { customer: Some("cus_1".into()), ..code() }, id.clone()),
            (PromotionCode { customer: Some("cus_2".into()), ..code() }, Err(none.clone())),
            (PromotionCode { is_for_first_purchase: true, ..code() }, Err(none.clone())),
            (
                PromotionCode { is_used_up: true, is_active: false, ..code() },
                Err(CodeRefused::UsedUp),
            ),
            (PromotionCode { is_active: false, ..code() }, Err(CodeRefused::Expired)),
            (PromotionCode { ends: Some(now), ..code() }, Err(CodeRefused::Expired)),
            (PromotionCode { products: products("prod_1"), ..code() }, id.clone()),
            (
                PromotionCode { products: products("prod_2"), ..code() },
                Err(CodeRefused::OtherProduct),
            ),
            (PromotionCode { minimum: least(900, "usd"), ..code() }, id.clone()),
            (PromotionCode { minimum: least(901, "usd"), ..code() }, Err(small)),
            (PromotionCode { minimum: least(901, "eur"), ..code() }, id.clone()),
        ];
        for (code, expected) in table {
            assert_eq!(of(code.clone()), expected, "{code:?}");
        }
        assert_eq!(choose(&[], &code_use, &own, now), Err(none));
    }

    #[test]
    fn of_several_codes_with_one_text_the_usable_one_counts() {
        let (now, usd) = (Timestamp::saturating(1000), "usd".parse().unwrap());
        let code_use = CodeUse {
            customer: Some("cus_1"),
            has_bought: false,
            amount: Some(900),
            currency: &usd,
            prices: Vec::new(),
            used: BTreeSet::new(),
        };
        let expired = PromotionCode { id: "promo_0".into(), is_active: false, ..code() };
        let of_another = PromotionCode { customer: Some("cus_2".into()), ..code() };
        let own = PromotionCode { customer: Some("cus_1".into()), ..code() };
        let none = BTreeSet::new();
        let all = [expired.clone(), of_another.clone(), own];
        assert_eq!(choose(&all, &code_use, &none, now).map(|code| &*code.id), Ok("promo_1"));
        let others = vec![of_another, expired.clone()];
        let refused = choose(&others, &code_use, &none, now);
        assert_eq!(refused, Err(CodeRefused::Expired));
        assert_eq!(not_for_others(others, &code_use), [expired]);
        let nobody = CodeUse { customer: None, ..code_use };
        assert_eq!(not_for_others(all.to_vec(), &nobody), [all[0].clone()]);
    }
}
