-- A buyer is a Stripe customer or, as a guest, only a Checkout session. SQLite cannot change the
-- check of a table, so both tables of buyers are created again. `mails` counts the mails with a
-- link to the waiting buyer.
ALTER TABLE waiting_purchases RENAME TO former_waiting_purchases;
ALTER TABLE unknown_buyers RENAME TO former_unknown_buyers;
DROP INDEX waiting_purchases_customer_id_index;
DROP INDEX unknown_buyers_first_seen_at_index;

CREATE TABLE unknown_buyers (
    buyer_id      TEXT   NOT NULL PRIMARY KEY,
    plan          TEXT   NOT NULL,
    first_seen_at BIGINT NOT NULL,
    last_seen_at  BIGINT NOT NULL,
    CONSTRAINT unknown_buyers_buyer_id_check
        CHECK (substr(buyer_id, 1, 4) = 'cus_' OR substr(buyer_id, 1, 3) = 'cs_')
);
INSERT INTO unknown_buyers (buyer_id, plan, first_seen_at, last_seen_at)
    SELECT stripe_customer_id, plan, first_seen_at, last_seen_at FROM former_unknown_buyers;
CREATE INDEX unknown_buyers_first_seen_at_index ON unknown_buyers (first_seen_at);

CREATE TABLE waiting_purchases (
    buyer_id    TEXT   NOT NULL PRIMARY KEY
        REFERENCES unknown_buyers (buyer_id) ON DELETE CASCADE,
    customer_id TEXT   NOT NULL REFERENCES customers (customer_id) ON DELETE CASCADE,
    created_at  BIGINT NOT NULL,
    mailed_at   BIGINT NOT NULL,
    mails       BIGINT NOT NULL
);
INSERT INTO waiting_purchases (buyer_id, customer_id, created_at, mailed_at, mails)
    SELECT stripe_customer_id, customer_id, created_at, created_at, 1 FROM former_waiting_purchases;
CREATE INDEX waiting_purchases_customer_id_index ON waiting_purchases (customer_id);

DROP TABLE former_waiting_purchases;
DROP TABLE former_unknown_buyers;

-- The purchases of guests that belong to a customer. Each sync fetches them, because Stripe lists
-- them for no Stripe customer. After the customer was deleted, the row says that the purchase is
-- not new.
CREATE TABLE guest_purchases (
    session_id               TEXT   NOT NULL PRIMARY KEY,
    customer_id              TEXT   REFERENCES customers (customer_id) ON DELETE SET NULL,
    stripe_payment_intent_id TEXT,
    claimed_at               BIGINT NOT NULL,
    CONSTRAINT guest_purchases_session_id_check CHECK (substr(session_id, 1, 3) = 'cs_')
);
CREATE INDEX guest_purchases_customer_id_index ON guest_purchases (customer_id);
CREATE INDEX guest_purchases_stripe_payment_intent_id_index
    ON guest_purchases (stripe_payment_intent_id);
