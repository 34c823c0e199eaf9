//! stub

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use std::sync::Arc;

use crate::shared::Shared;

/// A request for a page.
pub struct PageRequest {
    pub method: String,
    pub path: String,
    pub form: Vec<u8>,
    pub origin: Option<String>,
}

pub fn answer(_shared: &Arc<Shared>, _request: PageRequest) -> Response<Full<Bytes>> {
    Response::new(Full::default())
}
