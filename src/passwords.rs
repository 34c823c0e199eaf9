//! Hashes and checks passwords with Argon2id, a bounded number at a time.
//! [`crate::domain::account::password`] decides which passwords are acceptable.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use crate::domain::account::password::Password;
use crate::error::{Error, Result};

/// The parameters of a hash: OWASP's first recommendation for Argon2id (Password Storage Cheat
/// Sheet).
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// How long a caller waits for a free core: longer than an honest queue takes, shorter than a
/// browser's timeout.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Hashes passwords. At most one hash runs on each core.
#[derive(Clone)]
pub struct Passwords {
    cores: Arc<Semaphore>,
    params: Params,
}

/// The hash of an account without a password. It is also checked when the account does not exist,
/// so that both cases take the same time. No password matches it: the result is ignored.
pub const NO_PASSWORD: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGlzIGhlcmUuLg$\
                      Y4KzzIgUErd7/K7tAmABwA2eMCXmbCD25+kvB5hRRio";

/// The result of a password check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordCheck {
    /// The password is wrong, or the account does not exist.
    Wrong,
    /// The password is right.
    Right,
    /// The password is right, but its hash has old parameters, or is of the text before its Unicode
    /// normalization: hash it again.
    Outdated,
}

impl Default for Passwords {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        // The constants are valid, as the tests show, and the same as the default.
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None).unwrap_or_default();
        Self { cores: Arc::new(Semaphore::new(cores)), params }
    }
}

impl Passwords {
    /// Returns a hasher with the least possible work, for simulations.
    #[must_use]
    pub fn without_work() -> Self {
        let least = Params::new(Params::MIN_M_COST, Params::MIN_T_COST, LANES, None);
        Self { params: least.unwrap_or_default(), ..Self::default() }
    }

    /// Returns the hash of a new password if it is acceptable; see [`Password::check`].
    ///
    /// # Errors
    /// [`Error::UnfitPassword`], or [`Error::Busy`] when too many are waiting.
    pub async fn choose(
        &self,
        password: Password,
        about: Vec<String>,
        salt: [u8; 16],
    ) -> Result<String> {
        let argon2 = self.argon2();
        self.on_free_core(move || {
            let about: Vec<&str> = about.iter().map(String::as_str).collect();
            password.check(&about)?;
            hash_now(&argon2, &password, salt)
        })
        .await
    }

    /// Returns the hash of a password, as a PHC string with parameters and salt.
    ///
    /// # Errors
    /// [`Error::Busy`] when too many are waiting.
    pub async fn hash(&self, password: Password, salt: [u8; 16]) -> Result<String> {
        let argon2 = self.argon2();
        self.on_free_core(move || hash_now(&argon2, &password, salt)).await
    }

    /// Checks a password against a hash. A missing hash (`None`) takes as long as a wrong password.
    ///
    /// # Errors
    /// [`Error::Busy`] when too many are waiting.
    pub async fn check(&self, password: Password, hash: Option<String>) -> Result<PasswordCheck> {
        let argon2 = self.argon2();
        self.on_free_core(move || {
            let hash = hash.as_deref().unwrap_or(NO_PASSWORD);
            let is = |bytes: &[u8]| argon2.verify_password(bytes, hash).is_ok();
            let is_right = is(password.as_bytes());
            // Checked for every account, right or not, so that both cases take the same time.
            let was_right = password.sent_bytes().is_some_and(is);
            Ok(match (is_right && is_current(hash), is_right || was_right) {
                _ if hash == NO_PASSWORD => PasswordCheck::Wrong,
                (true, _) => PasswordCheck::Right,
                (false, true) => PasswordCheck::Outdated,
                (false, false) => PasswordCheck::Wrong,
            })
        })
        .await
    }

    fn argon2(&self) -> Argon2<'static> {
        Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone())
    }

    async fn on_free_core<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let core = tokio::time::timeout(LONGEST_WAIT, Arc::clone(&self.cores).acquire_owned());
        let Ok(Ok(core)) = core.await else { return Err(Error::Busy) };
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(core);
            result
        });
        done.await.map_err(|error| Error::Internal(format!("hashing stopped: {error}")))?
    }
}

fn hash_now(argon2: &Argon2<'_>, password: &Password, salt: [u8; 16]) -> Result<String> {
    let hash: std::result::Result<PasswordHash, _> =
        argon2.hash_password_with_salt(password.as_bytes(), &salt);
    let hash = hash.map_err(|error| Error::Internal(format!("hashing failed: {error}")))?;
    Ok(hash.to_string())
}

fn is_current(hash: &str) -> bool {
    let usual = format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}$");
    hash.starts_with(&usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_right_password_is_told_from_the_wrong_one_security_10() {
        let passwords = Passwords::default();
        let typed = |text: &str| Password::new(text.to_owned());
        let hash = passwords.hash(typed("SecurePass123"), [7; 16]).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");

        let right = passwords.check(typed("SecurePass123"), Some(hash.clone())).await.unwrap();
        assert_eq!(right, PasswordCheck::Right);
        let wrong = passwords.check(typed("SecurePass124"), Some(hash)).await.unwrap();
        assert_eq!(wrong, PasswordCheck::Wrong);
        let nobody = passwords.check(typed("SecurePass123"), None).await.unwrap();
        assert_eq!(nobody, PasswordCheck::Wrong);
    }

    #[test]
    fn checking_nobody_is_as_much_work_as_checking_somebody_security_12() {
        let nobody = PasswordHash::new(NO_PASSWORD).unwrap();
        assert!(is_current(NO_PASSWORD) && nobody.salt.is_some());
        let argon2 = Passwords::default().argon2();
        let ours = hash_now(&argon2, &Password::new("SecurePass123".into()), [7; 16]).unwrap();
        assert_eq!(
            nobody.hash.unwrap().len(),
            PasswordHash::new(&ours).unwrap().hash.unwrap().len()
        );
        assert_eq!(NO_PASSWORD.len(), ours.len());
    }

    #[tokio::test]
    async fn security_44_a_hash_of_an_older_version_is_right_in_the_form_that_was_sent() {
        let passwords = Passwords::default();
        let (composed, decomposed) = ("Fahrr\u{e4}der 2 lila", "Fahrra\u{308}der 2 lila");
        let old: PasswordHash =
            passwords.argon2().hash_password_with_salt(decomposed.as_bytes(), &[7; 16]).unwrap();
        let new = passwords.hash(Password::new(decomposed.into()), [7; 16]).await.unwrap();
        for (typed, hash, expected) in [
            (decomposed, old.to_string(), PasswordCheck::Outdated),
            (composed, new.clone(), PasswordCheck::Right),
            (decomposed, new.clone(), PasswordCheck::Right),
            ("Fahrrader 2 lila", new, PasswordCheck::Wrong),
        ] {
            let check = passwords.check(Password::new(typed.into()), Some(hash)).await.unwrap();
            assert_eq!(check, expected, "{typed}");
        }
    }

    #[tokio::test]
    async fn no_password_is_right_for_an_account_without_one_security_12() {
        for typed in ["", "SecurePass123", "nobody", NO_PASSWORD] {
            let typed = Password::new(typed.to_owned());
            let hash = Some(NO_PASSWORD.to_owned());
            let verdict = Passwords::default().check(typed, hash).await.unwrap();
            assert_eq!(verdict, PasswordCheck::Wrong);
        }
    }

    #[tokio::test]
    async fn a_hash_of_less_work_is_right_and_outdated_security_10() {
        let passwords = Passwords::default();
        let weak = Argon2::new(
            Algorithm::Argon2id,
            Version::V0x13,
            Params::new(8 * 1024, 1, 1, None).unwrap(),
        );
        let hash: PasswordHash = weak.hash_password_with_salt(b"SecurePass123", &[7; 16]).unwrap();
        let password = Password::new("SecurePass123".into());
        let verdict = passwords.check(password, Some(hash.to_string())).await.unwrap();
        assert_eq!(verdict, PasswordCheck::Outdated);
    }
}
