-- Every license ever issued, with its token. The one that nothing has superseded is current.
CREATE TABLE licenses (
    license_id       TEXT   NOT NULL PRIMARY KEY,
    customer_id      TEXT   NOT NULL REFERENCES customers (customer_id) ON DELETE CASCADE,
    seq              BIGINT NOT NULL,
    source           TEXT   NOT NULL,
    plan             TEXT   NOT NULL,
    key_id           TEXT   NOT NULL,
    token            TEXT   NOT NULL,
    issued_at        BIGINT NOT NULL,
    token_expires_at BIGINT NOT NULL,
    expires_at       BIGINT,
    grace_until      BIGINT,
    superseded_by    TEXT,
    superseded_at    BIGINT,
    revoked_at       BIGINT,
    CONSTRAINT licenses_customer_id_seq_key UNIQUE (customer_id, seq),
    CONSTRAINT licenses_seq_check CHECK (seq > 0),
    CONSTRAINT licenses_source_check CHECK (source IN ('trial', 'subscription', 'operator')),
    CONSTRAINT licenses_superseded_check
        CHECK ((superseded_by IS NULL) = (superseded_at IS NULL))
);

CREATE UNIQUE INDEX licenses_current_key ON licenses (customer_id) WHERE superseded_at IS NULL;

-- Which keys still have licenses in the field: asked at every start.
CREATE INDEX licenses_token_expires_at_index ON licenses (token_expires_at, key_id);

-- What a key signed, for when it is lost or known to others.
CREATE INDEX licenses_key_id_index ON licenses (key_id);
