//! Log in, log out, and the list of open sessions.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use super::Tag;
use super::caller::{Caller, Client};
use super::customers::CustomerView;
use super::input::Input;
use super::problem::{Failure, NothingMore, documented};
use super::throttle::Throttle;
use crate::app::App;
use crate::domain::ids::SessionId;
use crate::domain::session::Session;
use crate::error::Error;
use crate::flows::session;

pub struct SessionsApi;

documented!(LoginCodes: InvalidCredentials, TooManyRequests);
documented!(EndCodes: NotFound);

/// Who logs in.
#[derive(Object)]
#[oai(rename = "Login", deny_unknown_fields, example)]
struct LoginRequest {
    /// The address that was signed up with.
    #[oai(validator(max_length = 254))]
    email: String,
    /// The password.
    #[oai(validator(max_length = 1024))]
    password: String,
}

impl Example for LoginRequest {
    fn example() -> Self {
        Self { email: "ada@example.com".into(), password: "SecurePass123".into() }
    }
}

/// Logged in.
#[derive(Object)]
struct LoggedIn {
    /// The session token: send it as `Authorization: Bearer …`.
    access_token: String,
    /// When the session ends by itself.
    expires_at: DateTime<Utc>,
    /// Who is logged in.
    customer: CustomerView,
}

/// An open session.
#[derive(Object)]
#[oai(rename = "Session", example)]
struct SessionView {
    /// For ending it.
    session_id: String,
    /// What the client called itself at login.
    #[oai(nullable)]
    client: Option<String>,
    /// When it began.
    created_at: DateTime<Utc>,
    /// When it ends by itself.
    expires_at: DateTime<Utc>,
    /// Whether this very request came with it.
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

/// For the API description.
const EXAMPLE_SESSION: &str = "sess_0123456789abcdef0123456789abcdef";

fn example_session() -> String {
    EXAMPLE_SESSION.into()
}

impl SessionView {
    fn new(session: Session, current: &SessionId) -> Self {
        Self {
            current: session.session_id == *current,
            session_id: session.session_id.to_string(),
            client: session.client,
            created_at: session.created_at.to_datetime(),
            expires_at: session.expires_at.to_datetime(),
        }
    }
}

/// The open sessions.
#[derive(Object)]
struct Sessions {
    /// The newest first.
    sessions: Vec<SessionView>,
}

#[derive(ApiResponse)]
enum EndedResponse {
    /// Ended: its token is worth nothing any more.
    #[oai(status = 204)]
    Ended,
}

#[OpenApi(prefix_path = "/api/customers", tag = "Tag::Customers")]
impl SessionsApi {
    /// Log in
    ///
    /// Opens a session. An unknown address and a wrong password get the same answer.
    #[oai(path = "/login", method = "post", operation_id = "logIn")]
    async fn log_in(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        client: Client,
        Input(request): Input<LoginRequest>,
    ) -> Result<Json<LoggedIn>, Failure<LoginCodes>> {
        throttle.log_in(&request.email, client.address)?;
        let _turn = throttle.turn(client.address).await?;
        // An address that cannot be one is simply unknown.
        let email = request.email.parse().ok();
        let (opened, customer) = session::login(app, email, request.password, client.name).await?;
        throttle.succeeded(customer.email.as_str(), client.address);
        Ok(Json(LoggedIn {
            access_token: opened.access_token,
            expires_at: opened.session.expires_at.to_datetime(),
            customer: customer.into(),
        }))
    }

    /// Log out
    ///
    /// Ends the session of this request.
    #[oai(path = "/logout", method = "post", operation_id = "logOut")]
    async fn log_out(
        &self,
        Data(app): Data<&App>,
        Caller(caller): Caller,
    ) -> Result<EndedResponse, Failure<NothingMore>> {
        session::log_out(app, &caller).await?;
        Ok(EndedResponse::Ended)
    }

    /// List the open sessions
    ///
    /// Every device that is signed in, the newest first.
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

    /// End a session
    ///
    /// For a device that was lost, say.
    #[oai(path = "/me/sessions/:session_id", method = "delete", operation_id = "endSession")]
    async fn end(
        &self,
        Data(app): Data<&App>,
        Caller(caller): Caller,
        /// As `GET /api/customers/me/sessions` tells it.
        #[oai(example = "example_session")]
        Path(session_id): Path<String>,
    ) -> Result<EndedResponse, Failure<EndCodes>> {
        let id = session_id.parse().map_err(|_| Error::NotFound("session"))?;
        session::end(app, &caller, &id).await?;
        Ok(EndedResponse::Ended)
    }
}
