DROP TABLE mail_links;
CREATE TABLE outbox_old (
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
INSERT INTO outbox_old (mail_id, customer_id, license_id, kind, created_at, due_at, attempts, fence,
                        leased_until, sent_at, given_up_at, last_error)
SELECT mail_id, customer_id, license_id, kind, created_at, due_at, attempts, fence,
       leased_until, sent_at, given_up_at, last_error
FROM outbox
WHERE customer_id IS NOT NULL AND license_id IS NOT NULL AND recipient IS NULL;
DROP TABLE outbox;
ALTER TABLE outbox_old RENAME TO outbox;
CREATE INDEX outbox_due_index ON outbox (due_at) WHERE sent_at IS NULL AND given_up_at IS NULL;
CREATE INDEX outbox_customer_id_index ON outbox (customer_id);
CREATE INDEX outbox_license_id_index ON outbox (license_id);
CREATE INDEX outbox_given_up_index ON outbox (given_up_at) WHERE given_up_at IS NOT NULL;
