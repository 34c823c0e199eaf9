//! Files that are part of the binary: pages, scripts and styles. Every one has the
//! Content-Security-Policy of its page.

use bytes::Bytes;
use poem::endpoint::make_sync;
use poem::http::header;
use poem::{Endpoint, Response, get};

/// An hour. The files change only with the binary.
const CACHE_CONTROL: &str = "public, max-age=3600";

/// Returns the endpoint of a file.
pub fn file(
    content_type: &'static str,
    content: impl Into<Bytes>,
    content_security_policy: &'static str,
) -> impl Endpoint<Output = Response> {
    let content = content.into();
    get(make_sync(move |_| {
        Response::builder()
            .header(header::CONTENT_TYPE, content_type)
            .header(header::CACHE_CONTROL, CACHE_CONTROL)
            .header(header::CONTENT_SECURITY_POLICY, content_security_policy)
            .body(content.clone())
    }))
}
