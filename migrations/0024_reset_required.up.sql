-- When a change of the address was undone. Until a mailed link sets a password, the present one may
-- be known to a thief.
ALTER TABLE customers ADD COLUMN reset_required_at BIGINT;
