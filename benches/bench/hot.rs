//! The requests of apps, next to bare poem handlers that do only the unavoidable work:
//!
//! - the key set, the key bundle and a status list: the bytes, ready to send;
//! - a refresh without changes: one verification, and one signature, which a service without a
//!   database would need too;
//! - the online verdict: one verification, and one read of a license by its id;
//! - the current license: one hash of the session token, one read of the login session with its
//!   customer, and one read of the license.
//!
//! The bare handlers read the same SQLite file over the same connections. They run on poem's own
//! server, without our limits, headers, log, metrics and OpenAPI.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use licentia::app::App;
use licentia::config::Config;
use licentia::domain::account::password::Password;
use licentia::flows::account::signup::{SignedUp, Signup, signup};
use licentia::store::Store;
use poem::listener::{Acceptor, Listener, TcpListener};
use poem::web::Data;
use poem::{EndpointExt, Request, Route, get, handler, post};
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::SqlitePool;
use tokio::runtime::Runtime;

use crate::{Better, ROUND, Row, compare, load, serve, status};

/// Concurrent connections.
const CONNECTIONS: usize = 8;

/// Returns the rows about requests that change nothing.
pub fn rows(runtime: &Runtime, app: &App, config: &Config) -> Vec<Row> {
    let customer = runtime.block_on(customer(app));
    let list = status::prepare(runtime, app);
    let (license, session) =
        (customer.license.as_ref().unwrap().token.expose(), customer.session_token.expose());
    let ours = serve(runtime, app, config);
    let theirs = serve_bare(runtime, Bare::beside(app, &customer, list.clone()));
    let verdict = json!({ "token": license }).to_string();
    let row = |name, path: &str, request: &dyn Fn(&str) -> String, baseline, bare: &str| {
        let rate = |address: &str, request: String| {
            let rounds = load::microseconds(address, CONNECTIONS, ROUND, || request.clone());
            1e6 / runtime.block_on(rounds)
        };
        let (our_request, their_request) = (request(path), request(bare));
        compare(
            name,
            "/s",
            Better::More,
            || rate(&ours, our_request.clone()),
            baseline,
            || rate(&theirs, their_request.clone()),
        )
    };
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    let with = |method: &str, path: &str, token: &str| {
        format!("{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n")
    };
    let ask = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{verdict}",
            verdict.len()
        )
    };
    let mut rows = vec![
        row(
            "GET /.well-known/jwks.json",
            "/.well-known/jwks.json",
            &get,
            "a bare poem handler with the same bytes",
            "/bytes",
        ),
        row(
            "GET /.well-known/license-keys",
            "/.well-known/license-keys",
            &get,
            "a bare poem handler with the same bytes",
            "/bundle",
        ),
        row(
            "GET /.well-known/license-status/1",
            "/.well-known/license-status/1",
            &get,
            "a bare poem handler with the same bytes",
            "/list",
        ),
        row(
            "POST /api/licenses/refresh",
            "/api/licenses/refresh",
            &|path| with("POST", path, license),
            "a bare handler: a verification, a signature",
            "/refresh",
        ),
        row(
            "POST /api/licenses/verify",
            "/api/licenses/verify",
            &ask,
            "a bare handler: a verification, a read",
            "/verify",
        ),
        row(
            "GET /api/licenses/current",
            "/api/licenses/current",
            &|path| with("GET", path, session),
            "a bare handler: a hash, two reads",
            "/current",
        ),
    ];
    // Last: it grants the customer licenses and revokes them.
    rows.extend(status::rows(runtime, app, &customer.customer.customer_id, &list));
    rows
}

async fn customer(app: &App) -> SignedUp {
    let request = Signup {
        email: "hot@example.com".parse().unwrap(),
        password: Password::new("SecurePass123".to_owned()),
        name: None,
        company_name: None,
        language: None,
    };
    signup(app, request, None).await.unwrap()
}

/// The data of the bare handlers.
struct Bare {
    jwks: Bytes,
    bundle: Bytes,
    list: Bytes,
    /// A text about as long as a license, signed by this key.
    license: String,
    license_id: String,
    signature: Signature,
    key: SigningKey,
    public: VerifyingKey,
    readers: SqlitePool,
}

impl Bare {
    fn beside(app: &App, customer: &SignedUp, list: Bytes) -> Arc<Self> {
        let Store::Sqlite { readers, .. } = &app.store else { panic!("the bench uses SQLite") };
        let key = SigningKey::from_bytes(&[7; 32]);
        let license = customer.license.as_ref().unwrap().token.expose().to_owned();
        Arc::new(Self {
            jwks: serde_json::to_vec(&app.keys.jwks()).unwrap().into(),
            bundle: app.keys.bundle().unwrap().into(),
            list,
            license_id: customer.license.as_ref().unwrap().license_id.to_string(),
            signature: key.sign(license.as_bytes()),
            public: key.verifying_key(),
            key,
            license,
            readers: readers.clone(),
        })
    }

    fn verify(&self) {
        self.public.verify_strict(self.license.as_bytes(), &self.signature).unwrap();
    }
}

/// Serves the bare handlers on a free port, until the runtime stops. Returns their URL.
fn serve_bare(runtime: &Runtime, bare: Arc<Bare>) -> String {
    #[handler]
    fn bytes(bare: Data<&Arc<Bare>>) -> Bytes {
        bare.jwks.clone()
    }

    #[handler]
    fn bundle(bare: Data<&Arc<Bare>>) -> Bytes {
        bare.bundle.clone()
    }

    #[handler]
    fn list(bare: Data<&Arc<Bare>>) -> Bytes {
        bare.list.clone()
    }

    #[handler]
    fn refresh(bare: Data<&Arc<Bare>>) -> String {
        bare.verify();
        let signature = bare.key.sign(bare.license.as_bytes());
        format!("{}{signature}", bare.license)
    }

    #[handler]
    async fn verify(bare: Data<&Arc<Bare>>, _body: Bytes) -> String {
        bare.verify();
        let license = "SELECT token FROM licenses WHERE license_id = $1";
        let license = sqlx::query_as(license).bind(&bare.license_id);
        let (token,): (String,) = license.fetch_one(&bare.readers).await.unwrap();
        token
    }

    #[handler]
    async fn current(bare: Data<&Arc<Bare>>, request: &Request) -> String {
        let token = request.header("authorization").unwrap().strip_prefix("Bearer ").unwrap();
        let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(token));
        let session = "SELECT customer_id FROM sessions JOIN customers USING (user_id)
             WHERE token_hash = $1";
        let session = sqlx::query_as(session).bind(hash);
        let (customer,): (String,) = session.fetch_one(&bare.readers).await.unwrap();
        let license = "SELECT token FROM licenses WHERE customer_id = $1 AND superseded_at IS NULL";
        let license = sqlx::query_as(license).bind(customer);
        let (token,): (String,) = license.fetch_one(&bare.readers).await.unwrap();
        token
    }

    let acceptor = runtime.block_on(TcpListener::bind("127.0.0.1:0").into_acceptor()).unwrap();
    let address = acceptor.local_addr()[0].as_socket_addr().unwrap().to_string();
    let routes = Route::new()
        .at("/bytes", get(bytes))
        .at("/bundle", get(bundle))
        .at("/list", get(list))
        .at("/refresh", post(refresh))
        .at("/verify", post(verify))
        .at("/current", get(current))
        .data(bare);
    runtime.spawn(poem::Server::new_with_acceptor(acceptor).run(routes));
    address
}
