DROP INDEX licenses_end_index;
DROP INDEX outbox_once_key_key;
ALTER TABLE outbox DROP COLUMN once_key;
ALTER TABLE outbox DROP COLUMN language;
ALTER TABLE outbox DROP COLUMN order_id;
ALTER TABLE orders DROP COLUMN invoice_url;
ALTER TABLE customers DROP COLUMN language;
