//! The table with what the plans file of the last start granted: one row.

use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::store::Tx;
use crate::store::statement::sql;

impl Tx {
    /// Returns what the plans file of the last start granted; `None` before the first start.
    pub async fn seen_plans(&mut self) -> Result<Option<String>> {
        let row = sql!(
            self,
            fetch_optional: (String,),
            "SELECT content FROM seen_plans WHERE id = 1",
        )?;
        Ok(row.map(|(content,)| content))
    }

    /// Replaces what the plans file of the last start granted.
    pub async fn put_seen_plans(&mut self, content: &str, now: Timestamp) -> Result<()> {
        sql!(
            self,
            execute,
            "INSERT INTO seen_plans (id, content, seen_at) VALUES (1, $1, $2)
             ON CONFLICT (id) DO UPDATE SET content = $1, seen_at = $2",
            content,
            now,
        )?;
        Ok(())
    }
}
