//! Customers who exist at Stripe, and not here, or here without a link: links whom it can recognise
//! for sure ([`crate::domain::sale::matching`]), makes accounts for who pays and has none if that
//! is wanted, and tells what a person must decide. Run again, it goes on where it was cut short,
//! and then finds nothing.

use std::collections::{BTreeMap, HashMap};

use futures_util::{StreamExt, stream};
use serde::Serialize;

use crate::app::App;
use crate::domain::contact::{Email, Newcomer};
use crate::domain::ids::CustomerId;
use crate::domain::operator::audit::{Actor, AuditAction};
use crate::domain::sale::buyer::is_paid;
use crate::domain::sale::matching::{Decision, Doubt, Ours, Sign, Tag, Theirs, decide};
use crate::domain::sale::settlement::SyncReport;
use crate::domain::sale::stripe_ids::StripeCustomerId;
use crate::domain::sale::subscription::Subscription;
use crate::error::{Error, Result};
use crate::fail_point::Place;
use crate::flows::Mode;
use crate::flows::account::import;
use crate::flows::sale::lease::Lease;
use crate::flows::sale::reconcile::AT_ONCE;
use crate::flows::sale::stripe_customer;
use crate::flows::sale::sync;

/// Customers that are read at once.
const PAGE: i64 = 500;

/// Whether who pays and has no account gets one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newcomers {
    /// They do.
    Create,
    /// They are only told of.
    Tell,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many subscriptions and customers were listed.
    Listed(usize),
    /// So many customers were worked on.
    Done(usize),
}

/// What became of Stripe's customers.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Customers that Stripe has.
    pub customers: usize,
    /// Those that were linked, with nothing to do.
    pub settled: usize,
    /// Those about whom something was done, or would be.
    pub done: Vec<Done>,
    /// Those who are left to a person.
    pub left: Vec<Left>,
    /// Those about whom something should have been done, and it did not work.
    pub failed: Vec<Failed>,
    /// Prices of live subscriptions that the plans file does not name, and how many there are of
    /// each.
    pub unknown_prices: BTreeMap<String, usize>,
}

/// A customer about whom something was done.
#[derive(Debug, Serialize)]
pub struct Done {
    /// Who, at Stripe.
    pub stripe_customer_id: String,
    /// Who, here; none for an account that would be made.
    pub customer_id: Option<String>,
    /// The address at Stripe.
    pub email: Option<String>,
    /// The plan that they pay for.
    pub plan: Option<String>,
    /// `linked_by_metadata`, `linked_by_email`, `created`, `claimed` as the operator said, or
    /// `finished` for what an earlier run or an import began.
    pub action: &'static str,
    /// What was not as Stripe has it, in words.
    pub changes: Vec<String>,
    /// What needs a look, in words.
    pub alerts: Vec<String>,
}

/// A customer who is left to a person.
#[derive(Debug, Serialize)]
pub struct Left {
    /// Who, at Stripe.
    pub stripe_customer_id: String,
    /// Who it may be here.
    pub customer_id: Option<String>,
    /// The address at Stripe.
    pub email: Option<String>,
    /// The plan that they pay for; who pays for none can wait.
    pub plan: Option<String>,
    /// Why, for programs.
    pub reason: &'static str,
    /// Why, and the way out.
    pub message: String,
}

/// A customer with whom it did not work.
#[derive(Debug, Serialize)]
pub struct Failed {
    /// Who, at Stripe.
    pub stripe_customer_id: String,
    /// Why.
    pub error: String,
}

impl Report {
    /// Those who pay, and are left to a person.
    pub fn paying_left(&self) -> impl Iterator<Item = &Left> {
        self.left.iter().filter(|left| left.plan.is_some())
    }
}

/// What is done about one of Stripe's customers.
#[derive(Clone)]
pub(in crate::flows) enum Step {
    /// It is linked to this customer, and something of that is still to be done.
    Finish(CustomerId),
    /// It is linked to this customer.
    Link(CustomerId, Sign),
    /// An account with this address is made.
    Create(Email),
    /// It is linked to the customer whom the operator names.
    Give(CustomerId),
}

impl Step {
    fn action(&self) -> &'static str {
        match self {
            Self::Finish(_) => "finished",
            Self::Link(_, Sign::Metadata) => "linked_by_metadata",
            Self::Link(_, Sign::Email) => "linked_by_email",
            Self::Create(_) => "created",
            Self::Give(_) => "claimed",
        }
    }

    fn customer_id(&self) -> Option<&CustomerId> {
        match self {
            Self::Finish(id) | Self::Link(id, _) | Self::Give(id) => Some(id),
            Self::Create(_) => None,
        }
    }
}

/// Looks at every customer that Stripe has, and links whom it recognises if that is the mode.
///
/// # Errors
/// [`Error::BillingNotConfigured`]; [`Error::Stripe`] when they cannot be listed: then nothing was
/// done; or a failure of the database. A customer with whom it does not work is in the report.
///
/// [`Error::BillingNotConfigured`]: crate::error::Error::BillingNotConfigured [`Error::Stripe`]:
/// crate::error::Error::Stripe
pub async fn everybody(
    app: &App,
    mode: Mode,
    newcomers: Newcomers,
    progress: impl Fn(Progress),
) -> Result<Report> {
    let (theirs, unknown_prices) = listed(app, |count| progress(Progress::Listed(count))).await?;
    let ours = ours(app).await?;
    let decisions = decide(&theirs, &ours);
    drop(ours);
    let mut report = Report { customers: theirs.len(), unknown_prices, ..Report::default() };
    let mut steps = Vec::new();
    for (one, decision) in theirs.into_iter().zip(decisions) {
        match step(app, &one, decision, newcomers).await? {
            None => report.settled += 1,
            Some(Ok(step)) => steps.push((one, step)),
            Some(Err(doubt)) => report.left.push(left(&one, &doubt)),
        }
    }
    let taken = steps.into_iter().map(async |(one, step)| {
        let taken = match mode {
            Mode::DryRun => Ok((step.customer_id().cloned(), SyncReport::default())),
            Mode::Apply => {
                // On its own: if the command stops meanwhile, the lease is still given back.
                let (own, about, step) = (app.clone(), one.clone(), step.clone());
                app.tasks.run(async move { take(&own, &about, &step, Actor::Operator).await }).await
            }
        };
        (one, step, taken)
    });
    let mut taken = stream::iter(taken).buffered(AT_ONCE);
    while let Some((one, step, taken)) = taken.next().await {
        match taken {
            Ok((id, synced)) => report.done.push(done(&one, &step, id, synced)),
            Err(error) => {
                let (stripe_customer_id, error) = (one.id.to_string(), error.to_string());
                report.failed.push(Failed { stripe_customer_id, error });
            }
        }
        progress(Progress::Done(report.done.len() + report.failed.len()));
    }
    Ok(report)
}

/// Every customer that Stripe has, with the plan that they pay for; and the prices that no plan
/// has.
async fn listed(
    app: &App,
    progress: impl Fn(usize),
) -> Result<(Vec<Theirs>, BTreeMap<String, usize>)> {
    let stripe = app.stripe()?;
    let mut plans: HashMap<StripeCustomerId, (usize, &str)> = HashMap::new();
    let mut unknown_prices = BTreeMap::new();
    let mut count = 0;
    let take = |whose, subscription: Subscription| {
        count += 1;
        progress(count);
        if !is_paid(&subscription.status) {
            return;
        }
        if let Some((plan, _)) = subscription.plan(&app.plans) {
            let held = plans.entry(whose).or_default();
            *held = (*held).max((app.plans.rank(plan.id.as_str()), plan.id.as_str()));
            return;
        }
        for item in subscription.items.into_iter().filter(|item| !app.plans.is_beside(&item.price))
        {
            *unknown_prices.entry(item.price).or_default() += 1;
        }
    };
    stripe.every_subscription(take).await?;
    let mut theirs = stripe.every_customer(|customers| progress(count + customers)).await?;
    for one in &mut theirs {
        one.plan = plans.get(&one.id).map(|(_, plan)| (*plan).to_owned());
    }
    Ok((theirs, unknown_prices))
}

/// Everybody who is here.
pub(in crate::flows) async fn ours(app: &App) -> Result<Vec<Ours>> {
    let mut ours: Vec<Ours> = Vec::new();
    loop {
        let after = ours.last().map(|one| &one.customer_id);
        let page = app.store.read().await?.customers_to_match(after, PAGE).await?;
        if page.is_empty() {
            return Ok(ours);
        }
        ours.extend(page);
    }
}

/// What is to be done about a customer: nothing, a step, or it is left.
pub(in crate::flows) async fn step(
    app: &App,
    one: &Theirs,
    decision: Decision,
    newcomers: Newcomers,
) -> Result<Option<std::result::Result<Step, Doubt>>> {
    Ok(Some(match decision {
        Decision::Settled => return Ok(None),
        Decision::Finish(id) => Ok(Step::Finish(id)),
        Decision::Link(id, sign) => Ok(Step::Link(id, sign)),
        Decision::Newcomer => match (&one.email, &one.plan, newcomers) {
            (Some(email), Some(_), Newcomers::Create) => Ok(Step::Create(email.clone())),
            _ => Err(Doubt::NoAccount),
        },
        Decision::Leave(Doubt::NotHere(id)) => {
            let mut tx = app.store.read().await?;
            let deleted = tx.has_audit_entry(&id, AuditAction::CustomerDeleted).await?;
            Err(if deleted { Doubt::Deleted(id) } else { Doubt::NotHere(id) })
        }
        Decision::Leave(doubt) => Err(doubt),
    }))
}

/// Takes a step, each part of which is found done or undone by the next run: the link first, then
/// the metadata at Stripe, then what they bought.
pub(in crate::flows) async fn take(
    app: &App,
    theirs: &Theirs,
    step: &Step,
    by: Actor<'static>,
) -> Result<(Option<CustomerId>, SyncReport)> {
    let customer_id = match step {
        Step::Finish(id) | Step::Link(id, _) | Step::Give(id) => id.clone(),
        Step::Create(email) => create(app, theirs, email, by).await?,
    };
    let lease = Lease::take(app, &customer_id).await?;
    let work = async {
        if let Step::Link(_, sign) = step
            && !stripe_customer::adopt(app, &lease, theirs, *sign, by).await?
        {
            return Err(Error::setup("it changed meanwhile; run this again"));
        }
        app.fail_points.reach(Place::BackfillLinked);
        if theirs.tag == Tag::None {
            let at = app.fail_points.at(Place::BackfillTagged);
            app.stripe()?.tag_customer(&theirs.id, Some(&customer_id), at).await?;
        }
        sync::sync_held(app, &lease).await
    };
    let report = lease.during(app, work).await?;
    Ok((Some(customer_id), report))
}

async fn create(
    app: &App,
    theirs: &Theirs,
    email: &Email,
    by: Actor<'static>,
) -> Result<CustomerId> {
    let newcomer = Newcomer {
        email: email.clone(),
        email_verified: true,
        name: theirs.name.clone(),
        company_name: None,
        stripe_customer_id: Some(theirs.id.clone()),
    };
    let mut tx = app.store.write().await?;
    let customer_id = import::add(app, &mut tx, newcomer, by, AuditAction::CustomerCreated).await?;
    tx.commit(app.fail_points.at(Place::BackfillCreated)).await?;
    Ok(customer_id)
}

pub(in crate::flows) fn done(
    one: &Theirs,
    step: &Step,
    id: Option<CustomerId>,
    report: SyncReport,
) -> Done {
    Done {
        stripe_customer_id: one.id.to_string(),
        customer_id: id.map(|id| id.to_string()),
        email: one.email.as_ref().map(Email::to_string),
        plan: one.plan.clone(),
        action: step.action(),
        changes: report.changes,
        alerts: report.alerts,
    }
}

pub(in crate::flows) fn left(one: &Theirs, doubt: &Doubt) -> Left {
    Left {
        stripe_customer_id: one.id.to_string(),
        customer_id: doubt.customer_id().map(CustomerId::to_string),
        email: one.email.as_ref().map(Email::to_string),
        plan: one.plan.clone(),
        reason: doubt.as_str(),
        message: doubt.advice(&one.id),
    }
}
