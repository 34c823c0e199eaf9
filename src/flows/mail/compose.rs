//! Composes a mail when it is sent: reads what it is about, makes its links, and renders it.

use crate::app::App;
use crate::domain::account::customer::Customer;
use crate::domain::account::mail_link::LinkKind;
use crate::domain::contact::{DisplayName, Email};
use crate::domain::ids::CustomerId;
use crate::domain::license::{Basis, IssuedLicense, Source};
use crate::domain::message::{
    Facts, Kind, Language, Letter, LicenseUse, Links, Payment, SubscriptionFacts,
};
use crate::domain::outbox::LeasedMail;
use crate::domain::sale::order::Order;
use crate::domain::sale::plan::{Currency, Interval};
use crate::domain::sale::subscription::Status;
use crate::domain::sale::trial::has_paid_nothing_since;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::account::pending::{self, SignupMail};
use crate::flows::account::{mail_link, password};
use crate::flows::license::{self, status_list};
use crate::mailer::Recipient;
use crate::store::Tx;

/// Returns the recipient and the text of a mail. Returns `None` if it needs not be sent any more:
/// the customer was deleted, what it says is no longer true, or it has a link and its address has
/// no account.
///
/// The customer's name is used only if the email address is verified. Otherwise anyone could sign
/// up with another person's address, and put a message to them into the name (security_34).
pub(super) async fn compose(app: &App, mail: &LeasedMail) -> Result<Option<(Recipient, Letter)>> {
    let mut kind: Kind = mail.kind.parse().map_err(|_| {
        Error::Internal(format!("this version does not know mails of the kind {:?}", mail.kind))
    })?;
    match (kind, &mail.recipient) {
        (Kind::ConfirmSignup, Some(email)) => match pending::link(app, &mail.mail_id, email).await?
        {
            SignupMail::Link(url, language) => {
                return confirmation(app, email, url, language).map(Some);
            }
            SignupMail::AccountExists => kind = Kind::AccountExists,
            SignupMail::AddressReserved => kind = Kind::AddressChanged,
            SignupMail::Nothing => return Ok(None),
        },
        (Kind::ConfirmSignup, None) => return Ok(None),
        (Kind::Recovered, Some(email)) => license::freshen(app, email).await?,
        // The owner of the mailbox gets the account back by the link that undoes the change.
        (Kind::Reset, Some(email)) if is_only_reserved(app, email).await? => {
            kind = Kind::AddressChanged;
        }
        _ => {}
    }
    let makes_links = !kind.links().is_empty();
    let mut tx = if makes_links { app.store.write().await? } else { app.store.read().await? };
    let Some(about) = about(&mut tx, kind, mail, app.now()).await? else { return Ok(None) };
    let (charge, subscription) = billing(app, &mut tx, kind, &about).await?;
    if !is_still_true(kind, &about, subscription.is_paused, app.now()) {
        return Ok(None);
    }
    let Some(made) = make_links(app, &mut tx, kind, &about).await? else { return Ok(None) };
    if made.is_empty() {
        // It must have ended before the next one begins.
        drop(tx);
    } else {
        tx.commit(app.fail_points.at(Place::MailLinkMade)).await?;
    }
    let is_verified = about.is_for_verified_mailbox();
    let About { customer, license, order, email, .. } = about;
    let language = customer.as_ref().and_then(|customer| customer.language);
    let language = mail.language.or(language).unwrap_or(app.language);
    let name = customer.and_then(|customer| customer.name).filter(|_| is_verified);
    let greeted = name.as_ref().map(DisplayName::as_str);
    let facts = Facts::about(kind, license.as_ref(), greeted, &app.plans, app.now());
    let charge = charge.as_ref().map(|(amount, currency)| Payment {
        amount: *amount,
        currency,
        invoice_url: None,
    });
    let payment = order.as_ref().map(Payment::of).or(charge);
    let mut list = None;
    if let Some(license) = license.as_ref().filter(|_| facts.token.is_some()) {
        // The key bundle that is attached must have its key.
        app.know_key(&license.key_id).await?;
        list = status_list::of_license(app, license).await;
    }
    let status = list.as_ref().and_then(|list| std::str::from_utf8(&list.text).ok());
    // A key that was just revoked is in the bundle that the customer gets.
    let (links, keys) = (links(app, made), app.published_keys().await.bundle_text());
    let keys = keys.as_deref();
    let facts = Facts { language, links, payment, keys, status, subscription, ..facts };
    let letter = write(app, &facts)?;
    Ok(Some((Recipient { email, name }, letter)))
}

/// Returns the mail that confirms a sign-up, which has no customer yet.
fn confirmation(
    app: &App,
    email: &Email,
    url: String,
    language: Option<Language>,
) -> Result<(Recipient, Letter)> {
    let facts = Facts::about(Kind::ConfirmSignup, None, None, &app.plans, app.now());
    let language = language.unwrap_or(app.language);
    let links = links(app, vec![(LinkKind::Verify, url)]);
    let letter = write(app, &Facts { language, links, ..facts })?;
    Ok((Recipient { email: email.clone(), name: None }, letter))
}

fn links(app: &App, made: Vec<(LinkKind, String)>) -> Links {
    Links { made, ..Links::to_pages(&app.public_url.to_string(), app.stripe.is_some()) }
}

fn write(app: &App, facts: &Facts<'_>) -> Result<Letter> {
    let letter = app.templates.write(facts);
    letter.map_err(|invalid| Error::Internal(format!("a mail cannot be written: {invalid}")))
}

/// The facts of a mail, and its address.
struct About {
    customer: Option<Customer>,
    license: Option<IssuedLicense>,
    /// The customer's current license, for a reminder.
    current: Option<IssuedLicense>,
    order: Option<Order>,
    email: Email,
}

impl About {
    /// Returns whether the mail goes to an address that the customer has verified. A new or a
    /// former address is not known to be theirs.
    fn is_for_verified_mailbox(&self) -> bool {
        let customer = self.customer.as_ref();
        customer.is_some_and(|one| one.is_email_verified() && one.email == self.email)
    }
}

/// Reads what a mail is about. For a mail to a former address, it also reserves the address for the
/// lifetime of the link in the mail. Returns `None` if the customer was deleted in the meantime,
/// and the mail with them; also for a mail with a link, if the address has no account.
async fn about(
    tx: &mut Tx,
    kind: Kind,
    mail: &LeasedMail,
    now: Timestamp,
) -> Result<Option<About>> {
    let Some(id) = &mail.customer_id else {
        let Some(email) = mail.recipient.clone() else { return Ok(None) };
        if kind == Kind::Recovered {
            let Some(customer) = tx.customer_by_email(&email).await? else { return Ok(None) };
            let license = tx.current_license(&customer.customer_id).await?;
            let customer = Some(customer);
            return Ok(Some(About { customer, license, current: None, order: None, email }));
        }
        let customer = if kind.links().is_empty() {
            None
        } else {
            let owner = match kind {
                Kind::AddressChanged => former_owner(tx, &email, now).await?,
                _ => owner(tx, &email).await?,
            };
            let Some(owner) = owner else { return Ok(None) };
            Some(owner)
        };
        return Ok(Some(About { customer, license: None, current: None, order: None, email }));
    };
    let customer =
        if kind.links().is_empty() { tx.customer(id).await? } else { tx.lock_customer(id).await? };
    let Some(customer) = customer else { return Ok(None) };
    let mut license = match &mail.license_id {
        Some(license_id) => tx.license(license_id).await?,
        None => None,
    };
    let current = tx.current_license(id).await?;
    let is_revoked = license.as_ref().is_some_and(|license| license.revoked_at.is_some());
    if kind.license() == LicenseUse::Attached && is_revoked {
        // The license was revoked in the meantime: the current one is sent instead.
        license = current.clone().or(license);
    }
    let order = match &mail.order_id {
        Some(order_id) => tx.order(order_id).await?,
        None => None,
    };
    let email = mail.recipient.clone().unwrap_or_else(|| customer.email.clone());
    if kind == Kind::AddressChanged {
        // The mail of the change itself may be late. Its link works for the full time.
        tx.reserve_former_address(id, &email, now + LinkKind::Undo.lifetime(), now).await?;
    }
    Ok(Some(About { customer: Some(customer), license, current, order, email }))
}

/// Returns the customer with this address, locked.
async fn owner(tx: &mut Tx, email: &Email) -> Result<Option<Customer>> {
    let Some(found) = tx.customer_by_email(email).await? else { return Ok(None) };
    let customer = tx.lock_customer(&found.customer_id).await?;
    Ok(customer.filter(|customer| customer.email == *email))
}

/// Returns whether an address has no account, and is reserved for a customer who had it before.
async fn is_only_reserved(app: &App, email: &Email) -> Result<bool> {
    let mut tx = app.store.read().await?;
    let is_owned = tx.customer_by_email(email).await?.is_some();
    Ok(!is_owned && tx.reserved_for(email, app.now()).await?.is_some())
}

/// Returns the customer for whom this address is reserved, locked.
async fn former_owner(tx: &mut Tx, email: &Email, now: Timestamp) -> Result<Option<Customer>> {
    match tx.reserved_for(email, now).await? {
        Some(id) => tx.lock_customer(&id).await,
        None => Ok(None),
    }
}

/// The newest orders in which a payment after a trial is looked for.
const MAX_ORDERS: i64 = 100;

/// Reads what a mail of this kind says about a customer's subscription: the list price of the first
/// period that it announces, with the currency, and the rest.
async fn billing(
    app: &App,
    tx: &mut Tx,
    kind: Kind,
    about: &About,
) -> Result<(Option<(i64, String)>, SubscriptionFacts)> {
    let mut facts = SubscriptionFacts::default();
    let Some(customer) = &about.customer else { return Ok((None, facts)) };
    let id = &customer.customer_id;
    let mut charge = None;
    match kind {
        Kind::PaymentBegins => {
            charge = first_charge(app, tx, id).await?;
            facts.needs_payment_method = !has_payment_method(tx, id).await?;
        }
        Kind::PaymentProblem | Kind::LicenseEnded => {
            let paused = tx.subscription(id).await?.filter(|row| row.status == Status::Paused);
            facts.is_paused = paused.is_some();
            if let Some(paused) = paused.filter(|_| kind == Kind::PaymentProblem) {
                let orders = tx.orders_of(id, MAX_ORDERS).await?;
                // An order at a former price has no interval.
                let of_subscription = orders.iter().filter(|order| {
                    order.amount > 0 && order.billing_interval.is_none_or(Interval::is_recurring)
                });
                let payments = of_subscription.filter_map(|order| order.purchased_at);
                facts.has_trial_ended =
                    has_paid_nothing_since(paused.trial_end, payments, app.now())
                        && !has_payment_method(tx, id).await?;
            }
        }
        _ if about.license.as_ref().is_some_and(|one| one.basis != Basis::Subscription) => {
            if let Some(row) = tx.subscription(id).await? {
                let has_method = has_payment_method(tx, id).await?;
                facts = SubscriptionFacts::beside_perpetual(&row, has_method);
            }
        }
        _ => {}
    }
    Ok((charge, facts))
}

async fn has_payment_method(tx: &mut Tx, id: &CustomerId) -> Result<bool> {
    let (_, payment_method) = tx.stripe_state(id).await?;
    Ok(payment_method.is_some())
}

/// Returns the list price of the first period of a customer's subscription, and its currency;
/// `None` if the plans file does not have each of its prices.
async fn first_charge(app: &App, tx: &mut Tx, id: &CustomerId) -> Result<Option<(i64, String)>> {
    let Some(row) = tx.subscription(id).await? else { return Ok(None) };
    let (Some(items), Some(currency)) = (row.items, row.currency) else { return Ok(None) };
    let Ok(parsed) = currency.parse::<Currency>() else { return Ok(None) };
    let amounts = items.0.iter().map(|item| {
        let price = app.plans.sold(&item.price)?.price()?;
        Some(i64::from(price.amount_in(&parsed)?).saturating_mul(item.quantity?.into()))
    });
    let amount = amounts.sum::<Option<i64>>();
    Ok(amount.map(|amount| (amount, currency)))
}

/// Returns whether a mail still says the truth: an address that is not verified, a trial that has
/// not been bought, a license that was not replaced. A paused subscription can be resumed, so no
/// mail asks to subscribe again.
fn is_still_true(kind: Kind, about: &About, is_paused: bool, now: Timestamp) -> bool {
    let works = about.current.as_ref().filter(|license| license.works(now));
    match kind {
        Kind::Verify | Kind::VerifyAddress => !about.is_for_verified_mailbox(),
        Kind::TrialEnding => works.is_some_and(|license| license.source == Source::Trial),
        Kind::PaymentBegins => works.is_some_and(|license| license.source == Source::Paid),
        Kind::TrialEnded => works.is_none(),
        Kind::LicenseEnded => works.is_none() && !is_paused,
        _ => true,
    }
}

/// Makes the links of a mail. Returns their URLs, or `None` if one would not work.
async fn make_links(
    app: &App,
    tx: &mut Tx,
    kind: Kind,
    about: &About,
) -> Result<Option<Vec<(LinkKind, String)>>> {
    let mut made = Vec::new();
    let Some(customer) = &about.customer else { return Ok(Some(made)) };
    for link in kind.links() {
        let is_made = match link {
            LinkKind::Verify => !about.is_for_verified_mailbox(),
            LinkKind::Portal => app.stripe.is_some() && customer.stripe_customer_id.is_some(),
            LinkKind::FirstPassword => !password::has_password(tx, &customer.email).await?,
            LinkKind::Reset | LinkKind::Undo => true,
        };
        if is_made {
            let url = mail_link::make(app, tx, *link, customer, &about.email).await?;
            let Some(url) = url else { return Ok(None) };
            made.push((*link, url));
        }
    }
    Ok(Some(made))
}
