//! Column values, without naming a database. Every column of the schema is `TEXT` or `BIGINT`
//! (`migrations/README.md`), so one small [`Value`] carries them all.
//!
//! A type that can be stored in a column is a [`Column`]. `row!` declares the struct of a row, and
//! derives from it the list of columns, the writing and the reading.

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// `BIGINT`.
    Integer,
    /// `TEXT`.
    Text,
}

/// The value of a column. A null keeps its type, because PostgreSQL needs it. There is no `Debug`:
/// the value may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// A `BIGINT`, or null.
    Integer(Option<i64>),
    /// A `TEXT`, or null.
    Text(Option<String>),
}

/// A value that its column must not have. The message names the column and does not show the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the column {column:?} cannot be read: {reason}")]
pub struct InvalidColumn {
    column: &'static str,
    reason: String,
}

/// A type that can be a parameter of a statement.
pub trait Parameter {
    /// The type of its column.
    const TYPE: ColumnType;

    /// Returns the value that is stored.
    fn to_value(&self) -> Value;
}

/// A type that can be stored in a column and read from it.
pub trait Column: Parameter + Sized {
    /// Returns the stored value.
    ///
    /// # Errors
    /// The reason, when it is not a value of this type.
    fn from_value(value: Value) -> Result<Self, String>;
}

impl Parameter for i64 {
    const TYPE: ColumnType = ColumnType::Integer;

    fn to_value(&self) -> Value {
        Value::Integer(Some(*self))
    }
}

impl Column for i64 {
    fn from_value(value: Value) -> Result<Self, String> {
        match value {
            Value::Integer(Some(number)) => Ok(number),
            Value::Integer(None) => Err("it is null".to_owned()),
            Value::Text(_) => Err("it is text, not a number".to_owned()),
        }
    }
}

impl Parameter for u32 {
    const TYPE: ColumnType = ColumnType::Integer;

    fn to_value(&self) -> Value {
        i64::from(*self).to_value()
    }
}

impl Column for u32 {
    fn from_value(value: Value) -> Result<Self, String> {
        Self::try_from(i64::from_value(value)?).map_err(|_| "it is out of range".to_owned())
    }
}

impl Parameter for str {
    const TYPE: ColumnType = ColumnType::Text;

    fn to_value(&self) -> Value {
        Value::Text(Some(self.to_owned()))
    }
}

impl Parameter for String {
    const TYPE: ColumnType = ColumnType::Text;

    fn to_value(&self) -> Value {
        self.as_str().to_value()
    }
}

impl Column for String {
    fn from_value(value: Value) -> Result<Self, String> {
        match value {
            Value::Text(Some(text)) => Ok(text),
            Value::Text(None) => Err("it is null".to_owned()),
            Value::Integer(_) => Err("it is a number, not text".to_owned()),
        }
    }
}

impl<T: Parameter + ?Sized> Parameter for &T {
    const TYPE: ColumnType = T::TYPE;

    fn to_value(&self) -> Value {
        (**self).to_value()
    }
}

impl<T: Parameter> Parameter for Option<T> {
    const TYPE: ColumnType = T::TYPE;

    fn to_value(&self) -> Value {
        match (self, T::TYPE) {
            (Some(content), _) => content.to_value(),
            (None, ColumnType::Integer) => Value::Integer(None),
            (None, ColumnType::Text) => Value::Text(None),
        }
    }
}

impl<T: Column> Column for Option<T> {
    fn from_value(value: Value) -> Result<Self, String> {
        match value {
            Value::Integer(None) | Value::Text(None) => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
}

/// Stores types as the text that their `Display` prints and their `FromStr` parses.
macro_rules! text_columns {
    ($($name:ty),+ $(,)?) => {$(
        impl $crate::domain::column::Parameter for $name {
            const TYPE: $crate::domain::column::ColumnType =
                $crate::domain::column::ColumnType::Text;

            fn to_value(&self) -> $crate::domain::column::Value {
                $crate::domain::column::Value::Text(Some(self.to_string()))
            }
        }

        impl $crate::domain::column::Column for $name {
            fn from_value(
                value: $crate::domain::column::Value,
            ) -> std::result::Result<Self, String> {
                <String as $crate::domain::column::Column>::from_value(value)?
                    .parse()
                    .map_err(|error| ToString::to_string(&error))
            }
        }
    )+};
}
pub(crate) use text_columns;

/// A column that a [`Row`] is read from.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// Its name; none if it is found by its position.
    pub name: Option<&'static str>,
    /// Its type.
    pub column_type: ColumnType,
}

/// A type that is read from one row of a statement's result.
pub trait Row: Sized {
    /// Returns its columns, in the order of the values.
    fn columns() -> Vec<Expected>;

    /// Returns the row; `values` has one for each column.
    ///
    /// # Errors
    /// [`InvalidColumn`] with the first column that cannot be read.
    fn from_values(values: Vec<Value>) -> Result<Self, InvalidColumn>;
}

/// A row that can also be written.
pub trait Record: Row {
    /// Returns the values of all columns, in their order.
    fn to_values(&self) -> Vec<Value>;
}

/// Returns the next value as the column's type.
///
/// # Errors
/// [`InvalidColumn`] when it has another type or is missing.
pub fn read<T: Column>(
    column: &'static str,
    values: &mut impl Iterator<Item = Value>,
) -> Result<T, InvalidColumn> {
    let value = values.next().ok_or_else(|| "it is missing".to_owned());
    value.and_then(T::from_value).map_err(|reason| InvalidColumn { column, reason })
}

/// Declares a struct whose fields are the columns of the same names.
macro_rules! row {
    (
        $(#[$about:meta])*
        $seen:vis struct $name:ident {
            $($(#[$about_field:meta])* $field_seen:vis $field:ident: $kind:ty,)*
        }
    ) => {
        $(#[$about])*
        $seen struct $name {
            $($(#[$about_field])* $field_seen $field: $kind,)*
        }

        impl $crate::domain::column::Row for $name {
            fn columns() -> Vec<$crate::domain::column::Expected> {
                vec![$($crate::domain::column::Expected {
                    name: Some(stringify!($field)),
                    column_type: <$kind as $crate::domain::column::Parameter>::TYPE,
                },)*]
            }

            fn from_values(
                values: Vec<$crate::domain::column::Value>,
            ) -> std::result::Result<Self, $crate::domain::column::InvalidColumn> {
                let mut values = values.into_iter();
                Ok(Self {
                    $($field: $crate::domain::column::read(stringify!($field), &mut values)?,)*
                })
            }
        }

        impl $crate::domain::column::Record for $name {
            fn to_values(&self) -> Vec<$crate::domain::column::Value> {
                vec![$($crate::domain::column::Parameter::to_value(&self.$field),)*]
            }
        }
    };
}
pub(crate) use row;

/// Tuples are read by the position of the columns.
macro_rules! tuples {
    ($(($($part:ident),+))+) => {$(
        impl<$($part: Column),+> Row for ($($part,)+) {
            fn columns() -> Vec<Expected> {
                vec![$(Expected { name: None, column_type: $part::TYPE },)+]
            }

            fn from_values(values: Vec<Value>) -> Result<Self, InvalidColumn> {
                let mut values = values.into_iter();
                Ok(($(read::<$part>(stringify!($part), &mut values)?,)+))
            }
        }
    )+};
}

tuples! {
    (First)
    (First, Second)
    (First, Second, Third)
    (First, Second, Third, Fourth, Fifth, Sixth)
}

/// Two rows that one statement returns side by side, with different column names.
pub struct Both<A, B>(pub A, pub B);

impl<A: Row, B: Row> Row for Both<A, B> {
    fn columns() -> Vec<Expected> {
        let mut columns = A::columns();
        columns.extend(B::columns());
        columns
    }

    fn from_values(mut values: Vec<Value>) -> Result<Self, InvalidColumn> {
        let rest = values.split_off(A::columns().len().min(values.len()));
        Ok(Self(A::from_values(values)?, B::from_values(rest)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::CustomerId;
    use crate::domain::time::Timestamp;

    row! {
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Visit {
            pub customer_id: CustomerId,
            pub at: Timestamp,
            pub note: Option<String>,
        }
    }

    fn text(text: &str) -> Value {
        text.to_value()
    }

    #[test]
    fn a_written_row_is_read_back_and_a_null_keeps_its_type() {
        let at = Timestamp::saturating(7);
        let visit = Visit { customer_id: CustomerId::from_random(1), at, note: None };
        let values = visit.to_values();
        assert!(values[1..] == [Value::Integer(Some(7)), Value::Text(None)]);
        assert_eq!(Visit::from_values(values), Ok(visit));
        assert!(None::<Timestamp>.to_value() == Value::Integer(None));
    }

    #[test]
    fn an_error_names_the_column_and_does_not_show_the_value() {
        let id = || CustomerId::from_random(1).to_value();
        let error = |values| Visit::from_values(values).unwrap_err().to_string();
        let wrong = error(vec![text("secret"), 7_i64.to_value(), text("")]);
        assert!(
            wrong.starts_with("the column \"customer_id\" cannot be read: an id of"),
            "{wrong}"
        );
        assert!(!wrong.contains("secret"));
        let read = "cannot be read:";
        let wrong = error(vec![id(), Value::Integer(None), text("")]);
        assert_eq!(wrong, format!("the column \"at\" {read} it is null"));
        let wrong = error(vec![id(), text("7"), text("")]);
        assert_eq!(wrong, format!("the column \"at\" {read} it is text, not a number"));
        let wrong = error(vec![id(), (-1_i64).to_value(), text("")]);
        assert_eq!(
            wrong,
            format!("the column \"at\" {read} this time is before 1970 or after 9999")
        );
        assert_eq!(error(vec![id()]), format!("the column \"at\" {read} it is missing"));
    }
}
