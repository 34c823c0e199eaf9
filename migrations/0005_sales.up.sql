-- The subscription that governs a customer's license, as Stripe said it last.
CREATE TABLE subscriptions (
    customer_id            TEXT   NOT NULL PRIMARY KEY
                                  REFERENCES customers (customer_id) ON DELETE CASCADE,
    stripe_subscription_id TEXT   NOT NULL,
    -- Null for a price that no plan has.
    plan                   TEXT,
    status                 TEXT   NOT NULL,
    current_period_end     BIGINT,
    cancel_at              BIGINT,
    trial_end              BIGINT,
    created_at             BIGINT NOT NULL,
    updated_at             BIGINT NOT NULL,
    CONSTRAINT subscriptions_stripe_subscription_id_key UNIQUE (stripe_subscription_id),
    CONSTRAINT subscriptions_stripe_subscription_id_check
        CHECK (substr(stripe_subscription_id, 1, 4) = 'sub_')
);

-- One per payment. Orders outlive their customer, who is then taken out of them.
CREATE TABLE orders (
    order_id                   TEXT   NOT NULL PRIMARY KEY,
    customer_id                TEXT   REFERENCES customers (customer_id) ON DELETE SET NULL,
    plan                       TEXT   NOT NULL,
    -- In the currency's smallest unit.
    amount                     BIGINT NOT NULL,
    currency                   TEXT   NOT NULL,
    status                     TEXT   NOT NULL,
    stripe_checkout_session_id TEXT,
    stripe_invoice_id          TEXT,
    stripe_payment_intent_id   TEXT,
    created_at                 BIGINT NOT NULL,
    purchased_at               BIGINT,
    updated_at                 BIGINT NOT NULL,
    CONSTRAINT orders_stripe_checkout_session_id_key UNIQUE (stripe_checkout_session_id),
    CONSTRAINT orders_stripe_invoice_id_key UNIQUE (stripe_invoice_id),
    CONSTRAINT orders_status_check
        CHECK (status IN ('pending', 'succeeded', 'failed', 'refunded', 'disputed'))
);

CREATE INDEX orders_customer_id_index ON orders (customer_id, created_at);

-- Refunds and disputes name the payment only.
CREATE INDEX orders_stripe_payment_intent_id_index ON orders (stripe_payment_intent_id);

-- Calls to Stripe that make something: the key and the parameters are written before the call, so
-- that whoever finds one unanswered repeats exactly it. `result` is what Stripe made.
CREATE TABLE stripe_attempts (
    customer_id TEXT   NOT NULL REFERENCES customers (customer_id) ON DELETE CASCADE,
    purpose     TEXT   NOT NULL,
    attempt_id  TEXT   NOT NULL,
    parameters  TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    result      TEXT,
    PRIMARY KEY (customer_id, purpose),
    CONSTRAINT stripe_attempts_purpose_check CHECK (purpose IN ('customer', 'checkout'))
);

-- Who is working on a customer with Stripe. The number counts up, so that who slept past the end of
-- a lease cannot write.
CREATE TABLE customer_leases (
    customer_id  TEXT   NOT NULL PRIMARY KEY
                        REFERENCES customers (customer_id) ON DELETE CASCADE,
    fence        BIGINT NOT NULL,
    leased_until BIGINT
);
