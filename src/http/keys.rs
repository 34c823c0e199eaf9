//! The public keys that licenses are verified with.

use bytes::Bytes;
use poem::IntoResponse;
use poem::http::header;
use poem::web::Data;
use poem_openapi::payload::Json;
use poem_openapi::registry::{MetaResponses, Registry};
use poem_openapi::types::{Example, Type};
use poem_openapi::{ApiResponse, Object, OpenApi};

use super::Tag;
use super::problem::{Failure, NothingMore};
use crate::app::App;

pub struct KeysApi;

/// How long the key set may be kept, in seconds: an hour, a small part of the day for which a new
/// key is published before it signs.
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
    /// The RFC 7638 thumbprint of the key; a license names it in its header.
    kid: String,
    /// The only algorithm that the key is for.
    #[oai(skip_serializing_if_is_none)]
    alg: Option<String>,
    /// What the key is for: `sig`.
    #[oai(rename = "use", skip_serializing_if_is_none)]
    public_key_use: Option<String>,
}

/// The public keys (RFC 7517).
#[derive(Object)]
#[oai(rename = "Jwks")]
struct JwksView {
    /// Those that signed before, the one that signs, and those that will.
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

/// The key set, ready to send: [`JwksView`], written once at the start.
struct Published(Bytes);

impl IntoResponse for Published {
    fn into_response(self) -> poem::Response {
        poem::Response::builder()
            .content_type("application/json; charset=utf-8")
            .header(header::CACHE_CONTROL, CACHE_CONTROL)
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
    /// Show the public keys
    ///
    /// The key set (JWKS) that apps ship with, and refresh once a day when they are online. A new
    /// key is here before it signs, a day by default.
    #[oai(path = "/jwks.json", method = "get", operation_id = "getJwks")]
    async fn jwks(&self, Data(app): Data<&App>) -> Result<Published, Failure<NothingMore>> {
        Ok(Published(app.jwks.clone()))
    }
}
