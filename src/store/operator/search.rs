//! The search for customers: by an id, or by the terms in the table `customer_terms`. Every
//! statement uses an index.

use crate::domain::account::customer::Customer;
use crate::domain::column::{Parameter, Value};
use crate::domain::ids::CustomerId;
use crate::domain::operator::search::{FoundCustomer, Key, Place, Term, terms};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::Tx;
use crate::store::statement::{Insert, Statement, sql};

/// Returns the statement that selects customers by a word and this many other words, by term and
/// id. `$1` and `$2` are the term and the id after which it begins, `$3` and `$4` those until which
/// it reads, `$5` is the word, and `$6` the most rows. The range of each other word follows. Of
/// several terms that begin with the word, a customer's first one counts.
fn by_words(others: usize) -> String {
    let other = |place: usize| {
        let (start, end) = (7 + 2 * place, 8 + 2 * place);
        // Without `OFFSET`, PostgreSQL may read all customers of a common word first, and join.
        format!(
            " AND EXISTS (SELECT 1 FROM customer_terms AS other
                 WHERE other.customer_id = found.customer_id
                   AND other.term >= ${start} AND other.term < ${end} LIMIT 1 OFFSET 0)"
        )
    };
    let others: String = (0..others).map(other).collect();
    format!(
        "SELECT {{columns}} FROM customer_terms AS found JOIN customers USING (customer_id)
         WHERE (found.term, found.customer_id) > ($1, $2)
           AND (found.term, found.customer_id) <= ($3, $4)
           AND NOT EXISTS (SELECT 1 FROM customer_terms AS earlier
                 WHERE earlier.customer_id = found.customer_id
                   AND earlier.term >= $5 AND earlier.term < found.term LIMIT 1 OFFSET 0){others}
         ORDER BY found.term, found.customer_id LIMIT $6"
    )
}

/// Returns the statement that selects the customer with an id, `$1`, and the id.
fn by_key(key: &Key) -> (&'static str, &str) {
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

    /// Makes PostgreSQL plan the statements of this transaction once, for any values. It
    /// overestimates ranges of unknown values. So it would plan each call of a search again, which
    /// takes longer than the search
    /// (<https://www.postgresql.org/docs/current/sql-prepare.html#SQL-PREPARE-NOTES>), or compile
    /// it or start workers, which takes much longer.
    pub async fn plan_once(&mut self) -> Result<()> {
        if matches!(self, Self::Postgres(_)) {
            sql!(
                self,
                execute,
                "SELECT set_config('plan_cache_mode', 'force_generic_plan', true),
                     set_config('jit', 'off', true),
                     set_config('max_parallel_workers_per_gather', '0', true)",
            )?;
        }
        Ok(())
    }

    /// Returns how many terms begin with each word, counted up to `most`.
    pub async fn count_terms(&mut self, words: &[Term], most: i64) -> Result<Vec<i64>> {
        let count = |place: usize| {
            let (start, end) = (2 + 2 * place, 3 + 2 * place);
            format!(
                "SELECT CAST({place} AS BIGINT) AS place, COUNT(*) AS terms
                 FROM (SELECT 1 FROM customer_terms
                     WHERE term >= ${start} AND term < ${end} LIMIT $1) AS counted"
            )
        };
        let counts: Vec<_> = (0..words.len()).map(count).collect();
        let mut values = vec![most.to_value()];
        values.extend(words.iter().flat_map(range));
        let text = format!("{} ORDER BY place", counts.join(" UNION ALL "));
        let counts: Vec<(i64, i64)> = self.fetch_all(Statement::composed(text, values)).await?;
        Ok(counts.into_iter().map(|(_, terms)| terms).collect())
    }

    /// Returns the place of the term that is `distance` terms after a place, among those that begin
    /// with a word; `None` if there are fewer.
    pub async fn place_of_term(
        &mut self,
        word: &Term,
        after: Option<&Place>,
        distance: i64,
    ) -> Result<Option<Place>> {
        let (term, id) = start(word, after);
        sql!(
            self,
            fetch_optional: Place,
            "SELECT {columns} FROM customer_terms
             WHERE (term, customer_id) > ($1, $2) AND term < $3
             ORDER BY term, customer_id LIMIT 1 OFFSET $4",
            term,
            id,
            word.end(),
            distance - 1,
        )
    }

    /// Returns the customers who have a term that begins with each word, sorted by their first term
    /// that begins with `word` and by id, from after one place until another, at most `most`.
    pub async fn customers_by_words(
        &mut self,
        word: &Term,
        others: &[&Term],
        (after, until): (Option<&Place>, Option<&Place>),
        most: i64,
    ) -> Result<Vec<FoundCustomer>> {
        let (term, id) = start(word, after);
        let end = word.end();
        let (last, last_id) = until.map_or((end.as_str(), ""), place);
        let mut values =
            [term, id, last, last_id, word.as_str()].map(|text| text.to_value()).to_vec();
        values.push(most.to_value());
        values.extend(others.iter().copied().flat_map(range));
        self.fetch_all(Statement::composed(by_words(others.len()), values)).await
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

/// Returns the term and the id after which the list of a word begins, or continues.
fn start<'a>(word: &'a Term, after: Option<&'a Place>) -> (&'a str, &'a str) {
    after.map_or((word.as_str(), ""), place)
}

fn place(place: &Place) -> (&str, &str) {
    (place.term.as_str(), place.customer_id.as_str())
}

/// Returns the range of the terms that begin with a word.
fn range(word: &Term) -> [Value; 2] {
    [word.as_str().to_value(), word.end().to_value()]
}

/// The rows of one statement: it has two parameters for each, and SQLite allows 32,766
/// (<https://sqlite.org/limits.html>).
const ROWS_AT_ONCE: usize = 1000;
