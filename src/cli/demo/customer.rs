//! A customer, and the app that they use, as Licentia sees them: over HTTP, with a session token or a
//! license. What the answers must say is up to the steps.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::client::{Answer, Body};
use super::proof::{Proven, Unproven, hold};
use super::stage::Stage;
use crate::domain::time::Timestamp;

/// Everybody's; it is no secret.
pub const PASSWORD: &str = "SecurePass123";

/// Somebody who signed up.
pub struct Customer<'a> {
    stage: &'a Stage,
    pub email: &'static str,
    session: String,
}

impl<'a> Customer<'a> {
    /// Signs up. Gives the customer, and the license that came with it.
    pub async fn sign_up(stage: &'a Stage, email: &'static str) -> Proven<(Self, Value)> {
        let url = format!("{}/api/customers/signup", stage.url);
        let account = json!({ "email": email, "password": PASSWORD });
        let answer = stage.client.post(&url, None, Body::Json(account)).await?;
        let mut made = answer.json(StatusCode::CREATED)?;
        let session = text(&made, "access_token")?.to_owned();
        Ok((Self { stage, email, session }, made["license"].take()))
    }

    /// Opens a new session: those of before end after a month.
    pub async fn log_in(&mut self) -> Proven<()> {
        let url = format!("{}/api/customers/login", self.stage.url);
        let account = json!({ "email": self.email, "password": PASSWORD });
        let answer = self.stage.client.post(&url, None, Body::Json(account)).await?;
        text(&answer.json(StatusCode::OK)?, "access_token")?.clone_into(&mut self.session);
        Ok(())
    }

    /// The current license.
    pub async fn license(&self) -> Proven<Value> {
        self.get("/api/licenses/current").await
    }

    /// The subscription.
    pub async fn subscription(&self) -> Proven<Value> {
        self.get("/api/subscriptions/current").await
    }

    /// The orders, the newest first.
    pub async fn orders(&self) -> Proven<Vec<Value>> {
        let mut answer = self.get("/api/orders").await?;
        match answer["orders"].take() {
            Value::Array(orders) => Ok(orders),
            other => Err(Unproven::new("a list of orders", other.to_string())),
        }
    }

    /// Asks to buy a plan. Gives the address of the checkout, which is Stripe's double's.
    pub async fn checkout(&self, plan: &str) -> Proven<String> {
        let back = self.back();
        let wanted = json!({ "plan": plan, "success_url": back, "cancel_url": back });
        let answer = self.post("/api/subscriptions/checkout", Body::Json(wanted)).await?;
        self.page("checkout", text(&answer.json(StatusCode::OK)?, "checkout_url")?)
    }

    /// Asks for the portal. Gives its address, which is Stripe's double's.
    pub async fn portal(&self) -> Proven<String> {
        let answer = self.post("/api/subscriptions/portal", Body::Nothing).await?;
        self.page("portal", text(&answer.json(StatusCode::OK)?, "portal_url")?)
    }

    /// Where checkouts come back to.
    pub fn back(&self) -> String {
        format!("{}/docs", self.stage.url)
    }

    fn page(&self, kind: &str, url: &str) -> Proven<String> {
        let pages = format!("{}/{kind}/", self.stage.sandbox.url());
        hold(url.starts_with(&pages), format!("a page under {pages}"), url)?;
        Ok(url.to_owned())
    }

    async fn get(&self, path: &str) -> Proven<Value> {
        let url = format!("{}{path}", self.stage.url);
        self.stage.client.get(&url, Some(&self.session)).await?.json(StatusCode::OK)
    }

    async fn post(&self, path: &str, body: Body<'_>) -> Proven<Answer> {
        let url = format!("{}{path}", self.stage.url);
        self.stage.client.post(&url, Some(&self.session), body).await
    }
}

/// An app asks for the newest license with the one that it holds; it knows no password.
pub async fn refresh(stage: &Stage, token: &str) -> Proven<Answer> {
    let url = format!("{}/api/licenses/refresh", stage.url);
    stage.client.post(&url, Some(token), Body::Nothing).await
}

/// What Licentia says online about a license.
pub async fn verdict(stage: &Stage, token: &str) -> Proven<Value> {
    let url = format!("{}/api/licenses/verify", stage.url);
    let asked = Body::Json(json!({ "token": token }));
    stage.client.post(&url, None, asked).await?.json(StatusCode::OK)
}

/// A text within an answer.
pub fn text<'v>(value: &'v Value, name: &str) -> Proven<&'v str> {
    value[name].as_str().ok_or_else(|| Unproven::new(format!("a text `{name}`"), value.to_string()))
}

/// A time within an answer.
pub fn time(value: &Value, name: &str) -> Proven<Timestamp> {
    let parsed = chrono::DateTime::parse_from_rfc3339(text(value, name)?);
    let time = parsed.map(|time| Timestamp::from(time.to_utc()));
    time.map_err(|_| Unproven::new(format!("a time `{name}`"), value.to_string()))
}
