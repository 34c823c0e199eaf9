//! The public keys for verifying licenses.

use bytes::Bytes;
use poem::IntoResponse;
use poem::http::header::{self, HeaderValue};
use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::registry::{MetaResponses, Registry};
use poem_openapi::types::{Example, Type};
use poem_openapi::{ApiResponse, Object, OpenApi};

use crate::app::App;
use crate::http::Tag;
use crate::http::problem::{Failure, NothingMore};

pub struct KeysApi;

const CONTENT_TYPE: &str = "application/json; charset=utf-8";

/// How long clients may cache the key set: an hour. A new key is published a day before it signs.
const CACHE_CONTROL: &str = "public, max-age=3600";

/// A public Ed25519 key (RFC 8037).
#[derive(Object)]
#[oai(rename = "Jwk", example)]
struct JwkView {
    /// Always `OKP`.
    kty: String,
    /// Always `Ed25519`.
    crv: String,
    /// The public key, base64url.
    x: String,
    /// The id of the key: its RFC 7638 thumbprint. A license names it in its header.
    kid: String,
    /// The signature algorithm.
    #[oai(skip_serializing_if_is_none)]
    alg: Option<String>,
    /// The use of the key: `sig`.
    #[oai(rename = "use", skip_serializing_if_is_none)]
    public_key_use: Option<String>,
}

/// A JSON Web Key Set (RFC 7517).
#[derive(Object)]
#[oai(rename = "Jwks")]
struct JwksView {
    /// All keys: former keys, the key that signs now, and keys that will sign later.
    keys: Vec<JwkView>,
}

impl Example for JwkView {
    /// The key of RFC 8037, appendix A.
    fn example() -> Self {
        Self {
            kty: "OKP".into(),
            crv: "Ed25519".into(),
            x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".into(),
            kid: "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k".into(),
            alg: Some("EdDSA".into()),
            public_key_use: Some("sig".into()),
        }
    }
}

/// The key set, serialized once at startup.
struct Published(Bytes);

impl IntoResponse for Published {
    fn into_response(self) -> poem::Response {
        poem::Response::builder()
            .header(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE))
            .header(header::CACHE_CONTROL, HeaderValue::from_static(CACHE_CONTROL))
            .body(self.0)
    }
}

impl ApiResponse for Published {
    fn meta() -> MetaResponses {
        Json::<JwksView>::meta()
    }

    fn register(registry: &mut Registry) {
        JwksView::register(registry);
    }
}

#[OpenApi(prefix_path = "/.well-known", tag = "Tag::Keys")]
impl KeysApi {
    /// Get the public keys
    ///
    /// Returns the key set (JWKS) for verifying licenses. Apps ship with it and refresh it once a
    /// day when they are online. A new key is published a day before it signs.
    #[oai(path = "/jwks.json", method = "get", operation_id = "getJwks")]
    async fn jwks(&self, Data(app): Data<&App>) -> Result<Published, Failure<NothingMore>> {
        Ok(Published(app.jwks.clone()))
    }
}
