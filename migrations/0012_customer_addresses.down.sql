ALTER TABLE users ADD COLUMN email_verified_at BIGINT;
UPDATE users SET email_verified_at =
    (SELECT c.email_verified_at FROM customers c WHERE c.user_id = users.user_id);
ALTER TABLE customers DROP COLUMN pending_email;
ALTER TABLE customers DROP COLUMN email_verified_at;
