//! Statistics: daily figures from the audit log, which outlives customers, and the customers and
//! the recurring revenue of now.

use std::collections::BTreeMap;
use std::str::FromStr;

use chrono::{Days, NaiveDate};

use super::audit::AuditAction;
use crate::domain::column::row;
use crate::domain::sale::plan::{Catalog, Interval, Price};
use crate::domain::sale::subscription::BilledItems;
use crate::domain::time::Timestamp;

/// The longest period, in days: a year.
const MAX_DAYS: i64 = 366;

/// The period if the caller names none: the last days.
const USUAL_DAYS: u64 = 30;

/// The seconds of a day. UTC has no leap seconds here, as in every Unix time.
pub const DAY_SECONDS: i64 = 86_400;

/// A period of whole UTC days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// The first day.
    pub from: NaiveDate,
    /// The last day.
    pub to: NaiveDate,
}

/// A period that cannot be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPeriod {
    /// A date is not one.
    #[error("`{0}` is not a date; it looks like 2026-11-20")]
    Date(&'static str),
    /// The last day is before the first.
    #[error("`to` is before `from`")]
    Order,
    /// It is too long.
    #[error("at most {MAX_DAYS} days are shown at once")]
    Length,
}

impl Period {
    /// Returns the period from and to these dates. Without `to`, it ends today; without `from`, it
    /// has thirty days.
    ///
    /// # Errors
    /// [`InvalidPeriod`].
    pub fn parse(
        from: Option<&str>,
        to: Option<&str>,
        now: Timestamp,
    ) -> Result<Self, InvalidPeriod> {
        let date = |name, text: &str| {
            let is_plain = text.len() == 10 && text.is_ascii();
            let date = NaiveDate::from_str(text).ok().filter(|_| is_plain);
            date.ok_or(InvalidPeriod::Date(name))
        };
        let to = to.map(|text| date("to", text)).transpose()?;
        let to = to.unwrap_or_else(|| now.to_datetime().date_naive());
        let from = from.map(|text| date("from", text)).transpose()?;
        let usual = to.checked_sub_days(Days::new(USUAL_DAYS - 1)).unwrap_or(to);
        let from = from.unwrap_or(usual);
        match (to - from).num_days() {
            days if days < 0 => Err(InvalidPeriod::Order),
            days if days >= MAX_DAYS => Err(InvalidPeriod::Length),
            _ => Ok(Self { from, to }),
        }
    }

    /// Returns its beginning, and the time at which it is over.
    #[must_use]
    pub fn bounds(self) -> (Timestamp, Timestamp) {
        let start = |date: NaiveDate| {
            let days = (date - NaiveDate::default()).num_days();
            Timestamp::saturating(days.saturating_mul(DAY_SECONDS))
        };
        (start(self.from), start(self.to.checked_add_days(Days::new(1)).unwrap_or(self.to)))
    }
}

/// An amount in a currency, in its smallest unit.
pub type Amounts = BTreeMap<String, i64>;

/// The figures of one day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Day {
    /// New customers.
    pub signups: i64,
    /// Trials that began.
    pub trials: i64,
    /// Customers who paid for the first time.
    pub conversions: i64,
    /// Customers whose subscription ended.
    pub churned: i64,
    /// Licenses that were issued, without the refreshes of apps.
    pub licenses_issued: i64,
    /// Payments less returns, by currency. Negative if more was returned than paid.
    pub revenue: Amounts,
}

/// Audit entries of one day: how many have an action, and how many of them began a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionCount {
    /// The day, in days since 1970.
    pub day: i64,
    /// The action, perhaps of a newer version.
    pub action: String,
    /// The number of entries.
    pub entries: i64,
    /// The number of entries that say that a trial license was issued.
    pub trials: i64,
}

/// Returns the figures of each day of the period, in order.
#[must_use]
pub fn days(
    period: Period,
    actions: &[ActionCount],
    revenue: &[(i64, String, i64)],
) -> Vec<(NaiveDate, Day)> {
    let mut days: BTreeMap<NaiveDate, Day> = BTreeMap::new();
    let all = period.from.iter_days().take_while(|date| *date <= period.to);
    days.extend(all.map(|date| (date, Day::default())));
    let date = |day: i64| {
        let since = u64::try_from(day).ok().map(Days::new);
        since.and_then(|since| NaiveDate::default().checked_add_days(since))
    };
    for count in actions {
        let day = date(count.day).and_then(|date| days.get_mut(&date));
        if let (Some(day), Ok(action)) = (day, count.action.parse()) {
            day.add(action, count);
        }
    }
    for (day, currency, amount) in revenue {
        if let Some(day) = date(*day).and_then(|date| days.get_mut(&date)) {
            *day.revenue.entry(currency.clone()).or_default() += amount;
        }
    }
    days.into_iter().collect()
}

impl Day {
    fn add(&mut self, action: AuditAction, count: &ActionCount) {
        let entries = count.entries;
        match action {
            AuditAction::CustomerSignedUp
            | AuditAction::CustomerCreated
            | AuditAction::CustomerImported => self.signups += entries,
            AuditAction::CustomerConverted => self.conversions += entries,
            AuditAction::CustomerChurned => self.churned += entries,
            AuditAction::LicenseIssued => {
                self.trials += count.trials;
                self.licenses_issued += entries;
            }
            AuditAction::LicenseGranted
            | AuditAction::LicenseExtended
            | AuditAction::LicenseResent
            | AuditAction::LicenseReissued => self.licenses_issued += entries,
            _ => {}
        }
    }
}

/// The customers who pay for a plan now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Active {
    /// Their number.
    pub customers: i64,
    /// Their payments in a month, by currency.
    pub monthly: Amounts,
}

row! {
    /// Subscribers of a plan who pay for the same items and whose last payment was the same amount,
    /// or customers with a perpetual license.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Subscribers {
        /// The plan's id.
        pub plan: String,
        /// The items that their subscriptions bill; `None` until a sync has read them.
        pub items: Option<BilledItems>,
        /// The currency of their subscriptions; `None` until a sync has read it.
        pub billed_in: Option<String>,
        /// The amount of their last payment; `None` if they have paid nothing yet.
        pub amount: Option<i64>,
        /// Its currency.
        pub currency: Option<String>,
        /// Their number.
        pub customers: i64,
    }
}

impl Subscribers {
    /// Returns what one of them pays in a month by the prices of the catalog: for the units and the
    /// add-ons. `None` if the items are unknown or one of them has a former price.
    fn monthly(&self, catalog: &Catalog) -> Option<(&str, i64)> {
        let currency = self.billed_in.as_ref()?;
        let in_currency = currency.parse().ok()?;
        let mut monthly: Option<i64> = None;
        for item in &self.items.as_ref()?.0 {
            // Prices of something besides the plans and add-ons do not count.
            let Some(sold) = catalog.sold(&item.price) else { continue };
            let price = sold.price()?;
            let units = i64::from(item.quantity.unwrap_or(0));
            let amount = i64::from(price.amount_in(&in_currency)?).saturating_mul(units);
            let of_month = if price.interval == Interval::Year { amount / 12 } else { amount };
            monthly = Some(monthly.unwrap_or(0).saturating_add(of_month));
        }
        monthly.map(|monthly| (currency.as_str(), monthly))
    }
}

/// Returns the customers and the monthly recurring revenue by plan: the catalog's prices of the
/// units and add-ons that subscriptions bill, whatever discounts they have. A yearly price counts
/// as a twelfth. Before the first payment, and for a perpetual license, there is none. Customers of
/// a renamed plan count for its present id.
///
/// Where the items or their prices are unknown, the last payment counts as the price of the plan
/// that is nearest to it, because a discount or a plan change makes another amount.
#[must_use]
pub fn active(subscribers: &[Subscribers], catalog: &Catalog) -> BTreeMap<String, Active> {
    let mut plans: BTreeMap<String, Active> = BTreeMap::new();
    for group in subscribers {
        let plan = catalog.plan(&group.plan);
        let id = plan.map_or(&*group.plan, |plan| plan.id.as_str());
        let active = plans.entry(id.to_owned()).or_default();
        active.customers += group.customers;
        let (Some(amount), Some(currency)) = (group.amount, &group.currency) else { continue };
        if let Some((currency, monthly)) = group.monthly(catalog) {
            *active.monthly.entry(currency.to_owned()).or_default() += monthly * group.customers;
            continue;
        }
        let prices = plan.into_iter().flat_map(|plan| &plan.prices);
        let in_currency = |price: &Price| {
            let mut amounts = price.amounts();
            let amount = amounts.find(|(one, _)| one.as_str() == currency)?.1;
            Some((price.interval, i64::from(amount)))
        };
        let recurring = prices.filter(|price| price.interval.is_recurring());
        let distance = |(_, price): &(Interval, i64)| (price - amount).abs();
        let monthly = match recurring.filter_map(in_currency).min_by_key(distance) {
            Some((Interval::Year, price)) => price / 12,
            Some((_, price)) => price,
            None => amount,
        };
        *active.monthly.entry(currency.clone()).or_default() += monthly * group.customers;
    }
    plans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sale::subscription::BilledItem;

    const NOW: Timestamp = Timestamp::MAX;

    fn period(from: &str, to: &str) -> Result<Period, InvalidPeriod> {
        Period::parse(Some(from), Some(to), NOW)
    }

    #[test]
    fn a_period_has_whole_utc_days_and_both_ends_count() {
        let (from, to) = period("2026-11-20", "2026-11-20").unwrap().bounds();
        assert_eq!(from.to_string(), "2026-11-20T00:00:00Z");
        assert_eq!(to.to_string(), "2026-11-21T00:00:00Z");
        let usual = Period::parse(None, Some("2026-11-30"), NOW).unwrap();
        assert_eq!(usual.from.to_string(), "2026-11-01");
        assert!(period("2025-11-20", "2026-11-20").is_ok(), "366 days");
        assert_eq!(period("2025-11-19", "2026-11-20"), Err(InvalidPeriod::Length));
        assert_eq!(period("2026-11-20", "2026-11-19"), Err(InvalidPeriod::Order));
        for wrong in ["", "2026-02-30", "20.11.2026", "2026-11-20T00:00:00Z", "2026-1-2"] {
            assert_eq!(period(wrong, "2026-11-20"), Err(InvalidPeriod::Date("from")), "{wrong}");
        }
    }

    #[test]
    fn every_day_of_the_period_is_listed_and_others_are_not() {
        let count = |day, action: AuditAction, entries, trials| ActionCount {
            day,
            action: action.to_string(),
            entries,
            trials,
        };
        let period = period("1970-01-02", "1970-01-04").unwrap();
        let actions = [
            count(1, AuditAction::CustomerSignedUp, 3, 0),
            count(1, AuditAction::LicenseIssued, 2, 2),
            count(1, AuditAction::CustomerImported, 1, 0),
            count(3, AuditAction::LicenseIssued, 4, 1),
            count(3, AuditAction::CustomerConverted, 1, 0),
            count(4, AuditAction::CustomerChurned, 1, 0),
        ];
        let revenue = [(3, "usd".to_owned(), 4900), (3, "eur".to_owned(), 1)];
        let days = days(period, &actions, &revenue);
        let days: Vec<_> = days.into_iter().map(|(_, day)| day).collect();
        let first = Day { signups: 4, trials: 2, licenses_issued: 2, ..Day::default() };
        let last = Day {
            trials: 1,
            conversions: 1,
            licenses_issued: 4,
            revenue: Amounts::from([("usd".to_owned(), 4900), ("eur".to_owned(), 1)]),
            ..Day::default()
        };
        assert_eq!(days, [first, Day::default(), last]);
    }

    #[test]
    fn a_year_counts_as_twelve_months_and_a_discount_as_the_nearest_price() {
        let catalog = crate::domain::sale::entitlement::tests::catalog();
        let plan = catalog.plans.iter().find(|plan| !plan.prices.is_empty()).unwrap();
        let price = plan.price(None).unwrap();
        let group = |amount, customers| Subscribers {
            plan: plan.id.to_string(),
            amount,
            currency: amount.map(|_| price.currency.to_string()),
            customers,
            ..Subscribers::default()
        };
        let amount = i64::from(price.amount);
        let groups = [group(Some(amount), 2), group(Some(amount - 1), 1), group(None, 1)];
        let active = active(&groups, &catalog);
        let total = &active[plan.id.as_str()];
        let monthly = if price.interval == Interval::Year { amount / 12 } else { amount };
        assert_eq!(total.customers, 4);
        assert_eq!(total.monthly, Amounts::from([(price.currency.to_string(), 3 * monthly)]));
    }

    #[test]
    fn the_units_and_add_ons_of_a_subscription_count_by_the_catalogs_prices() {
        let mut catalog = crate::domain::sale::entitlement::tests::selling();
        catalog.plans[1].former_prices.push("price_starter_old".into());
        let team = |billed_in: &str, items: &[(&str, u32)]| {
            let item = |(price, quantity): &(&str, u32)| BilledItem {
                price: (*price).to_owned(),
                quantity: Some(*quantity),
            };
            let group = Subscribers {
                plan: "team".into(),
                items: Some(BilledItems(items.iter().map(item).collect())),
                billed_in: Some(billed_in.to_owned()),
                // A proration, which is near to no price.
                amount: Some(1),
                currency: Some(billed_in.to_owned()),
                customers: 2,
            };
            active(&[group], &catalog)["team"].monthly.clone()
        };
        let usd = |amount| Amounts::from([("usd".to_owned(), amount)]);
        assert_eq!(team("usd", &[("price_team_month", 5)]), usd(10_000));
        let with_addon = [("price_team_month", 5), ("price_pdf_month", 1), ("price_support", 9)];
        assert_eq!(team("usd", &with_addon), usd(10_600), "other prices are no plan's");
        assert_eq!(team("usd", &[("price_team_year", 3)]), usd(5_000));
        let eur = Amounts::from([("eur".to_owned(), 9_000)]);
        assert_eq!(team("eur", &[("price_team_month", 5)]), eur);
        let nearest = usd(2_000);
        assert_eq!(team("usd", &[("price_starter_old", 5)]), nearest, "its amount is unknown");
        let perpetual =
            Subscribers { plan: "studio".into(), customers: 3, ..Subscribers::default() };
        let studio = &active(&[perpetual], &catalog)["studio"];
        assert_eq!((studio.customers, &studio.monthly), (3, &Amounts::new()));
    }

    #[test]
    fn a_renamed_plan_and_a_second_currency_of_a_price_count() {
        let mut catalog = crate::domain::sale::entitlement::tests::catalog();
        catalog.plans[1].former_ids.push("beginner".parse().unwrap());
        let price = &mut catalog.plans[1].prices[1];
        price.others.insert("eur".parse().unwrap(), 18000);
        assert_eq!(price.interval, Interval::Year);
        let group = |plan: &str, currency: &str, amount| Subscribers {
            plan: plan.to_owned(),
            amount: Some(amount),
            currency: Some(currency.to_owned()),
            customers: 1,
            ..Subscribers::default()
        };
        let groups = [group("beginner", "eur", 17000), group("starter", "usd", 1900)];
        let active = active(&groups, &catalog);
        let plans: Vec<_> = active.keys().collect();
        assert_eq!(plans, ["starter"]);
        let monthly = Amounts::from([("eur".to_owned(), 1500), ("usd".to_owned(), 1900)]);
        assert_eq!((active["starter"].customers, &active["starter"].monthly), (2, &monthly));
    }
}
