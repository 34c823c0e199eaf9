//! The invariants H to J of accounts: trials, addresses, passwords, login sessions, links, mails
//! and deletions. They are listed in README.md.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use licentia::domain::account::customer::Customer;
use licentia::domain::account::password::Password;
use licentia::domain::ids::CustomerId;
use licentia::domain::message::Kind;
use licentia::error::Result;
use licentia::flows::account::session;
use licentia::passwords::PasswordCheck;

use crate::database::{self, AuditRow};
use crate::history::History;
use crate::ledger::{Action, Actor, Attempt, Ledger, Letter, Opened, reader};

/// Login sessions last for 30 days. Those of the last 29 must work.
const SESSION_MUST_WORK_FOR: i64 = 29 * 86_400;

/// A change can be undone for seven days. Mails of the first days must have the link.
const UNDONE_FOR: i64 = 5 * 86_400;

/// Each action that has notices: its text in the audit log, its notice, the attempt that is one.
const NOTICES: [(&str, Kind, Action); 4] = [
    ("customer.address_requested", Kind::AddressChangeRequested, Action::RequestAddress),
    ("customer.address_changed", Kind::AddressChanged, Action::Verify),
    ("customer.address_undone", Kind::AddressUndone, Action::Undo),
    ("customer.password_changed", Kind::PasswordChanged, Action::Reset),
];

/// Checks all accounts.
pub async fn all(history: &mut History) -> Result<()> {
    if !history.has_accounts {
        return Ok(());
    }
    let audit = database::audit(&history.ground.store).await?;
    links_work_once(history);
    only_own_texts(history);
    addresses(history).await?;
    notices_to_former_addresses(history, &audit);
    for who in 0..history.people.len() {
        undone_changes_need_a_reset(history, who);
        let Some(id) = history.people[who].customer_id.clone() else { continue };
        let customer = history.ground.store.read().await?.customer(&id).await?;
        let Some(customer) = customer else {
            nothing_left_of_deleted_customer(history, who).await?;
            continue;
        };
        let mails = database::kinds_of_mails(&history.ground.store, id.as_str()).await?;
        notices(history, (who, &id), &audit, &mails);
        address(history, who, &customer);
        links_of_former_addresses(history, who);
        undo_arrives(history, who, &id);
        sessions(history, who).await?;
        passwords(history, who, &customer).await?;
    }
    Ok(())
}

/// Checks that each link worked at most once.
fn links_work_once(history: &mut History) {
    let mut worked = BTreeMap::<String, usize>::new();
    let by_link =
        |one: &&Attempt| matches!(one.action, Action::Verify | Action::Reset | Action::Undo);
    for one in history.ledger.attempts.iter().filter(by_link).filter(|t| t.done == Some(true)) {
        *worked.entry(format!("{:?} by {}", one.action, one.key)).or_default() += 1;
    }
    for (what, times) in worked.into_iter().filter(|(_, times)| *times > 1) {
        history.violation(format!("I: {what} was done {times} times"));
    }
}

/// Checks that no mail has a text that somebody else typed, unless its reader had confirmed by a
/// link that the mailbox belongs to the account.
fn only_own_texts(history: &mut History) {
    let ledger = &history.ledger;
    let mut found = Vec::new();
    for letter in history.world.letters() {
        let Some(own) = reader(&letter.to) else { continue };
        let typed = ledger.attempts.iter().filter(|one| one.by != own && !one.name.is_empty());
        for one in typed.filter(|one| letter.text.contains(&one.name)) {
            if !confirmed(ledger, &letter, one) {
                let (id, name) = (&letter.mail_id, &one.name);
                found.push(format!("I: {id} to {} has {name:?}", letter.to));
            }
        }
    }
    found.into_iter().for_each(|what| history.violation(what));
}

/// Whether the reader of a mail had verified the mailbox. A reset verifies it too, and clears what
/// was typed before.
fn confirmed(ledger: &Ledger, letter: &Letter, typed: &Attempt) -> bool {
    ledger.attempts.iter().any(|one| match one.action {
        _ if one.address != letter.to || one.begun > letter.arrived => false,
        _ if one.done == Some(false) => false,
        Action::Verify => true,
        Action::SetAddress => one.text == "verified",
        Action::Reset => one.begun < typed.end(),
        _ => false,
    })
}

/// Checks that no two customers have an address, and that none is another's former one.
async fn addresses(history: &mut History) -> Result<()> {
    let now = history.world.now();
    for (address, problem) in database::contested(&history.ground.store, now).await? {
        history.violation(format!("H: {address} {problem}"));
    }
    Ok(())
}

/// Checks that each deletion, and each change of an address by support, had one notice to the
/// address that the customer does not have any more.
fn notices_to_former_addresses(history: &mut History, audit: &[AuditRow]) {
    let changes = |one: &&AuditRow| {
        one.action == "customer.changed"
            && one.actor == "operator"
            && one.detail.contains("\"email\"")
    };
    let set = audit.iter().filter(changes).count();
    let deleted = audit.iter().filter(|one| one.action == "customer.deleted").count();
    for (kind, times) in [(Kind::AddressSet, set), (Kind::AccountDeleted, deleted)] {
        let mails = history.ledger.leased.values();
        let notices = mails.filter(|mail| mail.kind == kind.as_str() && mail.customer_id.is_none());
        let notices = notices.count();
        if notices != times {
            history.violation(format!("J: {notices} notices {kind} instead of {times}"));
        }
    }
}

/// Checks that each change had one notice, and that each one that was done is in the log.
fn notices(
    history: &mut History,
    (who, id): (usize, &CustomerId),
    audit: &[AuditRow],
    mails: &BTreeMap<String, usize>,
) {
    for (logged, notice, action) in NOTICES {
        let of = |one: &&AuditRow| {
            one.action == logged && one.customer_id.as_deref() == Some(id.as_str())
        };
        let noted = audit.iter().filter(of).count();
        let notices = mails.get(notice.as_str()).copied().unwrap_or(0);
        if notices != noted {
            history
                .violation(format!("J: {who}: {noted} times {logged}, {notices} times {notice}"));
        }
        let (mut done, mut possible) = history.ledger.counts(who, action);
        if action == Action::Reset {
            let (changed, may_be) = history.ledger.counts(who, Action::ChangePassword);
            (done, possible) = (done + changed, possible + may_be);
        }
        // Verifying the present address, and requesting the waiting one again, changes nothing.
        let least = if matches!(action, Action::Undo | Action::Reset) { done } else { 0 };
        if noted < least || noted > possible {
            let what = format!("{logged}: {done} to {possible} were done, {noted} are in the log");
            history.violation(format!("J: {who}: {what}"));
        }
    }
}

/// Checks that the customer has the address that was set last.
fn address(history: &mut History, who: usize, customer: &Customer) {
    let attempts = history.ledger.of(who, Action::sets_address);
    let last = Ledger::may_be_last(&attempts);
    let last: BTreeSet<&str> = last.iter().map(|one| &*one.address).collect();
    if !last.contains(customer.email.as_str()) {
        let what =
            format!("H: {who} has the address {}, and set {last:?}", customer.email.as_str());
        history.violation(what);
    }
}

/// Checks that no link worked after its address was replaced: the present one, or one that was
/// requested.
fn links_of_former_addresses(history: &mut History, who: usize) {
    let ledger = &history.ledger;
    let present = ledger.of(who, Action::sets_address);
    let requested = ledger.of(who, Action::ends_request);
    let by_link = ledger.of(who, |action| action == Action::Verify || action == Action::Reset);
    let worked = |one: &&Attempt| {
        let others: Vec<&Attempt> =
            present.iter().copied().filter(|t| t.begun != one.begun).collect();
        let is_explained = Ledger::may_be(&others, &one.address, one.begun)
            || (one.action == Action::Verify
                && Ledger::may_be(&requested, &one.address, one.begun));
        one.done == Some(true) && !is_explained
    };
    let worked: Vec<Attempt> = by_link.iter().copied().filter(worked).cloned().collect();
    let late = resets_after_others(history, who);
    for Attempt { action, address, .. } in worked {
        history
            .violation(format!("I: {who}: {action:?} from {address} worked, which was replaced"));
    }
    for key in late {
        history.violation(format!("I: {who}: {key} set a password after another reset or undo"));
    }
}

/// Returns the links that set a password although they were mailed before another one did, or
/// before a change of the address was undone.
fn resets_after_others(history: &History, who: usize) -> Vec<String> {
    let letters = history.world.letters();
    let mailed = |key: &str| {
        let has = |letter: &&Letter| letter.links.iter().any(|(_, token)| token == key);
        letters.iter().find(has).map_or(u64::MAX, |letter| letter.arrived)
    };
    let ends = history.ledger.of(who, |action| action == Action::Reset || action == Action::Undo);
    let ends: Vec<&Attempt> = ends.into_iter().filter(|one| one.done == Some(true)).collect();
    let is_late = |one: &&&Attempt| {
        let since = mailed(&one.key);
        let between = |other: &&Attempt| since < other.begun && other.end() < one.begun;
        one.action == Action::Reset && ends.iter().any(between)
    };
    ends.iter().filter(is_late).map(|one| one.key.clone()).collect()
}

/// Checks that after an undone change of the address, whoever knows the password could not delete
/// the account, request another address or change the password until a link had set another one.
fn undone_changes_need_a_reset(history: &mut History, who: usize) {
    let ledger = &history.ledger;
    let undone = ledger.of(who, |action| action == Action::Undo);
    let resets = ledger.of(who, |action| action == Action::Reset);
    let present = ledger.of(who, Action::sets_address);
    let is_early = |one: &&Attempt| {
        // A request of the present address changes nothing.
        let changes = one.action != Action::RequestAddress
            || !Ledger::may_be(&present, &one.address, one.end());
        let had_reset = |undo: &&Attempt| {
            resets.iter().any(|reset| reset.may_follow(undo.begun) && reset.begun < one.end())
        };
        let mut before = undone.iter().filter(|undo| one.replaces(undo) && undo.done == Some(true));
        changes && one.by != Actor::Support && before.any(|undo| !had_reset(undo))
    };
    let early: Vec<Action> = ledger
        .of(who, Action::needs_owner)
        .into_iter()
        .filter(is_early)
        .map(|one| one.action)
        .collect();
    for action in early {
        history.violation(format!("I: {who}: {action:?} after an undone change, without a reset"));
    }
}

/// Checks that the link that undoes a change reached the former address, unless the mail was late,
/// or the change was over.
fn undo_arrives(history: &mut History, who: usize, id: &CustomerId) {
    let refused =
        history.world.refused_mails.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let arrived: BTreeSet<String> =
        history.world.letters().into_iter().map(|l| l.mail_id).collect();
    let is_over = |one: Action| one == Action::Undo || one == Action::SetAddress;
    if !history.ledger.of(who, is_over).is_empty() {
        return;
    }
    let written = history.world.written.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut lost = Vec::new();
    for mail in history.ledger.leased.values() {
        let of = mail.customer_id.as_ref() == Some(id);
        let (mail_id, kind) = (mail.mail_id.to_string(), Kind::AddressChanged.as_str());
        let (Some(former), true) = (&mail.recipient, of && mail.kind == kind) else { continue };
        let returned = |action: Action| action == Action::Verify;
        let mut returns = history.ledger.of(who, returned).into_iter();
        let is_present = returns.any(|one| one.address == former.as_str());
        let last = written.get(&mail_id).copied().unwrap_or(i64::MAX);
        let is_late = last.saturating_sub(mail.created_at.epoch_seconds()) > UNDONE_FOR;
        if !is_late && !is_present && !refused.contains(&mail_id) && !arrived.contains(&mail_id) {
            lost.push(format!("J: {who}: {} was not told how to undo", former.as_str()));
        }
    }
    lost.into_iter().for_each(|what| history.violation(what));
}

/// Checks that no session works that was ended, and that every other one does.
async fn sessions(history: &mut History, who: usize) -> Result<()> {
    let app = history.servers[0].app.clone();
    let opened: Vec<Opened> =
        history.ledger.opened.iter().filter(|one| one.who == who).cloned().collect();
    for Opened { token, by, at, .. } in opened {
        let works = session::authenticate(&app, &token).await.is_ok();
        let opening = history.ledger.attempts[by].clone();
        let ends = |one: &&Attempt| {
            let own = one.action == Action::ChangePassword && one.key == token;
            one.action.ends_sessions() && one.begun != opening.begun && !own
        };
        let attempts = history.ledger.of(who, Action::ends_sessions);
        let ending: Vec<&Attempt> = attempts.into_iter().filter(ends).collect();
        let ended = ending.iter().find(|one| one.replaces(&opening)).map(|one| one.action);
        let may_have = ending.iter().any(|one| one.may_follow(opening.begun));
        let action = opening.action;
        if let Some(by) = ended.filter(|_| works) {
            let what = format!("I: {who}: a session by {action:?} works after {by:?}");
            history.violation(what);
        }
        if !works && !may_have && history.world.now() < at + SESSION_MUST_WORK_FOR {
            history.violation(format!("I: {who}: a session by {action:?} was ended by nothing"));
        }
    }
    Ok(())
}

/// Checks that the password that was set last logs in, and no other one.
async fn passwords(history: &mut History, who: usize, customer: &Customer) -> Result<()> {
    let app = history.servers[0].app.clone();
    let attempts: Vec<Attempt> = history.ledger.attempts.clone();
    let sets = |one: &&Attempt| one.who == Some(who) && one.action.sets_password();
    let mut works = BTreeSet::new();
    let hash = history.ground.store.read().await?.login_of(&customer.email).await?;
    let hash = hash.map(|(_, hash)| hash);
    for one in attempts.iter().filter(sets) {
        let password = Password::new(one.text.clone());
        let check = app.passwords.check(password, hash.clone()).await?;
        if check != PasswordCheck::Wrong {
            works.insert(one.text.clone());
        }
    }
    let may_be = history.ledger.of(who, Action::sets_password);
    let last = Ledger::may_be_last(&may_be);
    let last: BTreeSet<String> = last.iter().map(|one| one.text.clone()).collect();
    let old = logins_with_old_passwords(&history.ledger, who, &may_be);
    if works.len() != 1 || !works.is_subset(&last) {
        history.violation(format!("I: {who} logs in with {works:?}, and set {last:?}"));
    }
    if !old.is_empty() {
        history.violation(format!("I: {who} logged in with old passwords: {old:?}"));
    }
    Ok(())
}

/// Returns the passwords that logged in after others had certainly replaced them.
fn logins_with_old_passwords(ledger: &Ledger, who: usize, set: &[&Attempt]) -> Vec<String> {
    let is_old = |login: &Attempt| {
        let mut own = set.iter().filter(|one| one.text == login.text);
        let before = |other: &&&Attempt| other.end() < login.begun;
        own.all(|one| set.iter().filter(before).any(|other| other.replaces(one)))
    };
    let done = |one: &&Attempt| {
        one.action == Action::LogIn && one.who == Some(who) && one.done == Some(true) && is_old(one)
    };
    ledger.attempts.iter().filter(done).map(|one| one.text.clone()).collect()
}

/// Checks that no table has an address or a name of a deleted customer, unless somebody used it
/// again.
async fn nothing_left_of_deleted_customer(history: &mut History, who: usize) -> Result<()> {
    let ledger = &history.ledger;
    let deletion = ledger
        .attempts
        .iter()
        .find(|one| one.who == Some(who) && one.action == Action::Delete && one.done == Some(true));
    let Some(deletion) = deletion else { return Ok(()) };
    let began = deletion.begun;
    let later = |text: &str| {
        let mut users =
            ledger.attempts.iter().filter(|one| one.address == text || one.name == text);
        users.any(|one| one.who != Some(who) && one.end() > began)
    };
    let held = |address: &str| {
        let mut others = history.people.iter().enumerate();
        others.any(|(place, other)| place != who && other.mailboxes.contains(address))
    };
    let mut gone: Vec<String> = history.people[who].mailboxes.iter().cloned().collect();
    gone.retain(|address| !held(address) && !later(address));
    let named = |one: &&Attempt| one.who == Some(who) && !one.name.is_empty();
    gone.extend(ledger.attempts.iter().filter(named).map(|one| one.name.clone()));
    // Events name people who bought without an account, too.
    let linked = history.stripe_customer(who).filter(|_| !history.people[who].by_hand);
    for (table, row) in database::rows_with(&history.ground.store, &gone).await? {
        let is_other = table == "inbox" && !linked.as_ref().is_some_and(|id| row.contains(id));
        if !is_other {
            history.violation(format!("J: {who} was deleted, and {table} has {row:.200}"));
        }
    }
    Ok(())
}
