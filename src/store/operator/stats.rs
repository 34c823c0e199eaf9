//! Counts for the statistics. A day is the number of days since 1970: an integer division has the
//! same result on both databases.

use crate::domain::column::row;
use crate::domain::operator::stats::{ActionCount, Subscribers};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::Tx;
use crate::store::statement::sql;

row! {
    struct ActionRow {
        day: i64,
        action: String,
        entries: i64,
        trials: i64,
    }
}

row! {
    struct RevenueRow {
        day: i64,
        currency: String,
        amount: i64,
    }
}

row! {
    struct PerpetualRow {
        plan: String,
        customers: i64,
    }
}

impl Tx {
    /// Returns how many entries of the audit log each day has of each action that the statistics
    /// need. `license.issued` counts as a trial by its `source`. `license.resent` counts only with
    /// an
    /// `after` value, which a resend with `reissue` writes. Both are found in the text of the JSON,
    /// which [`AuditEntry`](crate::domain::operator::audit::AuditEntry) writes without spaces.
    pub async fn count_actions(
        &mut self,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<ActionCount>> {
        let rows = sql!(
            self,
            fetch_all: ActionRow,
            // The actions are literals, so that the index on them is used.
            "SELECT day, action, COUNT(*) AS entries,
                 CAST(SUM(CASE WHEN is_trial THEN 1 ELSE 0 END) AS BIGINT) AS trials
             FROM (SELECT at / 86400 AS day, action,
                       detail LIKE '%\"source\":\"trial\"%' AS is_trial
                   FROM audit_log
                   WHERE action IN ('customer.signed_up', 'customer.created', 'customer.imported',
                       'customer.converted', 'customer.churned', 'license.issued',
                       'license.granted', 'license.extended', 'license.renewed',
                       'license.resent')
                     AND (action <> 'license.resent' OR detail LIKE '%\"after\":%')
                     AND at >= $1 AND at < $2) AS counted
             GROUP BY day, action",
            from,
            to,
        )?;
        let count = |ActionRow { day, action, entries, trials }| ActionCount {
            day,
            action,
            entries,
            trials,
        };
        Ok(rows.into_iter().map(count).collect())
    }

    /// Returns what was paid less what was returned on each day: day, currency, amount.
    pub async fn revenue(
        &mut self,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(i64, String, i64)>> {
        let rows = sql!(
            self,
            fetch_all: RevenueRow,
            "SELECT day, currency, CAST(SUM(paid) AS BIGINT) AS amount
             FROM (SELECT purchased_at / 86400 AS day, currency, amount AS paid
                   FROM orders WHERE status IN ('succeeded', 'refunded', 'disputed')
                     AND purchased_at >= $1 AND purchased_at < $2
                   UNION ALL SELECT at / 86400, currency, -order_returns.amount
                   FROM order_returns JOIN orders ON orders.order_id = order_returns.order_id
                   WHERE at >= $1 AND at < $2) AS payments
             GROUP BY day, currency",
            from,
            to,
        )?;
        Ok(rows.into_iter().map(|row| (row.day, row.currency, row.amount)).collect())
    }

    /// Returns the subscribers of each plan by what they pay for and by their last payment, and the
    /// customers with a perpetual license that they bought and without a subscription. Trials at
    /// Stripe have paid nothing.
    pub async fn subscribers(&mut self) -> Result<Vec<Subscribers>> {
        let subscribers = sql!(
            self,
            fetch_all: Subscribers,
            "SELECT plan, items, billed_in, amount, currency, COUNT(*) AS customers
             FROM (SELECT subscriptions.plan, items, subscriptions.currency AS billed_in,
                       orders.amount, orders.currency
                   FROM subscriptions LEFT JOIN orders ON orders.order_id = (
                       SELECT order_id FROM orders AS paid
                       WHERE paid.customer_id = subscriptions.customer_id
                         AND paid.status = 'succeeded' AND paid.amount > 0
                         AND subscriptions.status <> 'trialing'
                       ORDER BY paid.created_at DESC, paid.order_id LIMIT 1)
                   WHERE subscriptions.plan IS NOT NULL
                     AND subscriptions.status IN ('active', 'trialing', 'past_due')) AS live
             GROUP BY plan, items, billed_in, amount, currency",
        )?;
        let owners = sql!(
            self,
            fetch_all: PerpetualRow,
            "SELECT plan, COUNT(*) AS customers FROM licenses
             WHERE superseded_at IS NULL AND revoked_at IS NULL
               AND source = 'subscription' AND basis = 'once'
               AND NOT EXISTS (
                   SELECT 1 FROM subscriptions
                   WHERE subscriptions.customer_id = licenses.customer_id
                     AND subscriptions.plan IS NOT NULL
                     AND subscriptions.status IN ('active', 'trialing', 'past_due'))
             GROUP BY plan",
        )?;
        let owners = owners.into_iter().map(|PerpetualRow { plan, customers }| Subscribers {
            plan,
            customers,
            ..Subscribers::default()
        });
        Ok(subscribers.into_iter().chain(owners).collect())
    }
}
