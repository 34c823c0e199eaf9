//! Entity tags: whether a client has a text already (RFC 9110, section 13.1.2).

/// Returns whether `If-None-Match` names this entity tag. `values` are the values of the header.
pub fn is_known<'v>(values: impl IntoIterator<Item = &'v str>, etag: &str) -> bool {
    let mut tags = values.into_iter().flat_map(|tags| tags.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}
