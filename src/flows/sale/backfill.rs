//! The backfill: links every Stripe customer that certainly matches a customer here
//! ([`crate::domain::sale::matching`]), creates accounts for paying Stripe customers without one if
//! asked, and reports what an operator must decide. A repeated run continues an interrupted one,
//! and changes nothing when all is done. `claim.rs` links a single Stripe customer.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures_util::{StreamExt, stream};
use serde::Serialize;

use crate::app::App;
use crate::domain::contact::{Email, Newcomer};
use crate::domain::ids::CustomerId;
use crate::domain::operator::audit::{Actor, AuditAction};
use crate::domain::sale::buyer::{BuyerId, is_paid};
use crate::domain::sale::matching::{
    Ambiguity, ClaimAdvice, CustomerCandidate, LinkDecision, MatchReason, StripeCandidate, Tag,
    decide,
};
use crate::domain::sale::settlement::SyncReport;
use crate::domain::sale::stripe_ids::StripeCustomerId;
use crate::domain::sale::subscription::Subscription;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::fail_point::Place;
use crate::flows::Mode;
use crate::flows::account::import;
use crate::flows::sale::lease::Lease;
use crate::flows::sale::link::{LinkReason, link};
use crate::flows::sale::reconcile::AT_ONCE;
use crate::flows::sale::sync;
use crate::flows::sale::unclaimed;

/// The number of customers that are read in one transaction.
const PAGE: i64 = 500;

/// Whether accounts are created for paying Stripe customers without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newcomers {
    /// Accounts are created.
    Create,
    /// These customers are only reported.
    ReportOnly,
}

/// The progress of a backfill or an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The number of subscriptions and customers listed so far.
    Listed(usize),
    /// The number of customers processed so far.
    Done(usize),
}

/// The result of a backfill.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The number of Stripe customers.
    pub customers: usize,
    /// The number of them that were linked already, with nothing to do.
    pub settled: usize,
    /// The customers that were changed, or would be on a dry run.
    pub done: Vec<Done>,
    /// The customers that need an operator's decision.
    #[serde(rename = "left")]
    pub undecided: Vec<Undecided>,
    /// The customers whose change failed.
    pub failed: Vec<Failed>,
    /// Prices of live subscriptions that are not in the plans file, each with the number of
    /// subscriptions.
    pub unknown_prices: BTreeMap<String, usize>,
}

/// A Stripe customer that was changed, or would be on a dry run.
#[derive(Debug, Serialize)]
pub struct Done {
    /// The Stripe customer, or the Checkout session of a single payment.
    #[serde(flatten)]
    pub buyer: BuyerId,
    /// The customer here; none for an account that would be created.
    pub customer_id: Option<String>,
    /// The email address at Stripe.
    pub email: Option<Email>,
    /// The plan that it pays for.
    pub plan: Option<String>,
    /// `linked_by_metadata`, `linked_by_email`, `created`, `claimed` for a link that the operator
    /// chose, or `finished` for one that an earlier run or an import began.
    pub action: &'static str,
    /// The changes that the sync made and the mails about them, one sentence each. A dry run has
    /// none: it does not sync.
    pub changes: Vec<String>,
    /// The alerts of the sync for an operator, one sentence each.
    pub alerts: Vec<String>,
}

/// A Stripe customer that needs an operator's decision.
#[derive(Debug, Serialize)]
pub struct Undecided {
    /// The Stripe customer, or the Checkout session of a single payment.
    #[serde(flatten)]
    pub buyer: BuyerId,
    /// The customer here that it may belong to.
    pub customer_id: Option<String>,
    /// The email address at Stripe.
    pub email: Option<Email>,
    /// The plan that it pays for. Without one, the decision is not urgent.
    pub plan: Option<String>,
    /// The stable code of the reason.
    pub reason: &'static str,
    /// The reason in words, with the way out.
    pub message: String,
}

/// A Stripe customer whose change failed.
#[derive(Debug, Serialize)]
pub struct Failed {
    /// The Stripe customer.
    pub stripe_customer_id: String,
    /// The error.
    pub error: String,
}

impl Report {
    /// Returns the paying Stripe customers that need an operator's decision.
    pub fn paying_undecided(&self) -> impl Iterator<Item = &Undecided> {
        self.undecided.iter().filter(|undecided| undecided.plan.is_some())
    }
}

/// The change for one Stripe customer.
#[derive(Clone)]
pub(in crate::flows) enum Step {
    /// It is already linked to this customer; the metadata or the first sync is missing.
    Finish(CustomerId),
    /// Link it to this customer.
    Link(CustomerId, MatchReason),
    /// Create an account with this email address.
    Create(Email),
}

impl Step {
    pub(super) fn action(&self) -> &'static str {
        match self {
            Self::Finish(_) => "finished",
            Self::Link(_, MatchReason::Metadata) => "linked_by_metadata",
            Self::Link(_, MatchReason::Email) => "linked_by_email",
            Self::Create(_) => "created",
        }
    }

    fn customer_id(&self) -> Option<&CustomerId> {
        match self {
            Self::Finish(id) | Self::Link(id, _) => Some(id),
            Self::Create(_) => None,
        }
    }
}

/// Runs the backfill for every Stripe customer. A dry run only reports.
///
/// # Errors
/// [`Error::BillingNotConfigured`]; [`Error::Stripe`] when the customers cannot be listed: then
/// nothing was changed; or a failure of the database. The failure of one customer is in the report.
pub async fn run(
    app: &App,
    mode: Mode,
    newcomers: Newcomers,
    progress: impl Fn(Progress),
) -> Result<Report> {
    let Listed { mut theirs, subscribed_at, unknown_prices } =
        listed(app, |count| progress(Progress::Listed(count))).await?;
    let ours = ours(app).await?;
    note_deletions(app, &mut theirs, &ours, &subscribed_at).await?;
    let decisions = decide(&theirs, &ours);
    drop((ours, subscribed_at));
    let mut report = Report { customers: theirs.len(), unknown_prices, ..Report::default() };
    let mut steps = Vec::new();
    for (one, decision) in theirs.into_iter().zip(decisions) {
        match step(app, &one, decision, newcomers).await? {
            None => report.settled += 1,
            Some(Ok(step)) => steps.push((one, step)),
            Some(Err(doubt)) => {
                // Its single payments are not read here.
                let is_possible = app.plans.sells_once();
                let claim = if is_possible { ClaimAdvice::AskClaim } else { ClaimAdvice::Nothing };
                report.undecided.push(undecided(&one, &doubt, &claim));
            }
        }
    }
    let taken = steps.into_iter().map(async |(one, step)| {
        let taken = match mode {
            Mode::DryRun => Ok((step.customer_id().cloned(), SyncReport::default())),
            Mode::Apply => {
                // Runs in its own task: if the command stops, the lease is still released.
                let (own, about, step) = (app.clone(), one.clone(), step.clone());
                let taken = async move { take(&own, &about, &step, Actor::Operator).await };
                app.tasks.run(taken).await.map(|(id, report)| (Some(id), report))
            }
        };
        (one, step, taken)
    });
    let mut taken = stream::iter(taken).buffered(AT_ONCE);
    while let Some((one, step, taken)) = taken.next().await {
        match taken {
            Ok((id, synced)) => report.done.push(done(&one, step.action(), id, synced)),
            Err(error) => {
                let (stripe_customer_id, error) = (one.id.to_string(), error.to_string());
                report.failed.push(Failed { stripe_customer_id, error });
            }
        }
        progress(Progress::Done(report.done.len() + report.failed.len()));
    }
    Ok(report)
}

/// The result of reading all customers and subscriptions at Stripe.
struct Listed {
    /// Every Stripe customer with the plan that it pays for.
    theirs: Vec<StripeCandidate>,
    /// When the latest subscription to a plan of each began.
    subscribed_at: HashMap<StripeCustomerId, Timestamp>,
    /// The prices of live subscriptions that belong to no plan, each with their number.
    unknown_prices: BTreeMap<String, usize>,
}

/// Lists every subscription and every Stripe customer.
async fn listed(app: &App, progress: impl Fn(usize)) -> Result<Listed> {
    let stripe = app.stripe()?;
    let mut plans: HashMap<StripeCustomerId, (usize, &str)> = HashMap::new();
    let mut subscribed_at: HashMap<StripeCustomerId, Timestamp> = HashMap::new();
    let mut subscribed: HashSet<StripeCustomerId> = HashSet::new();
    let mut unknown_prices = BTreeMap::new();
    let mut count = 0;
    let take = |whose: StripeCustomerId, subscription: Subscription| {
        count += 1;
        progress(count);
        if subscription.status.is_live() {
            subscribed.insert(whose.clone());
        }
        if !is_paid(&subscription.status) {
            return;
        }
        if let Some((plan, _)) = subscription.plan(&app.plans) {
            let at = subscribed_at.entry(whose.clone()).or_insert(subscription.created);
            *at = (*at).max(subscription.created);
            let held = plans.entry(whose).or_default();
            *held = (*held).max((app.plans.rank(plan.id.as_str()), plan.id.as_str()));
            return;
        }
        for item in
            subscription.items.into_iter().filter(|item| !app.plans.is_other_price(&item.price))
        {
            *unknown_prices.entry(item.price).or_default() += 1;
        }
    };
    stripe.every_subscription(take).await?;
    let mut theirs = stripe.every_customer(|customers| progress(count + customers)).await?;
    for one in &mut theirs {
        one.plan = plans.get(&one.id).map(|(_, plan)| (*plan).to_owned());
        one.is_subscribed = subscribed.contains(&one.id);
    }
    Ok(Listed { theirs, subscribed_at, unknown_prices })
}

/// Notes which Stripe customers had an account that was deleted. Their single payments are not read
/// here. A linked one has another account, whose id its metadata may not have yet.
async fn note_deletions(
    app: &App,
    theirs: &mut [StripeCandidate],
    ours: &[CustomerCandidate],
    subscribed_at: &HashMap<StripeCustomerId, Timestamp>,
) -> Result<()> {
    let linked = ours.iter().filter_map(|one| Some((one.stripe_customer_id.as_ref()?, one)));
    let linked: HashMap<_, _> = linked.collect();
    let mut tx = app.store.read().await?;
    for one in theirs {
        let owner = linked.get(&one.id).map(|ours| Tag::Ours(ours.customer_id.clone()));
        if owner.as_ref() == Some(&one.tag) {
            continue;
        }
        if let Some(deletion) = unclaimed::deletion(&mut tx, &one.id, &one.tag).await? {
            let subscribed_at = subscribed_at.get(&one.id);
            let has_subscribed = subscribed_at.is_some_and(|began| *began > deletion.at);
            one.note_deletion(deletion, owner.is_some() || has_subscribed);
        }
    }
    Ok(())
}

/// Returns every customer here.
pub(in crate::flows) async fn ours(app: &App) -> Result<Vec<CustomerCandidate>> {
    let mut ours: Vec<CustomerCandidate> = Vec::new();
    loop {
        let after = ours.last().map(|one| &one.customer_id);
        let page = app.store.read().await?.customers_to_match(after, PAGE).await?;
        if page.is_empty() {
            return Ok(ours);
        }
        ours.extend(page);
    }
}

/// Returns the step for a Stripe customer, `None` if nothing is to be done, or the doubt that an
/// operator must resolve.
pub(in crate::flows) async fn step(
    app: &App,
    one: &StripeCandidate,
    decision: LinkDecision,
    newcomers: Newcomers,
) -> Result<Option<std::result::Result<Step, Ambiguity>>> {
    Ok(Some(match decision {
        LinkDecision::Settled => return Ok(None),
        LinkDecision::Finish(id) => Ok(Step::Finish(id)),
        LinkDecision::Link(id, sign) => Ok(Step::Link(id, sign)),
        LinkDecision::Newcomer => match (&one.email, &one.plan) {
            (Some(email), Some(_)) => {
                let mut tx = app.store.read().await?;
                if tx.is_email_taken(email, None, app.now()).await? {
                    // It may be reserved for a customer who has changed the address.
                    Err(Ambiguity::Reserved)
                } else {
                    match newcomers {
                        Newcomers::Create => Ok(Step::Create(email.clone())),
                        Newcomers::ReportOnly => Err(Ambiguity::NoAccount),
                    }
                }
            }
            _ => Err(Ambiguity::NoAccount),
        },
        LinkDecision::Leave(doubt) => Err(doubt),
    }))
}

/// Takes a step: links the customer, then writes the metadata at Stripe, then syncs. After an
/// interruption, another run finishes the rest. Returns the customer and the report of the sync.
pub(in crate::flows) async fn take(
    app: &App,
    theirs: &StripeCandidate,
    step: &Step,
    by: Actor<'static>,
) -> Result<(CustomerId, SyncReport)> {
    if !matches!(step, Step::Finish(_)) {
        unclaimed::refuse_of_another(app, &theirs.id, step.customer_id()).await?;
    }
    let customer_id = match step {
        Step::Finish(id) | Step::Link(id, _) => id.clone(),
        Step::Create(email) => create(app, theirs, email, by).await?,
    };
    let lease = Lease::take(app, &customer_id).await?;
    let work = async {
        if let Step::Link(_, reason) = step {
            let why = LinkReason::Matched { theirs, reason: *reason };
            link(app, &lease, &theirs.id, why, by).await?;
        }
        app.fail_points.reach(Place::BackfillLinked);
        if theirs.tag == Tag::None {
            let at = app.fail_points.at(Place::BackfillTagged);
            app.stripe()?.tag_customer(&theirs.id, Some(&customer_id), at).await?;
        }
        Ok(sync::sync_held(app, &lease).await?.report)
    };
    let report = Box::pin(lease.during_sync(app, &[], work)).await?;
    Ok((customer_id, report))
}

async fn create(
    app: &App,
    theirs: &StripeCandidate,
    email: &Email,
    by: Actor<'static>,
) -> Result<CustomerId> {
    // An operator vouches for a Stripe customer. Without one, a stranger may have typed the address
    // and the name on a payment page (security_34).
    let is_vouched_for = by == Actor::Operator;
    let newcomer = Newcomer {
        email: email.clone(),
        email_verified: is_vouched_for,
        name: theirs.name.clone().filter(|_| is_vouched_for),
        company_name: None,
        stripe_customer_id: Some(theirs.id.clone()),
    };
    let mut tx = app.store.write().await?;
    let customer_id = import::add(app, &mut tx, newcomer, by, AuditAction::CustomerCreated).await?;
    tx.commit(app.fail_points.at(Place::BackfillCreated)).await?;
    Ok(customer_id)
}

pub(in crate::flows) fn done(
    one: &StripeCandidate,
    action: &'static str,
    id: Option<CustomerId>,
    report: SyncReport,
) -> Done {
    Done {
        buyer: one.id.clone().into(),
        customer_id: id.map(|id| id.to_string()),
        email: one.email.clone(),
        plan: one.plan.clone(),
        action,
        changes: report.changes,
        alerts: report.alerts,
    }
}

pub(in crate::flows) fn undecided(
    one: &StripeCandidate,
    doubt: &Ambiguity,
    claim: &ClaimAdvice,
) -> Undecided {
    let buyer = one.id.clone().into();
    Undecided {
        customer_id: doubt.customer_id().map(CustomerId::to_string),
        email: one.email.clone(),
        plan: one.plan.clone(),
        reason: doubt.as_str(),
        message: doubt.advice(&buyer, claim),
        buyer,
    }
}
