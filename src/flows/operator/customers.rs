//! A customer, as support sees it: found by any key, the record, and its lists.

use std::collections::HashMap;

use crate::app::App;
use crate::config::StripeMode;
use crate::domain::account::customer::Customer;
use crate::domain::account::metadata::Metadata;
use crate::domain::ids::CustomerId;
use crate::domain::license::IssuedLicense;
use crate::domain::license::explanation::Explanation;
use crate::domain::operator::search::{FoundCustomer, Key, Search, SearchPosition, Term};
use crate::domain::operator::timeline::{self, Entry, Kind};
use crate::domain::operator::why::{self, Facts, Reason};
use crate::domain::outbox::StoredMail;
use crate::domain::page::{Cursor, InvalidCursor, Page, PageRequest};
use crate::domain::sale::order::Order;
use crate::domain::sale::subscription::SubscriptionRow;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::license::explain;
use crate::flows::operator::events::EventDetails;
use crate::flows::sale::settle::MAX_ORDERS;
use crate::store::Tx;

/// The customers whose search terms one transaction writes: few, so that other writers do not wait.
const FILLED_AT_ONCE: i64 = 200;

/// The terms of a word that one page examines at most: a few dozen milliseconds of index lookups.
const MAX_EXAMINED: i64 = 10_000;

/// The terms of a word that one statement examines.
const EXAMINED_AT_ONCE: i64 = 1000;

/// A word with fewer terms than this is rare: no other word needs to be rarer.
const RARE: i64 = 100;

/// A customer that was found, with the current license.
#[derive(Clone, Debug)]
pub struct Found {
    /// The customer.
    pub customer: FoundCustomer,
    /// The current license.
    pub license: Option<IssuedLicense>,
}

/// Returns a page of the customers that a query finds: the one with an id or a license, or those
/// whose address and names have words that begin with the query's.
///
/// # Errors
/// [`Error::InvalidRequest`] when the page begins at the place of another list, or a failure of the
/// database.
pub async fn find(app: &App, search: &Search, request: &PageRequest) -> Result<Page<Found>> {
    let mut tx = app.store.read().await?;
    let Page { entries, next_after } = search_page(&mut tx, search, request).await?;
    let ids: Vec<_> = entries.iter().map(|found| &found.customer_id).collect();
    let licenses = tx.current_licenses(&ids).await?.into_iter();
    let mut licenses: HashMap<_, _> =
        licenses.map(|license| (license.customer_id.clone(), license)).collect();
    let found = entries.into_iter().map(|customer| {
        let license = licenses.remove(&customer.customer_id);
        Found { customer, license }
    });
    Ok(Page { entries: found.collect(), next_after })
}

async fn search_page(
    tx: &mut Tx,
    search: &Search,
    request: &PageRequest,
) -> Result<Page<FoundCustomer>> {
    let key = match search {
        Search::Key(key) => key.clone(),
        Search::Token(id, token) => {
            let stored = tx.license(id).await?.filter(|license| license.token == *token);
            let Some(license) = stored else { return Ok(none()) };
            Key::Customer(license.customer_id)
        }
        Search::Words(words) => return page_of_words(tx, words, request).await,
    };
    let Some(id) = tx.customer_by_key(&key).await? else { return Ok(none()) };
    let found = tx.customer(&id).await?.map(FoundCustomer::from);
    Ok(Page { entries: found.into_iter().collect(), next_after: None })
}

/// Returns a page of the customers who have each of these words. It examines the terms of the
/// rarest word, at most [`MAX_EXAMINED`]; only if each word is more common than that, a page may
/// have fewer customers than the limit and still have a next page.
async fn page_of_words(
    tx: &mut Tx,
    words: &[Term],
    request: &PageRequest,
) -> Result<Page<FoundCustomer>> {
    let invalid = || Error::InvalidRequest(format!("`after`: {InvalidCursor}"));
    let after =
        request.after.as_ref().map(|cursor| SearchPosition::of_cursor(cursor).ok_or_else(invalid));
    let mut after = after.transpose()?;
    tx.plan_once().await?;
    let examined = match &after {
        // The cursor's term begins with exactly one of the words: the one that the previous page
        // examined.
        Some(position) => {
            let word = words.iter().find(|word| word.begins(position.term.as_str()));
            Some(word.ok_or_else(invalid)?)
        }
        None => rarest(tx, words).await?,
    };
    let Some(examined) = examined else { return Ok(none()) };
    let others: Vec<_> = words.iter().filter(|word| *word != examined).collect();
    let mut found = Vec::new();
    for _ in 0..MAX_EXAMINED / EXAMINED_AT_ONCE {
        let until = tx.position_of_term(examined, after.as_ref(), EXAMINED_AT_ONCE).await?;
        let missing = request.rows() - i64::try_from(found.len()).unwrap_or(i64::MAX);
        let range = (after.as_ref(), until.as_ref());
        found.extend(tx.customers_by_words(examined, &others, range, missing).await?);
        if until.is_none() || found.len() > request.limit {
            return Ok(request.page(found, |customer| customer.position().cursor()));
        }
        after = until;
    }
    Ok(Page { entries: found, next_after: after.as_ref().map(SearchPosition::cursor) })
}

/// Returns the word with the fewest terms that begin with it; of equally common ones, the longest.
async fn rarest<'w>(tx: &mut Tx, words: &'w [Term]) -> Result<Option<&'w Term>> {
    if let [only] = words {
        return Ok(Some(only));
    }
    let least = |counts: Vec<i64>| words.iter().zip(counts).min_by_key(|(_, terms)| *terms);
    // Most queries have a rare word, and a short count finds it.
    let mut rarest = least(tx.count_terms(words, RARE).await?);
    if rarest.is_some_and(|(_, terms)| terms == RARE) {
        rarest = least(tx.count_terms(words, MAX_EXAMINED).await?);
    }
    Ok(rarest.map(|(word, _)| word))
}

fn none() -> Page<FoundCustomer> {
    Page { entries: Vec::new(), next_after: None }
}

/// Writes the search terms of every customer who is older than the search.
///
/// # Errors
/// A failure of the database.
pub async fn fill_search(app: &App) -> Result<()> {
    loop {
        let mut tx = app.store.write().await?;
        let filled = tx.fill_terms(FILLED_AT_ONCE, app.now()).await?;
        tx.commit(app.fail_points.at(Place::SearchFilled)).await?;
        if filled == 0 {
            return Ok(());
        }
    }
}

/// Everything that is stored about a customer.
#[derive(Clone, Debug)]
pub struct Record {
    /// The customer.
    pub customer: Customer,
    /// The texts that support keeps.
    pub metadata: Metadata,
    /// The time of the last sync with Stripe.
    pub synced_at: Option<Timestamp>,
    /// Stripe's id of the default payment method.
    pub default_payment_method: Option<String>,
    /// The subscription.
    pub subscription: Option<SubscriptionRow>,
    /// The current license.
    pub license: Option<IssuedLicense>,
}

/// Returns the page of a customer in Stripe's dashboard.
#[must_use]
pub fn customer_url(app: &App, customer: &Customer) -> Option<String> {
    let id = customer.stripe_customer_id.as_ref();
    id.map(|id| dashboard_url(app, "customers", id.as_str()))
}

/// Returns the page of an order's payment, or else of its invoice, in Stripe's dashboard, where it
/// can be refunded.
#[must_use]
pub fn order_url(app: &App, order: &Order) -> Option<String> {
    let payment = order.stripe_payment_intent_id.as_ref().map(|id| ("payments", id.as_str()));
    let invoice = order.stripe_invoice_id.as_ref().map(|id| ("invoices", id.as_str()));
    payment.or(invoice).map(|(kind, id)| dashboard_url(app, kind, id))
}

fn dashboard_url(app: &App, kind: &str, id: &str) -> String {
    let mode = app.stripe.as_ref().map(|stripe| stripe.config().mode);
    let is_live = mode == Some(StripeMode::Live);
    let mode = if is_live { "" } else { "test/" };
    format!("https://dashboard.stripe.com/{mode}{kind}/{id}")
}

/// Returns what is stored about a customer.
///
/// # Errors
/// [`Error::NotFound`] when there is no such customer.
pub async fn record(app: &App, id: &CustomerId) -> Result<Record> {
    let mut tx = app.store.read().await?;
    let customer = existing(&mut tx, id).await?;
    let metadata = tx.metadata(id).await?;
    let (synced_at, default_payment_method) = tx.stripe_state(id).await?;
    let subscription = tx.subscription(id).await?;
    let license = tx.current_license(id).await?;
    Ok(Record { customer, metadata, synced_at, default_payment_method, subscription, license })
}

async fn existing(tx: &mut Tx, id: &CustomerId) -> Result<Customer> {
    tx.customer(id).await?.ok_or(Error::NotFound("customer"))
}

/// Returns a page of the mails to a customer, newest first.
///
/// # Errors
/// [`Error::NotFound`] when there is no such customer.
pub async fn mails(app: &App, id: &CustomerId, request: &PageRequest) -> Result<Page<StoredMail>> {
    let mut tx = app.store.read().await?;
    existing(&mut tx, id).await?;
    let mails = tx.mails_of(id, request).await?;
    let place = |mail: &StoredMail| Cursor { at: mail.created_at, id: mail.mail_id.to_string() };
    Ok(request.page(mails, place))
}

/// Returns a page of the licenses of a customer, newest first.
///
/// # Errors
/// As [`mails`].
pub async fn licenses(
    app: &App,
    id: &CustomerId,
    request: &PageRequest,
) -> Result<Page<IssuedLicense>> {
    let mut tx = app.store.read().await?;
    existing(&mut tx, id).await?;
    let licenses = tx.license_page(id, request).await?;
    let place = |license: &IssuedLicense| Cursor {
        at: license.issued_at,
        id: license.license_id.to_string(),
    };
    Ok(request.page(licenses, place))
}

/// Returns a page of the orders of a customer, newest first.
///
/// # Errors
/// As [`mails`].
pub async fn orders(app: &App, id: &CustomerId, request: &PageRequest) -> Result<Page<Order>> {
    let mut tx = app.store.read().await?;
    existing(&mut tx, id).await?;
    let orders = tx.order_page(id, request).await?;
    let place = |order: &Order| Cursor { at: order.created_at, id: order.order_id.to_string() };
    Ok(request.page(orders, place))
}

/// Returns a page of the events and tasks about a customer, newest first.
///
/// # Errors
/// As [`mails`].
pub async fn events(
    app: &App,
    id: &CustomerId,
    request: &PageRequest,
) -> Result<Page<EventDetails>> {
    let mut tx = app.store.read().await?;
    let customer = existing(&mut tx, id).await?;
    let events = tx.event_page(&customer, request).await?;
    let events = events.into_iter().map(|event| EventDetails::about(id, event)).collect();
    let place = |EventDetails { event, .. }: &EventDetails| Cursor {
        at: event.received_at,
        id: event.event_id.clone(),
    };
    Ok(request.page(events, place))
}

/// Returns a page of the timeline of a customer, newest first.
///
/// # Errors
/// As [`mails`].
pub async fn timeline(app: &App, id: &CustomerId, request: &PageRequest) -> Result<Page<Entry>> {
    let mut tx = app.store.read().await?;
    let customer = existing(&mut tx, id).await?;
    let page_of = |kind| timeline::request_for(kind, request);
    let actions = tx.audit_page(id, &page_of(Kind::Action)).await?;
    let mails = tx.mails_of(id, &page_of(Kind::Mail)).await?;
    let events = tx.event_page(&customer, &page_of(Kind::Event)).await?;
    let entries = timeline::merge([
        actions.into_iter().map(Entry::of_action).collect(),
        mails.into_iter().map(Entry::of_mail).collect(),
        events.into_iter().map(Entry::of_event).collect(),
    ]);
    Ok(request.page(entries, Entry::place))
}

/// The events and audit entries that may explain the current license, the newest ones.
const READ_FOR_REASONS: usize = 100;

/// The reasons why a customer has the current license.
pub struct Why {
    /// The customer with the license.
    pub record: Record,
    /// The license in sentences, the verdict on it, and the next changes. `None` without a license.
    pub explanation: Option<Explanation>,
    /// The reasons, each with its time; the license first.
    pub reasons: Vec<Reason>,
}

/// Returns why a customer has the current license now.
///
/// # Errors
/// As [`mails`].
pub async fn why(app: &App, id: &CustomerId) -> Result<Why> {
    let record = record(app, id).await?;
    let explanation = match &record.license {
        Some(license) => Some(explain(app, license).await?),
        None => None,
    };
    let mut tx = app.store.read().await?;
    let newest = PageRequest { after: None, limit: READ_FOR_REASONS };
    let actions = tx.audit_page(id, &newest).await?;
    let events = tx.event_page(&record.customer, &newest).await?;
    let orders = tx.orders_to_settle(id, MAX_ORDERS).await?;
    let reasons = why::reasons(&Facts {
        customer: &record.customer,
        license: record.license.as_ref(),
        subscription: record.subscription.as_ref(),
        orders: &orders,
        actions: &actions,
        events: &events,
        catalog: &app.plans,
        now: app.now(),
    });
    drop(tx);
    Ok(Why { record, explanation, reasons })
}
