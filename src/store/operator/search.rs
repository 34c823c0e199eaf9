//! The search for customers: by an id, or by the terms in the table `customer_terms`. Every
//! statement uses an index.

use crate::domain::account::customer::Customer;
use crate::domain::column::Parameter;
use crate::domain::ids::CustomerId;
use crate::domain::operator::search::{FoundCustomer, Key, Term, WORDS, terms};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::Tx;
use crate::store::statement::{Insert, sql};

/// Selects customers by three words, by term and id: `$1` and `$2` are the range of the first word,
/// `$5` to `$8` those of the others, and the page begins after the term `$3` and the id `$4`. Of
/// several terms in the range, a customer's first one counts.
pub const BY_WORDS: &str = "SELECT {columns}
     FROM customer_terms AS found JOIN customers USING (customer_id)
     WHERE found.term >= $1 AND found.term < $2 AND (found.term, found.customer_id) > ($3, $4)
       AND NOT EXISTS (
           SELECT 1 FROM customer_terms AS earlier WHERE earlier.customer_id = found.customer_id
             AND earlier.term >= $1 AND earlier.term < found.term)
       AND EXISTS (
           SELECT 1 FROM customer_terms AS second WHERE second.customer_id = found.customer_id
             AND second.term >= $5 AND second.term < $6)
       AND EXISTS (
           SELECT 1 FROM customer_terms AS third WHERE third.customer_id = found.customer_id
             AND third.term >= $7 AND third.term < $8)
     ORDER BY found.term, found.customer_id LIMIT $9";

/// Returns the statement that selects the customer with an id, `$1`, and the id.
#[must_use]
pub fn by_key(key: &Key) -> (&'static str, &str) {
    match key {
        Key::Customer(id) => {
            ("SELECT customer_id FROM customers WHERE customer_id = $1", id.as_str())
        }
        Key::License(id) => ("SELECT customer_id FROM licenses WHERE license_id = $1", id.as_str()),
        Key::Order(id) => (
            "SELECT customer_id FROM orders WHERE order_id = $1 AND customer_id IS NOT NULL",
            id.as_str(),
        ),
        Key::StripeCustomer(id) => {
            ("SELECT customer_id FROM customers WHERE stripe_customer_id = $1", id.as_str())
        }
        Key::Subscription(id) => {
            ("SELECT customer_id FROM subscriptions WHERE stripe_subscription_id = $1", id.as_str())
        }
        Key::Invoice(id) => (
            "SELECT customer_id FROM orders
             WHERE stripe_invoice_id = $1 AND customer_id IS NOT NULL",
            id.as_str(),
        ),
        Key::Payment(id) => (
            "SELECT customer_id FROM orders
             WHERE stripe_payment_intent_id = $1 AND customer_id IS NOT NULL LIMIT 1",
            id.as_str(),
        ),
        Key::Checkout(id) => (
            "SELECT customer_id FROM orders
             WHERE stripe_checkout_session_id = $1 AND customer_id IS NOT NULL",
            id.as_str(),
        ),
    }
}

impl Tx {
    /// Returns the customer with this id of any kind.
    pub async fn customer_by_key(&mut self, key: &Key) -> Result<Option<CustomerId>> {
        let (text, id) = by_key(key);
        let found = sql!(self, fetch_optional: (CustomerId,), text, id)?;
        Ok(found.map(|(id,)| id))
    }

    /// Returns the customers who have a term that begins with each word, sorted by term and id,
    /// starting after `after`, at most `most`.
    pub async fn customers_by_words(
        &mut self,
        [first, second, third]: &[Term; WORDS],
        after: Option<(&str, &CustomerId)>,
        most: i64,
    ) -> Result<Vec<FoundCustomer>> {
        let (term, id) = after.map_or(("", ""), |(term, id)| (term, id.as_str()));
        sql!(
            self,
            fetch_all: FoundCustomer,
            BY_WORDS,
            first.as_str(),
            first.end(),
            term,
            id,
            second.as_str(),
            second.end(),
            third.as_str(),
            third.end(),
            most,
        )
    }

    /// Inserts the terms of customers who have none.
    pub(in crate::store) async fn insert_terms(&mut self, customers: &[Customer]) -> Result<()> {
        let rows = customers.iter().flat_map(|customer| {
            let row = |term: Term| vec![term.as_str().to_value(), customer.customer_id.to_value()];
            terms(customer).into_iter().map(row).collect::<Vec<_>>()
        });
        let rows: Vec<_> = rows.collect();
        for part in rows.chunks(ROWS_AT_ONCE) {
            let columns = &["term", "customer_id"];
            let insert =
                Insert::missing("customer_terms", "term, customer_id", columns, part.to_vec());
            self.insert(insert).await?;
        }
        Ok(())
    }

    /// Replaces the terms of a customer whose address or name may have changed.
    pub(in crate::store) async fn replace_terms(&mut self, customer: &Customer) -> Result<()> {
        let id = &customer.customer_id;
        sql!(self, execute, "DELETE FROM customer_terms WHERE customer_id = $1", id)?;
        self.insert_terms(std::slice::from_ref(customer)).await
    }

    /// Writes the terms of customers who are older than the table, at most `most`. Returns how
    /// many.
    pub async fn fill_terms(&mut self, most: i64, now: Timestamp) -> Result<usize> {
        // The update locks the rows: no other server writes the same terms.
        let customers = sql!(
            self,
            fetch_all: Customer,
            "UPDATE customers SET terms_at = $1 WHERE terms_at IS NULL AND customer_id IN (
                 SELECT customer_id FROM customers WHERE terms_at IS NULL
                 ORDER BY customer_id LIMIT $2)
             RETURNING {columns}",
            now,
            most,
        )?;
        self.insert_terms(&customers).await?;
        Ok(customers.len())
    }
}

/// The rows of one statement: it has two parameters for each, and SQLite allows 32,766
/// (<https://sqlite.org/limits.html>).
const ROWS_AT_ONCE: usize = 1000;
