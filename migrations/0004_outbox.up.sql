-- Mail that is due, written in the transaction of what it tells. It is rendered when it is sent, from
-- the license, which never changes; its id is also its Message-ID, so a repeat can be recognised.
CREATE TABLE outbox (
    mail_id      TEXT   NOT NULL PRIMARY KEY,
    customer_id  TEXT   NOT NULL REFERENCES customers (customer_id) ON DELETE CASCADE,
    license_id   TEXT   NOT NULL REFERENCES licenses (license_id) ON DELETE CASCADE,
    kind         TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    due_at       BIGINT NOT NULL,
    attempts     BIGINT NOT NULL DEFAULT 0,
    fence        BIGINT NOT NULL DEFAULT 0,
    leased_until BIGINT,
    sent_at      BIGINT,
    given_up_at  BIGINT,
    last_error   TEXT
);

CREATE INDEX outbox_due_index ON outbox (due_at) WHERE sent_at IS NULL AND given_up_at IS NULL;
CREATE INDEX outbox_customer_id_index ON outbox (customer_id);
CREATE INDEX outbox_license_id_index ON outbox (license_id);
