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
    struct SubscribersRow {
        plan: String,
        amount: Option<i64>,
        currency: Option<String>,
        customers: i64,
    }
}

impl Tx {
    /// Returns how many entries of the audit log each day has of each action that the statistics
    /// need. An entry says by its source that the license is for a trial.
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
                       'license.granted', 'license.extended', 'license.renewed')
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

    /// Returns the amounts that were paid on each day and not returned: day, currency, amount.
    pub async fn revenue(
        &mut self,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(i64, String, i64)>> {
        let rows = sql!(
            self,
            fetch_all: RevenueRow,
            "SELECT purchased_at / 86400 AS day, currency, CAST(SUM(amount) AS BIGINT) AS amount
             FROM orders WHERE status = 'succeeded' AND purchased_at >= $1 AND purchased_at < $2
             GROUP BY purchased_at / 86400, currency",
            from,
            to,
        )?;
        Ok(rows.into_iter().map(|row| (row.day, row.currency, row.amount)).collect())
    }

    /// Returns the subscribers of each plan by their last payment.
    pub async fn subscribers(&mut self) -> Result<Vec<Subscribers>> {
        let rows = sql!(
            self,
            fetch_all: SubscribersRow,
            "SELECT plan, amount, currency, COUNT(*) AS customers
             FROM (SELECT subscriptions.plan, orders.amount, orders.currency
                   FROM subscriptions LEFT JOIN orders ON orders.order_id = (
                       SELECT order_id FROM orders AS paid
                       WHERE paid.customer_id = subscriptions.customer_id
                         AND paid.status = 'succeeded' AND paid.amount > 0
                       ORDER BY paid.created_at DESC, paid.order_id LIMIT 1)
                   WHERE subscriptions.plan IS NOT NULL
                     AND subscriptions.status IN ('active', 'trialing', 'past_due')) AS live
             GROUP BY plan, amount, currency",
        )?;
        let group = |SubscribersRow { plan, amount, currency, customers }| Subscribers {
            plan,
            amount,
            currency,
            customers,
        };
        Ok(rows.into_iter().map(group).collect())
    }
}
