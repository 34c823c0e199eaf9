-- When the address was verified: the vendor vouched for it, who billed it so far. Null is an address
-- that somebody signed up with, which anybody could.
ALTER TABLE users ADD COLUMN email_verified_at BIGINT;
