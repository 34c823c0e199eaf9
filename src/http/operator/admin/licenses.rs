//! Lists, grants, extends, revokes and resends licenses. No response has a token: whoever has it
//! can use the license.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Object, OpenApi};

use super::customer_lists::{AdminCustomerCodes, example_customer};
use super::{permit_for, permit_for_customer};
use crate::app::App;
use crate::domain::ids::LicenseId;
use crate::domain::license::grant::{MAX_EXTRAS, MAX_LIMIT};
use crate::domain::license::{Extras, IssuedLicense};
use crate::domain::operator::admin_key::Operation;
use crate::domain::operator::audit::{Actor, OwnedActor};
use crate::domain::private::Private;
use crate::domain::sale::plan::Slug;
use crate::domain::time::Timestamp;
use crate::error::{self, Error};
use crate::flows::operator::customers;
use crate::flows::operator::licenses::{self, Grant};
use crate::http::Tag;
use crate::http::caller::AdminCaller;
use crate::http::idempotency::Once;
use crate::http::input::{Input, OptionalInput};
use crate::http::license::licenses::LicenseStatusView;
use crate::http::page::{self, default_limit, example_cursor};
use crate::http::problem::{Failure, documented};
use crate::http::throttle::Throttle;

pub struct AdminLicensesApi;

documented!(GrantCodes: InsufficientScope, NotFound, NoSuchPlan, WouldShorten, TooManyRequests);
documented!(
    ExtendCodes: InsufficientScope, NotFound, WouldShorten, NothingToExtend, TooManyRequests
);
documented!(RevokeCodes: InsufficientScope, NotFound, TooManyRequests);
documented!(
    ResendCodes: InsufficientScope, NotFound, NothingToSend, TooManyRequests, BillingNotConfigured,
    BillingRefused, BillingUnavailable
);

/// A license, without its token: whoever has the token can use the license.
#[derive(Object)]
#[oai(rename = "LicenseRecord", example)]
pub(super) struct LicenseRecord {
    /// The id of the license (the claim `jti`).
    license_id: String,
    /// The number among the customer's licenses, from 1.
    seq: i64,
    /// Why it was issued: `trial`, `subscription` (anything that was paid for, also by a single
    /// payment) or `operator` (a grant).
    source: String,
    /// How it was bought: by a `subscription`, `once` by a single payment, or left as a `fallback`
    /// by a subscription that ended. `null` for a trial and a grant.
    #[oai(nullable)]
    basis: Option<String>,
    /// The plan's id.
    plan: String,
    /// The number of units of the plan that were paid for.
    quantity: u32,
    /// The ids of the add-ons.
    addons: Vec<String>,
    /// The status now.
    status: LicenseStatusView,
    /// The features of the license: those of the plan and the add-ons, and those that a grant
    /// added.
    features: Vec<String>,
    /// The limits of the license.
    limits: BTreeMap<String, u64>,
    /// The note of the grant.
    #[oai(nullable)]
    note: Option<String>,
    /// The id of the key that signed it.
    key_id: String,
    /// When it was issued.
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
    /// When a newer license replaced it.
    #[oai(nullable)]
    superseded_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    #[oai(nullable)]
    revoked_at: Option<DateTime<Utc>>,
    /// Why it was revoked.
    #[oai(nullable)]
    revocation_reason: Option<String>,
}

impl Example for LicenseRecord {
    fn example() -> Self {
        let time = |seconds| Timestamp::saturating(seconds).to_datetime();
        Self {
            license_id: "lic_0123456789abcdef0123456789abcdef".into(),
            seq: 1,
            source: "trial".into(),
            basis: None,
            plan: "trial".into(),
            quantity: 1,
            addons: Vec::new(),
            status: LicenseStatusView::Active,
            features: vec!["editor".into()],
            limits: BTreeMap::from([("seats".into(), 1)]),
            note: None,
            key_id: "2026-11-20-0123456789abcdef".into(),
            issued_at: time(1_795_186_800),
            expires_at: Some(time(1_796_396_400)),
            grace_until: None,
            updates_until: None,
            token_expires_at: time(1_796_396_400),
            superseded_at: None,
            revoked_at: None,
            revocation_reason: None,
        }
    }
}

impl LicenseRecord {
    /// Returns the license as it is at `now`.
    pub(super) fn new(license: IssuedLicense, now: Timestamp) -> Self {
        let (claims, basis) = (license.claims(), license.bought_by());
        let (features, limits) =
            claims.map(|claims| (claims.features, claims.limits)).unwrap_or_default();
        Self {
            status: license.status(now).into(),
            features,
            limits: limits.into_iter().collect(),
            note: license.extras.note.map(|note| note.as_str().to_owned()),
            license_id: license.license_id.to_string(),
            seq: license.seq,
            source: license.source.to_string(),
            basis: basis.map(|basis| basis.to_string()),
            plan: license.plan,
            quantity: license.quantity,
            addons: license.addons.texts(),
            key_id: license.key_id,
            issued_at: license.issued_at.to_datetime(),
            expires_at: license.expires_at.map(Timestamp::to_datetime),
            grace_until: license.grace_until.map(Timestamp::to_datetime),
            updates_until: license.updates_until.map(Timestamp::to_datetime),
            token_expires_at: license.token_expires_at.to_datetime(),
            superseded_at: license.superseded_at.map(Timestamp::to_datetime),
            revoked_at: license.revoked_at.map(Timestamp::to_datetime),
            revocation_reason: license.revocation_reason.map(|reason| reason.to_string()),
        }
    }
}

/// A page of licenses.
#[derive(Object)]
struct LicenseRecords {
    /// The licenses, newest first.
    licenses: Vec<LicenseRecord>,
    /// Send it as `after` to get the next page. `null` on the last page.
    #[oai(nullable)]
    next_after: Option<String>,
}

/// A license to grant. Give exactly one of `days`, `until` and `forever`.
#[derive(Object)]
#[oai(rename = "LicenseGrant", deny_unknown_fields, example)]
struct GrantRequest {
    /// The plan's id.
    #[oai(validator(max_length = 64))]
    plan: String,
    /// The license works for this many days from now.
    #[oai(
        nullable,
        skip_serializing_if_is_none,
        validator(minimum(value = "1"), maximum(value = "36525"))
    )]
    days: Option<i64>,
    /// The license works until this time.
    #[oai(nullable, skip_serializing_if_is_none)]
    until: Option<DateTime<Utc>>,
    /// The license has no end.
    #[oai(nullable, skip_serializing_if_is_none)]
    forever: Option<bool>,
    /// Features in addition to the plan's, at most 50.
    #[oai(nullable, skip_serializing_if_is_none)]
    features: Option<Vec<String>>,
    /// Limits that replace the plan's limits of the same names, at most 50.
    #[oai(nullable, skip_serializing_if_is_none)]
    limits: Option<BTreeMap<String, u64>>,
    /// A note for support. The customer sees it only in an export of the account.
    #[oai(nullable, skip_serializing_if_is_none, validator(max_length = 500))]
    note: Option<String>,
    /// Whether it may shorten what the customer has.
    #[oai(nullable, skip_serializing_if_is_none)]
    replace: Option<bool>,
}

impl Example for GrantRequest {
    fn example() -> Self {
        Self {
            plan: "professional".into(),
            days: Some(30),
            until: None,
            forever: None,
            features: Some(vec!["beta".into()]),
            limits: Some(BTreeMap::from([("seats".into(), 10)])),
            note: Some("A gift for a talk".into()),
            replace: None,
        }
    }
}

/// Days to add to a license.
#[derive(Object)]
#[oai(rename = "LicenseExtension", deny_unknown_fields, example)]
struct ExtendRequest {
    /// The number of days, counted from the end of what the customer has.
    #[oai(validator(minimum(value = "1"), maximum(value = "36525")))]
    days: i64,
    /// A note for support. The customer sees it only in an export of the account.
    #[oai(nullable, skip_serializing_if_is_none, validator(max_length = 500))]
    note: Option<String>,
}

impl Example for ExtendRequest {
    fn example() -> Self {
        Self { days: 14, note: Some("Asked for two more weeks".into()) }
    }
}

/// How to send a license again.
#[derive(Object)]
#[oai(rename = "LicenseResend", deny_unknown_fields, example)]
struct ResendRequest {
    /// Whether to issue a new license first, in place of this one. Needed for a license that was
    /// revoked.
    #[oai(nullable, skip_serializing_if_is_none)]
    reissue: Option<bool>,
}

impl Example for ResendRequest {
    fn example() -> Self {
        Self { reissue: Some(true) }
    }
}

#[derive(ApiResponse)]
enum GrantedResponse {
    /// The granted license.
    #[oai(status = 201)]
    Granted(Json<LicenseRecord>),
}

#[OpenApi(prefix_path = "/api/admin", tag = "Tag::Administration")]
impl AdminLicensesApi {
    /// List a customer's licenses
    ///
    /// Returns every license ever issued to a customer, newest first, without the tokens. Needs the
    /// scope `read`.
    #[oai(
        path = "/customers/:customer_id/licenses",
        method = "get",
        operation_id = "listCustomerLicenses"
    )]
    async fn licenses(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// The customer's id.
        #[oai(example = "example_customer")]
        Path(customer_id): Path<String>,
        /// The maximum number of licenses to return.
        #[oai(
            default = "default_limit",
            example = "default_limit",
            validator(minimum(value = "1"), maximum(value = "100"))
        )]
        limit: Query<u32>,
        /// `next_after` of the previous page.
        #[oai(example = "example_cursor")]
        after: Query<Option<String>>,
    ) -> Result<Json<LicenseRecords>, Failure<AdminCustomerCodes>> {
        let operation = Operation::ListCustomerLicenses;
        let id = permit_for_customer(app, throttle, &caller, operation, &customer_id).await?;
        let page = customers::licenses(app, &id, &page::request(&limit, &after)?).await?;
        let now = app.now();
        let licenses = page.entries.into_iter().map(|license| LicenseRecord::new(license, now));
        Ok(Json(LicenseRecords {
            licenses: licenses.collect(),
            next_after: page.next_after.map(|cursor| cursor.to_string()),
        }))
    }

    /// Grant a license
    ///
    /// Grants a customer a license and mails it: for a gift, a partner, or a sale made elsewhere.
    /// It replaces the current license, unless that has a higher plan or a later end: then it is
    /// refused, unless `replace` is true. Something worth more that is paid for comes back with the
    /// next sync. Needs the scope `support`.
    #[oai(
        path = "/customers/:customer_id/licenses",
        method = "post",
        operation_id = "grantLicense"
    )]
    async fn grant(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// The customer's id.
        #[oai(example = "example_customer")]
        Path(customer_id): Path<String>,
        Input(request): Input<GrantRequest>,
        #[oai(name = "Idempotency-Key")] once: Once,
    ) -> Result<GrantedResponse, Failure<GrantCodes>> {
        let operation = Operation::GrantLicense;
        let id = permit_for_customer(app, throttle, &caller, operation, &customer_id).await?;
        let now = app.now();
        let grant = Grant {
            plan: licenses::plan(app, &request.plan)?,
            expires: expires(&request, now)?,
            replace: request.replace.unwrap_or_default(),
            extras: extras(request)?,
        };
        let by = Actor::Admin(&caller.0.admin_key_id);
        let license = match once.begin(app, Some(&id)).await?.id() {
            Some(created) => licenses::get(app, &created).await?,
            None => licenses::grant(app, by, &id, &grant).await?,
        };
        Ok(GrantedResponse::Granted(Json(LicenseRecord::new(license, now))))
    }

    /// Extend a license
    ///
    /// Adds days to the current license of a customer, who pays, has a trial or has a grant, and
    /// mails the new license. The days are counted from the end of what the customer has. After a
    /// paid term, they depend on the payment until the term ends: a refund ends both. Needs the
    /// scope `support`.
    #[oai(
        path = "/customers/:customer_id/licenses/extend",
        method = "post",
        operation_id = "extendLicense"
    )]
    async fn extend(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// The customer's id.
        #[oai(example = "example_customer")]
        Path(customer_id): Path<String>,
        Input(request): Input<ExtendRequest>,
        #[oai(name = "Idempotency-Key")] once: Once,
    ) -> Result<Json<LicenseRecord>, Failure<ExtendCodes>> {
        let operation = Operation::ExtendLicense;
        let id = permit_for_customer(app, throttle, &caller, operation, &customer_id).await?;
        let (days, note) = (TimeDelta::days(request.days), note(request.note)?);
        let by = Actor::Admin(&caller.0.admin_key_id);
        let license = match once.begin(app, Some(&id)).await?.id() {
            Some(created) => licenses::get(app, &created).await?,
            None => licenses::extend(app, by, &id, days, note).await?,
        };
        Ok(Json(LicenseRecord::new(license, app.now())))
    }

    /// Revoke a license
    ///
    /// Revokes one license, current or former, for example one that leaked. With the current one,
    /// those that it replaced are revoked too. A sync with Stripe does not bring it back: the
    /// customer gets another license by a grant, by a resend with `reissue`, or by the next
    /// payment. Needs the scope `support`.
    #[oai(path = "/licenses/:license_id/revoke", method = "post", operation_id = "revokeLicense")]
    async fn revoke(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// The license's id.
        #[oai(example = "example_license")]
        Path(license_id): Path<String>,
    ) -> Result<Json<LicenseRecord>, Failure<RevokeCodes>> {
        let operation = Operation::RevokeLicense;
        let id: LicenseId =
            permit_for(app, throttle, &caller, operation, &license_id, "license").await?;
        let by = Actor::Admin(&caller.0.admin_key_id);
        let license = licenses::revoke(app, by, &id).await?;
        Ok(Json(LicenseRecord::new(license, app.now())))
    }

    /// Resend a license
    ///
    /// Mails a license to its customer again, and returns the license that is mailed. If a newer
    /// one has replaced it, the newer one is mailed. A revoked license is mailed only with
    /// `reissue`, which issues a new one if the customer is still entitled to it. Needs the scope
    /// `support`.
    #[oai(path = "/licenses/:license_id/resend", method = "post", operation_id = "resendLicense")]
    async fn resend(
        &self,
        Data(app): Data<&App>,
        Data(throttle): Data<&Arc<Throttle>>,
        caller: AdminCaller,
        /// The license's id.
        #[oai(example = "example_license")]
        Path(license_id): Path<String>,
        OptionalInput(request): OptionalInput<ResendRequest>,
        #[oai(name = "Idempotency-Key")] once: Once,
    ) -> Result<Json<LicenseRecord>, Failure<ResendCodes>> {
        let operation = Operation::ResendLicense;
        let id: LicenseId =
            permit_for(app, throttle, &caller, operation, &license_id, "license").await?;
        let reissue = request.and_then(|request| request.reissue).unwrap_or_default();
        let by = OwnedActor::Admin(caller.0.admin_key_id);
        let owner = licenses::get(app, &id).await?.customer_id;
        let license = match once.begin(app, Some(&owner)).await?.id() {
            Some(created) => licenses::get(app, &created).await?,
            None => licenses::resend(app, &by, &id, reissue).await?,
        };
        Ok(Json(LicenseRecord::new(license, app.now())))
    }
}

/// Returns the end of a grant; `None` is never.
fn expires(request: &GrantRequest, now: Timestamp) -> error::Result<Option<Timestamp>> {
    let forever = request.forever.unwrap_or_default();
    match (request.days, request.until, forever) {
        (Some(days), None, false) => Ok(Some(now + TimeDelta::days(days))),
        (None, Some(until), false) if Timestamp::from(until) <= now => {
            Err(Error::InvalidRequest("`until` is in the past".into()))
        }
        (None, Some(until), false) => Ok(Some(until.into())),
        (None, None, true) => Ok(None),
        _ => Err(Error::InvalidRequest(
            "give exactly one of `days`, `until` and `forever: true`".into(),
        )),
    }
}

/// Returns what a grant adds to the plan.
fn extras(request: GrantRequest) -> error::Result<Extras> {
    let features = request.features.unwrap_or_default();
    let limits = request.limits.unwrap_or_default();
    if features.len().max(limits.len()) > MAX_EXTRAS {
        let problem = format!("`features` and `limits` have at most {MAX_EXTRAS} names each");
        return Err(Error::InvalidRequest(problem));
    }
    if let Some((name, _)) = limits.iter().find(|(_, limit)| **limit > MAX_LIMIT) {
        let name: String = name.chars().take(64).collect();
        return Err(Error::InvalidRequest(format!("`limits`: {name:?} is above {MAX_LIMIT}")));
    }
    let slug = |field: &str, name: &str| {
        let parsed = name.parse::<Slug>();
        parsed.map_err(|error| Error::InvalidRequest(format!("`{field}`: {error}")))
    };
    let features: error::Result<BTreeSet<_>> =
        features.iter().map(|name| slug("features", name)).collect();
    let limits: error::Result<BTreeMap<_, _>> =
        limits.iter().map(|(name, limit)| Ok((slug("limits", name)?, *limit))).collect();
    Ok(Extras { features: features?, limits: limits?, paid_until: None, note: note(request.note)? })
}

/// Returns a note without invisible characters, except line breaks.
fn note(text: Option<String>) -> error::Result<Option<Private>> {
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else { return Ok(None) };
    if text.chars().any(|each| each.is_control() && each != '\n') {
        return Err(Error::InvalidRequest("`note` has invisible characters".into()));
    }
    Ok(Some(text.trim().to_owned().into()))
}

fn example_license() -> String {
    "lic_0123456789abcdef0123456789abcdef".into()
}
