//! The public keys for verifying licenses: the key set, and the key bundle that the root signs.

use bytes::Bytes;
use poem::IntoResponse;
use poem::http::StatusCode;
use poem::http::header;
use poem::web::Data;
use poem_openapi::param::Header;
use poem_openapi::payload::{Binary, Json, Payload};
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::{Example, Type};
use poem_openapi::{ApiResponse, Object, OpenApi};

use crate::app::App;
use crate::domain::license::signing_key::CACHE_SECONDS;
use crate::error::Error;
use crate::http::Tag;
use crate::http::license::etag::is_known;
use crate::http::problem::{Failure, NothingMore, documented};

pub struct KeysApi;

documented!(BundleCodes: NotFound);

const JWKS_TYPE: &str = "application/json; charset=utf-8";
const BUNDLE_TYPE: &str = "application/jwt";

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

/// A public document that clients cache and ask for again with its entity tag.
struct Cached {
    content_type: &'static str,
    body: Bytes,
    tag: String,
    is_unchanged: bool,
}

impl Cached {
    /// `known` is the header `If-None-Match` (RFC 9110, section 13.1.2).
    fn new(content_type: &'static str, body: Bytes, tag: String, known: Option<&str>) -> Self {
        let is_unchanged = is_known(known, &tag);
        Self { content_type, body, tag, is_unchanged }
    }
}

impl IntoResponse for Cached {
    fn into_response(self) -> poem::Response {
        let builder = poem::Response::builder()
            .header(header::ETAG, self.tag)
            .header(header::CACHE_CONTROL, format!("public, max-age={CACHE_SECONDS}"));
        if self.is_unchanged {
            return builder.status(StatusCode::NOT_MODIFIED).finish();
        }
        builder.header(header::CONTENT_TYPE, self.content_type).body(self.body)
    }
}

/// Returns the description of a response that may be cached.
fn cached(content: MetaResponses) -> MetaResponses {
    let unchanged = MetaResponse {
        description: "The client has the newest version: `If-None-Match` names it.",
        status: Some(StatusCode::NOT_MODIFIED.as_u16()),
        status_range: None,
        content: Vec::new(),
        headers: Vec::new(),
    };
    MetaResponses { responses: content.responses.into_iter().chain([unchanged]).collect() }
}

/// The key set.
struct PublishedKeys(Cached);

impl IntoResponse for PublishedKeys {
    fn into_response(self) -> poem::Response {
        self.0.into_response()
    }
}

impl ApiResponse for PublishedKeys {
    fn meta() -> MetaResponses {
        cached(Json::<JwksView>::meta())
    }

    fn register(registry: &mut Registry) {
        JwksView::register(registry);
    }
}

/// The key bundle.
struct PublishedBundle(Cached);

impl IntoResponse for PublishedBundle {
    fn into_response(self) -> poem::Response {
        self.0.into_response()
    }
}

impl ApiResponse for PublishedBundle {
    fn meta() -> MetaResponses {
        cached(MetaResponses {
            responses: vec![MetaResponse {
                description: "",
                status: Some(StatusCode::OK.as_u16()),
                status_range: None,
                content: vec![MetaMediaType {
                    content_type: BUNDLE_TYPE,
                    schema: Binary::<Bytes>::schema_ref(),
                }],
                headers: Vec::new(),
            }],
        })
    }

    fn register(_: &mut Registry) {}
}

/// An example of an entity tag.
fn example_tag() -> Option<String> {
    Some("\"7\"".to_owned())
}

#[OpenApi(prefix_path = "/.well-known", tag = "Tag::Keys")]
impl KeysApi {
    /// Get the public keys
    ///
    /// Returns the key set (JWKS) for verifying licenses. Apps ship with it and refresh it once a
    /// day when they are online. A new key is published a day before it signs. Every server shows
    /// what a command has changed within two seconds.
    #[oai(path = "/jwks.json", method = "get", operation_id = "getJwks")]
    async fn jwks(
        &self,
        Data(app): Data<&App>,
        /// The entity tag of the key set that the client has.
        #[oai(name = "If-None-Match", example = "example_tag")]
        known: Header<Option<String>>,
    ) -> Result<PublishedKeys, Failure<NothingMore>> {
        let keys = app.published_keys().await;
        let (body, tag) = (keys.jwks.clone(), keys.jwks_tag.clone());
        Ok(PublishedKeys(Cached::new(JWKS_TYPE, body, tag, known.0.as_deref())))
    }

    /// Get the key bundle
    ///
    /// Returns the key bundle: the keys with their times and the revoked keys, signed by the root
    /// key. An app that ships only with the root key needs it beside a license. Every server shows
    /// what a command has changed within two seconds. `404` while there is no key bundle.
    #[oai(path = "/license-keys", method = "get", operation_id = "getKeyBundle")]
    async fn bundle(
        &self,
        Data(app): Data<&App>,
        /// The entity tag of the key bundle that the client has.
        #[oai(name = "If-None-Match", example = "example_tag")]
        known: Header<Option<String>>,
    ) -> Result<PublishedBundle, Failure<BundleCodes>> {
        let keys = app.published_keys().await;
        let bundle = keys.bundle.as_ref().ok_or(Error::NotFound("key bundle"))?;
        let (body, tag) = (bundle.token.clone().into(), format!("\"{}\"", bundle.seq));
        Ok(PublishedBundle(Cached::new(BUNDLE_TYPE, body, tag, known.0.as_deref())))
    }
}
