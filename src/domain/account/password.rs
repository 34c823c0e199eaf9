//! Decides which passwords are acceptable (NIST SP 800-63B-4, section 3.1.1.2): long enough and
//! hard to guess, without composition rules. Hashing is in [`crate::passwords`].
//!
//! Words about the account and the product, years and runs of keys add nothing: without them, the
//! rest must still be long and hard to guess (security_44).

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;
use zxcvbn::zxcvbn;

/// The shortest password, in bytes.
pub const MIN_PASSWORD_BYTES: usize = 12;

/// The longest password, in bytes: room for any passphrase, and a bound on the hashing work.
pub const MAX_PASSWORD_BYTES: usize = 1024;

/// The least estimated number of guesses. Leaked lists have about a million passwords, and a
/// throttled login allows fewer attempts than that in years.
const MIN_GUESSES: u64 = 1_000_000;

/// The number of characters that the estimate reads. Its time grows with their cube: a hundred
/// characters can take most of a second.
const ESTIMATED_CHARACTERS: usize = 40;

/// The fewest characters that remain without known words, years and runs of keys: two short words.
const MIN_REST: usize = 8;

/// The shortest known word that is looked for. Shorter ones are in many other words.
const MIN_WORD: usize = 3;

/// The shortest run of keys that is looked for: `123` and `was` are in many passwords.
const MIN_RUN: usize = 4;

/// Neighbouring keys of common keyboards, in rows and in columns. Runs go in both directions.
const KEYS: [&str; 17] = [
    "01234567890",
    "qwertyuiop",
    "qwertzuiop",
    "azertyuiop",
    "asdfghjkl",
    "qsdfghjklm",
    "zxcvbnm",
    "yxcvbnm",
    "abcdefghijklmnopqrstuvwxyz",
    "1qaz",
    "2wsx",
    "3edc",
    "4rfv",
    "5tgb",
    "6yhn",
    "7ujm",
    "!@#$%^&*()",
];

/// A password in clear text. It is zeroized on drop and never shown.
#[derive(Clone)]
pub struct Password {
    /// In NFC: keyboards and systems send the same characters in several forms.
    normalized: Zeroizing<String>,
    /// As it was sent, if that differs. Hashes of older versions are of this form.
    sent: Option<Zeroizing<String>>,
}

impl Password {
    /// Returns the password with this text, which may be any text.
    #[must_use]
    pub fn new(text: String) -> Self {
        let sent = Zeroizing::new(text);
        // A character has at most three times as many bytes in NFC (UAX 15), so the text does not
        // move and leave a copy behind.
        let mut normalized = Zeroizing::new(String::with_capacity(sent.len() * 3));
        normalized.extend(sent.nfc());
        let sent = (*normalized != *sent).then_some(sent);
        Self { normalized, sent }
    }

    /// Checks that a new password is acceptable. `about` has the texts that an attacker would try
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
            Zeroizing::new(self.normalized.chars().take(ESTIMATED_CHARACTERS).collect());
        let is_guessed = |text: &str| zxcvbn(text, about).guesses() < MIN_GUESSES;
        if is_guessed(&head) {
            return Err(UnfitPassword::Common);
        }
        let rest = without_known_parts(&head, &known_words(about));
        if rest.len() < head.len()
            && (rest.trim().chars().count() < MIN_REST || is_guessed(rest.trim()))
        {
            return Err(UnfitPassword::Common);
        }
        Ok(())
    }

    /// Returns the bytes, for hashing.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.normalized.as_bytes()
    }

    /// Returns the bytes as they were sent, if normalization has changed them.
    #[must_use]
    pub fn sent_bytes(&self) -> Option<&[u8]> {
        self.sent.as_ref().map(|sent| sent.as_bytes())
    }
}

/// Returns the words of these texts, plain, longest first: each text without separators, and its
/// parts. The last label of a domain is in too many other words.
fn known_words(about: &[&str]) -> Vec<Vec<char>> {
    let mut words = Vec::new();
    for text in about {
        let lower = text.to_lowercase();
        let is_domain = lower.contains('.') && !lower.contains(' ');
        let text =
            if is_domain { lower.rsplit_once('.').map_or("", |(rest, _)| rest) } else { &lower };
        let parts = text.split(|character: char| !character.is_alphanumeric());
        words.extend(parts.map(plain));
        words.push(plain(text).into_iter().filter(|letter| letter.is_alphanumeric()).collect());
    }
    words.retain(|word: &Vec<char>| word.len() >= MIN_WORD);
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    words
}

/// Returns the letters of a text in lower case, with usual substitutes for letters replaced. It has
/// as many characters as the text.
fn plain(text: &str) -> Vec<char> {
    let plain = text.chars().map(|character| match character {
        '@' | '4' => 'a',
        '3' => 'e',
        '1' | '!' => 'i',
        '0' => 'o',
        '$' | '5' => 's',
        '7' => 't',
        other => other.to_lowercase().next().unwrap_or(other),
    });
    plain.collect()
}

/// Returns a text without these words, years from 1900 to 2099, and runs of keys.
fn without_known_parts(text: &str, words: &[Vec<char>]) -> Zeroizing<String> {
    let typed = Zeroizing::new(text.chars().collect::<Vec<_>>());
    let plain = Zeroizing::new(plain(text));
    let lower: Zeroizing<Vec<char>> =
        Zeroizing::new(typed.iter().map(|c| c.to_lowercase().next().unwrap_or(*c)).collect());
    let mut rest = Zeroizing::new(String::with_capacity(text.len()));
    let mut at = 0;
    while at < typed.len() {
        let word = words.iter().filter(|word| plain[at..].starts_with(word)).map(Vec::len).max();
        let known = [word.unwrap_or(0), year(&lower[at..]), run(&lower[at..])];
        match known.into_iter().max().unwrap_or(0) {
            0 => {
                rest.push(typed[at]);
                at += 1;
            }
            length => at += length,
        }
    }
    rest
}

/// Returns the length of the year at the beginning of a text, or 0.
fn year(text: &[char]) -> usize {
    let is_year = matches!(text, ['1', '9', a, b, ..] | ['2', '0', a, b, ..]
        if a.is_ascii_digit() && b.is_ascii_digit());
    if is_year { 4 } else { 0 }
}

/// Returns the length of the run of keys at the beginning of a text, or 0. One key again and again
/// is a run too.
fn run(text: &[char]) -> usize {
    let Some(first) = text.first() else { return 0 };
    let same = text.iter().take_while(|key| *key == first).count();
    let along = |keys: &mut dyn Iterator<Item = char>| {
        let keys = keys.skip_while(|key| key != first);
        keys.zip(text).take_while(|(key, typed)| key == *typed).count()
    };
    let rows =
        KEYS.iter().flat_map(|keys| [along(&mut keys.chars()), along(&mut keys.chars().rev())]);
    let longest = rows.max().unwrap_or(0).max(same);
    if longest >= MIN_RUN { longest } else { 0 }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Password(…)")
    }
}

/// The reason why a new password is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnfitPassword {
    /// Fewer than [`MIN_PASSWORD_BYTES`].
    #[error(
        "it is too short; use {MIN_PASSWORD_BYTES} characters or more, for example a few words"
    )]
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

    const ABOUT: [&str; 6] = [
        "ada.lovelace@example.com",
        "acme-app",
        "Acme Editor",
        "licentia",
        "licenses.acme.example",
        "Ada Lovelace",
    ];

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

    /// Each of these would be long enough, and has enough guesses if the product, the person, the
    /// year and the keyboard were unknown.
    #[test]
    fn security_44_product_words_years_and_keyboard_runs_do_not_make_a_password_acceptable() {
        let refused = [
            "AcmeApp2024!",
            "AcmeApp-2025",
            "acme-app-2026!!",
            "Acme Editor 2026",
            "acmeeditor#1999",
            "@cme3ditor2026",
            "Licentia2026!",
            "licentia-license",
            "L1c3nt1a!2026",
            "licenses.acme.2026",
            "AdaLovelace1815",
            "Lovelace2026!!",
            "ada.lovelace.2026",
            "4d4L0v3l4c3!!",
            "lovelace-acme-1",
            "Ada@example2026",
            "example!Acme!7",
            "19992000200120",
            "2024-2025-2026",
            "1815 2026 1999 ",
            "qwertyuiop[]12",
            "asdfghjkl;2026",
            "zxcvbnm,./2026",
            "poiuytrewq1!",
            "lkjhgfdsa2020",
            "1qaz2wsx3edc",
            "1qaz!2wsx?3edc",
            "qwertzuiop2026",
            "azertyuiop1815",
            "qwertyAcme2026",
            "Acme1234567890",
            "acme!@#$%^&*()",
            "abcdefgh-acme-9",
            "zyxwvuts2026!",
            "acmeAcmeACMEacme1",
            "aaaaaAcme2026bbbb",
            "0987654321acme",
            "!Lovelace!1815!",
            "Acme.2026.Ada!",
            "appEditorAcme77",
        ];
        assert_eq!(refused.len(), 40);
        for text in refused {
            assert_eq!(verdict(text), Err(UnfitPassword::Common), "{text:?}");
        }
    }

    #[test]
    fn security_44_a_password_that_is_long_without_them_is_acceptable() {
        let accepted = [
            "four purple trains at noon",
            "acme trains leave at noon",
            "my acme-app is purple today",
            "Lovelace walks nine dogs",
            "licentia for the moonlit goats",
            "2026 is not my lucky number",
            "born 1999 under a green moon",
            "SecurePass123",
            "SecurePass for my app",
            "trainsAtNoon2026",
            "wobbly-gecko-2026",
            "Xk9#mQ2vLp7z",
            "acmeXk9#mQ2vLp7z",
            "t7Kw-2026-vRq9x",
            "qwerty under the moonlight",
            "gecko qwertyuiop walnut",
            "asdf? gravel, tulip!",
            "1234 walnuts for Bertha",
            "happy apples in applause",
            "application of gravity",
            "пароль который длинный",
            "密码很长而且不常见的句子",
            "كلمة سر طويلة جدا هنا",
            "δεκατρία μωβ ποδήλατα",
            "vierzehn lila Fahrräder",
            "quatorze vélos violets",
            "correct horse battery staple",
            "zu viele Köche, 7 Breie",
            "walnut.gecko.tulip",
            "Gravel&Tulip&Walnut",
            "kQ2!vLm0z-8#x",
            "my dog ate 41 sandwiches",
            "sphinx of black quartz",
            "rhubarb@midnight~owl",
            "the editor of my novel",
            "no license for this thief",
            "example of a good phrase",
            "🦊🦉🐢🦔 over the river",
            "tulip 🌷 walnut 🌰 gecko",
            "ninety nine red balloons",
        ];
        assert_eq!(accepted.len(), 40);
        for text in accepted {
            assert_eq!(verdict(text), Ok(()), "{text:?}");
        }
    }

    #[test]
    fn security_44_forms_of_the_same_characters_are_the_same_password() {
        let composed = Password::new("vierzehn lila Fahrr\u{e4}der".to_owned());
        let decomposed = Password::new("vierzehn lila Fahrra\u{308}der".to_owned());
        assert_eq!(composed.as_bytes(), decomposed.as_bytes());
        assert_eq!(composed.sent_bytes(), None);
        assert!(decomposed.sent_bytes().is_some_and(|sent| sent != composed.as_bytes()));
        // Compatibility forms are other characters.
        let wide = Password::new("\u{ff41}".to_owned());
        assert_ne!(wide.as_bytes(), Password::new("a".to_owned()).as_bytes());
    }

    #[test]
    fn a_password_is_never_shown() {
        assert_eq!(format!("{:?}", Password::new("hunter2".into())), "Password(…)");
    }
}
