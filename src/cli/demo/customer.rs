//! A customer and their app, who call Licentia over HTTP with a session token or a license token.
//! The steps check the responses.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::client::{Body, Response};
use super::proof::{Proven, Unproven, hold};
use super::stage::Stage;
use crate::domain::time::Timestamp;

/// The password of every demo customer. It is public.
pub const PASSWORD: &str = "SecurePass123";

/// A customer who signed up.
pub struct Customer<'a> {
    stage: &'a Stage,
    pub email: &'static str,
    session: String,
}

impl<'a> Customer<'a> {
    /// Signs up. Returns the customer and the trial license.
    pub async fn sign_up(stage: &'a Stage, email: &'static str) -> Proven<(Self, Value)> {
        let url = format!("{}/api/customers/signup", stage.url);
        let account = json!({ "email": email, "password": PASSWORD });
        let response = stage.client.post(&url, None, Body::Json(account)).await?;
        let mut made = response.json(StatusCode::CREATED)?;
        let session = text(&made, "access_token")?.to_owned();
        Ok((Self { stage, email, session }, made["license"].take()))
    }

    /// Opens a new login session: earlier ones end after a month.
    pub async fn log_in(&mut self) -> Proven<()> {
        let url = format!("{}/api/customers/login", self.stage.url);
        let account = json!({ "email": self.email, "password": PASSWORD });
        let response = self.stage.client.post(&url, None, Body::Json(account)).await?;
        text(&response.json(StatusCode::OK)?, "access_token")?.clone_into(&mut self.session);
        Ok(())
    }

    /// Returns the current license.
    pub async fn license(&self) -> Proven<Value> {
        self.get("/api/licenses/current").await
    }

    /// Returns the subscription.
    pub async fn subscription(&self) -> Proven<Value> {
        self.get("/api/subscriptions/current").await
    }

    /// Returns the orders, newest first.
    pub async fn orders(&self) -> Proven<Vec<Value>> {
        let mut response = self.get("/api/orders").await?;
        match response["orders"].take() {
            Value::Array(orders) => Ok(orders),
            other => Err(Unproven::new("a list of orders", other.to_string())),
        }
    }

    /// Opens a checkout. Returns its URL, a page of the Stripe double.
    pub async fn checkout(&self, mut request: Value) -> Proven<String> {
        for field in ["success_url", "cancel_url"] {
            request[field] = self.return_url().into();
        }
        let response = self.post("/api/subscriptions/checkout", Body::Json(request)).await?;
        self.page("checkout", text(&response.json(StatusCode::OK)?, "checkout_url")?)
    }

    /// Returns what a change of the subscription costs.
    pub async fn preview(&self, request: Value) -> Proven<Value> {
        let response = self.post("/api/subscriptions/preview", Body::Json(request)).await?;
        response.json(StatusCode::OK)
    }

    /// Changes the subscription as previewed.
    pub async fn change(&self, request: Value) -> Proven<()> {
        let response = self.post("/api/subscriptions/change", Body::Json(request)).await?;
        response.has_status(StatusCode::OK)
    }

    /// Opens the portal. Returns its URL, a page of the Stripe double.
    pub async fn portal(&self) -> Proven<String> {
        let response = self.post("/api/subscriptions/portal", Body::Nothing).await?;
        self.page("portal", text(&response.json(StatusCode::OK)?, "portal_url")?)
    }

    /// Returns the URL that checkouts return to.
    pub fn return_url(&self) -> String {
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

    async fn post(&self, path: &str, body: Body<'_>) -> Proven<Response> {
        let url = format!("{}{path}", self.stage.url);
        self.stage.client.post(&url, Some(&self.session), body).await
    }
}

/// Refreshes a license as an app does: with the license token alone, without a password.
pub async fn refresh(stage: &Stage, token: &str) -> Proven<Response> {
    let url = format!("{}/api/licenses/refresh", stage.url);
    stage.client.post(&url, Some(token), Body::Nothing).await
}

/// Returns the result of verifying a license online.
pub async fn verify_online(stage: &Stage, token: &str) -> Proven<Value> {
    let url = format!("{}/api/licenses/verify", stage.url);
    let asked = Body::Json(json!({ "token": token }));
    stage.client.post(&url, None, asked).await?.json(StatusCode::OK)
}

/// Returns a text field of a response.
pub fn text<'v>(value: &'v Value, name: &str) -> Proven<&'v str> {
    value[name].as_str().ok_or_else(|| Unproven::new(format!("a text `{name}`"), value.to_string()))
}

/// Returns a time field of a response.
pub fn time(value: &Value, name: &str) -> Proven<Timestamp> {
    let parsed = chrono::DateTime::parse_from_rfc3339(text(value, name)?);
    let time = parsed.map(|time| Timestamp::from(time.to_utc()));
    time.map_err(|_| Unproven::new(format!("a time `{name}`"), value.to_string()))
}
