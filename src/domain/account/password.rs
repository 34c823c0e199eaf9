//! Decides which passwords are acceptable (NIST SP 800-63B-4, section 3.1.1.2): long enough and
//! hard to guess, without composition rules. Hashing is in [`crate::passwords`].

use zeroize::Zeroizing;
use zxcvbn::zxcvbn;

/// The shortest password, in bytes.
pub const MIN_PASSWORD_BYTES: usize = 12;

/// The longest password, in bytes: room for any passphrase, and a bound on the hashing work.
pub const MAX_PASSWORD_BYTES: usize = 1024;

/// The least estimated number of guesses. A million is the size of a leaked list, and more than a
/// throttled login allows in years.
const MIN_GUESSES: u64 = 1_000_000;

/// The characters that the estimate reads. Its work grows with their cube: a hundred characters can
/// take most of a second.
const ESTIMATED_CHARACTERS: usize = 40;

/// A password in clear text. It is zeroized on drop and never shown.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Returns the password with this text, which may be any text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Checks that a new password is acceptable. `about` has the words that an attacker would try
    /// first for this account: email address, names, product. This takes milliseconds, so it must
    /// not run on an async thread.
    ///
    /// # Errors
    /// When it is too short, too long, or too easy to guess.
    pub fn check(&self, about: &[&str]) -> Result<(), UnfitPassword> {
        match self.as_bytes().len() {
            0..MIN_PASSWORD_BYTES => return Err(UnfitPassword::TooShort),
            MIN_PASSWORD_BYTES..=MAX_PASSWORD_BYTES => {}
            _ => return Err(UnfitPassword::TooLong),
        }
        let head: Zeroizing<String> =
            Zeroizing::new(self.0.chars().take(ESTIMATED_CHARACTERS).collect());
        if zxcvbn(&head, about).guesses() < MIN_GUESSES {
            return Err(UnfitPassword::Common);
        }
        Ok(())
    }

    /// Returns the bytes, for hashing.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Password(…)")
    }
}

/// Why a new password is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnfitPassword {
    /// Fewer than [`MIN_PASSWORD_BYTES`].
    #[error("it is too short; use {MIN_PASSWORD_BYTES} characters or more, a few words will do")]
    TooShort,
    /// More than [`MAX_PASSWORD_BYTES`].
    #[error("it is too long; use at most {MAX_PASSWORD_BYTES} bytes")]
    TooLong,
    /// It is too easy to guess.
    #[error("it is too easy to guess; choose a less common one")]
    Common,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABOUT: [&str; 2] = ["ada.lovelace@example.com", "acme-app"];

    fn verdict(text: &str) -> Result<(), UnfitPassword> {
        Password::new(text.to_owned()).check(&ABOUT)
    }

    #[test]
    fn long_and_uncommon_is_enough_security_11() {
        for good in [
            "SecurePass123",
            "correct horse battery staple",
            "пароль который длинный",
            "x8#kQ2!vLm0z",
        ] {
            assert_eq!(verdict(good), Ok(()), "{good:?}");
        }
        assert_eq!(verdict(&"long passphrase ".repeat(64)), Ok(()));
    }

    #[test]
    fn short_long_common_and_personal_ones_are_refused_security_11() {
        assert_eq!(verdict("SecurePas12"), Err(UnfitPassword::TooShort));
        assert_eq!(verdict(&"long passphrase!".repeat(65)), Err(UnfitPassword::TooLong));
        for common in [
            "password1234",
            "passwordpassword",
            "123456789012",
            "aaaaaaaaaaaa",
            "qwertyuiop12",
            "ada.lovelace@example.com",
            "acme-app1234",
            "abcdefghijkl",
            "iloveyou1234",
        ] {
            assert_eq!(verdict(common), Err(UnfitPassword::Common), "{common:?}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        assert_eq!(format!("{:?}", Password::new("hunter2".into())), "Password(…)");
    }
}
