DROP INDEX inbox_customer_id_index;
DROP INDEX customers_terms_at_index;
ALTER TABLE customers DROP COLUMN terms_at;
DROP TABLE customer_terms;
