//! The search for a customer: what one box accepts, and the terms by which a customer is found.

use std::collections::BTreeSet;

use crate::domain::account::customer::Customer;
use crate::domain::column::row;
use crate::domain::contact::{DisplayName, Email};
use crate::domain::ids::{CustomerId, LicenseId, OrderId};
use crate::domain::license::LicenseToken;
use crate::domain::page::Cursor;
use crate::domain::private::Private;
use crate::domain::sale::stripe_ids::{
    CheckoutSessionId, InvoiceId, PaymentIntentId, StripeCustomerId, StripeSubscriptionId,
};
use crate::domain::time::Timestamp;

/// The bytes of a text that count. More would not fit into a cursor, and hardly any two addresses
/// differ only after them.
const MAX_TERM_BYTES: usize = 48;

/// The words of a query that count: the longest ones. Each costs an index lookup per candidate.
const MAX_WORDS: usize = 3;

/// The longest query, in bytes: a license token.
pub const MAX_QUERY: usize = licentia_verify::MAX_TOKEN_BYTES;

/// An id that belongs to one customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The customer's.
    Customer(CustomerId),
    /// A license's.
    License(LicenseId),
    /// An order's.
    Order(OrderId),
    /// Stripe's, of the customer.
    StripeCustomer(StripeCustomerId),
    /// Of a subscription.
    Subscription(StripeSubscriptionId),
    /// Of an invoice.
    Invoice(InvoiceId),
    /// Of a payment.
    Payment(PaymentIntentId),
    /// Of a Checkout session.
    Checkout(CheckoutSessionId),
}

impl Key {
    fn parse(text: &str) -> Option<Self> {
        let (prefix, _) = text.split_once('_')?;
        match prefix {
            "cust" => text.parse().ok().map(Self::Customer),
            "lic" => text.parse().ok().map(Self::License),
            "ord" => text.parse().ok().map(Self::Order),
            "cus" => text.parse().ok().map(Self::StripeCustomer),
            "sub" => text.parse().ok().map(Self::Subscription),
            "in" => text.parse().ok().map(Self::Invoice),
            "pi" => text.parse().ok().map(Self::Payment),
            "cs" => text.parse().ok().map(Self::Checkout),
            _ => None,
        }
    }
}

/// A search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Search {
    /// The customer with an id.
    Key(Key),
    /// The customer with this license, which must be the stored one.
    Token(LicenseId, LicenseToken),
    /// The customers who have, for each word, a term that begins with it. There is at least one
    /// word, the longest is first, and none is the beginning of another.
    Words(Vec<Term>),
}

impl Search {
    /// Returns what a text asks for: an id, a license token, or the beginnings of words of the
    /// address and the names. An empty text asks for every customer.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        if let Some(key) = Key::parse(text) {
            return Self::Key(key);
        }
        if let Some(license_id) = license_of(text) {
            return Self::Token(license_id, LicenseToken::new(text.to_owned()));
        }
        let mut all: Vec<_> = text.split_whitespace().map(bare).map(Term::new).collect();
        all.sort_by_key(|word| std::cmp::Reverse(word.0.len()));
        let mut words: Vec<Term> = Vec::new();
        for word in all {
            if words.len() < MAX_WORDS && !words.iter().any(|longer| word.begins(&longer.0)) {
                words.push(word);
            }
        }
        if words.is_empty() {
            words.push(Term::new(""));
        }
        Self::Words(words)
    }
}

/// Returns the id of a license token; `None` if the text is none.
fn license_of(text: &str) -> Option<LicenseId> {
    let claims = licentia_verify::inspect(text).ok()?.claims;
    claims.get("jti")?.as_str()?.parse().ok()
}

/// Returns a word without the punctuation around it. An address stays as it is.
fn bare(word: &str) -> &str {
    let inner = word.trim_matches(|letter: char| !letter.is_alphanumeric());
    if word.contains('@') || inner.is_empty() { word } else { inner }
}

/// A text by which customers are found, in the form of the table: the hexadecimal UTF-8 of its
/// lower case. Digits and letters from a to f have the same order in every collation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term(String);

/// Shows the length only: the text names a person.
impl std::fmt::Debug for Term {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Term({} digits)", self.0.len())
    }
}

impl Term {
    fn new(text: &str) -> Self {
        let text = text.to_lowercase();
        let hex = text.bytes().take(MAX_TERM_BYTES).map(|byte| format!("{byte:02x}"));
        Self(hex.collect())
    }

    /// Returns the stored text. The terms that begin with it are from it until [`Self::end`].
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether a stored text begins with this one.
    #[must_use]
    pub fn begins(&self, term: &str) -> bool {
        term.starts_with(&self.0)
    }

    /// Returns the text before which all terms are that begin with this one: `g` is greater than
    /// every hexadecimal digit.
    #[must_use]
    pub fn end(&self) -> String {
        format!("{}g", self.0)
    }
}

/// Returns the terms of a customer: the address, a new address that waits for its confirmation,
/// both as stored and as shown, and each word of the names, also without its punctuation.
#[must_use]
pub fn terms(customer: &Customer) -> BTreeSet<Term> {
    let addresses = [Some(&customer.email), customer.pending_email.as_ref()];
    let names = [customer.name.as_ref(), customer.company_name.as_ref()];
    let shown = |email: &Email| [Term::new(email.as_str()), Term::new(&email.to_unicode())];
    let mut terms: BTreeSet<_> = addresses.into_iter().flatten().flat_map(shown).collect();
    for word in names.into_iter().flatten().flat_map(|name| name.as_str().split_whitespace()) {
        terms.insert(Term::new(word));
        let parts = word.split(|letter: char| !letter.is_alphanumeric());
        terms.extend(parts.filter(|part| !part.is_empty()).map(Term::new));
    }
    terms
}

row! {
    /// A customer that was found, and the term that matched.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct FoundCustomer {
        /// The id.
        pub customer_id: CustomerId,
        /// The email address.
        pub email: Email,
        /// The time at which the address was verified.
        pub email_verified_at: Option<Timestamp>,
        /// The person's name.
        pub name: Option<DisplayName>,
        /// The company's name.
        pub company_name: Option<DisplayName>,
        /// The Stripe customer.
        pub stripe_customer_id: Option<StripeCustomerId>,
        /// The time of the sign-up.
        pub created_at: Timestamp,
        /// The first term that begins with the rarest word of the query; empty for an id.
        pub term: Private,
    }
}

impl From<Customer> for FoundCustomer {
    fn from(customer: Customer) -> Self {
        Self {
            customer_id: customer.customer_id,
            email: customer.email,
            email_verified_at: customer.email_verified_at,
            name: customer.name,
            company_name: customer.company_name,
            stripe_customer_id: customer.stripe_customer_id,
            created_at: customer.created_at,
            term: String::new().into(),
        }
    }
}

impl FoundCustomer {
    /// Returns the place in the list.
    #[must_use]
    pub fn position(&self) -> SearchPosition {
        SearchPosition { term: self.term.clone(), customer_id: self.customer_id.clone() }
    }
}

row! {
    /// A position in the list of customers, which is sorted by term and id.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct SearchPosition {
        /// The term.
        pub term: Private,
        /// The id.
        pub customer_id: CustomerId,
    }
}

impl SearchPosition {
    /// Returns a position for the API description.
    #[must_use]
    pub fn example() -> Self {
        let term = Term::new("grace").0.into();
        Self { term, customer_id: CustomerId::from_random(1) }
    }

    /// Returns the position as the end of a page.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        let id = format!("{}.{}", self.term.as_str(), self.customer_id);
        Cursor { at: Timestamp::saturating(0), id }
    }

    /// Returns the position of a [`Self::cursor`]; `None` for a position in another list.
    #[must_use]
    pub fn of_cursor(cursor: &Cursor) -> Option<Self> {
        let (term, id) = cursor.id.split_once('.')?;
        let is_hex = term.bytes().all(|byte| byte.is_ascii_hexdigit());
        let customer_id = id.parse().ok().filter(|_| is_hex)?;
        Some(Self { term: term.to_owned().into(), customer_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Term> {
        match Search::parse(text) {
            Search::Words(words) => words,
            other => panic!("{text:?} is {other:?}"),
        }
    }

    #[test]
    fn each_form_of_a_query_is_recognized() {
        let hex = "0123456789abcdef0123456789abcdef";
        let customer = format!(" cust_{hex}\n");
        let expected = Search::Key(Key::Customer(customer.trim().parse().unwrap()));
        assert_eq!(Search::parse(&customer), expected);
        for id in [
            &format!("lic_{hex}"),
            &format!("ord_{hex}"),
            "cus_A",
            "sub_1",
            "in_1",
            "pi_1",
            "cs_test_1",
        ] {
            assert!(matches!(Search::parse(id), Search::Key(_)), "{id}");
        }
        // Not the ids of anything: words.
        for text in ["cust_1", "cus_", "in_a b", "a.b.c", "net_worth"] {
            words(text);
        }
    }

    #[test]
    fn the_three_longest_words_count_and_no_beginning_of_another_word() {
        assert_eq!(words(""), [Term::new("")]);
        assert_eq!(words("Ada ad ADA"), [Term::new("ada")]);
        assert_eq!(words("ada bada"), ["bada", "ada"].map(Term::new));
        let four = words("Eckert of (Mauchly) Corporation,");
        assert_eq!(four, ["corporation", "mauchly", "eckert"].map(Term::new));
        assert_eq!(words("grace@")[0], Term::new("grace@"));
    }

    #[test]
    fn a_term_is_in_the_range_of_its_beginnings_only() {
        let is_in = |term: &Term, start: &Term| *start <= *term && term.0 < start.end();
        let term = Term::new("Müller");
        for start in ["", "m", "MÜ", "müller"].map(Term::new) {
            assert!(is_in(&term, &start), "{start:?}");
        }
        for other in ["müllers", "n", "l", "mul"].map(Term::new) {
            assert!(!is_in(&term, &other), "{other:?}");
        }
        assert_eq!(Term::new(&"a".repeat(300)).0.len(), 2 * MAX_TERM_BYTES);
        assert!(!format!("{term:?}").contains("6d"), "{term:?}");
    }
}
