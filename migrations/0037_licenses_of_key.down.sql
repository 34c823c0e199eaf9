CREATE INDEX licenses_key_id_index ON licenses (key_id);
DROP INDEX licenses_key_id_customer_id_index;
