//! The parameters of a list that is read page by page: `limit` and `after`.

use poem_openapi::param::Query;

use crate::domain::page::{Cursor, MAX_ENTRIES, PageRequest};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};

/// The entries of a page if the caller does not say.
const DEFAULT_ENTRIES: u32 = 50;

/// Returns the page that the parameters ask for.
///
/// # Errors
/// [`Error::InvalidRequest`] when `after` is not a cursor.
pub fn request(limit: &Query<u32>, after: &Query<Option<String>>) -> Result<PageRequest> {
    request_up_to(MAX_ENTRIES, limit, after)
}

/// Returns the page that the parameters ask for, of a list whose pages have up to `most` entries.
///
/// # Errors
/// As [`request`].
pub fn request_up_to(
    most: usize,
    limit: &Query<u32>,
    after: &Query<Option<String>>,
) -> Result<PageRequest> {
    let after = after.as_deref().map(str::parse::<Cursor>).transpose();
    let after = after.map_err(|error| Error::InvalidRequest(format!("`after`: {error}")))?;
    let limit = usize::try_from(limit.0).unwrap_or(most).clamp(1, most);
    Ok(PageRequest { after, limit })
}

/// The default and the example of `limit`.
pub fn default_limit() -> u32 {
    DEFAULT_ENTRIES
}

/// The example of `after`.
pub fn example_cursor() -> Option<String> {
    let at = Timestamp::saturating(1_795_186_800);
    let id = "mail_0123456789abcdef0123456789abcdef".to_owned();
    Some(Cursor { at, id }.to_string())
}
