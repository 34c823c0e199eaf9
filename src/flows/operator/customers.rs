//! A customer, as support sees it.

use crate::app::App;
use crate::domain::ids::CustomerId;
use crate::domain::outbox::StoredMail;
use crate::domain::page::{Cursor, Page, PageRequest};
use crate::error::{Error, Result};

/// Returns a page of the mails to a customer, newest first.
///
/// # Errors
/// [`Error::NotFound`] when there is no such customer.
pub async fn mails(app: &App, id: &CustomerId, request: &PageRequest) -> Result<Page<StoredMail>> {
    let mut tx = app.store.read().await?;
    if tx.customer(id).await?.is_none() {
        return Err(Error::NotFound("customer"));
    }
    let mails = tx.mails_of(id, request).await?;
    let place = |mail: &StoredMail| Cursor { at: mail.created_at, id: mail.mail_id.to_string() };
    Ok(request.page(mails, place))
}
