//! Reads the claims of a license. Every rule for their form is here.

use crate::json::{Members, Problem};
use crate::{CLAIMS_VERSION, Claims, Confirmation, OnEnd, Rejection, StatusClaim, StatusReference};

impl Claims {
    /// Returns the claims in the members of a license.
    ///
    /// # Errors
    /// [`Rejection::UnsupportedVersion`] or [`Rejection::InvalidClaims`].
    pub(crate) fn read(members: &Members<'_>) -> Result<Self, Rejection> {
        // The version is checked first, because a newer version may have other claims.
        let version = members.number("ver").map_err(invalid)?;
        if version > u64::from(CLAIMS_VERSION) {
            return Err(Rejection::UnsupportedVersion { found: version });
        }
        if version < u64::from(CLAIMS_VERSION) {
            return Err(invalid(Problem::wrong("ver", "a version")));
        }
        let claims = Self::of_this_version(members).map_err(invalid)?;
        if claims.license_expires.is_none() && claims.grace_until.is_some() {
            let kind = "null, although the license does not end";
            return Err(invalid(Problem::wrong("grace_until", kind)));
        }
        Ok(claims)
    }

    fn of_this_version(members: &Members<'_>) -> Result<Self, Problem> {
        Ok(Self {
            iss: members.filled("iss")?,
            sub: members.filled("sub")?,
            aud: members.text("aud")?,
            iat: members.time("iat")?,
            nbf: members.time("nbf")?,
            exp: members.time("exp")?,
            jti: members.filled("jti")?,
            plan: members.text("plan")?,
            trial: members.flag("trial")?,
            features: members.texts("features")?,
            limits: members.numbers("limits")?,
            license_expires: members.nullable_time("license_expires")?,
            grace_until: members.nullable_time("grace_until")?,
            updates_until: members.optional("updates_until", Members::time)?,
            on_end: members.optional("on_end", on_end)?,
            warn_days: members.optional("warn_days", Members::number)?,
            status: members.optional("status", status)?,
            cnf: members.optional("cnf", confirmation)?,
            seq: members.number("seq")?,
            ver: CLAIMS_VERSION,
        })
    }
}

fn invalid(problem: Problem) -> Rejection {
    Rejection::InvalidClaims(problem.into())
}

fn on_end(members: &Members<'_>, name: &str) -> Result<OnEnd, Problem> {
    let on_end = members.object(name)?;
    // Checked in every mode, so that a license is either right or wrong.
    let features = on_end.optional("features", Members::texts)?.unwrap_or_default();
    let limits = on_end.optional("limits", Members::numbers)?.unwrap_or_default();
    match on_end.string("mode") {
        Some("stop") => Ok(OnEnd::Stop),
        Some("limited") => Ok(OnEnd::Limited { features, limits }),
        Some("warn") => Ok(OnEnd::Warn),
        _ => Err(Problem::wrong("mode", "\"stop\", \"limited\" or \"warn\"")),
    }
}

fn status(members: &Members<'_>, name: &str) -> Result<StatusClaim, Problem> {
    let list = members.object(name)?.object("status_list")?;
    let status_list = StatusReference { idx: list.number("idx")?, uri: list.filled("uri")? };
    Ok(StatusClaim { status_list })
}

fn confirmation(members: &Members<'_>, name: &str) -> Result<Confirmation, Problem> {
    Ok(Confirmation { jkt: members.object(name)?.filled("jkt")? })
}
