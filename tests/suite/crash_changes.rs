//! The process dies by SIGKILL at each fail point of a change of a subscription and restarts. The
//! same request then has the same result: one change, one invoice, one license.

use std::time::Duration;

use licentia_sandbox::Card;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::PASSWORD;
use crate::harness::patient::{ARMED, Patient, recovers};
use crate::harness::shop::session_of;

const POINTS: [&str; 4] = ["change.stored", "change.cleared", "change.made", "change.settled"];

const PLANS: &str = r#"
[[plan]]
id = "team"
name = "Team"
limits = { seats = 1 }
per_unit = ["seats"]
prices = [{ id = "price_team", interval = "month", amount = 1000, currency = "usd" }]
"#;

/// A customer of a service that dies once.
struct Walk {
    patient: Patient,
    token: String,
}

impl Walk {
    async fn new(point: &'static str) -> Self {
        let armed = format!("{point}@{ARMED}");
        let prices = [("price_team", "Team", 1000)];
        let mut patient = Patient::admit(point, Some(&armed), Some(PLANS), &prices).await;
        let account = json!({ "email": "ada@example.com", "password": PASSWORD });
        let signup = "/api/customers/signup";
        let (status, answer) = patient.call(Method::POST, signup, "", account).await;
        assert_eq!(status, 201, "{point}: {answer}");
        let token = answer["access_token"].as_str().unwrap().to_owned();
        Self { patient, token }
    }

    async fn call(&mut self, method: Method, path: &str, body: Value) -> (u16, Value) {
        self.patient.call(method, path, &self.token, body).await
    }

    /// Buys five seats. Returns Stripe's ids of the customer and the subscription.
    async fn buy(&mut self) -> (String, String) {
        let back = "https://app.example/";
        let wanted =
            json!({ "plan": "team", "quantity": 5, "success_url": back, "cancel_url": back });
        let (status, answer) = self.call(Method::POST, "/api/subscriptions/checkout", wanted).await;
        assert_eq!(status, 200, "{}: {answer}", self.patient.point);
        let session = session_of(answer["checkout_url"].as_str().unwrap());
        self.patient.sandbox.pay(&session, Card::Paid).unwrap();
        self.until_seats(5).await;
        let text =
            |field: &str| self.patient.sandbox.object(&session)[field].as_str().unwrap().to_owned();
        (text("customer"), text("subscription"))
    }

    async fn until_seats(&mut self, seats: u64) {
        loop {
            let (_, license) = self.call(Method::GET, "/api/licenses/current", Value::Null).await;
            if license["limits"]["seats"] == seats {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Previews a change of the seats and makes it.
    async fn change(&mut self, seats: u32) -> (u16, Value) {
        let mut wanted = json!({ "quantity": seats });
        let (status, preview) =
            self.call(Method::POST, "/api/subscriptions/preview", wanted.clone()).await;
        assert_eq!(status, 200, "{}: {preview}", self.patient.point);
        wanted["preview_id"] = preview["preview_id"].clone();
        self.call(Method::POST, "/api/subscriptions/change", wanted).await
    }
}

async fn die_at(point: &'static str) {
    recovers(point, async {
        let mut walk = Walk::new(point).await;
        let (customer, subscription) = walk.buy().await;
        // A change that waits for its payment is replaced by the next one.
        walk.patient.sandbox.replace_card(&customer, Card::DeclinedLater).unwrap();
        let (status, refused) = walk.change(6).await;
        assert_eq!(status, 402, "{point}: {refused}");
        walk.patient.sandbox.replace_card(&customer, Card::Paid).unwrap();
        std::fs::write(walk.patient.directory.path().join(ARMED), "").unwrap();
        let (status, changed) = walk.change(8).await;
        assert_eq!((status, walk.patient.deaths), (200, 1), "{point}: {changed}");
        assert_eq!(changed["quantity"], 8, "{point}: {changed}");
        walk.until_seats(8).await;
        let (_, orders) = walk.call(Method::GET, "/api/orders", Value::Null).await;
        let orders = orders["orders"].as_array().unwrap();
        let paid = orders.iter().filter(|order| order["status"] == "succeeded").count();
        assert_eq!(paid, 2, "{point}: {orders:?}");
        let at_stripe = walk.patient.sandbox.object(&subscription);
        assert_eq!(at_stripe["items"]["data"][0]["quantity"], 8, "{point}");
        assert_eq!(at_stripe["pending_update"], Value::Null, "{point}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_survives_a_death_at_each_point_stripe_6_7() {
    for point in POINTS {
        die_at(point).await;
    }
}
