//! Sign-up: creates a user, a customer, a trial license and a login session in one transaction.
//! Stripe is not called here: the Stripe customer is created at the first checkout, or by a task. A
//! sign-up that waits for the confirmation of its address is in `pending.rs`.

use serde_json::json;

use crate::app::App;
use crate::domain::account::customer::{Customer, NewAccount};
use crate::domain::account::password::Password;
use crate::domain::account::session::SessionToken;
use crate::domain::account::signup::TrialRefused;
use crate::domain::contact::{DisplayName, Email};
use crate::domain::ids::{CustomerId, UserId};
use crate::domain::license::{Entitlement, IssuedLicense};
use crate::domain::message::{Kind, Language};
use crate::domain::operator::audit::AuditAction;
use crate::domain::outbox::To;
use crate::domain::sale::inbox::TaskKind;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::fail_point::Place;
use crate::flows::account::attempts::SignupMailBudget;
use crate::flows::account::customer;
use crate::flows::account::password;
use crate::flows::account::session;
use crate::flows::account::trial_memory;
use crate::flows::sale::inbox;
use crate::flows::{audit, license, mail};
use crate::store::Tx;
use crate::stripe::Stripe;

/// The request of a sign-up.
#[derive(Debug)]
pub struct Signup {
    /// The email address, which is also the login.
    pub email: Email,
    /// The new password, not checked yet.
    pub password: Password,
    /// The person's name.
    pub name: Option<DisplayName>,
    /// The company's name.
    pub company_name: Option<DisplayName>,
    /// The language that the caller prefers for mails.
    pub language: Option<Language>,
}

/// The result of a sign-up.
#[derive(Debug)]
pub struct SignedUp {
    /// The new customer.
    pub customer: Customer,
    /// The trial license, or the reason why there is none.
    pub license: std::result::Result<IssuedLicense, TrialRefused>,
    /// The token of the new login session.
    pub session_token: SessionToken,
}

/// Signs up a customer. `client` is the name of the caller's software.
///
/// # Errors
/// [`crate::error::Error::UnfitPassword`], [`crate::error::Error::EmailTaken`],
/// [`crate::error::Error::TooManyRequests`] when the mailbox has got too many mails, or a failure
/// of the database.
pub async fn signup(app: &App, request: Signup, client: Option<String>) -> Result<SignedUp> {
    let Signup { email, password, name, company_name, language } = request;
    let password_hash = password::choose(app, password, &email, [&name, &company_name]).await?;
    let account = NewAccount {
        user_id: UserId::from_random(app.random.bits()),
        customer_id: CustomerId::from_random(app.random.bits()),
        email,
        password_hash,
        name,
        company_name,
        email_verified_at: None,
        language,
    };

    let mailbox = SignupMailBudget::of(app, &account.email).await?;
    let now = app.now();
    let mut tx = app.store.write().await?;
    let (customer, license) = create(app, &mut tx, account, now).await?;
    mailbox.count(&mut tx, now).await?;
    let opened = session::open(app, &mut tx, &customer.user_id, client, now).await?;
    app.fail_points.reach(Place::SignupWritten);
    tx.commit(app.fail_points.at(Place::SignupCommitted)).await?;
    app.events_due.notify_one();
    app.mail_due.notify_one();
    Ok(SignedUp { customer, license, session_token: opened.token })
}

/// Returns a sign-up whose response was lost, with a new login session.
///
/// # Errors
/// As [`session::open_again`].
pub async fn resume(app: &App, user_id: &UserId, client: Option<String>) -> Result<SignedUp> {
    let (opened, customer) = session::open_again(app, user_id, client).await?;
    let license = app.store.read().await?.current_license(&customer.customer_id).await?;
    let license = license.ok_or(TrialRefused::Used);
    Ok(SignedUp { customer, license, session_token: opened.token })
}

/// Creates an account with its trial license, in the transaction of the caller. An address that has
/// had a trial gets no other one, here or at Stripe. Returns the customer, and the license or the
/// reason why there is none.
///
/// # Errors
/// [`crate::error::Error::EmailTaken`], or a failure of the database.
pub(super) async fn create(
    app: &App,
    tx: &mut Tx,
    account: NewAccount,
    now: Timestamp,
) -> Result<(Customer, std::result::Result<IssuedLicense, TrialRefused>)> {
    let (customer, trials) = trial_memory::insert_account(app, tx, account, now).await?;
    let id = &customer.customer_id;
    let license = if trials.here {
        mail::enqueue(app, tx, Kind::SignedUp, To::Customer(id), now).await?;
        Err(TrialRefused::Used)
    } else {
        let trial = Entitlement::trial(&app.plans, now);
        let license = license::issue(app, tx, id, &trial, now).await?;
        let to = To::License(id, &license.license_id);
        mail::enqueue(app, tx, Kind::Trial, to, now).await?;
        Ok(license)
    };
    let detail = match &license {
        Ok(license) => json!({ "plan": license.plan }),
        Err(refused) => json!({ "trial_refused": refused.as_str() }),
    };
    let entry = customer::by_customer(id, AuditAction::CustomerSignedUp, detail);
    audit(app, tx, entry, now).await?;
    if let Ok(license) = &license {
        let detail = license.audit_detail();
        let entry = customer::by_customer(id, AuditAction::LicenseIssued, detail);
        audit(app, tx, entry, now).await?;
    }
    if app.stripe.as_ref().is_some_and(Stripe::wants_customers_at_signup) {
        inbox::queue_task(app, tx, TaskKind::CustomerSignedUp, id, now).await?;
    }
    Ok((customer, license))
}
