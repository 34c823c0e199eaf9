//! A shop with plans of every kind: by subscription, by the unit, once, with add-ons, and in
//! several currencies (`selling.toml`).

use licentia::domain::sale::plan::{Catalog, Currency, Price};
use licentia_sandbox::{
    Card, Interval, NewPrice, Options, Paid, PriceOptions, Sandbox, TaxBehavior,
};
use serde_json::{Value, json};

use super::Answer;
use super::shop::{Buyer, Shop, session_of};

/// The plans file.
const PLANS: &str = include_str!("selling.toml");

/// A plan above those of `selling.toml`, sold by the unit for ever and by subscription, which
/// leaves a perpetual license, and an add-on.
pub const LOFT: &str = r#"
[[plan]]
id = "loft"
name = "Loft"
features = ["export"]
limits = { seats = 1 }
per_unit = ["seats"]
quantity = { min = 1, max = 20 }
fallback_months = 12
prices = [
    { id = "price_loft_year", interval = "year", amount = 1000, currency = "usd" },
    { id = "price_loft_once", interval = "once", amount = 5000, currency = "usd", updates_months = 12 },
    { id = "price_loft_updates", interval = "updates", amount = 900, currency = "usd", updates_months = 12 },
]

[[addon]]
id = "cad"
name = "CAD"
features = ["cad"]
plans = ["loft"]
prices = [
    { id = "price_cad_year", interval = "year", amount = 100, currency = "usd" },
    { id = "price_cad_once", interval = "once", amount = 700, currency = "usd" },
]
"#;

/// Returns a request for units of [`LOFT`].
pub fn loft(interval: &str, units: u32, addons: &[&str]) -> Value {
    json!({ "plan": "loft", "interval": interval, "quantity": units, "addons": addons })
}

impl Shop {
    /// Opens a shop with the plans of `selling.toml`.
    pub async fn selling() -> Self {
        Self::selling_with("").await
    }

    /// Opens a shop with these plans and more sections.
    pub async fn selling_with(more: &str) -> Self {
        Self::selling_in(Options::default(), more).await
    }

    /// Opens a shop with these plans and more sections, with options for the double.
    pub async fn selling_in(options: Options, more: &str) -> Self {
        Self::selling_plans(options, &format!("{PLANS}\n{more}")).await
    }

    /// Opens a shop with this plans file, whose prices are at Stripe.
    pub async fn selling_plans(options: Options, plans: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("plans.toml");
        std::fs::write(&file, plans).unwrap();
        let path = file.display().to_string();
        let catalog = licentia::plans::load(Some(&file)).unwrap();
        let add = |sandbox: &Sandbox| add_prices(sandbox, &catalog);
        let mut shop = Self::open_selling(options, add, &[("LICENTIA_PLANS_FILE", &path)]).await;
        shop.plans = Some(directory);
        shop
    }

    /// Creates the coupon `studio_only` at Stripe: 10 % off, for `studio` alone.
    pub async fn add_studio_coupon(&self) {
        let product = self.sandbox.object("price_studio_month")["product"].clone();
        let of_studio = [
            ("id", "studio_only"),
            ("percent_off", "10"),
            ("applies_to[products][0]", product.as_str().unwrap()),
        ];
        self.at_stripe("coupons", &of_studio).await;
    }

    /// Requests a purchase. Returns the whole response.
    pub async fn order(&self, buyer: &Buyer, wanted: Value) -> Answer {
        let mut request = wanted;
        for field in ["success_url", "cancel_url"] {
            request[field] = json!(format!("{}/docs", self.app.client.base));
        }
        buyer.client.post("/api/subscriptions/checkout", &request).await
    }

    /// Opens a checkout. Returns the Checkout session's id.
    pub async fn open_checkout(&self, buyer: &Buyer, wanted: Value) -> String {
        let answer = self.order(buyer, wanted).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        session_of(answer.text("/checkout_url"))
    }

    /// Buys a subscription that ends with its first period.
    pub async fn purchase_one_period(&self, buyer: &Buyer, wanted: Value) {
        let session = self.purchase(buyer, wanted).await;
        self.sandbox.cancel(&self.subscription_of(&session), true).unwrap();
        self.settled().await;
    }

    /// Buys something, and waits until all work is done: the invoice of a single payment comes a
    /// second after it. Returns the Checkout session's id.
    pub async fn purchase(&self, buyer: &Buyer, wanted: Value) -> String {
        let session = self.open_checkout(buyer, wanted).await;
        assert_eq!(self.sandbox.pay(&session, Card::Paid).unwrap(), Paid::Completed);
        self.settled_with_invoice().await;
        session
    }

    /// Creates a Checkout session for a single payment of one price at Stripe, as the vendor does.
    /// Returns its id.
    pub async fn session_at_stripe(&self, stripe_customer: &str, price: &str) -> String {
        let form = [
            ("mode", "payment"),
            ("customer", stripe_customer),
            ("line_items[0][price]", price),
            ("line_items[0][quantity]", "1"),
            ("success_url", "https://vendor.example/"),
        ];
        let made = self.at_stripe("checkout/sessions", &form).await;
        made["id"].as_str().unwrap().to_owned()
    }

    /// Lets the invoice of a single payment be created, and waits until all work is done.
    pub async fn settled_with_invoice(&self) {
        self.settled().await;
        self.sandbox.advance(std::time::Duration::from_secs(1));
        self.settled().await;
    }

    /// Returns the claims of the buyer's current license, as an app reads them.
    pub async fn claims(&self, buyer: &Buyer) -> licentia_verify::Claims {
        let license = self.license(buyer).await;
        let token = license["token"].as_str().unwrap_or_else(|| panic!("no license: {license}"));
        self.offline(token).await.unwrap().claims().clone()
    }
}

/// Adds every price of a catalog to the double.
fn add_prices(sandbox: &Sandbox, catalog: &Catalog) {
    let of_plans = catalog.plans.iter().map(|plan| (&plan.id, &plan.prices));
    let of_addons = catalog.addons.iter().map(|addon| (&addon.id, &addon.prices));
    for (product, prices) in of_plans.chain(of_addons) {
        for price in prices {
            add_price(sandbox, product.as_str(), price);
        }
    }
}

fn add_price(sandbox: &Sandbox, product: &str, price: &Price) {
    use licentia::domain::sale::plan::Interval::{Month, Once, Updates, Year};
    let interval = match price.interval {
        Month => Interval::Month,
        Year => Interval::Year,
        Once | Updates => Interval::Once,
    };
    let others = price.others.iter();
    let others: Vec<(&str, i64)> =
        others.map(|(currency, amount)| (Currency::as_str(currency), i64::from(*amount))).collect();
    let new = NewPrice {
        id: &price.id,
        product,
        amount: price.amount.into(),
        currency: price.currency.as_str(),
        interval,
    };
    let options =
        PriceOptions { currencies: &others, tax: TaxBehavior::Exclusive, is_metered: false };
    sandbox.add_price_with(&new, &options);
}
