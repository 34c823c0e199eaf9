//! Previews of invoices (<https://docs.stripe.com/api/invoices/create_preview>).

use licentia_sandbox::{Card, CouponDuration, Interval, NewPrice, PriceOptions, TaxBehavior};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::harness::{Answer, START, Stripe};

const DAY: i64 = 86_400;

impl Stripe {
    async fn preview(&self, form: &str) -> Answer {
        self.post("/v1/invoices/create_preview", form).await
    }

    /// Returns a new customer with a card, in a country.
    async fn payer(&self) -> String {
        let form = "email=ada@example.com&address[country]=DE";
        let customer = self.post("/v1/customers", form).await.id();
        self.sandbox.replace_card(&customer, Card::Paid).unwrap();
        customer
    }

    fn newest(&self, subscription: &str) -> Value {
        let id = self.sandbox.object(subscription)["latest_invoice"].take();
        self.sandbox.object(id.as_str().unwrap())
    }
}

/// The parts of an invoice that a preview states: its amounts, and those of its lines.
fn amounts(invoice: &Value) -> Value {
    let fields = [
        "amount_due",
        "currency",
        "starting_balance",
        "subtotal",
        "total",
        "total_excluding_tax",
        "total_taxes",
    ];
    let mut amounts: serde_json::Map<String, Value> =
        fields.iter().map(|field| ((*field).to_owned(), invoice[*field].clone())).collect();
    let off = invoice["total_discount_amounts"].as_array().unwrap().iter();
    amounts.insert("off".to_owned(), off.map(|off| off["amount"].clone()).collect());
    let lines = invoice["lines"]["data"].as_array().unwrap().iter();
    let line = |line: &Value| {
        let off = line["discount_amounts"].as_array().unwrap().iter();
        let off: Vec<&Value> = off.map(|off| &off["amount"]).collect();
        json!([line["amount"], line["quantity"], line["description"], line["taxes"], off])
    };
    amounts.insert("lines".to_owned(), lines.map(line).collect());
    amounts.into()
}

/// Draws subscriptions and their changes.
struct Draw {
    dice: StdRng,
    stripe: Stripe,
}

const PRICES: [(&str, i64, Interval); 5] = [
    ("price_a", 3333, Interval::Month),
    ("price_b", 799, Interval::Month),
    ("price_c", 12_049, Interval::Month),
    ("price_d", 99_999, Interval::Year),
    ("price_e", 4_501, Interval::Month),
];

impl Draw {
    async fn new() -> Self {
        let stripe = Stripe::start().await;
        for (id, amount, interval) in PRICES {
            let tax = if id == "price_e" { TaxBehavior::Inclusive } else { TaxBehavior::Exclusive };
            let new = NewPrice { id, product: id, amount, currency: "usd", interval };
            stripe.sandbox.add_price_with(&new, &PriceOptions { tax, ..PriceOptions::default() });
        }
        stripe.sandbox.add_coupon("THIRD", 33, CouponDuration::Forever);
        stripe.sandbox.add_coupon("TENTH", 10, CouponDuration::Once);
        let form = "id=FIVE&amount_off=500&currency=usd&duration=forever";
        stripe.post("/v1/coupons", form).await.id();
        Self { dice: StdRng::seed_from_u64(14), stripe }
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.dice.random_range(0..of.len())]
    }

    fn happens(&mut self, percent: u32) -> bool {
        self.dice.random_range(0..100) < percent
    }

    fn coupon(&mut self) -> String {
        if self.happens(30) {
            let coupon = self.pick(&["THIRD", "TENTH", "FIVE"]);
            return format!("&discounts[0][coupon]={coupon}");
        }
        String::new()
    }

    async fn subscription(&mut self) -> String {
        let customer = self.stripe.payer().await;
        let (price, quantity) = (self.pick(&PRICES).0, self.dice.random_range(1..9));
        let mut form =
            format!("customer={customer}&items[0][price]={price}&items[0][quantity]={quantity}");
        form += &self.coupon();
        form += self.pick(&["", "&automatic_tax[enabled]=true"]);
        form += self.pick(&["", "", "&billing_mode[type]=classic"]);
        self.stripe.post("/v1/subscriptions", &form).await.id()
    }

    /// Returns the parameters of items of a random change, and how it is billed.
    fn change(&mut self, subscription: &str) -> (Vec<String>, &'static str) {
        let items = self.stripe.sandbox.object(subscription)["items"]["data"].take();
        let items = items.as_array().unwrap();
        let mut used: Vec<String> = Vec::new();
        let mut parameters = Vec::new();
        let mut left = items.len();
        for (place, item) in items.iter().enumerate() {
            let id = item["id"].as_str().unwrap();
            let mut price = item["price"]["id"].as_str().unwrap().to_owned();
            parameters.push(format!("items[{place}][id]={id}"));
            if left > 1 && self.happens(25) {
                parameters.push(format!("items[{place}][deleted]=true"));
                left -= 1;
                continue;
            }
            if self.happens(70) {
                let quantity = self.dice.random_range(0..12);
                parameters.push(format!("items[{place}][quantity]={quantity}"));
            }
            let other = self.pick(&PRICES).0;
            let is_free = items.iter().all(|item| item["price"]["id"] != other);
            if self.happens(30) && is_free && !used.iter().any(|used| used == other) {
                parameters.push(format!("items[{place}][price]={other}"));
                price = other.to_owned();
            }
            used.push(price);
        }
        let (other, place) = (self.pick(&PRICES).0, items.len());
        let is_free = items.iter().all(|item| item["price"]["id"] != other);
        if place < 3 && self.happens(25) && is_free && !used.iter().any(|used| used == other) {
            parameters.push(format!("items[{place}][price]={other}"));
        }
        let how = ["always_invoice", "always_invoice", "create_prorations", "none"];
        (parameters, self.pick(&how))
    }
}

fn nested(parameters: &[String]) -> String {
    let nested = parameters.iter().map(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap();
        let (first, rest) = name.split_once('[').map_or((name, ""), |(first, rest)| (first, rest));
        let rest = if rest.is_empty() { String::new() } else { format!("[{rest}") };
        format!("&subscription_details[{first}]{rest}={value}")
    });
    nested.collect()
}

/// "To ensure the actual proration is calculated exactly the same as the previewed proration": the
/// amounts are equal to the cent (invariant of the preview, over random changes).
#[tokio::test]
async fn a_previewed_invoice_is_the_invoice_of_the_change() {
    let mut draw = Draw::new().await;
    let mut compared = (0, 0);
    for _ in 0..80 {
        let subscription = draw.subscription().await;
        for _ in 0..3 {
            let wait = draw.dice.random_range(0..12 * DAY);
            draw.stripe.sandbox.advance(std::time::Duration::from_secs(wait.unsigned_abs()));
            let now = draw.stripe.sandbox.clock().now();
            let (mut parameters, how) = draw.change(&subscription);
            parameters.push(format!("proration_behavior={how}"));
            parameters.push(format!("proration_date={now}"));
            let coupon = draw.coupon();
            let form = format!("subscription={subscription}{}{coupon}", nested(&parameters));
            let before = draw.stripe.newest(&subscription)["id"].take();
            let preview = draw.stripe.preview(&form).await;
            assert_eq!(preview.status, 200, "{form}: {:#}", preview.body);
            let wait = draw.dice.random_range(0..120);
            draw.stripe.sandbox.advance(std::time::Duration::from_secs(wait));
            let form = format!("{}{coupon}", parameters.join("&"));
            draw.stripe.post(&format!("/v1/subscriptions/{subscription}"), &form).await.id();
            let mut invoice = draw.stripe.newest(&subscription);
            if invoice["id"] == before {
                compared.1 += 1;
                let form = format!("subscription={subscription}");
                let again = draw.stripe.preview(&form).await.body;
                assert_eq!(amounts(&preview.body), amounts(&again), "{form}");
                for _ in 0..40 {
                    draw.stripe.sandbox.advance_days(1);
                    invoice = draw.stripe.newest(&subscription);
                    if invoice["id"] != before {
                        break;
                    }
                }
                if invoice["id"] == before {
                    continue; // It is a yearly one.
                }
                assert_eq!(invoice["billing_reason"], "subscription_cycle");
            } else {
                compared.0 += 1;
            }
            assert_eq!(amounts(&preview.body), amounts(&invoice), "{form}");
        }
        draw.stripe.sandbox.cancel_now(&subscription).unwrap();
    }
    assert!(compared.0 > 80 && compared.1 > 40, "{compared:?}");
}

/// Seconds left × unit price, rounded to a cent for each line.
#[tokio::test]
async fn a_preview_of_a_quantity_follows_the_formula() {
    let mut draw = Draw::new().await;
    for _ in 0..100 {
        let customer = draw.stripe.payer().await;
        let (price, unit, _) = PRICES[draw.dice.random_range(0..3)];
        let (from, to) = (draw.dice.random_range(1..50), draw.dice.random_range(1..50));
        let form = format!("customer={customer}&items[0][price]={price}&items[0][quantity]={from}");
        let subscription = draw.stripe.post("/v1/subscriptions", &form).await.id();
        let wait = draw.dice.random_range(0..28 * DAY);
        draw.stripe.sandbox.advance(std::time::Duration::from_secs(wait.unsigned_abs()));
        let item = draw.stripe.sandbox.object(&subscription)["items"]["data"][0].take();
        let (start, end) =
            (item["current_period_start"].as_i64(), item["current_period_end"].as_i64());
        let (start, end) = (start.unwrap(), end.unwrap());
        let left = end - draw.stripe.sandbox.clock().now();
        let rest =
            |quantity: i64| (quantity * unit * left * 2 + (end - start)) / (2 * (end - start));
        let form = format!(
            "subscription={subscription}&subscription_details[items][0][id]={}\
             &subscription_details[items][0][quantity]={to}\
             &subscription_details[proration_behavior]=always_invoice",
            item["id"].as_str().unwrap()
        );
        let preview = draw.stripe.preview(&form).await.body;
        let expected = if from == to { from * unit } else { rest(to) - rest(from) };
        assert_eq!(preview["total"], expected, "{from} to {to} units of {unit}, {left} s left");
        assert_eq!(preview["amount_due"], expected.max(0));
    }
}

#[tokio::test]
async fn a_preview_has_the_fields_of_an_upcoming_invoice() {
    let stripe = Stripe::start().await;
    let (customer, subscription) = stripe.subscriber().await;
    let events = stripe.sandbox.events("").len();
    let preview = stripe.preview(&format!("subscription={subscription}")).await.body;
    assert_eq!(stripe.sandbox.events("").len(), events, "a preview changes nothing");
    assert!(preview["id"].as_str().unwrap().starts_with("upcoming_in_"));
    assert_eq!(
        (&preview["status"], &preview["billing_reason"], &preview["customer"]),
        (&json!("draft"), &json!("upcoming"), &json!(customer))
    );
    assert_eq!(
        (&preview["amount_due"], &preview["created"], &preview["number"]),
        (&json!(4900), &json!(START + 30 * DAY), &Value::Null)
    );
    assert_eq!(preview["parent"]["subscription_details"]["subscription"], subscription);
    let id = preview["id"].as_str().unwrap();
    assert_eq!(stripe.get(&format!("/v1/invoices/{id}")).await.status, 404);
    assert_eq!(stripe.get("/v1/invoices").await.ids().len(), 1);
}

#[tokio::test]
async fn a_preview_without_a_subscription_shows_what_a_new_one_costs() {
    let stripe = Stripe::start().await;
    stripe.sandbox.add_coupon("TENTH", 10, CouponDuration::Once);
    let items = "subscription_details[items][0][price]=price_team_monthly\
                 &subscription_details[items][0][quantity]=3&discounts[0][coupon]=TENTH";
    let form = format!("customer_details[address][country]=DE&{items}");
    let preview = stripe.preview(&form).await.body;
    assert_eq!(
        (&preview["subtotal"], &preview["amount_due"]),
        (&json!(3 * 9900), &json!(3 * 8910))
    );
    assert_eq!(preview["customer"], Value::Null);
    assert_eq!(preview["parent"], Value::Null);
    assert!(stripe.get("/v1/customers").await.ids().is_empty());
    let customer = stripe.customer().await;
    stripe.sandbox.adjust_balance(&customer, -1000).unwrap();
    let preview = stripe.preview(&format!("customer={customer}&{items}")).await.body;
    assert_eq!(
        (&preview["customer"], &preview["amount_due"]),
        (&json!(customer), &json!(3 * 8910 - 1000))
    );
    let nobody = stripe.preview(items).await;
    assert_eq!((nobody.status, nobody.error("param")), (400, "customer"));
}

#[tokio::test]
async fn taxes_are_previewed_for_the_country_that_is_given() {
    let stripe = Stripe::start().await;
    let (id, currency, interval) = ("price_taxed", "usd", Interval::Month);
    let new = NewPrice { id, product: id, amount: 1000, currency, interval };
    let options = PriceOptions { tax: TaxBehavior::Exclusive, ..PriceOptions::default() };
    stripe.sandbox.add_price_with(&new, &options);
    let form = "customer_details[address][country]=DE&automatic_tax[enabled]=true\
                &subscription_details[items][0][price]=price_taxed";
    let preview = stripe.preview(form).await.body;
    assert_eq!(
        (&preview["total_excluding_tax"], &preview["amount_due"]),
        (&json!(1000), &json!(1200))
    );
}

#[tokio::test]
async fn a_purchase_is_previewed_by_its_items() {
    let stripe = Stripe::with_perpetual_plans().await;
    stripe.sandbox.add_coupon("TENTH", 10, CouponDuration::Once);
    let customer = stripe.customer().await;
    let form = format!(
        "customer={customer}&invoice_items[0][price]=price_studio&invoice_items[0][quantity]=2\
         &discounts[0][coupon]=TENTH"
    );
    let preview = stripe.preview(&form).await.body;
    assert_eq!((&preview["amount_due"], &preview["parent"]), (&json!(35_820), &Value::Null));
    assert_eq!(preview["lines"]["data"][0]["quantity"], 2);
    let recurring = format!("customer={customer}&invoice_items[0][price]=price_pro_monthly");
    let refused = stripe.preview(&recurring).await;
    assert_eq!((refused.status, refused.error("param")), (400, "invoice_items[0][price]"));
    let (_, subscription) = stripe.subscriber().await;
    let form = format!("subscription={subscription}&invoice_items[0][price]=price_studio");
    assert_eq!(stripe.preview(&form).await.body["total"], 19_900 + 4900);
}

#[tokio::test]
async fn the_recurring_mode_shows_whole_periods_only() {
    let stripe = Stripe::start().await;
    let (_, subscription) = stripe.subscriber().await;
    let item = stripe.item(&subscription, 0);
    stripe.sandbox.advance_days(15);
    let form = format!(
        "subscription={subscription}&subscription_details[items][0][id]={item}\
         &subscription_details[items][0][quantity]=4"
    );
    let next = stripe.preview(&form).await.body;
    assert_eq!(next["total"], -2450 + 4 * 2450 + 4 * 4900);
    let recurring = stripe.preview(&format!("{form}&preview_mode=recurring")).await.body;
    assert_eq!(recurring["total"], 4 * 4900);
    assert_eq!(stripe.preview(&format!("{form}&preview_mode=all")).await.status, 400);
}

#[tokio::test]
async fn a_subscription_that_ends_has_no_upcoming_invoice() {
    let stripe = Stripe::start().await;
    let (_, subscription) = stripe.subscriber().await;
    let form = format!("subscription={subscription}");
    let ending = format!("{form}&subscription_details[cancel_at_period_end]=true");
    let none = stripe.preview(&ending).await;
    assert_eq!((none.status, none.error("code")), (404, "invoice_upcoming_none"));
    stripe.sandbox.cancel(&subscription, true).unwrap();
    assert_eq!(stripe.preview(&form).await.error("code"), "invoice_upcoming_none");
    let kept = format!("{form}&subscription_details[cancel_at]=");
    assert_eq!(stripe.preview(&kept).await.body["total"], 4900);
    stripe.sandbox.cancel_now(&subscription).unwrap();
    assert_eq!(stripe.preview(&form).await.error("code"), "invoice_upcoming_none");
}
