-- What the customer gave up knowingly by a purchase or a change (`accept_smaller`), as JSON.
ALTER TABLE customers ADD COLUMN accepted_losses TEXT;
