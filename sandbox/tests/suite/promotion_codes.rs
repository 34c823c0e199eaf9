//! Promotion codes that end, that are for some customers, or that need a minimum
//! (<https://docs.stripe.com/payments/checkout/discounts>).

use licentia_sandbox::{Card, CouponDuration, Paid};
use serde_json::json;

use crate::harness::{Answer, START, Stripe};

impl Stripe {
    /// Starts with a coupon of 50 %.
    async fn with_half_off() -> Self {
        let stripe = Self::with_perpetual_plans().await;
        stripe.sandbox.add_coupon("HALF", 50, CouponDuration::Once);
        stripe
    }

    /// Creates a promotion code for that coupon.
    async fn code(&self, code: &str, more: &str) -> Answer {
        let form = format!("promotion[type]=coupon&promotion[coupon]=HALF&code={code}{more}");
        self.post("/v1/promotion_codes", &form).await
    }

    /// Creates a session with a promotion code in the call.
    async fn with_code(&self, customer: &str, code: &str) -> Answer {
        let more = format!("&customer={customer}&discounts[0][promotion_code]={code}");
        self.create_payment(&more).await
    }

    /// Whether the code is accepted, in the call and on the page alike.
    async fn accepts(&self, customer: &str, code: &Answer) -> bool {
        let (id, entered) = (code.id(), code.body["code"].as_str().unwrap());
        let more = format!("&customer={customer}&allow_promotion_codes=true");
        let session = self.create_payment(&more).await.id();
        let on_page = self.sandbox.enter_promotion_code(&session, entered).is_ok();
        let in_call = self.with_code(customer, &id).await;
        assert_eq!(in_call.status == 200, on_page, "{:#}", in_call.body);
        if !on_page {
            assert_eq!(
                (in_call.status, in_call.error("param")),
                (400, "discounts[0][promotion_code]")
            );
        }
        on_page
    }
}

#[tokio::test]
async fn stripe_36_a_code_is_found_by_its_text_with_its_coupon() {
    // https://docs.stripe.com/api/promotion_codes/list#list_promotion_codes-code: in any case.
    let stripe = Stripe::with_half_off().await;
    let code = stripe.code("FALL", "").await.id();
    stripe.code("SPRING", "").await.id();
    let path = "/v1/promotion_codes?code=fall&limit=1&expand[]=data.promotion.coupon";
    let found = stripe.get(path).await;
    assert_eq!(found.ids(), [code.as_str()]);
    assert_eq!(found.body["data"][0]["promotion"]["coupon"]["percent_off"], 50.0);
    assert!(stripe.get("/v1/promotion_codes?code=WINTER").await.ids().is_empty());
    // https://docs.stripe.com/api/promotion_codes/create#create_promotion_code-code
    assert_eq!(stripe.code("Fall", "").await.error("param"), "code");
    stripe.post(&format!("/v1/promotion_codes/{code}"), "active=false").await.id();
    stripe.code("Fall", "").await.id();
}

#[tokio::test]
async fn stripe_36_a_code_and_its_coupon_end_at_their_time() {
    // https://docs.stripe.com/api/promotion_codes/object#promotion_code_object-active
    let stripe = Stripe::with_half_off().await;
    let customer = stripe.customer().await;
    let end = START + 2 * 86_400;
    let code = stripe.code("FALL", &format!("&expires_at={end}")).await;
    let form = format!("id=SOON&percent_off=10&redeem_by={}", end + 86_400);
    stripe.post("/v1/coupons", &form).await.id();
    let form = "promotion[type]=coupon&promotion[coupon]=SOON&code=LATER";
    let later = stripe.post("/v1/promotion_codes", form).await;
    assert!(stripe.accepts(&customer, &code).await);
    stripe.sandbox.advance_days(2);
    assert!(!stripe.accepts(&customer, &code).await);
    assert_eq!(stripe.sandbox.object(&code.id())["active"], false);
    assert!(stripe.accepts(&customer, &later).await);
    stripe.sandbox.advance_days(1);
    assert!(!stripe.accepts(&customer, &later).await);
    assert_eq!(stripe.sandbox.object("SOON")["valid"], false);
    let more = format!("&customer={customer}&discounts[0][coupon]=SOON");
    assert_eq!(stripe.create_payment(&more).await.error("code"), "coupon_expired");
}

#[tokio::test]
async fn stripe_36_a_code_ends_with_its_last_redemption() {
    // https://docs.stripe.com/api/promotion_codes/create#create_promotion_code-max_redemptions
    let stripe = Stripe::with_half_off().await;
    let customer = stripe.customer().await;
    let code = stripe.code("ONCE", "&max_redemptions=1").await;
    let first = stripe.with_code(&customer, &code.id()).await.id();
    assert!(stripe.accepts(&customer, &code).await, "an open session redeems nothing");
    assert_eq!(stripe.sandbox.pay(&first, Card::Paid), Ok(Paid::Completed));
    assert!(!stripe.accepts(&customer, &code).await);
    let body = stripe.sandbox.object(&code.id());
    assert_eq!((&body["active"], &body["times_redeemed"]), (&json!(false), &json!(1)));
}

#[tokio::test]
async fn stripe_36_a_code_may_be_for_one_customer() {
    // https://docs.stripe.com/api/promotion_codes/create#create_promotion_code-customer
    let stripe = Stripe::with_half_off().await;
    let (owner, other) = (stripe.customer().await, stripe.customer().await);
    let code = stripe.code("MINE", &format!("&customer={owner}")).await;
    assert!(stripe.accepts(&owner, &code).await);
    assert!(!stripe.accepts(&other, &code).await);
    let more = format!("&discounts[0][promotion_code]={}", code.id());
    assert_eq!(stripe.create_payment(&more).await.status, 400, "a guest is nobody");
}

#[tokio::test]
async fn stripe_36_a_code_may_be_for_the_first_purchase() {
    // https://docs.stripe.com/api/promotion_codes/create#create_promotion_code-restrictions-first_time_transaction
    let stripe = Stripe::with_half_off().await;
    let code = stripe.code("HELLO", "&restrictions[first_time_transaction]=true").await;
    let customer = stripe.customer().await;
    assert!(stripe.accepts(&customer, &code).await);
    let session = stripe.create_payment(&format!("&customer={customer}")).await.id();
    stripe.sandbox.pay(&session, Card::Paid).unwrap();
    assert!(!stripe.accepts(&customer, &code).await);
    // An unpaid invoice counts as well: https://github.com/stripe/stripe-node/issues/2349.
    let owing = stripe.customer().await;
    stripe.sandbox.subscribe_by_invoice(&owing, "price_pro_monthly", 30).unwrap();
    assert!(!stripe.accepts(&owing, &code).await);
    // A session that creates no customer refuses it:
    // https://docs.stripe.com/api/checkout/sessions/create#create_checkout_session-customer_creation
    let guest = stripe.create_payment("&allow_promotion_codes=true").await.id();
    assert!(stripe.sandbox.enter_promotion_code(&guest, "HELLO").is_err());
    let more = "&allow_promotion_codes=true&customer_creation=always";
    let new = stripe.create_payment(more).await.id();
    stripe.sandbox.enter_promotion_code(&new, "hello").unwrap();
}

#[tokio::test]
async fn stripe_36_a_code_may_need_a_minimum_amount() {
    // https://docs.stripe.com/api/promotion_codes/create#create_promotion_code-restrictions-minimum_amount
    let stripe = Stripe::with_half_off().await;
    let customer = stripe.customer().await;
    let needs = |amount: i64, currency: &str| {
        format!(
            "&restrictions[minimum_amount]={amount}\
             &restrictions[minimum_amount_currency]={currency}"
        )
    };
    let fits = stripe.code("A", &needs(19_900, "usd")).await;
    let more = stripe.code("B", &needs(19_901, "usd")).await;
    let other = stripe.code("C", &needs(100, "eur")).await;
    assert!(stripe.accepts(&customer, &fits).await);
    assert!(!stripe.accepts(&customer, &more).await);
    assert!(!stripe.accepts(&customer, &other).await);
    let refused = stripe.code("D", "&restrictions[minimum_amount]=100").await;
    assert_eq!(refused.error("param"), "restrictions[minimum_amount_currency]");
}

#[tokio::test]
async fn stripe_36_a_coupon_may_be_limited_to_products_and_to_a_currency() {
    // https://docs.stripe.com/api/coupons/object#coupon_object-applies_to
    let stripe = Stripe::with_half_off().await;
    let customer = stripe.customer().await;
    let product = stripe.get("/v1/prices/price_pdf").await.body["product"].clone();
    let product = product.as_str().unwrap();
    let form = format!("id=PDF&amount_off=1000&currency=usd&applies_to[products][0]={product}");
    stripe.post("/v1/coupons", &form).await.id();
    let coupon = stripe.get("/v1/coupons/PDF").await.body;
    assert!(coupon["applies_to"].is_null(), "only on request");
    let coupon = stripe.get("/v1/coupons/PDF?expand[]=applies_to").await.body;
    assert_eq!(coupon["applies_to"], json!({ "products": [product] }));
    let discount = format!("&customer={customer}&discounts[0][coupon]=PDF");
    assert_eq!(stripe.create_payment(&discount).await.error("param"), "discounts[0][coupon]");
    let both = format!("{discount}&line_items[1][price]=price_pdf");
    let session = stripe.create_payment(&both).await;
    assert_eq!(session.body["amount_total"], 19_900 + 2_500 - 1_000);
    let lines = stripe.get(&format!("/v1/checkout/sessions/{}/line_items", session.id())).await;
    let off: Vec<_> = lines.body["data"].as_array().unwrap().iter().collect();
    let off: Vec<_> = off.iter().map(|line| &line["amount_discount"]).collect();
    assert_eq!(off, [&json!(0), &json!(1_000)]);

    stripe.post("/v1/coupons", "id=EURO&amount_off=1000&currency=eur").await.id();
    let refused = stripe.create_payment("&discounts[0][coupon]=EURO").await;
    assert_eq!((refused.status, refused.error("param")), (400, "discounts[0][coupon]"));
}

#[tokio::test]
async fn stripe_36_a_session_takes_one_discount() {
    // https://docs.stripe.com/payments/checkout/discounts: up to one coupon or promotion code.
    let stripe = Stripe::with_half_off().await;
    let more = "&discounts[0][coupon]=HALF&discounts[1][coupon]=HALF";
    assert_eq!(stripe.create_payment(more).await.error("param"), "discounts");
    // A subscription takes several: https://docs.stripe.com/billing/subscriptions/coupons.
    let customer = stripe.customer().await;
    let form = format!("customer={customer}&items[0][price]=price_pro_monthly{more}");
    stripe.post("/v1/subscriptions", &form).await.id();
}
