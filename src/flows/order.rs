//! The caller's orders. What becomes of them is decided by [`crate::domain::settlement`].

use crate::app::App;
use crate::domain::order::Order;
use crate::error::Result;
use crate::flows::session::SignedIn;

/// Returns the caller's orders, the newest first, at most `most`.
///
/// # Errors
/// A failure of the database.
pub async fn list(app: &App, caller: &SignedIn, most: i64) -> Result<Vec<Order>> {
    app.store.read().await?.orders_of(&caller.customer.customer_id, most).await
}
