//! Online verification: the verdict of an app that has everything, also the database.

use licentia_verify::{Checked, Code, License, Rejection, Request};

use crate::app::App;
use crate::domain::ids::LicenseId;
use crate::domain::license::explanation::{Explanation, explain_checked};
use crate::domain::license::{IssuedLicense, LicenseToken};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::flows::license::status_list;

/// Returns the id in a license, if it has our format. The license is not verified.
fn id_of(token: &LicenseToken) -> Option<LicenseId> {
    let claims = licentia_verify::inspect(token.expose()).ok()?.claims;
    claims.get("jti")?.as_str()?.parse().ok()
}

/// Returns the stored license with this license token. A token that has the same id and says
/// something else was not issued here, even if its signature is valid.
async fn issued(app: &App, token: &LicenseToken) -> Result<Option<IssuedLicense>> {
    let Some(id) = id_of(token) else { return Ok(None) };
    Ok(app.store.license(&id).await?.filter(|license| token.is_of(&license.token)))
}

/// Returns whether exactly this license token is stored, so that this service issued it.
pub(super) async fn is_stored(app: &App, token: &LicenseToken) -> Result<bool> {
    Ok(issued(app, token).await?.is_some_and(|license| license.token == *token))
}

/// Returns the revocation that verifiers report instead of this rejection, if there is one. A
/// revoked license is reported if its rule comes before that of the rejection. A key that was
/// revoked before the database recorded keys is unknown here; its revocation is reported too. Other
/// revoked keys are in the bundle.
pub(super) async fn stored_revocation(
    app: &App,
    token: &LicenseToken,
    rejection: &Rejection,
) -> Result<Option<Rejection>> {
    let rank = |code: Code| Code::ALL.iter().position(|other| *other == code);
    let is_known_key = rank(rejection.code()) > rank(Code::BadSignature);
    if !is_known_key && !matches!(rejection, Rejection::UnknownKey { .. }) {
        return Ok(None);
    }
    let revocation = issued(app, token).await?.and_then(|license| license.revocation());
    let comes_first =
        |revocation: &Rejection| !is_known_key || rank(revocation.code()) < rank(rejection.code());
    Ok(revocation.filter(comes_first))
}

/// Checks a license with the published keys, also with one that a command added a moment ago.
pub(super) async fn check(app: &App, request: &Request<'_>) -> Result<Checked> {
    let checked = app.keys.current().trusted.check(request);
    let Err(Rejection::UnknownKey { kid }) = &checked.license else { return Ok(checked) };
    app.know_key(kid).await?;
    Ok(app.keys.current().trusted.check(request))
}

/// Returns the sentences about a stored license: what it says, the verdict of an app that has the
/// newest keys and list, and what changes next.
///
/// # Errors
/// A failure of the database.
pub async fn explain(app: &App, license: &IssuedLicense) -> Result<Explanation> {
    let list = status_list::of_license(app, license).await;
    let status = list.as_ref().and_then(|list| std::str::from_utf8(&list.text).ok());
    let now = app.now().to_system_time();
    let request = Request { status, ..Request::new(license.token.expose(), now) };
    let checked = check(app, &request).await?;
    // No list shows that a license without one was revoked; the database does.
    let revocation = match &checked.license {
        Ok(_) => license.revocation(),
        Err(rejection) => stored_revocation(app, &license.token, rejection).await?,
    };
    let checked = match revocation {
        Some(rejection) => checked.with_rejection(rejection),
        None => checked,
    };
    let product = app.plans.product.as_str();
    let keys = app.keys.current();
    Ok(explain_checked(&keys.trusted, &request, &checked, Some(product)))
}

/// The result of verifying a license online.
#[derive(Debug)]
pub enum OnlineVerdict {
    /// The license is valid now.
    Valid {
        /// The verified license.
        license: Box<License>,
        /// Whether a newer license has replaced it. A refresh returns the newer one.
        superseded: bool,
    },
    /// Offline verification fails too, or the license was revoked.
    Rejected(Rejection),
    /// Our key signed the license, but it is not stored: its customer was deleted, the database is
    /// another one, or the key is used elsewhere.
    Unknown,
}

/// Verifies a license online: offline verification, also for a build of the app that was made at
/// `build`, then the database. The text is read as verifiers read it.
///
/// # Errors
/// A failure of the database.
pub async fn verify(
    app: &App,
    text: &LicenseToken,
    build: Option<Timestamp>,
) -> Result<OnlineVerdict> {
    let build = build.map(Timestamp::to_system_time);
    let request = Request { build, ..Request::new(text.expose(), app.now().to_system_time()) };
    let token = match text.read() {
        Ok(token) => token,
        Err(rejection) => return Ok(OnlineVerdict::Rejected(rejection)),
    };
    Ok(match check(app, &request).await?.license {
        Ok(license) => match issued(app, &token).await? {
            None => OnlineVerdict::Unknown,
            Some(issued) => issued.revocation().map_or_else(
                || OnlineVerdict::Valid {
                    license: Box::new(license),
                    superseded: issued.superseded_at.is_some(),
                },
                OnlineVerdict::Rejected,
            ),
        },
        Err(rejection) => {
            let revocation = stored_revocation(app, &token, &rejection).await?;
            OnlineVerdict::Rejected(revocation.unwrap_or(rejection))
        }
    })
}
