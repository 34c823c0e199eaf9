//! The members of a JSON object, read by name and kind.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::Json;
use crate::MAX_TIME;

/// The largest number: every parser of JSON represents it exactly.
const MAX_NUMBER: u64 = (1 << 53) - 1;

/// The members of a JSON object, in their order. Most objects have few members, which a list finds
/// faster than a map.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Members<'a>(Vec<(Cow<'a, str>, Json<'a>)>);

/// Up to this many members are compared with each other. More are sorted.
const FEW: usize = 32;

/// The reason why the members of a document are not what they should be.
#[derive(Debug, PartialEq)]
pub(crate) struct Problem(String);

impl Problem {
    /// Returns the problem of a member that is of another kind.
    pub(crate) fn wrong(name: &str, kind: &str) -> Self {
        Self(format!("{name:?} is not {kind}"))
    }
}

impl From<Problem> for String {
    fn from(problem: Problem) -> Self {
        problem.0
    }
}

impl<'a> Members<'a> {
    pub(super) fn push(&mut self, name: Cow<'a, str>, value: Json<'a>) {
        self.0.push((name, value));
    }

    /// Returns whether two members have the same name.
    pub(super) fn have_repeated_name(&self) -> bool {
        if self.0.len() <= FEW {
            let mut places = self.0.iter().enumerate();
            return places.any(|(place, (name, _))| {
                self.0[..place].iter().any(|(earlier, _)| earlier == name)
            });
        }
        let mut names: Vec<&str> = self.0.iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| pair[0] == pair[1])
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Json<'a>> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Returns the member if it is a string.
    pub(crate) fn string(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Json::as_str)
    }

    pub(crate) fn text(&self, name: &str) -> Result<String, Problem> {
        self.read(name, "a string", |value| value.as_str().map(str::to_owned))
    }

    pub(crate) fn filled(&self, name: &str) -> Result<String, Problem> {
        let filled =
            |value: &Json| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        self.read(name, "a string that is not empty", filled)
    }

    pub(crate) fn flag(&self, name: &str) -> Result<bool, Problem> {
        self.read(name, "true or false", |value| match value {
            Json::Bool(flag) => Some(*flag),
            _ => None,
        })
    }

    pub(crate) fn number(&self, name: &str) -> Result<u64, Problem> {
        self.read(name, "a whole number of plain digits", Json::as_number)
    }

    /// Returns a time, in seconds since 1970.
    pub(crate) fn time(&self, name: &str) -> Result<i64, Problem> {
        self.read(name, "a time between 1970 and 9999, in seconds", Json::as_time)
    }

    /// Returns a time, or `None` for null. The member is required.
    pub(crate) fn nullable_time(&self, name: &str) -> Result<Option<i64>, Problem> {
        match self.get(name) {
            Some(Json::Null) => Ok(None),
            _ => self.time(name).map(Some),
        }
    }

    pub(crate) fn array(&self, name: &str) -> Result<&[Json<'a>], Problem> {
        self.read(name, "an array", |value| match value {
            Json::Array(items) => Some(items.as_slice()),
            _ => None,
        })
    }

    pub(crate) fn object(&self, name: &str) -> Result<&Members<'a>, Problem> {
        self.read(name, "an object", Json::as_object)
    }

    pub(crate) fn texts(&self, name: &str) -> Result<Vec<String>, Problem> {
        let items = self.array(name)?.iter().map(|item| item.as_str().map(str::to_owned));
        items.collect::<Option<_>>().ok_or_else(|| Problem::wrong(name, "an array of strings"))
    }

    pub(crate) fn numbers(&self, name: &str) -> Result<BTreeMap<String, u64>, Problem> {
        let items = self.object(name)?.entries();
        let items = items.map(|(name, value)| Some((name.to_owned(), value.as_number()?)));
        items
            .collect::<Option<_>>()
            .ok_or_else(|| Problem::wrong(name, "an object of whole numbers"))
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &Json<'a>)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// Returns what `read` returns for a member, or `None` if there is no such member.
    pub(crate) fn optional<'b, T>(
        &'b self,
        name: &str,
        read: impl FnOnce(&'b Self, &str) -> Result<T, Problem>,
    ) -> Result<Option<T>, Problem> {
        if self.has(name) { read(self, name).map(Some) } else { Ok(None) }
    }

    fn read<'b, T>(
        &'b self,
        name: &str,
        kind: &str,
        read: impl FnOnce(&'b Json<'a>) -> Option<T>,
    ) -> Result<T, Problem> {
        let value = self.get(name).ok_or_else(|| Problem(format!("{name:?} is missing")))?;
        read(value).ok_or_else(|| Problem::wrong(name, kind))
    }
}

impl<'a> Json<'a> {
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_object(&self) -> Option<&Members<'a>> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// Returns a number of plain digits, up to [`MAX_NUMBER`].
    pub(crate) fn as_number(&self) -> Option<u64> {
        match self {
            Self::Number(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
                digits.parse().ok().filter(|number| *number <= MAX_NUMBER)
            }
            _ => None,
        }
    }

    fn as_time(&self) -> Option<i64> {
        let time = self.as_number().and_then(|number| i64::try_from(number).ok());
        time.filter(|time| *time <= MAX_TIME)
    }
}
