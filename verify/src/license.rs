//! A license that is valid now, and the rules about its end. The other rules are in
//! [`crate::check`].

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::{Claims, Code, OnEnd, Rejection, time};

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// A license that is valid now. Only a verification returns one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct License {
    claims: Claims,
    standing: Standing,
}

/// How a valid license stands at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    state: State,
    code: Option<Code>,
    changes_at: Option<i64>,
    warn: bool,
}

/// The state of a valid license.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Within the paid period or the trial.
    Active,
    /// Within the grace period after it. The app works, and should tell the user.
    Grace,
    /// Over, but everything keeps working ([`OnEnd::Warn`]). The app should remind the user.
    Overdue,
    /// Over. Some features remain ([`OnEnd::Limited`]).
    Limited,
}

impl State {
    /// Returns the name, for example `active`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Grace => "grace",
            Self::Overdue => "overdue",
            Self::Limited => "limited",
        }
    }
}

impl Standing {
    /// Returns how a license stands, if it has not ended at `now` or leaves something to the user.
    /// `other_changes` are the times of changes that the claims do not know.
    pub(crate) fn at(
        claims: &Claims,
        now: i64,
        other_changes: [Option<i64>; 2],
    ) -> Result<Self, Rejection> {
        let paid_until = claims.license_expires;
        let over_at = paid_until.max(claims.grace_until);
        let has_passed = |end: &i64| now >= *end;
        let ended = if let Some(at) = over_at.filter(has_passed) {
            Some(Rejection::LicenseExpired { at: time(at) })
        } else if now >= claims.exp {
            Some(Rejection::TokenExpired { at: time(claims.exp) })
        } else {
            None
        };
        let (state, code, changes) = match (ended, &claims.on_end) {
            (Some(rejection), None | Some(OnEnd::Stop)) => return Err(rejection),
            (Some(rejection), Some(OnEnd::Warn)) => (State::Overdue, Some(rejection.code()), None),
            (Some(rejection), Some(OnEnd::Limited { .. })) => {
                (State::Limited, Some(rejection.code()), None)
            }
            (None, _) if paid_until.is_some_and(|end| has_passed(&end)) => {
                (State::Grace, Some(Code::LicenseExpired), Some([over_at, Some(claims.exp)]))
            }
            (None, _) => (State::Active, None, Some([paid_until, Some(claims.exp)])),
        };
        let changes = changes.map(|own| own.into_iter().chain(other_changes));
        let changes_at = changes.and_then(|times| times.flatten().min());
        let warns_before = claims.warn_days.and_then(|days| i64::try_from(days).ok());
        let warns_before = warns_before.unwrap_or(0).saturating_mul(DAY_SECONDS);
        let is_close = changes_at.is_some_and(|at| now >= at.saturating_sub(warns_before));
        Ok(Self { state, code, changes_at, warn: state != State::Active || is_close })
    }
}

impl License {
    pub(crate) fn new(claims: Claims, standing: Standing) -> Self {
        Self { claims, standing }
    }

    /// Returns whether the license grants a feature now, for example `"sso"`.
    #[must_use]
    pub fn allows(&self, feature: &str) -> bool {
        self.features().iter().any(|granted| granted == feature)
    }

    /// Returns the limit with this name now, for example `"seats"`; `None` if there is none.
    #[must_use]
    pub fn limit(&self, name: &str) -> Option<u64> {
        self.limits().get(name).copied()
    }

    /// Returns the features that are in effect now.
    #[must_use]
    pub fn features(&self) -> &[String] {
        match (&self.claims.on_end, self.standing.state) {
            (Some(OnEnd::Limited { features, .. }), State::Limited) => features,
            _ => &self.claims.features,
        }
    }

    /// Returns the limits that are in effect now.
    #[must_use]
    pub fn limits(&self) -> &BTreeMap<String, u64> {
        match (&self.claims.on_end, self.standing.state) {
            (Some(OnEnd::Limited { limits, .. }), State::Limited) => limits,
            _ => &self.claims.limits,
        }
    }

    /// Returns the plan's id.
    #[must_use]
    pub fn plan(&self) -> &str {
        &self.claims.plan
    }

    /// Returns whether this is a trial.
    #[must_use]
    pub fn is_trial(&self) -> bool {
        self.claims.trial
    }

    /// Returns the time until which builds of the app are covered; `None` if all are.
    #[must_use]
    pub fn updates_until(&self) -> Option<SystemTime> {
        self.claims.updates_until.map(time)
    }

    /// Returns the state.
    #[must_use]
    pub fn state(&self) -> State {
        self.standing.state
    }

    /// Returns the reason why the license is not active; `None` if it is.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        self.standing.code
    }

    /// Returns whether the app should warn the user: the license is not active, or changes soon
    /// ([`Claims::warn_days`]).
    #[must_use]
    pub fn needs_warning(&self) -> bool {
        self.standing.warn
    }

    /// Returns all claims.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Returns when the result of a verification changes next if nothing is fetched, for example at
    /// the end of the paid period or when the license token expires; `None` once the license is
    /// over.
    #[must_use]
    pub fn changes_at(&self) -> Option<SystemTime> {
        self.standing.changes_at.map(time)
    }
}
