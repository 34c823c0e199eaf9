-- Whether an address is verified, and an address that waits for its confirmation, belong to the
-- customer: mails and the sync with Stripe need both. Null means: not verified, or none waits.
ALTER TABLE customers ADD COLUMN email_verified_at BIGINT;
ALTER TABLE customers ADD COLUMN pending_email TEXT;
UPDATE customers SET email_verified_at =
    (SELECT u.email_verified_at FROM users u WHERE u.user_id = customers.user_id);
ALTER TABLE users DROP COLUMN email_verified_at;
