//! The last checks of a history: a reconciliation finds nothing, and the operators' metric lists no
//! paying customer without a license.

use licentia::domain::ids::CustomerId;
use licentia::error::{Error, Result};
use licentia::flows::operator::drift;
use licentia::flows::sale::reconcile::Drifted;

use crate::checks::{self, WRONG_CLOCK};
use crate::database;
use crate::history::History;
use crate::people::Person;
use crate::truth::{self, Truth};
use crate::units::Paid;

/// Checks that a reconciliation finds nothing and changes nothing (A, E).
pub async fn finds_nothing(history: &mut History) -> Result<()> {
    let (mut before, claimed) = (mails_of_changes(history).await?, history.claimed.len());
    let heard = history.acknowledged.len();
    let mut report = history.compare_now().await?;
    // Time may pass while it waits for a lease. What changes at Stripe meanwhile is no drift.
    if history.acknowledged.len() > heard {
        before = mails_of_changes(history).await?;
        report = history.compare_now().await?;
    }
    // No event announces that a license expires. A former license that grants more is therefore
    // revoked by the next sync.
    let by_time =
        |drifted: &Drifted| drifted.changes.iter().all(|what| what.starts_with("former "));
    let (mut drifted, mut is_excused) = (Vec::new(), false);
    for one in report.drifted.iter().filter(|one| !by_time(one)) {
        let (id, truth) = truth_of(history, &one.customer_id).await?;
        if truth.as_ref().is_some_and(|truth| has_just_ended_a_trial(history, truth)) {
            is_excused = true;
        } else {
            drifted.push((id, truth));
        }
    }
    let silent = drifted.is_empty() && report.failed.is_empty() && report.missed_events == 0;
    if !silent {
        history.violation(format!("A: not as Stripe has it: {report:?}"));
        for (id, truth) in drifted {
            truth::show(history, truth.as_slice());
            checks::show_record(history, &id).await?;
        }
    }
    history.note_claimed().await?;
    // It gives purchases of guests to an account that was made since.
    let has_claimed = history.claimed.len() > claimed;
    if silent && !is_excused && !has_claimed && before != mails_of_changes(history).await? {
        history.violation("E: a comparison that found nothing wrote a mail".to_owned());
    }
    Ok(())
}

/// Returns the number of mails, without those that remind a buyer to prove the address.
async fn mails_of_changes(history: &History) -> Result<usize> {
    let mails = database::mails(&history.ground.store).await?;
    Ok(mails.iter().filter(|(mail, _)| mail.kind != "purchase_waiting").count())
}

/// Checks the operators' metric: it lists no paying customer without a license (A).
pub async fn nothing_drifts(history: &mut History) -> Result<()> {
    let drift = drift::report(&history.servers[0].app).await?;
    for lacking in drift.customers {
        let has_this_id =
            |person: &Person| person.customer_id.as_ref() == Some(&lacking.customer_id);
        let who = history.people.iter().position(has_this_id);
        let stripe_id = who.and_then(|who| history.stripe_customer(who)).unwrap_or_default();
        let truth = Truth::of(history, &stripe_id);
        // With several subscriptions or Stripe customers, an order cannot be assigned to one of
        // them. A customer who paid little and owes the rest is listed, too.
        let has_former = who.is_some_and(|who| !history.people[who].former.is_empty());
        if let [one] = &truth.subscriptions[..]
            && !truth.owes(one)
            && !(history.sells && Paid::of(history, &truth, &stripe_id).owes)
            && !has_former
            && !who.is_some_and(|who| history.people[who].helped)
        {
            history.violation(format!("A: it is told that {who:?} lacks a license: {lacking:?}"));
            truth::show(history, &[truth]);
        }
    }
    Ok(())
}

/// Returns a customer's id, and what Stripe has of the customer.
async fn truth_of(history: &History, id: &str) -> Result<(CustomerId, Option<Truth>)> {
    let id: CustomerId = id.parse().map_err(|_| Error::Internal(format!("no id: {id}")))?;
    let customer = history.ground.store.read().await?.customer(&id).await?;
    let stripe_id = customer.and_then(|customer| customer.stripe_customer_id);
    Ok((id, stripe_id.map(|stripe_id| Truth::of(history, stripe_id.as_str()))))
}

/// Returns whether a trial has ended so recently that it was not over by the clock of the server
/// that synced last. No event announces the end by another clock.
fn has_just_ended_a_trial(history: &History, truth: &Truth) -> bool {
    let now = history.world.now();
    let mut ends = truth.subscriptions.iter().filter_map(|found| found["trial_end"].as_i64());
    ends.any(|end| (end..=end + WRONG_CLOCK).contains(&now))
}
