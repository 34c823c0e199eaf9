//! The promise about the end of a license: what remains. It is in the license, so the vendor cannot
//! take it back from one in the field.

use licentia_verify::OnEnd;

use crate::domain::text_enum::text_enum;

text_enum! {
    /// The mode of a promise, as the plans file and licenses name it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum EndMode {
        /// Nothing remains.
        Stop = "stop",
        /// Some features and limits remain.
        Limited = "limited",
        /// Everything remains, and the app shows a reminder.
        Warn = "warn",
    }
}

impl From<&OnEnd> for EndMode {
    fn from(promise: &OnEnd) -> Self {
        match promise {
            OnEnd::Stop => Self::Stop,
            OnEnd::Limited { .. } => Self::Limited,
            OnEnd::Warn => Self::Warn,
        }
    }
}

/// Returns whether a promise leaves less than another one in any respect.
#[must_use]
pub fn promises_less(promise: &OnEnd, than: &OnEnd) -> bool {
    match (promise, than) {
        (OnEnd::Warn, _) | (_, OnEnd::Stop) => false,
        (_, OnEnd::Warn) | (OnEnd::Stop, _) => true,
        (
            OnEnd::Limited { features, limits },
            OnEnd::Limited { features: other_features, limits: other_limits },
        ) => {
            let is_lower =
                |(name, other): (&String, &u64)| limits.get(name).is_none_or(|limit| limit < other);
            other_features.iter().any(|feature| !features.contains(feature))
                || other_limits.iter().any(is_lower)
        }
    }
}

/// Returns a promise as text, for example `limited (export, projects: 1)`.
#[must_use]
pub fn promise_text(promise: &OnEnd) -> String {
    let mode = EndMode::from(promise);
    let OnEnd::Limited { features, limits } = promise else { return mode.to_string() };
    let limits = limits.iter().map(|(name, limit)| format!("{name}: {limit}"));
    let parts: Vec<_> = features.iter().cloned().chain(limits).collect();
    let parts = if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") };
    format!("{mode} ({parts})")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_promise_is_less_if_anything_is_missing() {
        let limited = |features: &[&str], limits: &[(&str, u64)]| OnEnd::Limited {
            features: features.iter().map(ToString::to_string).collect(),
            limits: limits.iter().map(|(name, limit)| ((*name).to_owned(), *limit)).collect(),
        };
        let empty = limited(&[], &[]);
        let open = limited(&["open"], &[("projects", 1)]);
        let less = |one: &OnEnd, than: &OnEnd| promises_less(one, than);
        // From the least to the most.
        let ordered = [&OnEnd::Stop, &open, &OnEnd::Warn];
        for (n, one) in ordered.iter().enumerate() {
            for (m, other) in ordered.iter().enumerate() {
                assert_eq!(less(one, other), n < m, "{one:?} {other:?}");
            }
        }
        assert!(less(&empty, &open) && !less(&open, &empty));
        assert!(less(&OnEnd::Stop, &empty) && !less(&empty, &OnEnd::Stop));
        assert!(less(&limited(&["open"], &[]), &open), "a limit is gone");
        assert!(less(&limited(&["open"], &[("projects", 0)]), &open), "a limit is lower");
        let other = limited(&["print"], &[("projects", 9)]);
        assert!(less(&other, &open) && less(&open, &other), "each lacks something");
        let more = limited(&["print", "open"], &[("pages", 1), ("projects", 1)]);
        assert!(!less(&more, &open) && less(&open, &more));
    }

    #[test]
    fn a_promise_is_shown_with_what_remains() {
        assert_eq!(promise_text(&OnEnd::Warn), "warn");
        let (features, limits) = (vec!["open".into()], BTreeMap::from([("projects".into(), 1)]));
        assert_eq!(
            promise_text(&OnEnd::Limited { features, limits }),
            "limited (open, projects: 1)"
        );
        let (features, limits) = Default::default();
        assert_eq!(promise_text(&OnEnd::Limited { features, limits }), "limited (nothing)");
    }
}
