DROP TABLE guest_purchases;

ALTER TABLE waiting_purchases RENAME TO later_waiting_purchases;
ALTER TABLE unknown_buyers RENAME TO later_unknown_buyers;
DROP INDEX waiting_purchases_customer_id_index;
DROP INDEX unknown_buyers_first_seen_at_index;

CREATE TABLE unknown_buyers (
    stripe_customer_id TEXT   NOT NULL PRIMARY KEY,
    plan               TEXT   NOT NULL,
    first_seen_at      BIGINT NOT NULL,
    last_seen_at       BIGINT NOT NULL,
    CONSTRAINT unknown_buyers_stripe_customer_id_check
        CHECK (substr(stripe_customer_id, 1, 4) = 'cus_')
);
INSERT INTO unknown_buyers (stripe_customer_id, plan, first_seen_at, last_seen_at)
    SELECT buyer_id, plan, first_seen_at, last_seen_at FROM later_unknown_buyers
    WHERE substr(buyer_id, 1, 4) = 'cus_';
CREATE INDEX unknown_buyers_first_seen_at_index ON unknown_buyers (first_seen_at);

CREATE TABLE waiting_purchases (
    stripe_customer_id TEXT   NOT NULL PRIMARY KEY
        REFERENCES unknown_buyers (stripe_customer_id) ON DELETE CASCADE,
    customer_id        TEXT   NOT NULL REFERENCES customers (customer_id) ON DELETE CASCADE,
    created_at         BIGINT NOT NULL
);
INSERT INTO waiting_purchases (stripe_customer_id, customer_id, created_at)
    SELECT buyer_id, customer_id, created_at FROM later_waiting_purchases
    WHERE substr(buyer_id, 1, 4) = 'cus_';
CREATE INDEX waiting_purchases_customer_id_index ON waiting_purchases (customer_id);

DROP TABLE later_waiting_purchases;
DROP TABLE later_unknown_buyers;
