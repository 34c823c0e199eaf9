-- The revocation of a key reads its licenses page by page, in this order. With an index on the key
-- alone, each page would read and sort all of them.
CREATE INDEX licenses_key_id_customer_id_index ON licenses (key_id, customer_id, seq);
DROP INDEX licenses_key_id_index;
