-- Purchases by unknown buyers whose address has an account that has not verified it. Each waits
-- until the account's password is set by a mailed link, which proves whose mailbox it is.
CREATE TABLE waiting_purchases (
    stripe_customer_id TEXT   NOT NULL PRIMARY KEY
        REFERENCES unknown_buyers (stripe_customer_id) ON DELETE CASCADE,
    customer_id        TEXT   NOT NULL REFERENCES customers (customer_id) ON DELETE CASCADE,
    created_at         BIGINT NOT NULL
);
CREATE INDEX waiting_purchases_customer_id_index ON waiting_purchases (customer_id);
