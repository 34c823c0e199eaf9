//! Turns the reasons why something is not sold, or a subscription is not changed, into errors.

use super::Error;
use crate::domain::sale::change::ChangeRefused;
use crate::domain::sale::plan::Currency;
use crate::domain::sale::selection::NotSold;

impl From<NotSold> for Error {
    fn from(reason: NotSold) -> Self {
        let texts =
            |currencies: Vec<Currency>| currencies.iter().map(Currency::to_string).collect();
        match reason {
            NotSold::Plan => Self::UnknownPlan,
            NotSold::Quantity(sold) => Self::InvalidQuantity(sold),
            NotSold::Addon(problem) => Self::UnknownAddon(problem),
            NotSold::Currency(sold) => Self::CurrencyNotSold { sold: texts(sold) },
            NotSold::Pinned { pinned, sold } => {
                Self::CurrencyPinned { pinned: pinned.to_string(), sold: texts(sold) }
            }
            NotSold::Owned(reason) => Self::OwnsMore(reason),
            NotSold::BesideGrant { granted, is_sold } => {
                Self::AddonBesideGrant { granted, is_sold }
            }
            NotSold::UpdatesEnded { plan, units } => Self::UpdatesEnded { plan, units },
            NotSold::UpdatesQuantity(units) => Self::UpdatesQuantity { units },
            NotSold::NoLicense { plan, is_left: false } => Self::NoPerpetualLicense { plan },
            NotSold::NoLicense { plan, is_left: true } => Self::LeftBySubscription { plan },
        }
    }
}

impl From<ChangeRefused> for Error {
    fn from(reason: ChangeRefused) -> Self {
        match reason {
            ChangeRefused::NotSold(reason) => reason.into(),
            ChangeRefused::NoSubscription => Self::NoSubscription,
            reason => Self::ChangeNotPossible(reason),
        }
    }
}
