//! Decides what support may do with a license: grant one, extend it, and send it again. The flows
//! are in [`crate::flows::operator::licenses`].

use chrono::TimeDelta;

use super::{Entitlement, Extras, IssuedLicense, Phase, RevocationReason, Source, Term};
use crate::domain::sale::plan::Catalog;
use crate::domain::time::Timestamp;

/// The longest grant or extension with an end, in days: a hundred years.
pub const MAX_DAYS: i64 = 36_525;

/// The most features, and the most limits, that a grant adds. They make the license token longer.
pub const MAX_EXTRAS: usize = 50;

/// The largest limit: the largest integer that every JSON parser reads exactly (RFC 8259, section
/// 6).
pub const MAX_LIMIT: u64 = (1 << 53) - 1;

/// The customer has more than the new license would grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the customer has the plan `{plan}`{parts}, {}, and this would shorten it; a grant with \
     `replace` (--replace on the command line) does that anyway",
    ends.map_or("without an end".to_owned(), |ends| format!("valid until {ends}"))
)]
pub struct WouldShorten {
    /// The plan of the current license.
    pub plan: String,
    /// Its end with the grace period; `None` is never.
    pub ends: Option<Timestamp>,
    /// Its other parts, as text ([`IssuedLicense::parts_text`]).
    pub parts: String,
}

/// The reason why a license cannot be extended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CannotExtend {
    /// There is none, it was revoked, or its plan is no longer in the plans file.
    Nothing,
    /// It has no end.
    Endless(WouldShorten),
}

/// The reason why a license cannot be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NothingToSend {
    /// It was revoked.
    #[error(
        "the license was revoked; send `reissue: true` (--reissue on the command line) to issue a \
         new one"
    )]
    Revoked,
    /// It was revoked, and nothing is paid for.
    #[error("the license was revoked, and its payment no longer counts; grant one instead")]
    Unpaid,
    /// It has ended.
    #[error("the license has ended; extend it or grant one instead")]
    Ended,
    /// Its plan is no longer in the plans file.
    #[error("the plan of the license is no longer in the plans file; grant one instead")]
    NoPlan,
}

/// The license to send.
#[derive(Clone, Debug, PartialEq)]
pub enum Resend<'a> {
    /// This license, as it is.
    Same(IssuedLicense),
    /// A new license for this entitlement, in place of this one.
    Issue(IssuedLicense, Entitlement<'a>),
}

/// Returns what the customer has, if a license for `wanted` would grant less: a lower plan, an
/// earlier end, fewer units, fewer add-ons, or fewer builds. Days for new builds do not shorten a
/// license for old builds only, such as a perpetual one: it is reissued after them.
#[must_use]
pub fn shortened(
    current: Option<&IssuedLicense>,
    wanted: &Entitlement<'_>,
    catalog: &Catalog,
    now: Timestamp,
) -> Option<WouldShorten> {
    let current = current.filter(|license| license.works(now))?;
    let (held, wanted) = (current.coverage(catalog), wanted.coverage(catalog));
    let adds_new_builds = wanted.covers_new_builds(now) && !held.covers_new_builds(now);
    let mut shortfall = wanted.shortfall(&held);
    shortfall.end &= !adds_new_builds;
    (!shortfall.is_none()).then(|| has(current))
}

fn has(current: &IssuedLicense) -> WouldShorten {
    WouldShorten {
        plan: current.plan.clone(),
        ends: current.term().ends(),
        parts: current.parts_text(),
    }
}

/// Returns the current license with more days, counted from its end, or from `now` if it has ended.
/// A trial stays a trial. Days after a paid term are a grant that depends on the payment until the
/// term ends.
///
/// # Errors
/// The reason why it cannot be extended.
pub fn extended<'a>(
    current: Option<&IssuedLicense>,
    days: TimeDelta,
    catalog: &'a Catalog,
    now: Timestamp,
) -> Result<Entitlement<'a>, CannotExtend> {
    let current = current.filter(|license| license.revoked_at.is_none());
    let current = current.ok_or(CannotExtend::Nothing)?;
    let entitlement = current.entitlement(catalog).ok_or(CannotExtend::Nothing)?;
    let Some(before) = entitlement.term.expires else {
        return Err(CannotExtend::Endless(has(current)));
    };
    let expires = before.max(now) + days;
    let grace_until = entitlement.term.grace_until.filter(|until| *until > expires);
    let paid_until = match entitlement.source {
        Source::Paid => Some(before),
        Source::Operator => entitlement.extras.paid_until,
        Source::Trial => None,
    };
    let source = match entitlement.source {
        Source::Trial => Source::Trial,
        Source::Paid | Source::Operator => Source::Operator,
    };
    let extras = Extras { paid_until, ..entitlement.extras.clone() };
    let term = Term { expires: Some(expires), grace_until };
    Ok(Entitlement { source, term, extras, ..entitlement })
}

/// Returns what is sent when support sends `asked` again: the customer's current license if a newer
/// one has replaced it. A token that an app would refresh is reissued first. With `reissue`, a
/// new license is issued in any case, also in place of one that an operator revoked. `is_paid` is
/// whether the customer's subscription is paid for.
///
/// # Errors
/// The reason why nothing is sent.
pub fn resend<'a>(
    asked: IssuedLicense,
    current: Option<IssuedLicense>,
    reissue: bool,
    is_paid: bool,
    catalog: &'a Catalog,
    now: Timestamp,
) -> Result<Resend<'a>, NothingToSend> {
    let license = if asked.superseded_at.is_some() { current.unwrap_or(asked) } else { asked };
    if license.term().phase(now) == Phase::Over {
        return Err(NothingToSend::Ended);
    }
    if license.revoked_at.is_some() {
        if license.revocation_reason == Some(RevocationReason::Payment)
            || (license.depends_on_payment(now) && !is_paid)
        {
            return Err(NothingToSend::Unpaid);
        }
        if !reissue {
            return Err(NothingToSend::Revoked);
        }
    }
    match license.entitlement(catalog) {
        Some(entitlement) if reissue || license.is_refresh_due(catalog, now) => {
            Ok(Resend::Issue(license, entitlement))
        }
        None if license.revoked_at.is_some() || license.token_expires_at <= now => {
            Err(NothingToSend::NoPlan)
        }
        _ => Ok(Resend::Same(license)),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::domain::ids::{CustomerId, LicenseId};
    use crate::domain::license::{Basis, LicenseToken};
    use crate::domain::sale::addon_ids::AddonIds;
    use std::sync::LazyLock;

    use crate::domain::sale::entitlement::tests::{self, DAY, NOW, at, selling};

    fn catalog() -> &'static Catalog {
        static CATALOG: LazyLock<Catalog> = LazyLock::new(tests::catalog);
        &CATALOG
    }

    const STARTER: &str = "starter";
    const PROFESSIONAL: &str = "professional";

    /// Returns a license for one unit of a plan, issued at the tests' time.
    pub(crate) fn license(source: Source, plan: &str, expires: Option<i64>) -> IssuedLicense {
        IssuedLicense {
            license_id: LicenseId::from_random(1),
            customer_id: CustomerId::from_random(1),
            seq: 1,
            source,
            plan: plan.to_owned(),
            key_id: String::new(),
            token: LicenseToken::new(String::new()),
            issued_at: at(NOW),
            token_expires_at: at(NOW + 30 * DAY),
            expires_at: expires.map(at),
            grace_until: None,
            basis: Basis::default(),
            quantity: 1,
            addons: AddonIds::default(),
            updates_until: None,
            extras: Extras::default(),
            superseded_at: None,
            revoked_at: None,
            revocation_reason: None,
        }
    }

    fn days(days: i64) -> Option<i64> {
        Some(NOW + days * DAY)
    }

    #[test]
    fn a_grant_shortens_when_the_plan_ranks_lower_or_the_end_is_earlier() {
        let now = at(NOW);
        let shortens = |has: &IssuedLicense, plan: &str, expires: Option<i64>| {
            let wanted = license(Source::Operator, plan, expires);
            let wanted = wanted.entitlement(catalog()).unwrap();
            shortened(Some(has), &wanted, catalog(), now).is_some()
        };
        let paid = license(Source::Paid, PROFESSIONAL, days(10));
        assert!(!shortens(&paid, PROFESSIONAL, days(10)));
        assert!(!shortens(&paid, PROFESSIONAL, None));
        assert!(shortens(&paid, PROFESSIONAL, days(9)));
        assert!(shortens(&paid, STARTER, None));
        let endless = license(Source::Operator, STARTER, None);
        assert!(shortens(&endless, PROFESSIONAL, days(10)));
        for ended in [
            license(Source::Paid, PROFESSIONAL, days(0)),
            IssuedLicense { revoked_at: Some(now), ..paid.clone() },
        ] {
            assert!(!shortens(&ended, STARTER, days(1)));
        }
        let in_grace = IssuedLicense { grace_until: days(17).map(at), ..paid };
        assert!(shortens(&in_grace, PROFESSIONAL, days(16)), "its grace is longer");
    }

    #[test]
    fn days_for_new_builds_do_not_shorten_a_license_for_old_builds() {
        let now = at(NOW);
        let catalog = selling();
        let shortens = |has: &IssuedLicense, plan: &str, seats: u64| {
            let mut wanted = license(Source::Operator, plan, days(60));
            wanted.extras.limits.insert("seats".parse().unwrap(), seats);
            shortened(Some(has), &wanted.entitlement(&catalog).unwrap(), &catalog, now).is_some()
        };
        let owned = |updates_until: i64| IssuedLicense {
            quantity: 3,
            updates_until: days(updates_until).map(at),
            ..license(Source::Paid, "team", None)
        };
        assert!(!shortens(&owned(-1), "team", 3));
        assert!(!shortens(&owned(0), "team", 4));
        assert!(shortens(&owned(1), "team", 3), "it covers new builds, without an end");
        assert!(shortens(&owned(-1), "team", 2), "fewer units");
        let addons = "[\"pdf\"]".parse().unwrap();
        let text = has(&IssuedLicense { addons, ..owned(-1) }).to_string();
        let expected = "the customer has the plan `team` with 3 units and the add-on `pdf`, for \
                        builds until";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains(", without an end, and this would shorten it; "), "{text}");
        assert!(shortens(&owned(-1), "starter", 3), "a lower plan");
    }

    #[test]
    fn days_are_counted_from_the_end_of_what_the_customer_has() {
        let now = at(NOW);
        let more = |license: &IssuedLicense, days| {
            extended(Some(license), TimeDelta::days(days), catalog(), now)
        };
        let paid = license(Source::Paid, PROFESSIONAL, days(10));
        let longer = more(&paid, 14).unwrap();
        assert_eq!((longer.source, longer.plan.id.as_str()), (Source::Operator, PROFESSIONAL));
        assert_eq!(longer.term, Term { expires: days(24).map(at), grace_until: None });
        assert_eq!(longer.extras.paid_until, days(10).map(at));
        // A second extension still depends on the payment.
        let granted = IssuedLicense {
            source: Source::Operator,
            extras: longer.extras,
            expires_at: days(24).map(at),
            ..paid.clone()
        };
        assert_eq!(more(&granted, 1).unwrap().extras.paid_until, days(10).map(at));

        let trial = more(&license(Source::Trial, STARTER, days(3)), 14).unwrap();
        assert_eq!((trial.source, trial.extras.paid_until), (Source::Trial, None));
        assert_eq!(trial.term.expires, days(17).map(at));
        let ended = more(&license(Source::Trial, STARTER, days(-30)), 14).unwrap();
        assert_eq!(ended.term.expires, days(14).map(at), "from now");
        let in_grace = IssuedLicense { grace_until: days(17).map(at), ..paid.clone() };
        assert_eq!(more(&in_grace, 2).unwrap().term.grace_until, days(17).map(at), "it is kept");
        assert_eq!(more(&in_grace, 9).unwrap().term.grace_until, None);

        let endless = more(&license(Source::Operator, STARTER, None), 14);
        assert!(matches!(endless, Err(CannotExtend::Endless(_))));
        for nothing in [
            IssuedLicense { revoked_at: Some(now), ..paid },
            license(Source::Operator, "gone", days(3)),
        ] {
            assert_eq!(more(&nothing, 14), Err(CannotExtend::Nothing));
        }
        assert_eq!(extended(None, TimeDelta::days(1), catalog(), now), Err(CannotExtend::Nothing));
    }

    #[test]
    fn a_revoked_license_is_sent_only_as_a_new_issue_and_only_if_it_is_paid_for() {
        let now = at(NOW);
        let sent = |license: IssuedLicense, reissue, is_paid| match resend(
            license,
            None,
            reissue,
            is_paid,
            catalog(),
            now,
        ) {
            Ok(Resend::Same(_)) => Ok("same"),
            Ok(Resend::Issue(..)) => Ok("new"),
            Err(error) => Err(error),
        };
        let paid = license(Source::Paid, PROFESSIONAL, days(10));
        assert_eq!(sent(paid.clone(), false, true), Ok("same"));
        assert_eq!(sent(paid.clone(), true, true), Ok("new"));
        let revoked = |reason| IssuedLicense {
            revoked_at: Some(now),
            revocation_reason: Some(reason),
            ..paid.clone()
        };
        let leaked = revoked(RevocationReason::Operator);
        assert_eq!(sent(leaked.clone(), false, true), Err(NothingToSend::Revoked));
        assert_eq!(sent(leaked.clone(), true, true), Ok("new"));
        assert_eq!(sent(leaked.clone(), true, false), Err(NothingToSend::Unpaid));
        // Days that support added to a paid term depend on its payment until that term ends.
        let extended = |paid_until: i64| IssuedLicense {
            source: Source::Operator,
            extras: Extras { paid_until: days(paid_until).map(at), ..Extras::default() },
            ..leaked.clone()
        };
        assert_eq!(sent(extended(5), true, false), Err(NothingToSend::Unpaid));
        assert_eq!(sent(extended(5), true, true), Ok("new"));
        assert_eq!(sent(extended(0), true, false), Ok("new"), "the paid term has ended");
        let refunded = revoked(RevocationReason::Payment);
        assert_eq!(sent(refunded, true, true), Err(NothingToSend::Unpaid));
        let ended = license(Source::Trial, STARTER, days(0));
        assert_eq!(sent(ended, true, false), Err(NothingToSend::Ended));
        // The app would refresh this token, so the customer gets a fresh one.
        let old = IssuedLicense {
            issued_at: at(NOW - 20 * DAY),
            token_expires_at: at(NOW + 10 * DAY),
            expires_at: days(300).map(at),
            ..paid.clone()
        };
        assert_eq!(sent(old, false, true), Ok("new"));
        // A license that was replaced is not sent: the current one is.
        let former = IssuedLicense { superseded_at: Some(now), ..paid.clone() };
        let current = IssuedLicense { seq: 2, ..paid };
        let sent = resend(former, Some(current.clone()), false, true, catalog(), now);
        assert_eq!(sent, Ok(Resend::Same(current)));
    }
}
