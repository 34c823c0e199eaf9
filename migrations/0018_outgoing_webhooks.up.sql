-- The outgoing webhooks that operators registered. The secret signs, so it is stored as it is. The
-- former one also signs until `former_until`.
CREATE TABLE webhooks (
    webhook_id    TEXT   NOT NULL PRIMARY KEY,
    url           TEXT   NOT NULL,
    -- `*`, or the kinds of events, separated by commas.
    events        TEXT   NOT NULL,
    secret        TEXT   NOT NULL,
    former_secret TEXT,
    former_until  BIGINT,
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL,
    disabled_at   BIGINT
);
CREATE INDEX webhooks_created_at_index ON webhooks (created_at, webhook_id);

-- One message for each event that any webhook is subscribed to. Its id is the same for every
-- webhook and every attempt. The customer may be deleted: there is no reference.
CREATE TABLE webhook_messages (
    message_id  TEXT   NOT NULL PRIMARY KEY,
    payload     TEXT   NOT NULL,
    created_at  BIGINT NOT NULL
);
CREATE INDEX webhook_messages_created_at_index ON webhook_messages (created_at);

-- The delivery of a message to a webhook: a queue, and afterwards a log. The webhook is no
-- reference: it may be deleted while a change writes a delivery, which must not fail.
CREATE TABLE webhook_deliveries (
    delivery_id  TEXT   NOT NULL PRIMARY KEY,
    webhook_id   TEXT   NOT NULL,
    message_id   TEXT   NOT NULL REFERENCES webhook_messages (message_id) ON DELETE CASCADE,
    customer_id  TEXT   NOT NULL,
    kind         TEXT   NOT NULL,
    -- The order among the unfinished deliveries of the same webhook and customer.
    position     BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    tried_since  BIGINT NOT NULL,
    due_at       BIGINT NOT NULL,
    attempts     BIGINT NOT NULL DEFAULT 0,
    fence        BIGINT NOT NULL DEFAULT 0,
    leased_until BIGINT,
    delivered_at BIGINT,
    given_up_at  BIGINT,
    -- The HTTP status of the last response.
    status_code  BIGINT,
    last_error   TEXT
);
CREATE INDEX webhook_deliveries_due_index ON webhook_deliveries (due_at)
    WHERE delivered_at IS NULL AND given_up_at IS NULL;
CREATE INDEX webhook_deliveries_order_index
    ON webhook_deliveries (webhook_id, customer_id, position)
    WHERE delivered_at IS NULL AND given_up_at IS NULL;
CREATE INDEX webhook_deliveries_leased_index ON webhook_deliveries (webhook_id)
    WHERE leased_until IS NOT NULL;
CREATE INDEX webhook_deliveries_log_index
    ON webhook_deliveries (webhook_id, created_at, delivery_id);
CREATE INDEX webhook_deliveries_message_id_index ON webhook_deliveries (message_id);
CREATE INDEX webhook_deliveries_given_up_index ON webhook_deliveries (given_up_at)
    WHERE given_up_at IS NOT NULL;
