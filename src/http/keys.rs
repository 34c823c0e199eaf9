//! The public keys that licenses are verified with.

use poem::web::Data;
use poem_openapi::payload::{Json, Response};
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use super::Tag;
use super::problem::{Failure, NothingMore};
use crate::app::App;
use licentia_verify::Jwk;

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

impl From<Jwk> for JwkView {
    fn from(jwk: Jwk) -> Self {
        let alg = jwk.alg.map(|alg| alg.as_str().to_owned());
        let Jwk { kty, crv, x, kid, public_key_use, .. } = jwk;
        Self { kty, crv, x, kid, alg, public_key_use }
    }
}

#[OpenApi(prefix_path = "/.well-known", tag = "Tag::Keys")]
impl KeysApi {
    /// Show the public keys
    ///
    /// The key set (JWKS) that apps ship with, and refresh once a day when they are online. A new
    /// key is here before it signs, a day by default.
    #[oai(path = "/jwks.json", method = "get", operation_id = "getJwks")]
    async fn jwks(
        &self,
        Data(app): Data<&App>,
    ) -> Result<Response<Json<JwksView>>, Failure<NothingMore>> {
        let keys = app.keys.jwks().keys.into_iter().map(JwkView::from).collect();
        Ok(Response::new(Json(JwksView { keys })).header("Cache-Control", CACHE_CONTROL))
    }
}
