//! The customer's licenses, refresh, and online verification.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use licentia_verify::{License, State};
use poem::web::Data;
use poem_openapi::param::Query;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object, OpenApi};

use crate::app::App;
use crate::domain::license::{IssuedLicense, LicenseStatus, LicenseToken};
use crate::domain::time::Timestamp;
use crate::error::Error;
use crate::flows::license::{self, OnlineVerdict};
use crate::http::Tag;
use crate::http::caller::{Caller, LicenseBearer};
use crate::http::idempotency::Once;
use crate::http::input::Input;
use crate::http::problem::{Failure, NothingMore, documented};

pub struct LicensesApi;

documented!(CurrentCodes: NotFound);
documented!(RefreshCodes: InvalidLicense, KeyRevoked, Revoked, LicenseExpired, TokenExpired);

/// An example for the API description. It has three parts, but is not a valid license.
const EXAMPLE_TOKEN: &str = "eyJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl";

/// The path of the online verification, which takes larger bodies than others.
pub const VERIFY_PATH: &str = "/api/licenses/verify";

/// The maximum number of licenses in one response.
const MAX_PAGE: i64 = 100;

/// The status of a license.
#[derive(Enum)]
#[oai(rename = "LicenseStatus", rename_all = "snake_case")]
pub enum LicenseStatusView {
    /// The license works.
    Active,
    /// The paid time is over, and the license still works during the grace period.
    Grace,
    /// The license has expired.
    Expired,
    /// A newer license has replaced it. It still verifies offline until it expires.
    Superseded,
    /// The license was revoked.
    Revoked,
}

impl From<LicenseStatus> for LicenseStatusView {
    fn from(status: LicenseStatus) -> Self {
        match status {
            LicenseStatus::Active => Self::Active,
            LicenseStatus::Grace => Self::Grace,
            LicenseStatus::Expired => Self::Expired,
            LicenseStatus::Superseded => Self::Superseded,
            LicenseStatus::Revoked => Self::Revoked,
        }
    }
}

/// A license.
#[derive(Object)]
#[oai(rename = "License", example)]
pub struct LicenseView {
    /// The id of the license (the claim `jti`).
    license_id: String,
    /// The license token: a signed JWT that an app stores and verifies offline.
    token: String,
    /// The plan's id.
    plan: String,
    /// Whether this is a trial.
    trial: bool,
    /// The status now.
    status: LicenseStatusView,
    /// The features of the plan and the add-ons, and those that a grant added.
    features: Vec<String>,
    /// The limits, for example the number of seats: those of the plan for the units that were paid
    /// for, and those of the add-ons.
    limits: BTreeMap<String, u64>,
    /// The number of units of the plan that were paid for.
    quantity: u32,
    /// The ids of the add-ons.
    addons: Vec<String>,
    /// When the license was issued.
    issued_at: DateTime<Utc>,
    /// The end of the paid time or of the trial. `null` if the license does not end.
    #[oai(nullable)]
    expires_at: Option<DateTime<Utc>>,
    /// The end of the grace period, during which the license still works.
    #[oai(nullable)]
    grace_until: Option<DateTime<Utc>>,
    /// The time after which builds of the app are not covered. `null` if all builds are.
    #[oai(nullable)]
    updates_until: Option<DateTime<Utc>>,
    /// When the token expires. An app that is online refreshes it earlier.
    token_expires_at: DateTime<Utc>,
    /// The key bundle, which an app that ships with the root key stores beside the token. Only in
    /// the response to a refresh, and only if there is a key bundle.
    #[oai(skip_serializing_if_is_none)]
    keys: Option<String>,
}

impl Example for LicenseView {
    fn example() -> Self {
        let time = |seconds| Timestamp::saturating(seconds).to_datetime();
        Self {
            license_id: "lic_0123456789abcdef0123456789abcdef".into(),
            token: EXAMPLE_TOKEN.into(),
            plan: "trial".into(),
            trial: true,
            status: LicenseStatusView::Active,
            features: vec!["editor".into()],
            limits: BTreeMap::from([("seats".into(), 1)]),
            quantity: 1,
            addons: Vec::new(),
            issued_at: time(1_795_186_800),
            expires_at: Some(time(1_796_396_400)),
            grace_until: None,
            updates_until: None,
            token_expires_at: time(1_796_396_400),
            keys: None,
        }
    }
}

impl LicenseView {
    /// Returns the license as the API shows it at `now`.
    ///
    /// # Errors
    /// [`Error::Internal`] if the token in the database is not a license.
    pub fn new(license: IssuedLicense, now: Timestamp) -> crate::error::Result<Self> {
        let damaged = || Error::Internal(format!("the token of {} is damaged", license.license_id));
        let claims = license.claims().ok_or_else(damaged)?;
        Ok(Self {
            status: license.status(now).into(),
            features: claims.features,
            limits: claims.limits,
            license_id: license.license_id.to_string(),
            token: license.token.expose().to_owned(),
            plan: license.plan,
            trial: claims.trial,
            quantity: license.quantity,
            addons: license.addons.texts(),
            issued_at: license.issued_at.to_datetime(),
            expires_at: license.expires_at.map(Timestamp::to_datetime),
            grace_until: license.grace_until.map(Timestamp::to_datetime),
            updates_until: license.updates_until.map(Timestamp::to_datetime),
            token_expires_at: license.token_expires_at.to_datetime(),
            keys: None,
        })
    }

    /// Adds the key bundle.
    fn with_keys(self, keys: Option<String>) -> Self {
        Self { keys, ..self }
    }
}

/// A page of licenses.
#[derive(Object)]
struct Licenses {
    /// The licenses, newest first.
    licenses: Vec<LicenseView>,
    /// The value of `before` for the next page. `null` on the last page.
    #[oai(nullable)]
    next_before: Option<i64>,
}

/// A license to verify.
#[derive(Object)]
#[oai(rename = "VerifyLicense", deny_unknown_fields, example)]
struct VerifyRequest {
    /// The license token, a signed JWT, or the text of a `license.json`. Blanks and quotes around
    /// it, and line breaks inside, do no harm.
    token: String,
    /// When the build of the app was made. A license with `updates_until` covers only earlier
    /// builds (`update_not_covered`). Without it, builds are not checked.
    #[oai(nullable, skip_serializing_if_is_none)]
    build: Option<DateTime<Utc>>,
}

impl Example for VerifyRequest {
    fn example() -> Self {
        Self { token: EXAMPLE_TOKEN.into(), build: None }
    }
}

/// The result of an online verification.
#[derive(Object, Default)]
#[oai(rename = "LicenseVerdict", example)]
struct VerdictView {
    /// Whether the license works now.
    valid: bool,
    /// The state of a valid license: `active`, `grace`, `limited` (over, and some of it remains) or
    /// `overdue` (over, and all of it remains). `null` if it is invalid.
    #[oai(nullable)]
    state: Option<String>,
    /// The stable code of the reason why it is not active: `malformed`, `bad_signature`,
    /// `unknown_key`, `key_revoked`, `wrong_type`, `wrong_audience`, `wrong_issuer`,
    /// `not_yet_valid`, `revoked`, `update_not_covered`, `license_expired`, `token_expired`, … It
    /// is that of an offline verification, or `unknown_license` for a license that is not on
    /// record.
    #[oai(nullable)]
    code: Option<String>,
    /// The same as `code`.
    #[oai(nullable)]
    reason: Option<String>,
    /// The reason as text.
    #[oai(nullable)]
    message: Option<String>,
    /// Whether a newer license has replaced it.
    #[oai(nullable)]
    superseded: Option<bool>,
    /// Whether the license is in its grace period.
    #[oai(nullable)]
    grace: Option<bool>,
    /// Whether the app should warn the user: the license is not active, or changes soon.
    warn: bool,
    /// When the result will change next.
    #[oai(nullable)]
    changes_at: Option<DateTime<Utc>>,
    /// The contents of a valid license.
    #[oai(nullable)]
    license: Option<VerifiedLicense>,
}

impl Example for VerdictView {
    fn example() -> Self {
        let LicenseView { license_id, plan, trial, features, limits, expires_at, .. } =
            LicenseView::example();
        let license = VerifiedLicense {
            license_id,
            customer_id: "cust_0123456789abcdef0123456789abcdef".into(),
            plan,
            trial,
            features,
            limits,
            expires_at,
            updates_until: None,
        };
        Self {
            valid: true,
            state: Some(State::Active.as_str().into()),
            superseded: Some(false),
            grace: Some(false),
            changes_at: expires_at,
            license: Some(license),
            ..Self::default()
        }
    }
}

/// The contents of a valid license.
#[derive(Object)]
struct VerifiedLicense {
    /// The id of the license (the claim `jti`).
    license_id: String,
    /// The id of the customer with the license.
    customer_id: String,
    /// The plan's id.
    plan: String,
    /// Whether this is a trial.
    trial: bool,
    /// The features that are in effect now.
    features: Vec<String>,
    /// The limits that are in effect now, for example the number of seats.
    limits: BTreeMap<String, u64>,
    /// The end of the paid time or of the trial. `null` if the license does not end.
    #[oai(nullable)]
    expires_at: Option<DateTime<Utc>>,
    /// The time after which builds of the app are not covered. `null` if all builds are.
    #[oai(nullable)]
    updates_until: Option<DateTime<Utc>>,
}

impl From<&License> for VerifiedLicense {
    fn from(license: &License) -> Self {
        let claims = license.claims();
        let time = |seconds| Timestamp::saturating(seconds).to_datetime();
        Self {
            license_id: claims.jti.clone(),
            customer_id: claims.sub.clone(),
            plan: claims.plan.clone(),
            trial: claims.trial,
            features: license.features().to_vec(),
            limits: license.limits().clone(),
            expires_at: claims.license_expires.map(time),
            updates_until: claims.updates_until.map(time),
        }
    }
}

impl From<OnlineVerdict> for VerdictView {
    fn from(verdict: OnlineVerdict) -> Self {
        let time = |time| Timestamp::from(time).to_datetime();
        let (code, message, changes_at) = match verdict {
            OnlineVerdict::Valid { license, superseded } => {
                let code = license.code().map(|code| code.to_string());
                return Self {
                    valid: true,
                    state: Some(license.state().as_str().into()),
                    code: code.clone(),
                    reason: code,
                    message: None,
                    superseded: Some(superseded),
                    grace: Some(license.state() == State::Grace),
                    warn: license.needs_warning(),
                    changes_at: license.changes_at().map(time),
                    license: Some((&*license).into()),
                };
            }
            OnlineVerdict::Rejected(rejection) => {
                (rejection.code().as_str(), rejection.to_string(), rejection.changes_at())
            }
            OnlineVerdict::Unknown => {
                ("unknown_license", "the license is not on record; was it deleted?".into(), None)
            }
        };
        Self {
            code: Some(code.into()),
            reason: Some(code.into()),
            message: Some(message),
            changes_at: changes_at.map(time),
            ..Self::default()
        }
    }
}

#[OpenApi(prefix_path = "/api/licenses", tag = "Tag::Licenses")]
impl LicensesApi {
    /// Get my current license
    ///
    /// Returns the newest license of the caller. Give its `token` to the app.
    #[oai(path = "/current", method = "get", operation_id = "getCurrentLicense")]
    async fn current(
        &self,
        Data(app): Data<&App>,
        Caller(caller): Caller,
    ) -> Result<Json<LicenseView>, Failure<CurrentCodes>> {
        let license = license::current(app, &caller).await?;
        Ok(Json(LicenseView::new(license, app.now())?))
    }

    /// List my licenses
    ///
    /// Returns every license ever issued to the caller, newest first.
    #[oai(path = "/", method = "get", operation_id = "listLicenses")]
    async fn history(
        &self,
        Data(app): Data<&App>,
        Caller(caller): Caller,
        /// Where the page starts: `next_before` of the previous page.
        #[oai(example = "example_before", validator(minimum(value = "1")))]
        before: Query<Option<i64>>,
        /// The maximum number of licenses to return.
        #[oai(
            default = "max_page",
            example = "max_page",
            validator(minimum(value = "1"), maximum(value = "100"))
        )]
        limit: Query<i64>,
    ) -> Result<Json<Licenses>, Failure<NothingMore>> {
        let page = license::history(app, &caller, before.0, limit.0).await?;
        let last = page.last().map(|license| license.seq).filter(|seq| *seq > 1);
        let is_full = i64::try_from(page.len()).is_ok_and(|count| count == limit.0);
        let now = app.now();
        let licenses = page.into_iter().map(|license| LicenseView::new(license, now));
        let licenses = licenses.collect::<crate::error::Result<_>>()?;
        Ok(Json(Licenses { licenses, next_before: last.filter(|_| is_full) }))
    }

    /// Refresh a license
    ///
    /// Returns the customer's newest license, which works now, and the key bundle. The app sends
    /// its license token as `Authorization: Bearer`; no password is needed. The token may have
    /// expired up to 90 days ago. The returned token was signed within the last minute, or within
    /// the last hour if the signing key has just changed, so that a device whose clock was ahead
    /// notices that it is right again. A license that was revoked for lack of payment can be
    /// refreshed once the customer has paid. A license that leaked (`revoked`), or whose key was
    /// revoked (`key_revoked`), cannot: log in instead. These codes, `license_expired` and
    /// `token_expired` are those of an offline verification; anything else is `invalid_license`.
    #[oai(path = "/refresh", method = "post", operation_id = "refreshLicense")]
    async fn refresh(
        &self,
        Data(app): Data<&App>,
        LicenseBearer(bearer): LicenseBearer,
        #[oai(name = "Idempotency-Key")] once: Once,
    ) -> Result<Json<LicenseView>, Failure<RefreshCodes>> {
        let token = LicenseToken::new(bearer.token);
        if once.is_keyed() {
            let holder = license::holder(app, &token).await?;
            once.begin(app, Some(&holder.customer_id)).await?;
        }
        let license = license::refresh(app, &token).await?;
        let keys = app.published_keys().await;
        Ok(Json(LicenseView::new(license, app.now())?.with_keys(keys.bundle_text())))
    }

    /// Verify a license online
    ///
    /// Returns whether a license works now, including whether it was revoked or replaced. It is the
    /// verdict of an offline verification, and needs no credential. A `license.json` is accepted
    /// too.
    #[oai(path = "/verify", method = "post", operation_id = "verifyLicense")]
    async fn verify(
        &self,
        Data(app): Data<&App>,
        Input(request): Input<VerifyRequest>,
    ) -> Result<Json<VerdictView>, Failure<NothingMore>> {
        let (token, build) = (LicenseToken::new(request.token), request.build);
        Ok(Json(license::verify(app, &token, build.map(Timestamp::from)).await?.into()))
    }
}

fn example_before() -> Option<i64> {
    Some(100)
}

fn max_page() -> i64 {
    MAX_PAGE
}
