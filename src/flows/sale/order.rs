//! Lists the caller's orders. [`crate::domain::sale::settlement`] decides how they change.

use crate::app::App;
use crate::domain::sale::order::Order;
use crate::error::Result;
use crate::flows::account::session::SignedIn;

/// Returns the caller's orders, newest first, at most `most`.
///
/// # Errors
/// A failure of the database.
pub async fn list(app: &App, caller: &SignedIn, most: i64) -> Result<Vec<Order>> {
    app.store.read().await?.orders_of(&caller.customer.customer_id, most).await
}
