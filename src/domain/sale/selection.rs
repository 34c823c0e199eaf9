//! Decides what a customer buys: checks a request against the plans file, and fills in what it
//! leaves out. `holdings.rs` compares it with what the customer has. Stripe's page does the rest
//! ([`crate::flows::sale::checkout`]).

pub mod holdings;

use crate::domain::sale::accepted_loss::AcceptedLoss;
use crate::domain::sale::plan::{Addon, Catalog, Currency, Interval, Plan, Price, Quantity};
use holdings::OwnsMore;

/// The request of a customer who wants to buy.
#[derive(Clone, Debug)]
pub struct PurchaseRequest {
    /// The plan's id.
    pub plan: String,
    /// The interval. The default is monthly, or else yearly, or else once, if the plan is sold so.
    pub interval: Option<Interval>,
    /// The currency. The default is the customer's.
    pub currency: Option<Currency>,
    /// The number of units. The default is the fewest that are sold.
    pub quantity: Option<u32>,
    /// The ids of add-ons.
    pub addons: Vec<String>,
    /// Whether the customer accepts a license that has less than the present one.
    pub accept_smaller: bool,
}

/// The currencies that Stripe has recorded for a customer.
#[derive(Clone, Debug, Default)]
pub struct CustomerCurrency {
    /// The currency of earlier purchases.
    pub usual: Option<Currency>,
    /// The currency of the running subscriptions: Stripe sells no other subscription in another
    /// one (<https://docs.stripe.com/billing/customer#currency>).
    pub pinned: Option<Currency>,
}

/// The plan, price, units and add-ons that are sold to a customer.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection<'c> {
    /// The plan.
    pub plan: &'c Plan,
    /// How often the prices are charged.
    pub interval: Interval,
    /// The price of the plan; `None` if the customer owns it, and buys only add-ons.
    pub price: Option<&'c Price>,
    /// The units.
    pub quantity: u32,
    /// The units that the customer may choose on Stripe's page.
    pub choosable: Quantity,
    /// The add-ons with their prices.
    pub addons: Vec<(&'c Addon, &'c Price)>,
    /// The currency.
    pub currency: Currency,
    /// The parts of what the customer has that the license will not have, if they accepted that.
    pub accepted_loss: Option<AcceptedLoss>,
}

/// The reason why something is not sold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotSold {
    /// There is no such plan, or it is not sold at this interval.
    Plan,
    /// The plan is not sold in this quantity.
    Quantity(Quantity),
    /// An add-on is not sold. The text has its id, the reason, and the way out.
    Addon(String),
    /// The plan is not sold in this currency; these are the ones.
    Currency(Vec<Currency>),
    /// Stripe sells the customer subscriptions in another currency only.
    Pinned {
        /// The customer's currency.
        pinned: Currency,
        /// The currencies of the plan.
        sold: Vec<Currency>,
    },
    /// The customer has more already, or all of it.
    Owned(OwnsMore),
    /// The updates of the customer's units have ended, and fewer units would not renew them.
    UpdatesEnded {
        /// The plan.
        plan: String,
        /// The units that the customer has.
        units: u32,
    },
    /// Add-ons that are bought alone have no effect on a license that an operator granted.
    BesideGrant {
        /// The plan of the license.
        granted: String,
        /// Whether the plan of the request is sold once.
        is_sold: bool,
    },
    /// Updates are sold for all units that the customer has: these.
    UpdatesQuantity(u32),
    /// Updates are sold for a perpetual license of the plan, which the customer has not bought.
    NoLicense {
        /// The plan.
        plan: String,
        /// Whether the customer has one that a subscription left. Updates do not extend it.
        is_left: bool,
    },
}

impl From<OwnsMore> for NotSold {
    fn from(reason: OwnsMore) -> Self {
        Self::Owned(reason)
    }
}

impl Selection<'_> {
    /// Returns the amount without discounts and exclusive tax, in the currency's smallest unit.
    #[must_use]
    pub fn amount(&self) -> i64 {
        let of = |price: &Price| i64::from(price.amount_in(&self.currency).unwrap_or(0));
        let amounts = self.lines().map(|(price, units)| of(price).saturating_mul(units.into()));
        amounts.fold(0, i64::saturating_add)
    }
}

impl<'c> Selection<'c> {
    /// Returns the prices with their units: that of the plan, then those of the add-ons.
    pub fn lines(&self) -> impl Iterator<Item = (&'c Price, u32)> {
        let of_plan = self.price.map(|price| (price, self.quantity));
        of_plan.into_iter().chain(self.addons.iter().map(|(_, price)| (*price, 1)))
    }
}

/// Returns what a customer buys.
///
/// # Errors
/// The first reason why it is not sold.
pub fn select<'c>(
    catalog: &'c Catalog,
    request: &PurchaseRequest,
    customer: &CustomerCurrency,
) -> Result<Selection<'c>, NotSold> {
    let plan = catalog.plan(&request.plan).ok_or(NotSold::Plan)?;
    let interval = plan.price(request.interval).ok_or(NotSold::Plan)?.interval;
    let quantity = request.quantity.unwrap_or(plan.quantity.min);
    if !plan.quantity.allows(quantity) {
        return Err(NotSold::Quantity(plan.quantity));
    }
    let (price, currency) = price(plan, interval, request.currency.as_ref(), customer)?;
    let addons = addons(catalog, plan, interval, &currency, &request.addons)?;
    let (price, choosable, accepted_loss) = (Some(price), plan.quantity, None);
    Ok(Selection { plan, interval, price, quantity, choosable, addons, currency, accepted_loss })
}

/// Refuses a plan or a quantity that no customer can buy. The currency, the add-ons and the units
/// of updates depend on the customer, and are not checked.
///
/// # Errors
/// [`NotSold::Plan`] and [`NotSold::Quantity`].
pub fn refuse_for_everybody(catalog: &Catalog, request: &PurchaseRequest) -> Result<(), NotSold> {
    let quantity = request.quantity.filter(|_| request.interval != Some(Interval::Updates));
    let request = PurchaseRequest { quantity, ..request.clone() };
    match select(catalog, &request, &CustomerCurrency::default()) {
        // Its owners can still buy add-ons.
        Err(NotSold::Plan)
            if request.interval == Some(Interval::Once)
                && !request.addons.is_empty()
                && catalog.plan(&request.plan).is_some() =>
        {
            Ok(())
        }
        Err(reason @ (NotSold::Plan | NotSold::Quantity(_))) => Err(reason),
        _ => Ok(()),
    }
}

/// Returns the add-ons of a request alone, for a customer with a perpetual license for the plan.
/// They are sold in the currency of the request, or else in that of earlier purchases, or else in
/// the first one of the first add-on in which all of them are sold, or else in that of the plan's
/// first price.
///
/// # Errors
/// [`NotSold::Plan`] and [`NotSold::Addon`].
pub fn select_addons<'c>(
    catalog: &'c Catalog,
    request: &PurchaseRequest,
    customer: &CustomerCurrency,
) -> Result<Selection<'c>, NotSold> {
    let plan = catalog.plan(&request.plan).ok_or(NotSold::Plan)?;
    let interval = Interval::Once;
    let first = request.addons.first().and_then(|id| catalog.addon(id));
    let of_first = first.into_iter().flat_map(|addon| addon.prices.iter().flat_map(Price::amounts));
    let of_first = of_first.map(|(currency, _)| currency).filter(|_| request.currency.is_none());
    let usual = request.currency.as_ref().or(customer.usual.as_ref());
    let of_plan = plan.prices.first().map(|price| &price.currency);
    let mut refused = NotSold::Plan;
    for currency in usual.into_iter().chain(of_first).chain(of_plan) {
        match addons(catalog, plan, interval, currency, &request.addons) {
            Ok(addons) => {
                return Ok(Selection {
                    plan,
                    interval,
                    price: None,
                    quantity: 1,
                    choosable: Quantity::ONE,
                    addons,
                    currency: currency.clone(),
                    accepted_loss: None,
                });
            }
            Err(reason) if request.currency.is_some() => return Err(reason),
            Err(reason) => refused = reason,
        }
    }
    Err(refused)
}

/// Returns the add-ons with these ids, and their prices beside a plan.
///
/// # Errors
/// [`NotSold::Addon`].
pub fn addons<'c>(
    catalog: &'c Catalog,
    plan: &Plan,
    interval: Interval,
    currency: &Currency,
    ids: &[String],
) -> Result<Vec<(&'c Addon, &'c Price)>, NotSold> {
    let mut addons: Vec<(&Addon, &Price)> = Vec::new();
    for id in ids {
        let addon = catalog.addon(id).ok_or_else(|| {
            NotSold::Addon(format!("there is no add-on {id:?}; GET /api/plans lists them"))
        })?;
        if addons.iter().any(|(chosen, _)| chosen.id == addon.id) {
            return Err(NotSold::Addon(format!("`{id}` is listed twice; list it once")));
        }
        if !addon.is_for(plan) {
            return Err(NotSold::Addon(format!(
                "`{id}` is not sold with the plan `{}`; GET /api/plans lists the add-ons of each \
                 plan",
                plan.id
            )));
        }
        let price = addon_price(addon, interval, currency).ok_or_else(|| {
            let how = interval.as_str();
            NotSold::Addon(format!(
                "`{id}` has no price for `{how}` in {currency}; GET /api/plans lists its prices"
            ))
        })?;
        addons.push((addon, price));
    }
    Ok(addons)
}

/// Returns the price of a plan for this interval, and the currency: the one that the caller wants,
/// or else the customer's if the plan is sold in it, or else the first.
///
/// # Errors
/// [`NotSold::Currency`] and [`NotSold::Pinned`].
pub fn price<'c>(
    plan: &'c Plan,
    interval: Interval,
    wanted: Option<&Currency>,
    customer: &CustomerCurrency,
) -> Result<(&'c Price, Currency), NotSold> {
    let in_currency = |currency: &Currency| {
        plan.prices_for_sale(interval).find(|price| price.amount_in(currency).is_some())
    };
    let sold = || plan.currencies(interval);
    // A single payment can be in any currency.
    let pinned = customer.pinned.as_ref().filter(|_| interval.is_recurring());
    let usual = || customer.usual.as_ref().filter(|currency| in_currency(currency).is_some());
    let first = || plan.prices_for_sale(interval).next().map(|price| &price.currency);
    let currency = wanted.or(pinned).or_else(usual).or_else(first).ok_or(NotSold::Plan)?;
    match (in_currency(currency), pinned) {
        (_, Some(pinned)) if pinned != currency => {
            Err(NotSold::Pinned { pinned: pinned.clone(), sold: sold() })
        }
        (Some(price), _) => Ok((price, currency.clone())),
        (None, Some(pinned)) => Err(NotSold::Pinned { pinned: pinned.clone(), sold: sold() }),
        (None, None) => Err(NotSold::Currency(sold())),
    }
}

/// Returns the price of an add-on beside a plan at this interval.
#[must_use]
pub fn addon_price<'c>(
    addon: &'c Addon,
    interval: Interval,
    currency: &Currency,
) -> Option<&'c Price> {
    let interval = if interval.is_recurring() { interval } else { Interval::Once };
    let sold = addon.prices.iter().filter(|price| price.is_for_sale && price.interval == interval);
    sold.into_iter().find(|price| price.amount_in(currency).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sale::entitlement::tests::catalog_of;

    const PLANS: &str = r#"
        product = "app"
        [trial]
        days = 14
        plan = "free"
        [[plan]]
        id = "free"
        name = "Free"
        [[plan]]
        id = "team"
        name = "Team"
        limits = { seats = 1 }
        per_unit = ["seats"]
        quantity = { min = 2, max = 20 }
        prices = [
            { id = "price_m", interval = "month", amount = 1000, currency = "usd", currencies = { eur = 900 } },
            { id = "price_m_gbp", interval = "month", amount = 800, currency = "gbp" },
            { id = "price_o", interval = "once", amount = 20000, currency = "usd", updates_months = 12 },
        ]
        [[addon]]
        id = "pdf"
        name = "PDF"
        features = ["pdf"]
        prices = [
            { id = "price_pdf", interval = "month", amount = 300, currency = "usd" },
            { id = "price_pdf_o", interval = "once", amount = 4000, currency = "usd" },
        ]
        [[addon]]
        id = "cad"
        name = "CAD"
        features = ["cad"]
        plans = ["free"]
        prices = [{ id = "price_cad", interval = "month", amount = 300, currency = "usd" }]
    "#;

    fn currency(text: &str) -> Currency {
        text.parse().unwrap()
    }

    fn request() -> PurchaseRequest {
        let (interval, currency, quantity, addons) = (None, None, None, Vec::new());
        PurchaseRequest {
            plan: "team".into(),
            interval,
            currency,
            quantity,
            addons,
            accept_smaller: false,
        }
    }

    fn chosen(
        request: &PurchaseRequest,
        customer: &CustomerCurrency,
    ) -> Result<(String, u32, i64), NotSold> {
        let catalog = catalog_of(PLANS);
        let selection = select(&catalog, request, customer)?;
        let price = selection.price.unwrap();
        Ok((price.id.clone(), selection.quantity, selection.amount()))
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let none = CustomerCurrency::default();
        let pdf = PurchaseRequest { addons: vec!["pdf".into()], ..request() };
        for (request, expected) in [
            (request(), ("price_m", 2, 2000)),
            (PurchaseRequest { quantity: Some(20), ..request() }, ("price_m", 20, 20_000)),
            (
                PurchaseRequest { interval: Some(Interval::Once), ..request() },
                ("price_o", 2, 40_000),
            ),
            (
                PurchaseRequest { currency: Some(currency("eur")), ..request() },
                ("price_m", 2, 1800),
            ),
            (
                PurchaseRequest { currency: Some(currency("gbp")), ..request() },
                ("price_m_gbp", 2, 1600),
            ),
            (pdf.clone(), ("price_m", 2, 2300)),
            (PurchaseRequest { interval: Some(Interval::Once), ..pdf }, ("price_o", 2, 44_000)),
        ] {
            let (id, quantity, amount) = expected;
            assert_eq!(
                chosen(&request, &none),
                Ok((id.to_owned(), quantity, amount)),
                "{request:?}"
            );
        }
    }

    #[test]
    fn an_impossible_purchase_is_refused_with_the_reason() {
        let none = CustomerCurrency::default();
        let sold = Quantity { min: 2, max: 20 };
        let all = ["usd", "eur", "gbp"].map(currency).to_vec();
        let addons = |ids: &[&str]| PurchaseRequest {
            addons: ids.iter().map(|id| (*id).to_owned()).collect(),
            ..request()
        };
        let problem = |text: &str| NotSold::Addon(text.to_owned());
        let eur_pdf = PurchaseRequest { currency: Some(currency("eur")), ..addons(&["pdf"]) };
        for (request, expected) in [
            (PurchaseRequest { plan: "gold".into(), ..request() }, NotSold::Plan),
            (PurchaseRequest { plan: "free".into(), ..request() }, NotSold::Plan),
            (PurchaseRequest { interval: Some(Interval::Year), ..request() }, NotSold::Plan),
            (PurchaseRequest { interval: Some(Interval::Updates), ..request() }, NotSold::Plan),
            (PurchaseRequest { quantity: Some(0), ..request() }, NotSold::Quantity(sold)),
            (
                PurchaseRequest { quantity: Some(1_000_000_000), ..request() },
                NotSold::Quantity(sold),
            ),
            (
                PurchaseRequest { currency: Some(currency("chf")), ..request() },
                NotSold::Currency(all),
            ),
            (addons(&["pdf", "pdf"]), problem("`pdf` is listed twice; list it once")),
            (
                addons(&["cad"]),
                problem(
                    "`cad` is not sold with the plan `team`; GET /api/plans lists the add-ons of \
                     each plan",
                ),
            ),
            (addons(&["gold"]), problem("there is no add-on \"gold\"; GET /api/plans lists them")),
            (
                eur_pdf,
                problem("`pdf` has no price for `month` in eur; GET /api/plans lists its prices"),
            ),
        ] {
            assert_eq!(chosen(&request, &none), Err(expected), "{request:?}");
        }
    }

    #[test]
    fn only_what_nobody_can_buy_is_refused_for_everybody() {
        let catalog = catalog_of(PLANS);
        let refused = |plan: &str, interval, quantity, addon: Option<&str>| {
            let addons = addon.iter().map(|id| (*id).to_owned()).collect();
            let request =
                PurchaseRequest { plan: plan.into(), interval, quantity, addons, ..request() };
            refuse_for_everybody(&catalog, &request).err()
        };
        let wrong = Some(NotSold::Quantity(Quantity { min: 2, max: 20 }));
        let (once, updates) = (Some(Interval::Once), Some(Interval::Updates));
        assert_eq!(refused("team", None, Some(5), None), None);
        assert_eq!(refused("gold", None, None, None), Some(NotSold::Plan));
        assert_eq!(refused("gold", once, None, Some("pdf")), Some(NotSold::Plan));
        assert_eq!(refused("free", once, None, None), Some(NotSold::Plan));
        assert_eq!(refused("free", once, None, Some("pdf")), None, "to its owners");
        assert_eq!(refused("team", updates, None, Some("pdf")), Some(NotSold::Plan));
        assert_eq!(refused("team", None, Some(1), None), wrong);
        assert_eq!(refused("team", once, Some(21), Some("pdf")), wrong);
        assert_eq!(refused("team", None, None, Some("gold")), None, "it is checked later");
    }

    #[test]
    fn add_ons_alone_are_sold_in_a_currency_in_which_all_of_them_are_sold() {
        let catalog = catalog_of(PLANS);
        let with = |addons: &[&str], wanted: Option<&str>| PurchaseRequest {
            currency: wanted.map(currency),
            addons: addons.iter().map(|id| (*id).to_owned()).collect(),
            ..request()
        };
        let sold = |request: &PurchaseRequest, usual: Option<&str>| {
            let customer = CustomerCurrency { usual: usual.map(currency), pinned: None };
            let selection = select_addons(&catalog, request, &customer)?;
            assert_eq!((selection.price, selection.interval), (None, Interval::Once));
            Ok::<_, NotSold>((selection.amount(), selection.currency.to_string()))
        };
        for usual in [None, Some("usd"), Some("eur")] {
            assert_eq!(sold(&with(&["pdf"], None), usual), Ok((4000, "usd".to_owned())));
        }
        let problem = |text: &str| Err(NotSold::Addon(text.to_owned()));
        let of_once = "`pdf` has no price for `once` in eur; GET /api/plans lists its prices";
        assert_eq!(sold(&with(&["pdf"], Some("eur")), None), problem(of_once));
        let not_known = "there is no add-on \"gold\"; GET /api/plans lists them";
        assert_eq!(sold(&with(&["gold"], None), None), problem(not_known));
        let twice = "`pdf` is listed twice; list it once";
        assert_eq!(sold(&with(&["pdf", "pdf"], None), None), problem(twice));
    }

    #[test]
    fn the_customers_currency_is_the_default_and_a_running_subscription_fixes_it_stripe_35() {
        let eur = CustomerCurrency { usual: Some(currency("eur")), pinned: None };
        assert_eq!(chosen(&request(), &eur), Ok(("price_m".into(), 2, 1800)));
        let once = PurchaseRequest { interval: Some(Interval::Once), ..request() };
        assert_eq!(chosen(&once, &eur), Ok(("price_o".into(), 2, 40_000)), "not sold in eur");
        let usd = PurchaseRequest { currency: Some(currency("usd")), ..request() };
        assert_eq!(chosen(&usd, &eur), Ok(("price_m".into(), 2, 2000)), "the caller chooses");
        let pinned = |text| CustomerCurrency { usual: None, pinned: Some(currency(text)) };
        assert_eq!(chosen(&request(), &pinned("gbp")), Ok(("price_m_gbp".into(), 2, 1600)));
        let sold = || ["usd", "eur", "gbp"].map(currency).to_vec();
        let refused = |text| Err(NotSold::Pinned { pinned: currency(text), sold: sold() });
        assert_eq!(chosen(&usd, &pinned("eur")), refused("eur"));
        assert_eq!(chosen(&request(), &pinned("chf")), refused("chf"));
        assert_eq!(chosen(&once, &pinned("chf")), Ok(("price_o".into(), 2, 40_000)));
    }
}
