ALTER TABLE customers DROP COLUMN reset_required_at;
