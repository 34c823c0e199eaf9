ALTER TABLE licenses DROP COLUMN revocation_reason;
