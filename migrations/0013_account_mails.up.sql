-- A mail may be about no license, and may go to an explicit address: of a deleted customer, or of
-- somebody who has no account. SQLite cannot drop NOT NULL, so the table is created again.
CREATE TABLE outbox_new (
    mail_id      TEXT   NOT NULL PRIMARY KEY,
    customer_id  TEXT   REFERENCES customers (customer_id) ON DELETE CASCADE,
    license_id   TEXT   REFERENCES licenses (license_id) ON DELETE CASCADE,
    -- The address, if it is not the customer's.
    recipient    TEXT,
    kind         TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    due_at       BIGINT NOT NULL,
    attempts     BIGINT NOT NULL DEFAULT 0,
    fence        BIGINT NOT NULL DEFAULT 0,
    leased_until BIGINT,
    sent_at      BIGINT,
    given_up_at  BIGINT,
    last_error   TEXT,
    CONSTRAINT outbox_recipient_check CHECK (customer_id IS NOT NULL OR recipient IS NOT NULL)
);
INSERT INTO outbox_new (mail_id, customer_id, license_id, kind, created_at, due_at, attempts, fence,
                        leased_until, sent_at, given_up_at, last_error)
SELECT mail_id, customer_id, license_id, kind, created_at, due_at, attempts, fence,
       leased_until, sent_at, given_up_at, last_error
FROM outbox;
DROP TABLE outbox;
ALTER TABLE outbox_new RENAME TO outbox;
CREATE INDEX outbox_due_index ON outbox (due_at) WHERE sent_at IS NULL AND given_up_at IS NULL;
CREATE INDEX outbox_customer_id_index ON outbox (customer_id, created_at, mail_id);
CREATE INDEX outbox_license_id_index ON outbox (license_id);
CREATE INDEX outbox_given_up_index ON outbox (given_up_at) WHERE given_up_at IS NOT NULL;

-- The links in mails. Only the SHA-256 of a link's token is stored. `email` is the address that the
-- link was mailed to.
CREATE TABLE mail_links (
    token_hash  TEXT   NOT NULL PRIMARY KEY,
    customer_id TEXT   NOT NULL REFERENCES customers (customer_id) ON DELETE CASCADE,
    kind        TEXT   NOT NULL,
    email       TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    used_at     BIGINT
);
CREATE INDEX mail_links_customer_id_index ON mail_links (customer_id);
CREATE INDEX mail_links_expires_at_index ON mail_links (expires_at);
