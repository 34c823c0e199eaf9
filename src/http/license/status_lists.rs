//! The status lists: which licenses are revoked, for apps and for machines without a network.

use bytes::Bytes;
use poem::http::{HeaderMap, header};
use poem::web::Data;
use poem_openapi::param::Path;
use poem_openapi::payload::{Binary, Json, Response};
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use crate::app::App;
use crate::domain::license::status_list::uri;
use crate::error::Error;
use crate::flows::license::status_list;
use crate::http::Tag;
use crate::http::license::etag::is_known;
use crate::http::openapi::EXAMPLE_ORIGIN;
use crate::http::problem::{Failure, NothingMore, documented};

pub struct StatusListsApi;

/// How long clients and proxies may use a list without asking again: a minute, so that a revocation
/// is seen soon. Asking again costs little (`If-None-Match`).
const CACHE_CONTROL: &str = "public, max-age=60";

documented!(StatusListCodes: NotFound);

/// The addresses of all status lists (draft-ietf-oauth-status-list-21, section 9).
#[derive(Object)]
#[oai(rename = "StatusLists", example)]
struct StatusListsView {
    /// The address of each list, oldest first. A license names one of them.
    status_lists: Vec<String>,
}

impl Example for StatusListsView {
    fn example() -> Self {
        Self { status_lists: vec![uri(EXAMPLE_ORIGIN, 1)] }
    }
}

#[derive(ApiResponse)]
enum StatusListResponse {
    /// The list, a JWT that is signed like a license.
    #[oai(status = 200, content_type = "application/statuslist+jwt")]
    List(
        Binary<Bytes>,
        /// Identifies this text. Send it as `If-None-Match` the next time.
        #[oai(header = "ETag")]
        String,
    ),
    /// The list is the one that `If-None-Match` names.
    #[oai(status = 304)]
    NotModified(
        /// The list's entity tag.
        #[oai(header = "ETag")]
        String,
    ),
}

#[OpenApi(prefix_path = "/.well-known/license-status", tag = "Tag::Keys")]
impl StatusListsApi {
    /// List the status lists
    ///
    /// Returns the addresses of all status lists, to carry them to machines without a network.
    #[oai(path = "/", method = "get", operation_id = "listStatusLists")]
    async fn lists(
        &self,
        Data(app): Data<&App>,
    ) -> Result<Response<Json<StatusListsView>>, Failure<NothingMore>> {
        let lists = status_list::all(app).await?;
        let status_lists = lists.iter().map(|list| uri(&list.origin, list.list_id)).collect();
        let view = StatusListsView { status_lists };
        Ok(Response::new(Json(view)).header("Cache-Control", CACHE_CONTROL))
    }

    /// Get a status list
    ///
    /// Returns which licenses are revoked, as one bit for each
    /// (draft-ietf-oauth-status-list-21). A license names the list and its bit in the claim
    /// `status`. A revocation is in the list at once; another server shows it within two seconds.
    /// The licenses of deleted customers count as revoked.
    #[oai(path = "/:list", method = "get", operation_id = "getStatusList")]
    async fn list(
        &self,
        Data(app): Data<&App>,
        headers: &HeaderMap,
        /// The number at the end of the list's address.
        #[oai(example = "example_list")]
        Path(list): Path<String>,
    ) -> Result<Response<StatusListResponse>, Failure<StatusListCodes>> {
        let list_id = list.parse().map_err(|_| Error::NotFound("status list"))?;
        let list = status_list::signed(app, list_id).await?;
        let etag = list.etag.clone();
        let values = headers.get_all(header::IF_NONE_MATCH).iter();
        let response = if is_known(values.filter_map(|value| value.to_str().ok()), &etag) {
            StatusListResponse::NotModified(etag)
        } else {
            StatusListResponse::List(Binary(list.text.clone()), etag)
        };
        Ok(Response::new(response).header("Cache-Control", CACHE_CONTROL))
    }
}

fn example_list() -> String {
    "1".into()
}
