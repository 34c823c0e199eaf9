//! The table of the addresses that customers had before. An address in it is reserved: the link
//! that undoes the change could otherwise not restore it.

use crate::domain::account::customer::FormerAddress;
use crate::domain::contact::Email;
use crate::domain::ids::CustomerId;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::store::statement::{Insert, sql};
use crate::store::{SWEPT_AT_ONCE, Tx};

impl Tx {
    /// Inserts the address that a customer had until now, and deletes a few that are no longer
    /// reserved.
    pub async fn insert_former_address(
        &mut self,
        former: &FormerAddress,
        now: Timestamp,
    ) -> Result<()> {
        self.insert(Insert::new("former_addresses", former)).await?;
        let table = ("former_addresses", "customer_id, email", "reserved_until");
        self.sweep_table(table, now, SWEPT_AT_ONCE).await
    }

    /// Returns the number of the customer's next change of the address.
    pub async fn next_former_seq(&mut self, id: &CustomerId) -> Result<i64> {
        let (seq,) = sql!(
            self,
            fetch_one: (i64,),
            "SELECT COALESCE(MAX(seq), 0) + 1 FROM former_addresses WHERE customer_id = $1",
            id,
        )?;
        Ok(seq)
    }

    /// Returns a former address of a customer.
    pub async fn former_address(
        &mut self,
        id: &CustomerId,
        email: &Email,
    ) -> Result<Option<FormerAddress>> {
        sql!(
            self,
            fetch_optional: FormerAddress,
            "SELECT {columns} FROM former_addresses WHERE customer_id = $1 AND email = $2",
            id,
            email,
        )
    }

    /// Returns the former addresses of a customer, newest first.
    pub async fn former_addresses_of(&mut self, id: &CustomerId) -> Result<Vec<FormerAddress>> {
        sql!(
            self,
            fetch_all: FormerAddress,
            "SELECT {columns} FROM former_addresses WHERE customer_id = $1 ORDER BY seq DESC",
            id,
        )
    }

    /// Reserves a former address at least until this time. Returns false, and writes nothing, if it
    /// is no longer reserved: another customer may have it.
    pub async fn reserve_former_address(
        &mut self,
        id: &CustomerId,
        email: &Email,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<bool> {
        let updated = sql!(
            self,
            execute,
            "UPDATE former_addresses
             SET reserved_until = CASE WHEN reserved_until < $3 THEN $3 ELSE reserved_until END
             WHERE customer_id = $1 AND email = $2 AND reserved_until > $4",
            id,
            email,
            until,
            now,
        )?;
        Ok(updated > 0)
    }

    /// Deletes a former address of a customer that is the present one again.
    pub async fn delete_former_address(&mut self, id: &CustomerId, email: &Email) -> Result<()> {
        sql!(
            self,
            execute,
            "DELETE FROM former_addresses WHERE customer_id = $1 AND email = $2",
            id,
            email,
        )?;
        Ok(())
    }

    /// Deletes all former addresses of a customer: no change can be undone any more.
    pub async fn delete_former_addresses(&mut self, id: &CustomerId) -> Result<()> {
        sql!(self, execute, "DELETE FROM former_addresses WHERE customer_id = $1", id)?;
        Ok(())
    }

    /// Deletes the former addresses of a customer from this change on.
    pub async fn delete_former_addresses_from(&mut self, id: &CustomerId, seq: i64) -> Result<()> {
        sql!(
            self,
            execute,
            "DELETE FROM former_addresses WHERE customer_id = $1 AND seq >= $2",
            id,
            seq,
        )?;
        Ok(())
    }

    /// Returns whether an address belongs to another customer than this one, or is reserved for
    /// another one who had it before.
    pub async fn is_email_taken(
        &mut self,
        email: &Email,
        id: Option<&CustomerId>,
        now: Timestamp,
    ) -> Result<bool> {
        let owner = self.customer_by_email(email).await?.map(|owner| owner.customer_id);
        let reserved_for = self.reserved_for(email, now).await?;
        Ok([owner, reserved_for].iter().flatten().any(|other| Some(other) != id))
    }

    /// Checks that an address is not reserved for another customer. Called after the statement that
    /// stores the address: that one waits for a change of the address in another transaction, and
    /// this one sees its result.
    ///
    /// # Errors
    /// [`Error::EmailTaken`].
    pub(super) async fn must_not_be_reserved(
        &mut self,
        email: &Email,
        id: &CustomerId,
        now: Timestamp,
    ) -> Result<()> {
        match self.reserved_for(email, now).await? {
            Some(owner) if owner != *id => Err(Error::EmailTaken),
            _ => Ok(()),
        }
    }

    /// Returns the customer for whom an address is reserved.
    pub async fn reserved_for(
        &mut self,
        email: &Email,
        now: Timestamp,
    ) -> Result<Option<CustomerId>> {
        let owner = sql!(
            self,
            fetch_optional: (CustomerId,),
            "SELECT customer_id FROM former_addresses WHERE email = $1 AND reserved_until > $2",
            email,
            now,
        )?;
        Ok(owner.map(|(id,)| id))
    }
}
