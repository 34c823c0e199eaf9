-- Stripe customers who pay for a plan and are linked to nobody here: they bought by a payment link, a quote
-- or the dashboard. A row goes when they are linked, or do not pay any more. No names, no addresses.
CREATE TABLE unknown_buyers (
    stripe_customer_id TEXT   NOT NULL PRIMARY KEY,
    plan               TEXT   NOT NULL,
    first_seen_at      BIGINT NOT NULL,
    last_seen_at       BIGINT NOT NULL,
    CONSTRAINT unknown_buyers_stripe_customer_id_check
        CHECK (substr(stripe_customer_id, 1, 4) = 'cus_')
);

CREATE INDEX unknown_buyers_first_seen_at_index ON unknown_buyers (first_seen_at);

-- Events that Stripe sends and that are of no use: the last one of each type that was noted, and why.
CREATE TABLE ignored_events (
    kind        TEXT   NOT NULL PRIMARY KEY,
    event_id    TEXT   NOT NULL,
    reason      TEXT   NOT NULL,
    happened_at BIGINT NOT NULL,
    received_at BIGINT NOT NULL
);
