//! Enums with a fixed text for each variant: the form in the database, in the API and on the
//! command line. A new variant is one line.

use std::fmt;

/// A text that is not a variant. The message lists the variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownText(pub &'static [&'static str]);

impl fmt::Display for UnknownText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [first @ .., last] if !first.is_empty() => {
                write!(formatter, "use {} or {last}", first.join(", "))
            }
            texts => write!(formatter, "use {}", texts.concat()),
        }
    }
}

impl std::error::Error for UnknownText {}

/// Declares an enum whose variants are texts, with `ALL`, `as_str`, `Display`, `FromStr` and its
/// column.
///
/// `pub enum Status, or Unknown { … }` declares one that also keeps a text of a newer version, as
/// `Unknown(text)`; it has `from_name`, which never fails, instead of `ALL`.
macro_rules! text_enum {
    (
        $(#[$about:meta])*
        pub enum $name:ident { $($(#[$about_variant:meta])* $variant:ident = $text:literal,)+ }
    ) => {
        $(#[$about])*
        pub enum $name { $($(#[$about_variant])* $variant,)+ }

        impl $name {
            /// Every variant, in order.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$variant),+];

            /// Returns its text.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::domain::text_enum::UnknownText;

            fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
                let variant = Self::ALL.into_iter().find(|variant| variant.as_str() == text);
                variant.ok_or($crate::domain::text_enum::UnknownText(&[$($text),+]))
            }
        }

        $crate::domain::text_enum::text_enum!(@shown $name, as_str);
    };
    (
        $(#[$about:meta])*
        pub enum $name:ident, or Unknown {
            $($(#[$about_variant:meta])* $variant:ident = $text:literal,)+
        }
    ) => {
        $(#[$about])*
        pub enum $name {
            $($(#[$about_variant])* $variant,)+
            /// A text that this version does not know.
            Unknown(String),
        }

        impl $name {
            /// Returns the variant with this text.
            #[must_use]
            pub fn from_name(text: &str) -> Self {
                match text {
                    $($text => Self::$variant,)+
                    other => Self::Unknown(other.to_owned()),
                }
            }

            /// Returns its text.
            #[must_use]
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Unknown(text) => text,
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::convert::Infallible;

            fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
                Ok(Self::from_name(text))
            }
        }

        $crate::domain::text_enum::text_enum!(@shown $name, name);
    };
    (@shown $name:ident, $text:ident) => {
        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.$text())
            }
        }

        $crate::domain::column::text_columns!($name);
    };
}
pub(crate) use text_enum;

#[cfg(test)]
mod tests {
    use super::*;

    text_enum! {
        /// A closed enum.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum State {
            /// It waits.
            Waiting = "waiting",
            /// It is done.
            Done = "done",
        }
    }

    text_enum! {
        /// An open enum.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum OpenState, or Unknown {
            /// It is done.
            Done = "done",
        }
    }

    #[test]
    fn each_text_is_its_variant_and_the_error_for_an_unknown_one_lists_them() {
        assert_eq!(State::ALL.map(|state| state.to_string().parse()), State::ALL.map(Ok));
        let unknown = "gone".parse::<State>().unwrap_err();
        assert_eq!(unknown.to_string(), "use waiting or done");
        assert_eq!(UnknownText(&["a", "b", "c"]).to_string(), "use a, b or c");
        assert_eq!(UnknownText(&["a"]).to_string(), "use a");
    }

    #[test]
    fn an_open_enum_keeps_an_unknown_text() {
        assert_eq!(OpenState::from_name("done"), OpenState::Done);
        assert_eq!(OpenState::from_name("gone").name(), "gone");
    }
}
