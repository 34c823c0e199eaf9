-- The last change of each customer's subscription: the key and the parameters of the call to Stripe
-- are written before it is made, so that a call without a response is repeated exactly.
CREATE TABLE subscription_changes (
    customer_id  TEXT   NOT NULL PRIMARY KEY REFERENCES customers (customer_id) ON DELETE CASCADE,
    attempt_id   TEXT   NOT NULL,
    -- The preview that the change follows.
    preview_hash TEXT   NOT NULL,
    parameters   TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    -- Null while the outcome is unknown.
    done_at      BIGINT
);

-- The time until which a change waits for its payment at Stripe. Null if none waits.
ALTER TABLE subscriptions ADD COLUMN pending_until BIGINT;
