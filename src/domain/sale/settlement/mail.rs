//! Decides which mail a settlement sends: at most one, about the most important change. It contains
//! the license that the settlement issues, or else is about the current one. The texts are in
//! [`crate::domain::message`].

use super::Record;
use super::licenses::Decision;
use crate::domain::license::{Entitlement, IssuedLicense, Phase, Source};
use crate::domain::message::Kind;
use crate::domain::sale::subscription::{Status, SubscriptionRow};
use crate::domain::time::Timestamp;

/// The changes to the subscription that a mail may report.
#[derive(Clone, Copy)]
struct News {
    /// It is newly scheduled to end.
    is_ending: bool,
    /// It became past due.
    became_past_due: bool,
    /// It ended, and no mail has announced that.
    has_ended: bool,
}

/// Returns the kind of mail to send, if any. `after` is the subscription to store.
pub(super) fn decide(
    record: &Record,
    after: Option<&SubscriptionRow>,
    licenses: &Decision<'_>,
    now: Timestamp,
) -> Option<Kind> {
    let news = news(record.subscription.as_ref(), after);
    let current = record.current_license.as_ref();
    if let Some(issued) = &licenses.issue {
        return Some(kind_of_issued(issued, current, news, after.map(|row| &row.status), now));
    }
    let current = current?;
    let is_paid = current.source == Source::Subscription;
    let is_cancelled = licenses.ends_paid_license
        || (news.is_ending && is_paid && current.works(now))
        || (news.has_ended && is_paid);
    if news.became_past_due && !licenses.ends_paid_license {
        return Some(Kind::PaymentProblem);
    }
    is_cancelled.then_some(Kind::Cancellation)
}

fn news(before: Option<&SubscriptionRow>, after: Option<&SubscriptionRow>) -> News {
    let is_new = |holds: fn(&SubscriptionRow) -> bool| {
        after.is_some_and(holds) && !before.is_some_and(holds)
    };
    let was_announced = before.is_some_and(|row| row.cancel_at.is_some());
    News {
        is_ending: is_new(|row| row.cancel_at.is_some() && row.status.is_live()),
        became_past_due: is_new(|row| row.status == Status::PastDue),
        has_ended: is_new(|row| matches!(row.status, Status::Canceled | Status::Unpaid))
            && !was_announced,
    }
}

fn kind_of_issued(
    issued: &Entitlement<'_>,
    current: Option<&IssuedLicense>,
    news: News,
    status: Option<&Status>,
    now: Timestamp,
) -> Kind {
    // A first license replaces none: the customer bought before having an account here.
    let Some(current) = current.filter(|_| issued.source != Source::Operator) else {
        return Kind::LicenseReady;
    };
    let is_renewal = current.source == Source::Subscription
        && current.revoked_at.is_none()
        && current.plan == issued.plan.id.as_str();
    if !is_renewal {
        return Kind::PlanChanged;
    }
    // A late payment for a subscription that has ended renews nothing.
    if status.is_some_and(|status| !status.is_live()) {
        return Kind::LicenseReady;
    }
    let in_grace = issued.term.phase(now) == Phase::Grace;
    match news {
        News { is_ending: true, .. } => Kind::Cancellation,
        News { became_past_due: true, .. } => Kind::PaymentProblem,
        _ if in_grace && status == Some(&Status::PastDue) => Kind::PaymentProblem,
        _ if in_grace => Kind::PaymentPending,
        _ => Kind::Renewal,
    }
}
