//! The languages of mails, and dates and amounts in each.

use chrono::Datelike;

use crate::domain::text_enum::text_enum;
use crate::domain::time::Timestamp;

text_enum! {
    /// A language of mails: an ISO 639 code, and the name of its folder of templates.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum Language {
        /// English.
        #[default]
        English = "en",
        /// German.
        German = "de",
    }
}

/// The currencies without a smaller unit, and those with three decimal places, at Stripe
/// (<https://docs.stripe.com/currencies#zero-decimal>).
const ZERO_DECIMALS: [&str; 16] = [
    "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv",
    "xaf", "xof", "xpf",
];
const THREE_DECIMALS: [&str; 5] = ["bhd", "jod", "kwd", "omr", "tnd"];

const ENGLISH_MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const GERMAN_MONTHS: [&str; 12] = [
    "Januar",
    "Februar",
    "März",
    "April",
    "Mai",
    "Juni",
    "Juli",
    "August",
    "September",
    "Oktober",
    "November",
    "Dezember",
];

impl Language {
    /// Returns the language that a header `Accept-Language` prefers (RFC 9110, section 12.5.4);
    /// `None` if it accepts none of ours.
    #[must_use]
    pub fn preferred(accept_language: &str) -> Option<Self> {
        let accepted = accept_language.split(',').filter_map(|range| {
            let (tag, parameters) = range.split_once(';').unwrap_or((range, ""));
            let code = tag.trim().split('-').next()?.to_ascii_lowercase();
            let quality = parameters.trim().strip_prefix("q=");
            let quality = quality.map_or(Some(1.0), |number| number.trim().parse::<f32>().ok())?;
            (quality > 0.0).then_some((quality, code.parse::<Self>().ok()?))
        });
        // Of equals, the first counts.
        let best = accepted.reduce(|best, next| if next.0 > best.0 { next } else { best });
        best.map(|(_, language)| language)
    }

    /// Returns a day, like "4 December 2026".
    #[must_use]
    pub fn day(self, time: Timestamp) -> String {
        let date = time.to_datetime();
        let (day, month, year) = (date.day(), date.month0() as usize, date.year());
        match self {
            Self::English => format!("{day} {} {year}", ENGLISH_MONTHS[month]),
            Self::German => format!("{day}. {} {year}", GERMAN_MONTHS[month]),
        }
    }

    /// Returns a day and a time (UTC), like "4 December 2026, 15:00".
    #[must_use]
    pub fn time(self, time: Timestamp) -> String {
        format!("{}, {}", self.day(time), time.to_datetime().format("%H:%M"))
    }

    /// Returns an amount in a currency's smallest unit, like "1,234.50 USD".
    #[must_use]
    pub fn amount(self, amount: i64, currency: &str) -> String {
        let decimals = match currency {
            code if ZERO_DECIMALS.contains(&code) => 0,
            code if THREE_DECIMALS.contains(&code) => 3,
            _ => 2,
        };
        let (thousands, point) = match self {
            Self::English => (',', '.'),
            Self::German => ('.', ','),
        };
        let digits = format!("{:0>width$}", amount.unsigned_abs(), width = decimals + 1);
        let (whole, fraction) = digits.split_at(digits.len() - decimals);
        let mut text = if amount < 0 { "-".to_owned() } else { String::new() };
        for (place, digit) in whole.chars().enumerate() {
            if place > 0 && (whole.len() - place).is_multiple_of(3) {
                text.push(thousands);
            }
            text.push(digit);
        }
        if decimals > 0 {
            text.push(point);
            text.push_str(fraction);
        }
        format!("{text} {}", currency.to_ascii_uppercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_the_preferred_one_of_ours() {
        use Language::{English, German};
        for (header, expected) in [
            ("de", Some(German)),
            ("de-AT,de;q=0.9,en;q=0.8", Some(German)),
            ("en-US,en;q=0.9,de;q=0.8", Some(English)),
            ("fr, de;q=0.3, en;q=0.7", Some(English)),
            ("fr;q=1.0, DE ; q=0.5", Some(German)),
            ("de;q=0, en;q=0.1", Some(English)),
            ("fr, *;q=0.5", None),
            ("de;q=much, ;;, ,", None),
            ("", None),
        ] {
            assert_eq!(Language::preferred(header), expected, "{header}");
        }
    }

    #[test]
    fn dates_and_amounts_are_written_as_in_the_language() {
        let time = Timestamp::saturating(1_796_396_400);
        assert_eq!(Language::English.time(time), "4 December 2026, 15:00");
        assert_eq!(Language::German.time(time), "4. Dezember 2026, 15:00");
        for (amount, currency, english, german) in [
            (4900, "usd", "49.00 USD", "49,00 USD"),
            (123_456_789, "eur", "1,234,567.89 EUR", "1.234.567,89 EUR"),
            (5, "eur", "0.05 EUR", "0,05 EUR"),
            (4900, "jpy", "4,900 JPY", "4.900 JPY"),
            (0, "jpy", "0 JPY", "0 JPY"),
            (4900, "kwd", "4.900 KWD", "4,900 KWD"),
            (-150, "usd", "-1.50 USD", "-1,50 USD"),
        ] {
            assert_eq!(Language::English.amount(amount, currency), english);
            assert_eq!(Language::German.amount(amount, currency), german);
        }
    }
}
