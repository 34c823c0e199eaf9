//! Admin keys: what they look like, and what each may do. Pure; making and knowing them is in
//! [`crate::flows::admin`].

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};

use crate::domain::column::row;
use crate::domain::contact::DisplayName;
use crate::domain::ids::AdminKeyId;
use crate::domain::text_enum::text_enum;
use crate::domain::time::Timestamp;

/// What every admin key begins with, so that scanners for leaked secrets recognise one, and people
/// tell it from session tokens and licenses.
const PREFIX: &str = "ladm_";

/// Random bytes in a key: 256 bits that nobody is shown again, and the 24 that [`AdminKey::visible`]
/// shows.
pub const RANDOM_BYTES: usize = 32 + 3;

/// Characters after the prefix that are shown in lists: those of the 24 bits.
const VISIBLE_CHARACTERS: usize = 4;

/// An admin key as its holder has it. It has 256 bits beyond what is ever shown of it: nobody
/// guesses one, so that tries need no throttle.
#[derive(Clone, Debug)]
pub struct AdminKey(SecretString);

impl AdminKey {
    /// The key made of these random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; RANDOM_BYTES]) -> Self {
        Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)).into())
    }

    /// The whole key.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Its first characters, by which a key that was found somewhere is recognised in a list.
    #[must_use]
    pub fn visible(&self) -> &str {
        let key = self.expose();
        key.get(..PREFIX.len() + VISIBLE_CHARACTERS).unwrap_or(key)
    }
}

impl FromStr for AdminKey {
    type Err = NoAdminKey;

    fn from_str(text: &str) -> Result<Self, NoAdminKey> {
        let rest = text.strip_prefix(PREFIX).ok_or(NoAdminKey)?;
        let bytes = URL_SAFE_NO_PAD.decode(rest).map_err(|_| NoAdminKey)?;
        if bytes.len() == RANDOM_BYTES { Ok(Self(text.into())) } else { Err(NoAdminKey) }
    }
}

/// A text that is no admin key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no admin key; one begins with {PREFIX:?}")]
pub struct NoAdminKey;

text_enum! {
    /// How much an admin key may do, from the least to the most: each may do what those before it may.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum Scope {
        /// See how things stand.
        Read = "read",
        /// Help customers, by what does no harm and can be done again.
        Support = "support",
        /// Everything.
        Admin = "admin",
    }
}

row! {
    /// An admin key, as far as it is kept.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct StoredAdminKey {
        /// For listing and revoking it.
        pub admin_key_id: AdminKeyId,
        /// What it is for.
        pub name: DisplayName,
        /// How much it may do.
        pub scope: Scope,
        /// Its first characters.
        pub visible_prefix: String,
        /// When it was made.
        pub created_at: Timestamp,
        /// When it ends by itself; none never does.
        pub expires_at: Option<Timestamp>,
        /// When it was revoked.
        pub revoked_at: Option<Timestamp>,
        /// When it was used last.
        pub last_used_at: Option<Timestamp>,
    }
}

impl StoredAdminKey {
    /// Whether it opens anything at `now`.
    #[must_use]
    pub fn works(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| end > now)
    }
}

/// What can be done with an admin key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// See how many paid customers lack a license.
    GetDrift,
    /// See the events that did not work.
    ListEvents,
    /// See one event.
    GetEvent,
    /// Have an event worked on again.
    ReplayEvent,
}

impl Operation {
    /// The name in the API description, and in the audit log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GetDrift => "getDrift",
            Self::ListEvents => "listEvents",
            Self::GetEvent => "getEvent",
            Self::ReplayEvent => "replayEvent",
        }
    }

    /// The least scope that it needs.
    #[must_use]
    pub fn needs(self) -> Scope {
        match self {
            Self::GetDrift | Self::ListEvents | Self::GetEvent => Scope::Read,
            // It looks at Stripe again, which never does harm.
            Self::ReplayEvent => Scope::Support,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::text_enum::UnknownText;

    #[test]
    fn a_key_is_recognised_and_shows_its_beginning_only_security_26() {
        let key = AdminKey::from_random([7; RANDOM_BYTES]);
        let text = key.expose().to_owned();
        assert_eq!((text.len(), key.visible()), (52, "ladm_BwcH"));
        assert_eq!(text.parse::<AdminKey>().unwrap().expose(), text);
        let (shown, secret) = (format!("{key:?}"), &text[9..]);
        assert!(!shown.contains(secret) && !shown.contains("BwcH"), "{shown}");
        // What is not shown has 256 bits.
        assert_eq!(URL_SAFE_NO_PAD.decode(secret).unwrap().len() * 8, 256);
    }

    #[test]
    fn what_is_no_admin_key_is_refused() {
        let good = AdminKey::from_random([0; RANDOM_BYTES]).expose().to_owned();
        for wrong in [
            "",
            "ladm_",
            &good[..51],
            &format!("{good}A"),
            &format!(" {good}"),
            &good.replace("ladm_", "lses_"),
            &good.replace("ladm_A", "ladm_="),
            // The last character has two bits that stand for nothing.
            &format!("{}B", &good[..51]),
        ] {
            assert_eq!(wrong.parse::<AdminKey>().err(), Some(NoAdminKey), "{wrong:?}");
        }
    }

    #[test]
    fn each_scope_may_do_what_those_before_it_may() {
        use Scope::{Admin, Read, Support};
        assert!(Read < Support && Support < Admin);
        assert_eq!(Scope::ALL.map(|scope| scope.to_string().parse()), Scope::ALL.map(Ok));
        assert_eq!("root".parse::<Scope>(), Err(UnknownText(&["read", "support", "admin"])));
    }
}
