-- What a key signed, by customer, for when it is lost or known to others: a revocation reads a page
-- after another. It replaces the index of the key alone, with which each page would read and sort
-- all licenses of the key.
CREATE INDEX licenses_key_id_customer_id_index ON licenses (key_id, customer_id, seq);
DROP INDEX licenses_key_id_index;
