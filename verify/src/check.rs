//! The rules, in their order: the first one that fails determines the code.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use crate::bundle::Bundle;
use crate::jws::{self, Kind};
use crate::keys::{Keys, Trust, TrustedKey};
use crate::license::Standing;
use crate::memory::{Clock, Memory};
use crate::status_list::StatusList;
use crate::text::Documents;
use crate::{
    CLOCK_LEEWAY_SECONDS, Claims, KeySet, LICENSE_TYPE, License, MAX_TIME, MAX_TOKEN_BYTES,
    Rejection, StatusReference, Verdict, epoch_seconds, time,
};

const LICENSE: Kind = Kind { typ: LICENSE_TYPE, max_bytes: MAX_TOKEN_BYTES };

/// What an app knows when it verifies a license. Only the license and the time are required:
///
/// ```
/// # use licentia_verify::Request;
/// # use std::time::SystemTime;
/// # let (license, stored) = ("", String::new());
/// let request =
///     Request { memory: Some(&stored), ..Request::new(license, SystemTime::now()) };
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The license token, or the text of a `license.json`. Blanks and quotes around it, and line
    /// breaks inside, do no harm.
    pub license: &'a str,
    /// The time on the device.
    pub now: SystemTime,
    /// The newest key bundle, for a key set with a root.
    pub keys: Option<&'a str>,
    /// The newest status list that the license names.
    pub status: Option<&'a str>,
    /// The oldest status list that is good enough. Without it, an app that never gets a list works.
    pub max_status_age: Option<Duration>,
    /// The memory that the last verification returned.
    pub memory: Option<&'a str>,
    /// The time at which the app was built.
    pub build: Option<SystemTime>,
    /// The RFC 7638 thumbprint of the device's key.
    pub device: Option<&'a str>,
}

impl<'a> Request<'a> {
    /// Returns a request with a license and the time, and nothing else.
    #[must_use]
    pub fn new(license: &'a str, now: SystemTime) -> Self {
        Self {
            license,
            now,
            keys: None,
            status: None,
            max_status_age: None,
            memory: None,
            build: None,
            device: None,
        }
    }
}

/// The result of a verification, in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The license if it is valid, or the first rule that is violated.
    pub license: Result<License, Rejection>,
    /// The memory to store, and to give to the next verification.
    pub memory: String,
    /// What became of the key bundle.
    pub bundle: Companion,
    /// What became of the status list.
    pub list: Companion,
    /// The claims of a license that is not valid, once they hold.
    rejected: Option<Box<Claims>>,
}

impl Checked {
    /// Returns the claims once the signature and the claims hold, even if a later rule is violated.
    #[must_use]
    pub fn claims(&self) -> Option<&Claims> {
        self.license
            .as_ref()
            .map_or_else(|_| self.rejected.as_deref(), |valid| Some(valid.claims()))
    }

    /// Returns the same result with another rejection of the license, for a reason that only the
    /// caller knows, such as a server's records.
    #[must_use]
    pub fn with_rejection(self, rejection: Rejection) -> Self {
        let rejected = self.claims().cloned().map(Box::new);
        Self { license: Err(rejection), rejected, ..self }
    }
}

/// What became of a document that travels with a license. One that does not count is used like one
/// that was not given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Companion {
    /// There was none.
    #[default]
    NotGiven,
    /// It was not read: a key set ignores bundles, and a list is read only for a license of this
    /// product that names one.
    NotRead,
    /// It does not count.
    DoesNotCount,
    /// It does not count, because it is signed with a key that is not known. A newer key bundle or
    /// key set may have it. Only a list.
    UnknownKey,
    /// It counts.
    Counts,
}

impl Companion {
    /// Returns what became of a document that was given.
    fn counts(self, counts: bool) -> Self {
        match self {
            Self::NotGiven => Self::NotGiven,
            _ if counts => Self::Counts,
            _ => Self::DoesNotCount,
        }
    }

    fn unread(texts: &[Cow<'_, str>]) -> Self {
        if texts.is_empty() { Self::NotGiven } else { Self::NotRead }
    }
}

/// What became of the documents beside a license.
#[derive(Default)]
struct Companions {
    bundle: Companion,
    list: Companion,
}

/// The first rule that a license violates, and its claims once they hold.
struct Violation {
    rejection: Rejection,
    claims: Option<Box<Claims>>,
}

impl From<Rejection> for Violation {
    fn from(rejection: Rejection) -> Self {
        Self { rejection, claims: None }
    }
}

/// The facts besides the license that its rules need.
struct Facts<'a> {
    request: &'a Request<'a>,
    now: i64,
    /// The memory of time, as it was given.
    clock: Clock,
    keys: &'a Keys,
    lists: &'a [Cow<'a, str>],
    /// When the key bundle expires.
    bundle_exp: Option<i64>,
}

impl KeySet {
    /// Returns the verdict on a license, and the memory to store for the next verdict. Nothing in a
    /// license, a bundle, a list or a memory is an error: it is in the verdict.
    #[must_use]
    pub fn verdict(&self, request: &Request<'_>) -> (Verdict, String) {
        let checked = self.check(request);
        (Verdict::from(&checked), checked.memory)
    }

    /// Returns the license or the reason why it is not valid, the claims, and the memory to store.
    #[must_use]
    pub fn check(&self, request: &Request<'_>) -> Checked {
        let mut memory = Memory::from_text(request.memory);
        let mut companions = Companions::default();
        let (license, rejected) = match self.judge(request, &mut memory, &mut companions) {
            Ok(license) => (Ok(license), None),
            Err(violation) => (Err(violation.rejection), violation.claims),
        };
        let Companions { bundle, list } = companions;
        Checked { license, memory: memory.to_text(), bundle, list, rejected }
    }

    /// Applies all rules in their order. Leaves what verified in the memory.
    fn judge(
        &self,
        request: &Request<'_>,
        memory: &mut Memory,
        companions: &mut Companions,
    ) -> Result<License, Violation> {
        // A memory with a later time could not be read again.
        let (now, clock) = (epoch_seconds(request.now).min(MAX_TIME), memory.clock());
        let documents = Documents::of(request);
        companions.bundle = Companion::unread(&documents.bundles);
        companions.list = Companion::unread(&documents.lists);
        let no_keys = Keys::default();
        let bundle = match &self.trust {
            Trust::Root(root) => {
                let newest = Bundle::newest(&documents.bundles, root, memory.keys_seq, now);
                companions.bundle = companions.bundle.counts(newest.is_some());
                newest
            }
            Trust::Keys(_) => None,
        };
        if let Some(bundle) = &bundle {
            memory.learn_bundle(bundle);
        }
        let keys = match &self.trust {
            Trust::Keys(keys) => keys,
            Trust::Root(_) => bundle.as_ref().map_or(&no_keys, |bundle| &bundle.keys),
        };

        let (claims, key) = authenticate(&documents.license?, keys)?;
        let bundle_exp = bundle.as_ref().and_then(|bundle| bundle.exp);
        let facts = Facts { request, now, clock, keys, lists: &documents.lists, bundle_exp };
        let standing = self
            .is_ours(&claims, key)
            .and_then(|()| standing(&claims, &facts, memory, &mut companions.list));
        match standing {
            Ok(standing) => Ok(License::new(claims, standing)),
            Err(rejection) => Err(Violation { rejection, claims: Some(Box::new(claims)) }),
        }
    }

    /// Checks that the vendor issued the license for this product.
    fn is_ours(&self, claims: &Claims, key: &TrustedKey) -> Result<(), Rejection> {
        if !key.signs_at(claims.iat) {
            return Err(Rejection::KeyNotValid);
        }
        if claims.aud != self.audience {
            return Err(Rejection::WrongAudience { found: claims.aud.clone() });
        }
        if self.issuer.as_ref().is_some_and(|issuer| *issuer != claims.iss) {
            return Err(Rejection::WrongIssuer { found: claims.iss.clone() });
        }
        Ok(())
    }

    /// Returns the license if it is valid.
    pub(crate) fn license(&self, request: &Request<'_>) -> Result<License, Rejection> {
        let mut memory = Memory::from_text(request.memory);
        self.judge(request, &mut memory, &mut Companions::default())
            .map_err(|violation| violation.rejection)
    }
}

/// Returns the claims of a license that was signed with one of the keys, and that key.
fn authenticate<'k>(token: &str, keys: &'k Keys) -> Result<(Claims, &'k TrustedKey), Rejection> {
    let (text, key) = jws::open(token, &LICENSE, |kid| keys.find(kid))?;
    Ok((Claims::read(&jws::members(&text)?)?, key))
}

/// Applies the rules that depend on time, memory, list, device and build to a license of ours. Sets
/// `given_list` to what became of the status list.
fn standing(
    claims: &Claims,
    facts: &Facts<'_>,
    memory: &mut Memory,
    given_list: &mut Companion,
) -> Result<Standing, Rejection> {
    let Facts { request, now, .. } = *facts;
    let right_at = memory.learn_license(claims, now, &facts.clock);
    let reference = claims.status.as_ref().map(|status| &status.status_list);
    let list = reference.and_then(|reference| {
        let least_iat = memory.list_iat(&reference.uri);
        let list = StatusList::newest(facts.lists, facts.keys, reference, least_iat)?;
        memory.learn_list(&list, reference);
        Some(list)
    });
    if reference.is_some() {
        *given_list = given_list.counts(list.is_some());
        let has_unknown_key = |text| StatusList::has_unknown_key(text, facts.keys);
        if *given_list == Companion::DoesNotCount
            && facts.lists.iter().any(|text| has_unknown_key(text.as_ref()))
        {
            *given_list = Companion::UnknownKey;
        }
    }

    let valid_from = claims.nbf.max(claims.iat) - CLOCK_LEEWAY_SECONDS;
    if now < valid_from {
        return Err(Rejection::NotYetValid { valid_from: time(valid_from) });
    }
    let standing_at = |now| {
        let stale_at = not_revoked(reference, list.as_ref(), memory, request, now)?;
        covers(claims, request)?;
        Standing::at(claims, now, [stale_at, facts.bundle_exp])
    };
    if let Some(right_at) = right_at {
        // With the bundle that counts now: the memory refuses an older one from now on.
        let has_keys_then = facts.bundle_exp.is_none_or(|exp| right_at < exp);
        let is_valid_then = has_keys_then && standing_at(right_at).is_ok();
        let right_at = is_valid_then.then(|| time(right_at));
        return Err(Rejection::ClockRolledBack { right_at });
    }
    standing_at(now)
}

/// Checks that the license is not known to be revoked, and that the list is new enough. Returns
/// when it becomes too old.
fn not_revoked(
    reference: Option<&StatusReference>,
    list: Option<&StatusList>,
    memory: &Memory,
    request: &Request<'_>,
    now: i64,
) -> Result<Option<i64>, Rejection> {
    let Some(reference) = reference else { return Ok(None) };
    // The memory has learned from the list.
    if memory.is_revoked(reference) {
        return Err(Rejection::Revoked);
    }
    let Some(max_age) = request.max_status_age else { return Ok(None) };
    let max_age = i64::try_from(max_age.as_secs()).unwrap_or(i64::MAX);
    let stale_at = list.map(|list| list.iat.saturating_add(max_age).saturating_add(1));
    match stale_at {
        Some(stale_at) if now < stale_at => Ok(Some(stale_at)),
        _ => Err(Rejection::StaleStatus),
    }
}

/// Checks that the license covers this device and this build of the app.
fn covers(claims: &Claims, request: &Request<'_>) -> Result<(), Rejection> {
    if claims.cnf.as_ref().is_some_and(|cnf| request.device != Some(&cnf.jkt)) {
        return Err(Rejection::WrongDevice);
    }
    if let (Some(until), Some(build)) = (claims.updates_until, request.build)
        && epoch_seconds(build) > until
    {
        return Err(Rejection::UpdateNotCovered { until: time(until) });
    }
    Ok(())
}
