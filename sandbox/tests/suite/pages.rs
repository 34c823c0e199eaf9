//! The hosted pages, as a browser without scripts sees them.

use licentia_sandbox::{CouponDuration, Interval, Proration, TaxBehavior};

use crate::harness::{START, Stripe};
use crate::taxes::COLLECTS;

struct Page {
    status: u16,
    location: String,
    policy: String,
    text: String,
}

impl Stripe {
    async fn page(&self, path: &str) -> Page {
        read(self.http.get(format!("{}{path}", self.sandbox.url()))).await
    }

    async fn submit(&self, path: &str, form: &str) -> Page {
        let origin = self.sandbox.url().to_owned();
        read(self.request(path, form).header("Origin", origin)).await
    }
}

async fn read(request: reqwest::RequestBuilder) -> Page {
    let response = request.send().await.unwrap();
    let header = |name: &str| {
        let value = response.headers().get(name);
        value.map_or("", |value| value.to_str().unwrap()).to_owned()
    };
    let (location, policy) = (header("location"), header("content-security-policy"));
    let status = response.status().as_u16();
    Page { status, location, policy, text: response.text().await.unwrap() }
}

#[tokio::test]
async fn a_customer_pays_and_returns_to_the_vendor() {
    let stripe = Stripe::start().await;
    let customer = stripe.customer().await;
    let session = stripe.session(&customer, "").await;
    let path = format!("/checkout/{session}");
    let url = stripe.sandbox.object(&session)["url"].clone();
    assert_eq!(url, format!("{}{path}", stripe.sandbox.url()));
    let page = stripe.page(&path).await;
    assert!(page.text.contains("49.00 USD") && page.text.contains("http://localhost/no"));
    assert!(page.policy.contains("default-src 'none'") && !page.policy.contains("unsafe"));
    let declined = stripe.submit(&path, "card=4000000000000002").await;
    assert!(declined.text.contains("declined"));
    let unknown = stripe.submit(&path, "card=1234").await;
    assert!(unknown.text.contains("no test card"));
    let paid = stripe.submit(&path, "card=4242+4242+4242+4242").await;
    assert_eq!((paid.status, paid.location), (303, format!("http://localhost/ok?s={session}")));
    assert!(stripe.page(&path).await.text.contains("complete"));
    assert_eq!(stripe.page("/checkout/cs_test_no").await.status, 404);
}

#[tokio::test]
async fn a_new_buyer_enters_an_email_and_becomes_a_customer() {
    let stripe = Stripe::start().await;
    let form = "mode=subscription&line_items[0][price]=price_pro_monthly&success_url=http://x/";
    let session = stripe.post("/v1/checkout/sessions", form).await.id();
    let path = format!("/checkout/{session}");
    assert!(stripe.page(&path).await.text.contains("type=\"email\""));
    stripe.submit(&path, "card=4242424242424242&email=new@example.com").await;
    let session = stripe.sandbox.object(&session);
    assert_eq!(session["customer_details"]["email"], "new@example.com");
    let customer = session["customer"].as_str().unwrap();
    assert_eq!(stripe.sandbox.object(customer)["email"], "new@example.com");
}

#[tokio::test]
async fn the_quantity_is_a_field_of_the_page() {
    // https://docs.stripe.com/payments/checkout/adjustable-quantity
    let stripe = Stripe::start().await;
    let customer = stripe.customer().await;
    let more = "&line_items[0][adjustable_quantity][enabled]=true\
                &line_items[0][adjustable_quantity][maximum]=5";
    let session = stripe.session(&customer, more).await;
    let path = format!("/checkout/{session}");
    assert!(stripe.page(&path).await.text.contains("max=\"5\""));
    let form = "price=price_pro_monthly&quantity=4";
    assert_eq!(stripe.submit(&format!("{path}/quantity"), form).await.status, 303);
    assert!(stripe.page(&path).await.text.contains("196.00 USD"));
    let form = "price=price_pro_monthly&quantity=6";
    let refused = stripe.submit(&format!("{path}/quantity"), form).await;
    assert!(refused.text.contains("from 1 to 5"));
}

#[tokio::test]
async fn a_one_time_payment_has_a_page_without_an_interval() {
    // https://docs.stripe.com/payments/checkout/no-cost-orders: no card for an order without cost.
    let stripe = Stripe::with_perpetual_plans().await;
    stripe.sandbox.add_coupon("FREE", 100, CouponDuration::Once);
    stripe.sandbox.add_promotion_code("FREE", "GIFT").unwrap();
    let customer = stripe.customer().await;
    let session = stripe.payment_session(&customer, "&allow_promotion_codes=true").await;
    let path = format!("/checkout/{session}");
    let page = stripe.page(&path).await.text;
    assert!(page.contains("<h1>Pay</h1>") && page.contains("199.00 USD"), "{page}");
    assert!(!page.contains(" per ") && page.contains("Card number"), "{page}");
    let asked = stripe.submit(&format!("{path}/4000002500003155"), "").await;
    let failed = stripe.submit(&asked.location, "answer=fail").await;
    assert!(failed.text.contains("declined"));
    stripe.submit(&format!("{path}/code"), "code=GIFT").await;
    let page = stripe.page(&path).await.text;
    assert!(page.contains("Complete order") && !page.contains("Card number"), "{page}");
    let done = stripe.submit(&path, "card=4242424242424242").await;
    assert_eq!((done.status, done.location.as_str()), (303, "http://localhost/ok"));
    assert_eq!(stripe.sandbox.object(&session)["payment_status"], "no_payment_required");
}

#[tokio::test]
async fn the_3d_secure_page_continues_after_either_decision() {
    let stripe = Stripe::start().await;
    let customer = stripe.customer().await;
    let session = stripe.session(&customer, "").await;
    let path = format!("/checkout/{session}/4000002500003155");
    let asked = stripe.submit(&path, "").await;
    assert!(asked.location.starts_with("/authenticate/pi_"));
    assert!(stripe.page(&asked.location).await.text.contains("Complete"));
    let failed = stripe.submit(&asked.location, "answer=fail").await;
    assert!(failed.text.contains("declined"));
    let asked = stripe.submit(&path, "").await;
    let completed = stripe.submit(&asked.location, "answer=complete").await;
    assert_eq!(completed.location, format!("http://localhost/ok?s={session}"));
}

#[tokio::test]
async fn the_portal_changes_cancels_and_takes_a_new_card() {
    let stripe = Stripe::start().await;
    let (customer, subscription) = stripe.subscriber().await;
    let form = format!("customer={customer}&return_url=http://localhost/account");
    let portal = stripe.post("/v1/billing_portal/sessions", &form).await;
    let path = format!("/portal/{}", portal.id());
    assert_eq!(portal.body["url"], format!("{}{path}", stripe.sandbox.url()));
    assert!(stripe.page(&path).await.text.contains("http://localhost/account"));
    let sub = format!("subscription={subscription}");
    let plan = format!("{sub}&price=price_team_monthly");
    assert_eq!(stripe.submit(&format!("{path}/plan"), &plan).await.location, path);
    let later = format!("{sub}&price=price_pro_monthly");
    stripe.submit(&format!("{path}/schedule"), &later).await;
    assert!(stripe.page(&path).await.text.contains("Do not change"));
    stripe.submit(&format!("{path}/unschedule"), &sub).await;
    assert!(!stripe.page(&path).await.text.contains("Do not change"));
    stripe.submit(&format!("{path}/cancel"), &sub).await;
    assert!(stripe.page(&path).await.text.contains("Do not cancel"));
    stripe.submit(&format!("{path}/uncancel"), &sub).await;
    assert!(stripe.sandbox.object(&subscription)["cancel_at"].is_null());
    stripe.submit(&format!("{path}/card"), "card=4000000000000341").await;
    stripe.sandbox.advance_days(31);
    assert_eq!(stripe.status(&subscription), "past_due");
    stripe.submit(&format!("{path}/card"), "card=4242424242424242").await;
    let (invoice, _) = stripe.payment(&subscription).await;
    stripe.submit(&format!("{path}/pay"), &format!("invoice={invoice}")).await;
    assert_eq!(stripe.status(&subscription), "active");
}

#[tokio::test]
async fn a_portal_reaches_only_its_own_customer() {
    let stripe = Stripe::start().await;
    let (_, subscription) = stripe.subscriber().await;
    let other = stripe.customer().await;
    let portal = stripe.post("/v1/billing_portal/sessions", &format!("customer={other}")).await;
    let path = format!("/portal/{}/cancel", portal.id());
    let refused = stripe.submit(&path, &format!("subscription={subscription}")).await;
    assert_eq!(refused.status, 404);
    assert!(stripe.sandbox.object(&subscription)["cancel_at"].is_null());
}

#[tokio::test]
async fn the_portal_only_cancels_a_subscription_with_several_items() {
    let stripe = Stripe::start().await;
    let (customer, subscription) = stripe.subscriber().await;
    let form = format!("customer={customer}");
    let path = format!("/portal/{}", stripe.post("/v1/billing_portal/sessions", &form).await.id());
    assert!(stripe.page(&path).await.text.contains("Change quantity"));
    let sandbox = &stripe.sandbox;
    sandbox.add_item(&subscription, "price_team_monthly", 1, Proration::Now).unwrap();
    let text = stripe.page(&path).await.text;
    assert!(!text.contains("Change") && text.contains("Cancel at the end"), "{text}");
    let before = sandbox.object(&subscription);
    let item = &before["items"]["data"][0]["id"];
    let sub = format!("subscription={subscription}");
    for (action, more) in [
        ("plan", "price=price_team_yearly".to_owned()),
        ("schedule", "price=price_team_yearly".to_owned()),
        ("quantity", format!("item={}&quantity=3", item.as_str().unwrap())),
    ] {
        let refused = stripe.submit(&format!("{path}/{action}"), &format!("{sub}&{more}")).await;
        assert_eq!(refused.status, 404, "{action}");
        assert_eq!(sandbox.object(&subscription), before, "{action}");
    }
    assert_eq!(stripe.submit(&format!("{path}/cancel"), &sub).await.location, path);
    assert!(sandbox.object(&subscription)["cancel_at"].is_i64());
}

#[tokio::test]
async fn the_overview_moves_the_clock_and_switches_faults() {
    let stripe = Stripe::start().await;
    let (customer, subscription) = stripe.subscriber().await;
    stripe.submit("/clock", "days=31").await;
    assert_eq!(stripe.sandbox.clock().now(), START + 31 * 86_400);
    stripe.submit("/faults", "fault=rate-limited&times=always").await;
    assert_eq!(stripe.get("/v1/customers").await.status, 429);
    let page = stripe.page("/").await.text;
    assert!(page.contains("RateLimited") && page.contains(&customer));
    stripe.submit("/faults/clear", "").await;
    let (_, intent) = stripe.payment(&subscription).await;
    stripe.submit(&format!("/customer/{customer}/refund"), &format!("id={intent}")).await;
    assert!(stripe.page(&format!("/customer/{customer}")).await.text.contains("refunded"));
    let event = stripe.sandbox.events("charge.refunded").pop().unwrap();
    assert!(stripe.page(&format!("/object/{event}")).await.text.contains("charge.refunded"));
    assert!(stripe.page("/style.css").await.text.contains("font"));
}

#[tokio::test]
async fn an_invoice_has_its_own_page_and_the_vendor_a_page_of_the_customer() {
    let stripe = Stripe::start().await;
    let customer = stripe.sandbox.add_customer("ada@example.com", &[]);
    let price = "price_pro_monthly";
    let subscription = stripe.sandbox.subscribe_by_invoice(&customer, price, 14).unwrap();
    let (invoice, _) = stripe.payment(&subscription).await;
    let path = format!("/invoice/{invoice}");
    assert!(stripe.page(&path).await.text.contains("49.00 USD"));
    let declined = stripe.submit(&path, "card=4000000000000002").await;
    assert!(declined.text.contains("declined"));
    stripe.submit(&path, "card=4242424242424242").await;
    assert_eq!(stripe.status(&invoice), "paid");
    assert!(!stripe.page(&path).await.text.contains("<form"));

    let path = format!("/customer/{customer}");
    for (action, status) in [
        ("void", "void"),
        ("credit", "paid"),
        ("paid-outside", "paid"),
        ("write-off", "uncollectible"),
    ] {
        stripe.sandbox.advance_days(31);
        let (invoice, _) = stripe.payment(&subscription).await;
        assert!(stripe.page(&path).await.text.contains("Write off"));
        stripe.submit(&format!("{path}/{action}"), &format!("id={invoice}")).await;
        assert_eq!(stripe.status(&invoice), status, "{action}");
    }
}

#[tokio::test]
async fn a_payment_link_leads_to_a_checkout_that_takes_codes() {
    let stripe = Stripe::start().await;
    stripe.sandbox.add_coupon("HALF", 50, CouponDuration::Once);
    stripe.sandbox.add_promotion_code("HALF", "FALL").unwrap();
    let form = "line_items[0][price]=price_pro_monthly&allow_promotion_codes=true";
    let link = stripe.post("/v1/payment_links", form).await.id();
    let opened = stripe.page(&format!("/buy/{link}")).await;
    let path = opened.location;
    let wrong = stripe.submit(&format!("{path}/code"), "code=SPRING").await;
    assert!(wrong.text.contains("no such promotion code"));
    stripe.submit(&format!("{path}/code"), "code=FALL").await;
    assert!(stripe.page(&path).await.text.contains("24.50 USD"));
    assert_eq!(stripe.page("/buy/plink_no").await.status, 404);
}

#[tokio::test]
async fn a_form_from_another_site_is_refused_and_user_input_is_escaped() {
    let stripe = Stripe::start().await;
    let foreign = stripe.request("/clock", "days=31").header("Origin", "http://evil.example");
    assert_eq!(read(foreign).await.status, 403);
    assert_eq!(stripe.sandbox.clock().now(), START);
    stripe.post("/v1/customers", "email=%3Cscript%3Ealert(1)%3C/script%3E").await;
    assert!(!stripe.page("/").await.text.contains("<script>"));
}

#[tokio::test]
async fn a_company_enters_its_country_and_tax_id_and_accepts_the_terms() {
    let stripe = Stripe::start().await;
    stripe.taxed_price("price_net", TaxBehavior::Exclusive, Interval::Month);
    let more = format!("&line_items[0][price]=price_net{COLLECTS}");
    let session = stripe.taxed_session(&more).await.id();
    let path = format!("/checkout/{session}");
    let page = stripe.page(&path).await;
    for part in ["Business name", "Tax ID", "Country", "https://vendor.example/terms"] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    assert!(page.text.contains("Due today: 10.00 USD"));
    let entered = stripe.submit(&format!("{path}/details"), "country=de").await;
    assert_eq!((entered.status, entered.location), (303, path.clone()));
    let page = stripe.page(&path).await;
    assert!(page.text.contains("Tax: 2.00 USD") && page.text.contains("Due today: 12.00 USD"));
    let form = "email=ada@example.com&country=DE&individual_name=Ada&business_name=Engines\
                &tax_id=DE+123456789&card=4242424242424242";
    let refused = stripe.submit(&path, form).await;
    assert!(refused.text.contains("Accept the terms of service."), "{}", refused.text);
    let wrong = stripe.submit(&path, &form.replace("=DE+1", "=DE-%2F1")).await;
    assert!(wrong.text.contains("is no tax id"), "{}", wrong.text);
    let paid = stripe.submit(&path, &format!("{form}&terms=on")).await;
    assert_eq!((paid.status, paid.location.as_str()), (303, "http://localhost/ok"));
    let details = stripe.sandbox.object(&session)["customer_details"].take();
    assert_eq!((&details["name"], &details["individual_name"]), (&"Engines".into(), &"Ada".into()));
    assert_eq!(details["tax_ids"][0]["value"], "DE123456789");
}
