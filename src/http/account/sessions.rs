//! Login, logout, and the list of login sessions.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use crate::app::App;
use crate::domain::account::customer::Customer;
use crate::domain::account::password::Password;
use crate::domain::account::session::Session;
use crate::domain::ids::SessionId;
use crate::error::Error;
use crate::flows::account::attempts;
use crate::flows::account::session::{self, NewSession};
use crate::http::Tag;
use crate::http::account::view::CustomerView;
use crate::http::caller::{Caller, Client};
use crate::http::idempotency::Once;
use crate::http::input::Input;
use crate::http::problem::{Failure, NothingMore, documented};
use crate::http::throttle::Throttle;

pub struct SessionsApi;

documented!(LoginCodes: InvalidCredentials, TooManyRequests);
documented!(EndCodes: NotFound);

/// A login.
#[derive(Object)]
#[oai(rename = "Login", deny_unknown_fields, example)]
struct LoginRequest {
    /// The email address of the account.
    #[oai(validator(max_length = 254))]
    email: String,
    /// The password.
    #[oai(validator(max_length = 1024))]
    password: String,
}

impl Example for LoginRequest {
    fn example() -> Self {
        Self { email: "grace@example.com".into(), password: "SecurePass123".into() }
    }
}

/// A new login session.
#[derive(Object)]
pub(super) struct LoggedIn {
    /// The session token. Send it as `Authorization: Bearer …`.
    access_token: String,
    /// When the session expires.
    expires_at: DateTime<Utc>,
    /// The customer that is logged in.
    customer: CustomerView,
}

impl From<(NewSession, Customer)> for LoggedIn {
    fn from((opened, customer): (NewSession, Customer)) -> Self {
        Self {
            access_token: opened.token.expose().to_owned(),
            expires_at: opened.session.expires_at.to_datetime(),
            customer: customer.into(),
        }
    }
}

/// A login session.
#[derive(Object)]
#[oai(rename = "Session", example)]
pub(super) struct SessionView {
    /// The id of the session.
    session_id: String,
    /// The `User-Agent` of the client at login.
    #[oai(nullable)]
    client: Option<String>,
    /// When the session was opened.
    created_at: DateTime<Utc>,
    /// When the session expires.
    expires_at: DateTime<Utc>,
    /// Whether this request uses the session.
    current: bool,
}

impl Example for SessionView {
    fn example() -> Self {
        let time = |seconds| DateTime::from_timestamp(seconds, 0).unwrap_or_default();
        Self {
            session_id: EXAMPLE_SESSION.into(),
            client: Some("Mozilla/5.0".into()),
            created_at: time(1_795_186_800),
            expires_at: time(1_797_778_800),
            current: true,
        }
    }
}

/// An example for the API description.
const EXAMPLE_SESSION: &str = "sess_0123456789abcdef0123456789abcdef";

fn example_session() -> String {
    EXAMPLE_SESSION.into()
}

impl SessionView {
    /// Returns the session; `current` is the one of the request.
    pub(super) fn new(session: Session, current: &SessionId) -> Self {
        Self {
            current: session.session_id == *current,
            session_id: session.session_id.to_string(),
            client: session.client,
            created_at: session.created_at.to_datetime(),
            expires_at: session.expires_at.to_datetime(),
        }
    }
}

/// The login sessions of a customer.
#[derive(Object)]
struct Sessions {
    /// The open sessions, newest first.
    sessions: Vec<SessionView>,
}

#[derive(ApiResponse)]
enum EndedResponse {
    /// The session was ended. Its token no longer works.
    #[oai(status = 204)]
    Ended,
}

#[OpenApi(prefix_path = "/api/customers", tag = "Tag::Customers")]
impl SessionsApi {
    /// Log in
    ///
    /// Opens a login session and returns its token. The response is the same for an unknown address
    /// and a wrong password.
    #[oai(path = "/login", method = "post", operation_id = "logIn")]
    async fn log_in(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        client: Client,
        Input(request): Input<LoginRequest>,
        #[oai(name = "Idempotency-Key")] once: Once,
    ) -> Result<Json<LoggedIn>, Failure<LoginCodes>> {
        throttle.client(client.address)?;
        let attempt = attempts::log_in(app, &request.email, client.address).await?;
        let _permit = throttle.hash_permit(client.address).await?;
        once.begin(app, None).await?;
        // An invalid address is treated like an unknown one.
        let email = request.email.parse().ok();
        let logged_in =
            session::login(app, email, Password::new(request.password), client.name).await?;
        attempt.succeeded(app, &logged_in.1.user_id).await;
        Ok(Json(logged_in.into()))
    }

    /// Log out
    ///
    /// Ends the login session of this request.
    #[oai(path = "/logout", method = "post", operation_id = "logOut")]
    async fn log_out(
        &self,
        Data(app): Data<&App>,
        Caller(caller): Caller,
    ) -> Result<EndedResponse, Failure<NothingMore>> {
        session::log_out(app, &caller).await?;
        Ok(EndedResponse::Ended)
    }

    /// List my login sessions
    ///
    /// Returns the open sessions, newest first. Each device that is logged in has one.
    #[oai(path = "/me/sessions", method = "get", operation_id = "listSessions")]
    async fn list(
        &self,
        Data(app): Data<&App>,
        Caller(caller): Caller,
    ) -> Result<Json<Sessions>, Failure<NothingMore>> {
        let sessions = session::list(app, &caller).await?.into_iter();
        let current = &caller.session.session_id;
        Ok(Json(Sessions {
            sessions: sessions.map(|session| SessionView::new(session, current)).collect(),
        }))
    }

    /// End a login session
    ///
    /// Ends one session of the caller, for example that of a lost device.
    #[oai(path = "/me/sessions/:session_id", method = "delete", operation_id = "endSession")]
    async fn end(
        &self,
        Data(app): Data<&App>,
        Caller(caller): Caller,
        /// The session's id, from `GET /api/customers/me/sessions`.
        #[oai(example = "example_session")]
        Path(session_id): Path<String>,
    ) -> Result<EndedResponse, Failure<EndCodes>> {
        let id = session_id.parse().map_err(|_| Error::NotFound("session"))?;
        session::end(app, &caller, &id).await?;
        Ok(EndedResponse::Ended)
    }
}
