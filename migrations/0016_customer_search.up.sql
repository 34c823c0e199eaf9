-- The terms by which customers are found: the address, and the words of the names. A term is the
-- hexadecimal UTF-8 of its lower-case text, because digits and letters from a to f have the same
-- order in every collation.
CREATE TABLE customer_terms (
    term        TEXT NOT NULL,
    customer_id TEXT NOT NULL REFERENCES customers (customer_id) ON DELETE CASCADE,
    PRIMARY KEY (term, customer_id)
);
CREATE INDEX customer_terms_customer_id_index ON customer_terms (customer_id, term);

-- When the terms were written; null for a customer who is older than them.
ALTER TABLE customers ADD COLUMN terms_at BIGINT;
CREATE INDEX customers_terms_at_index ON customers (customer_id) WHERE terms_at IS NULL;

-- The tasks of a customer.
CREATE INDEX inbox_customer_id_index ON inbox (customer_id) WHERE customer_id IS NOT NULL;
