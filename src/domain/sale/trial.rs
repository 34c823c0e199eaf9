//! Trials at Stripe: one for each customer and each card. Pure functions decide which trials are
//! refused, which cards are remembered, and which mails about a trial are due.
//! [`crate::flows::sale::trial`] reads the cards and ends refused trials.

use chrono::TimeDelta;

use crate::domain::message::Kind;
use crate::domain::sale::plan::Catalog;
use crate::domain::sale::stripe_ids::StripeSubscriptionId;
use crate::domain::sale::stripe_state::StripeState;
use crate::domain::sale::subscription::{Status, Subscription};
use crate::domain::secret::KeyedHash;
use crate::domain::time::Timestamp;

/// How long before the end of a trial Stripe sends its event
/// (<https://docs.stripe.com/api/events/types#event_types-customer.subscription.trial_will_end>).
const EVENT_BEFORE: TimeDelta = TimeDelta::days(3);

/// How long before the end of a trial the first charge is announced. The clocks may differ by an
/// hour.
const ANNOUNCED_BEFORE: TimeDelta = TimeDelta::hours(3 * 24 + 1);

/// How long after its end a mail reports a refused trial: longer than Stripe retries a webhook.
const REFUSAL_REPORTED_FOR: TimeDelta = TimeDelta::days(7);

/// The card of a subscription that has or had a trial.
#[derive(Debug)]
pub struct Card {
    /// The subscription that it pays.
    pub subscription: StripeSubscriptionId,
    /// The keyed hash of its fingerprint.
    pub hash: KeyedHash,
    /// The subscription in which the card has had its trial, if there is one.
    pub had_trial_in: Option<StripeSubscriptionId>,
}

/// A card whose first trial is to be remembered.
#[derive(Debug, PartialEq)]
pub struct FirstTrial {
    /// The keyed hash of the card's fingerprint.
    pub hash: KeyedHash,
    /// The subscription that has the trial.
    pub subscription: StripeSubscriptionId,
    /// The time until which it is remembered.
    pub remembered_until: Timestamp,
}

/// Marks the subscriptions whose card has had a trial in another one. Returns the first trials,
/// which are remembered for `kept_for` after their end.
///
/// A trial that was `accepted` by an earlier sync is not judged again: its customer may pay with
/// another card later.
pub fn judge(
    state: &mut StripeState,
    cards: &[Card],
    accepted: Option<&StripeSubscriptionId>,
    kept_for: TimeDelta,
    now: Timestamp,
) -> Vec<FirstTrial> {
    let mut first: Vec<FirstTrial> = Vec::new();
    let mut with_trial: Vec<&mut Subscription> = state
        .subscriptions
        .iter_mut()
        .filter(|subscription| Some(&subscription.id) != accepted)
        .collect();
    // The oldest trial of a card is the one that counts.
    with_trial.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
    for subscription in with_trial {
        let card = cards.iter().find(|card| card.subscription == subscription.id);
        let (Some(card), Some(end)) = (card, subscription.trial_end) else { continue };
        let here = first.iter().find(|trial| trial.hash == card.hash);
        match card.had_trial_in.as_ref().or(here.map(|trial| &trial.subscription)) {
            Some(other) => subscription.is_trial_refused = *other != subscription.id,
            // A card that pays after the trial has had none.
            None if end > now => first.push(FirstTrial {
                hash: card.hash.clone(),
                subscription: subscription.id.clone(),
                remembered_until: end + kept_for,
            }),
            None => {}
        }
    }
    first
}

/// Returns whether a subscription had a trial that is over, and nothing was paid for it since.
/// `payments` are the times of its payments. If it is paused, it was paused at the end of the
/// trial: by Stripe, because there is no payment method or the first payment failed, or by the
/// vendor (<https://docs.stripe.com/changelog/endive/2026-09-30/pause-subscription>).
pub fn has_paid_nothing_since(
    trial_end: Option<Timestamp>,
    mut payments: impl Iterator<Item = Timestamp>,
    now: Timestamp,
) -> bool {
    trial_end.is_some_and(|end| end <= now && payments.all(|paid_at| paid_at < end))
}

/// A mail about a trial, which is sent once.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// [`Kind::PaymentBegins`] or [`Kind::TrialCardUsed`].
    pub kind: Kind,
    /// The subscription.
    pub subscription: StripeSubscriptionId,
    /// The end of the trial.
    pub trial_end: Timestamp,
    /// Whether Stripe's event about it is not due yet.
    pub is_early: bool,
}

impl Notice {
    /// Returns the key by which the outbox has the mail once. A first charge that was postponed is
    /// announced again; a trial is refused only once.
    #[must_use]
    pub fn key(&self) -> String {
        let Self { kind, subscription, trial_end, .. } = self;
        match kind {
            Kind::TrialCardUsed => format!("{kind}:{subscription}"),
            _ => format!("{kind}:{subscription}:{}", trial_end.epoch_seconds()),
        }
    }
}

/// Returns the mails that are due because of trials, whether they were sent or not.
#[must_use]
pub fn notices(state: &StripeState, catalog: &Catalog, now: Timestamp) -> Vec<Notice> {
    let notices = state.subscriptions.iter().filter_map(|subscription| {
        let trial_end = subscription.trial_end?;
        let is_trialing = subscription.status == Status::Trialing;
        let is_refused = subscription.is_trial_refused && !is_trialing;
        let begins = is_trialing
            && !subscription.is_trial_refused
            && (now < trial_end && trial_end <= now + ANNOUNCED_BEFORE)
            && subscription.ends_at(catalog).is_none()
            // Stripe mails an invoice, and charges nothing.
            && !subscription.has_sent_invoices;
        let kind = match (is_refused && now < trial_end + REFUSAL_REPORTED_FOR, begins) {
            (true, _) => Kind::TrialCardUsed,
            (_, true) => Kind::PaymentBegins,
            _ => return None,
        };
        subscription.plan(catalog)?;
        let is_early = now + EVENT_BEFORE < trial_end;
        Some(Notice { kind, subscription: subscription.id.clone(), trial_end, is_early })
    });
    notices.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sale::entitlement::tests::{DAY, NOW, at, selling, subscription};
    use crate::domain::secret::{HashKey, Purpose};

    const TEAM: &str = "price_team_month";

    /// Returns a subscription with this status, whose trial ends after this many days.
    fn trial(id: &str, status: &str, days: i64) -> Subscription {
        let trial_end = Some(at(NOW + days * DAY));
        Subscription { trial_end, ..subscription(id, status, &[TEAM]) }
    }

    fn hash(card: &str) -> KeyedHash {
        HashKey::from_random([7; 32]).hash_of(Purpose::TrialCard, card)
    }

    fn card(of: &str, name: &str, had_trial_in: Option<&str>) -> Card {
        let id = |text: &str| text.parse().unwrap();
        Card { subscription: id(of), hash: hash(name), had_trial_in: had_trial_in.map(id) }
    }

    /// Returns the refused subscriptions, and the cards that are remembered.
    fn judged(
        subscriptions: Vec<Subscription>,
        cards: &[Card],
        accepted: Option<&str>,
    ) -> (Vec<String>, Vec<KeyedHash>) {
        let mut state = StripeState { subscriptions, ..StripeState::default() };
        let accepted = accepted.map(|id| id.parse().unwrap());
        let first = judge(&mut state, cards, accepted.as_ref(), TimeDelta::days(30), at(NOW));
        let refused = state.subscriptions.iter().filter(|found| found.is_trial_refused);
        (
            refused.map(|found| found.id.to_string()).collect(),
            first.into_iter().map(|trial| trial.hash).collect(),
        )
    }

    #[test]
    fn a_card_has_one_trial() {
        let running = || vec![trial("sub_1", "trialing", 14)];
        let none = || Vec::<String>::new();
        assert_eq!(judged(running(), &[], None), (none(), vec![]), "there is no card");
        let new = [card("sub_1", "a", None)];
        assert_eq!(judged(running(), &new, None), (none(), vec![hash("a")]));
        let own = [card("sub_1", "a", Some("sub_1"))];
        assert_eq!(judged(running(), &own, None), (none(), vec![]), "it is remembered already");
        let used = [card("sub_1", "a", Some("sub_9"))];
        assert_eq!(judged(running(), &used, None), (vec!["sub_1".into()], vec![]));
        let ended = vec![trial("sub_1", "past_due", -1)];
        assert_eq!(judged(ended, &used, None), (vec!["sub_1".into()], vec![]), "until it is paid");
    }

    #[test]
    fn a_trial_that_is_over_is_followed_by_a_payment_or_by_none() {
        let nothing_since = |trial_end: Option<i64>, payments: &[i64]| {
            let payments = payments.iter().map(|time| at(*time));
            has_paid_nothing_since(trial_end.map(at), payments, at(NOW))
        };
        assert!(nothing_since(Some(NOW), &[]));
        assert!(nothing_since(Some(NOW - DAY), &[NOW - 2 * DAY]), "before the trial");
        assert!(!nothing_since(Some(NOW - DAY), &[NOW - 2 * DAY, NOW - DAY]));
        assert!(!nothing_since(Some(NOW + 1), &[]), "it still runs");
        assert!(!nothing_since(None, &[]));
    }

    #[test]
    fn a_card_that_only_pays_has_had_no_trial() {
        let paid = vec![trial("sub_1", "active", -1)];
        assert_eq!(judged(paid, &[card("sub_1", "b", None)], None), (vec![], vec![]));
    }

    #[test]
    fn an_accepted_trial_goes_on_with_any_card() {
        let running = vec![trial("sub_1", "trialing", 3)];
        let used = [card("sub_1", "company", Some("sub_9"))];
        assert_eq!(judged(running, &used, Some("sub_1")), (vec![], vec![]));
    }

    #[test]
    fn the_older_of_two_trials_with_one_card_counts() {
        let newer = Subscription { created: at(NOW), ..trial("sub_1", "trialing", 14) };
        let older = Subscription { created: at(NOW - DAY), ..trial("sub_2", "trialing", 13) };
        let cards = [card("sub_1", "a", None), card("sub_2", "a", None)];
        let refused = vec!["sub_1".to_owned()];
        assert_eq!(judged(vec![newer, older], &cards, None), (refused, vec![hash("a")]));
    }

    #[test]
    fn each_mail_about_a_trial_has_its_time() {
        let kinds = |subscription: Subscription| {
            let state = StripeState { subscriptions: vec![subscription], ..StripeState::default() };
            let kinds = notices(&state, &selling(), at(NOW)).into_iter().map(|notice| notice.kind);
            kinds.collect::<Vec<_>>()
        };
        let refused =
            |status, days| Subscription { is_trial_refused: true, ..trial("sub_1", status, days) };
        assert_eq!(kinds(trial("sub_1", "trialing", 4)), []);
        assert_eq!(kinds(trial("sub_1", "trialing", 3)), [Kind::PaymentBegins]);
        let early = |seconds| {
            let trial_end = Some(at(NOW + 3 * DAY + seconds));
            let subscription = Subscription { trial_end, ..trial("sub_1", "trialing", 3) };
            let state = StripeState { subscriptions: vec![subscription], ..StripeState::default() };
            let notices = notices(&state, &selling(), at(NOW)).into_iter();
            notices.map(|notice| notice.is_early).collect::<Vec<_>>()
        };
        assert_eq!([early(0), early(1), early(3600)], [[false], [true], [true]]);
        assert_eq!(early(3601), Vec::<bool>::new(), "it is announced later");
        assert_eq!(kinds(trial("sub_1", "active", 3)), [], "it is paid already");
        let canceled =
            Subscription { cancel_at: Some(at(NOW + 3 * DAY)), ..trial("sub_1", "trialing", 3) };
        assert_eq!(kinds(canceled), [], "nothing will be charged");
        assert_eq!(kinds(refused("trialing", 3)), [], "it has not been ended yet");
        assert_eq!(kinds(refused("active", 0)), [Kind::TrialCardUsed]);
        assert_eq!(kinds(refused("past_due", -6)), [Kind::TrialCardUsed]);
        assert_eq!(kinds(refused("past_due", -7)), []);
        let other = subscription("sub_1", "trialing", &["price_of_another_product"]);
        assert_eq!(kinds(Subscription { trial_end: Some(at(NOW + DAY)), ..other }), []);
    }
}
