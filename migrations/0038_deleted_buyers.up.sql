-- The Stripe customers of deleted accounts: what one of them bought before the deletion is nobody's.
CREATE TABLE deleted_buyers (
    stripe_customer_id TEXT   NOT NULL PRIMARY KEY,
    customer_id        TEXT   NOT NULL,
    deleted_at         BIGINT NOT NULL
);
