//! The entitlement because of a subscription or of single payments, and the choice of the one that
//! becomes the license. A grant is a license that an operator gives
//! ([`crate::domain::license::grant`]).

use chrono::TimeDelta;

use crate::domain::license::{
    Basis, Entitlement, IssuedLicense, Shortfall, Source, Term, covers_new_builds,
};
use crate::domain::sale::plan::{Addon, Catalog, Plan};
use crate::domain::sale::subscription::Subscription;
use crate::domain::time::{SKEW, Timestamp};

/// The entitlement because of one subscription, or of all single payments for one plan.
#[derive(Clone, Debug, PartialEq)]
pub struct PaidEntitlement<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Its rank.
    pub rank: usize,
    /// How long it works.
    pub term: Term,
    /// The paid units: 1 unless the plan is sold by the unit.
    pub quantity: u32,
    /// The paid add-ons, in the order of the catalog.
    pub addons: Vec<&'a Addon>,
    /// The time after which builds are not covered; `None` covers all builds.
    pub updates_until: Option<Timestamp>,
    /// How it was bought.
    pub basis: Basis,
    /// The subscription; `None` unless it comes from one that has not ended.
    pub of: Option<&'a Subscription>,
}

impl<'a> PaidEntitlement<'a> {
    /// Returns whether it covers a build that is made at `now`. After exactly so many months as the
    /// plan needs, a subscription leaves the builds until its first day: a clock that is behind
    /// must not take those for new ones.
    #[must_use]
    pub fn covers_new_builds(&self, now: Timestamp) -> bool {
        let skew = if self.basis == Basis::Fallback { SKEW } else { TimeDelta::zero() };
        covers_new_builds(self.updates_until, now + skew)
    }

    /// Returns whether its subscription may still charge the customer.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.of.is_some_and(|subscription| subscription.status.is_live())
    }

    /// Returns what a license for it grants.
    #[must_use]
    pub fn entitlement(&self) -> Entitlement<'a> {
        Entitlement {
            basis: self.basis,
            quantity: self.quantity,
            addons: self.addons.clone(),
            updates_until: self.updates_until,
            ..Entitlement::new(self.plan, Source::Paid, self.term)
        }
    }

    /// Returns whether it grants everything that a license does. Its end does not matter: a license
    /// is revoked when nothing grants it any more.
    #[must_use]
    pub fn holds(&self, license: &IssuedLicense, catalog: &Catalog) -> bool {
        let lacks = self.entitlement().coverage(catalog).shortfall(&license.coverage(catalog));
        Shortfall { end: false, ..lacks }.is_none()
    }
}

/// Returns the entitlement that becomes the license. `None` if there is none.
pub(super) fn license_entitlement<'g, 'a>(
    all: &'g [PaidEntitlement<'a>],
    now: Timestamp,
) -> Option<&'g PaidEntitlement<'a>> {
    best(all.iter().filter(|one| !is_outranked(one, all)), now)
}

/// Returns whether another perpetual license is valid instead of this one, whatever the time is:
/// the end of some updates must not change the plan. Of several that were bought, the highest one
/// holds. One that a subscription leaves (`fallback_months`) does not replace one that was bought
/// and covers newer builds.
fn is_outranked(one: &PaidEntitlement<'_>, all: &[PaidEntitlement<'_>]) -> bool {
    let mut bought = all.iter().filter(|other| other.basis == Basis::Once);
    let end = |of: &PaidEntitlement<'_>| Timestamp::or_never(of.updates_until);
    match one.basis {
        Basis::Once => bought.any(|other| other.rank > one.rank),
        Basis::Fallback => {
            bought.max_by_key(|other| other.rank).is_some_and(|holds| end(holds) > end(one))
        }
        Basis::Subscription => false,
    }
}

/// Returns the best entitlement. One that covers new builds comes first: a perpetual license whose
/// updates have ended must not hide a plan that is paid now. Of those, the highest plan, then the
/// most units, and then one without a limit of builds. `None` if there is none.
pub(super) fn best<'g, 'a: 'g>(
    entitlements: impl Iterator<Item = &'g PaidEntitlement<'a>>,
    now: Timestamp,
) -> Option<&'g PaidEntitlement<'a>> {
    entitlements.max_by_key(|paid| {
        (
            paid.covers_new_builds(now),
            paid.rank,
            paid.quantity,
            paid.updates_until.is_none(),
            Timestamp::or_never(paid.term.ends()),
            paid.of.map(|subscription| (subscription.created, &subscription.id)),
            paid.updates_until,
        )
    })
}
