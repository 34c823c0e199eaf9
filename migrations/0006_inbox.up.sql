-- What came from Stripe, as it came, and what of it is still to be done. An event is in here once.
CREATE TABLE inbox (
    event_id                 TEXT   NOT NULL PRIMARY KEY,
    kind                     TEXT   NOT NULL,
    -- Whom it is about: Stripe's name for them, or the payment, or (for work of our own) ours.
    stripe_customer_id       TEXT,
    stripe_payment_intent_id TEXT,
    customer_id              TEXT,
    body                     TEXT   NOT NULL,
    happened_at              BIGINT NOT NULL,
    received_at              BIGINT NOT NULL,
    -- Since when it is tried: it came then, or was replayed.
    tried_since              BIGINT NOT NULL,
    due_at                   BIGINT NOT NULL,
    attempts                 BIGINT NOT NULL DEFAULT 0,
    fence                    BIGINT NOT NULL DEFAULT 0,
    leased_until             BIGINT,
    done_at                  BIGINT,
    given_up_at              BIGINT,
    last_error               TEXT
);

CREATE INDEX inbox_due_index ON inbox (due_at) WHERE done_at IS NULL AND given_up_at IS NULL;
CREATE INDEX inbox_done_index ON inbox (done_at) WHERE done_at IS NOT NULL;
CREATE INDEX inbox_given_up_index ON inbox (given_up_at) WHERE given_up_at IS NOT NULL;

-- For forgetting what was said about somebody who is deleted.
CREATE INDEX inbox_stripe_customer_id_index ON inbox (stripe_customer_id)
    WHERE stripe_customer_id IS NOT NULL;
CREATE INDEX inbox_stripe_payment_intent_id_index ON inbox (stripe_payment_intent_id)
    WHERE stripe_payment_intent_id IS NOT NULL;
