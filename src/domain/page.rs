//! Pages of a list, newest first. A page ends at a cursor, and the next one begins after it, so
//! that new entries do not move the others to another page.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::domain::time::Timestamp;

/// The most entries of a page.
pub const MAX_ENTRIES: usize = 100;

/// The longest cursor, in characters: a time and the longest id.
const MAX_CURSOR: usize = 200;

/// The place of an entry in a list: its time, and its id among entries of the same second. Callers
/// see it as an opaque text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The time by which the list is sorted.
    pub at: Timestamp,
    /// The id.
    pub id: String,
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{}", self.at.epoch_seconds(), self.id);
        formatter.write_str(&URL_SAFE_NO_PAD.encode(text))
    }
}

/// A text that is not a [`Cursor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use `next_after` of the previous page, unchanged")]
pub struct InvalidCursor;

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let short = Some(text).filter(|text| text.len() <= MAX_CURSOR).ok_or(InvalidCursor)?;
        let bytes = URL_SAFE_NO_PAD.decode(short).map_err(|_| InvalidCursor)?;
        let text = String::from_utf8(bytes).map_err(|_| InvalidCursor)?;
        let (at, id) = text.split_once('.').ok_or(InvalidCursor)?;
        let at = Timestamp::saturating(at.parse().map_err(|_| InvalidCursor)?);
        // PostgreSQL stores no NUL in a text.
        let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_graphic());
        if is_id { Ok(Self { at, id: id.to_owned() }) } else { Err(InvalidCursor) }
    }
}

/// A request for one page.
#[derive(Clone, Debug)]
pub struct PageRequest {
    /// The end of the previous page; `None` for the first page.
    pub after: Option<Cursor>,
    /// The most entries to return.
    pub limit: usize,
}

impl PageRequest {
    /// Returns the time and the id before which the page's entries are, for a statement with
    /// `(time, id) < ($1, $2) ORDER BY time DESC, id DESC`.
    #[must_use]
    pub fn before(&self) -> (Timestamp, &str) {
        self.after.as_ref().map_or((Timestamp::MAX, ""), |cursor| (cursor.at, &cursor.id))
    }

    /// Returns the number of rows to select: one more than the page has shows whether there is a
    /// next page.
    #[must_use]
    pub fn rows(&self) -> i64 {
        i64::try_from(self.limit).unwrap_or(i64::MAX).saturating_add(1)
    }

    /// Returns the page of these rows, which were selected with [`Self::before`] and
    /// [`Self::rows`].
    #[must_use]
    pub fn page<T>(&self, mut rows: Vec<T>, place: impl Fn(&T) -> Cursor) -> Page<T> {
        let has_more = rows.len() > self.limit;
        rows.truncate(self.limit);
        let next_after = rows.last().filter(|_| has_more).map(place);
        Page { entries: rows, next_after }
    }
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The entries, newest first.
    pub entries: Vec<T>,
    /// The end of the page; `None` on the last page.
    pub next_after: Option<Cursor>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(at: i64, id: &str) -> Cursor {
        Cursor { at: Timestamp::saturating(at), id: id.to_owned() }
    }

    #[test]
    fn a_cursor_is_read_as_it_was_shown_and_nothing_else_is() {
        let shown = cursor(1_795_186_800, "mail_0123").to_string();
        assert_eq!(shown.parse(), Ok(cursor(1_795_186_800, "mail_0123")));
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let long = encoded(&format!("1.{}", "a".repeat(MAX_CURSOR)));
        for wrong in ["", "1.a", "=", &encoded("a.b"), &encoded("1"), &encoded("1."), &long] {
            assert_eq!(wrong.parse::<Cursor>(), Err(InvalidCursor), "{wrong}");
        }
        assert!(encoded("1.a\0b").parse::<Cursor>().is_err());
        assert!(encoded("1.a b").parse::<Cursor>().is_err());
    }

    #[test]
    fn the_last_page_has_no_next_one() {
        let request = PageRequest { after: None, limit: 2 };
        assert_eq!((request.before(), request.rows()), ((Timestamp::MAX, ""), 3));
        let page = |rows: Vec<i64>| request.page(rows, |at| cursor(*at, "x"));
        assert_eq!(page(vec![3, 2, 1]).entries, [3, 2]);
        assert_eq!(page(vec![3, 2, 1]).next_after, Some(cursor(2, "x")));
        assert_eq!(page(vec![3, 2]).next_after, None);
        assert_eq!(page(vec![]).next_after, None);
    }
}
