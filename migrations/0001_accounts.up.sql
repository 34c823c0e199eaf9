-- A user is who logs in; a customer is who is billed and licensed. One of each, always.
CREATE TABLE users (
    user_id       TEXT   NOT NULL PRIMARY KEY,
    email         TEXT   NOT NULL,
    password_hash TEXT   NOT NULL,
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL,
    CONSTRAINT users_email_key UNIQUE (email)
);

-- customer_id is the key that every other table, every API and every license uses.
CREATE TABLE customers (
    customer_id            TEXT   NOT NULL PRIMARY KEY,
    user_id                TEXT   NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
    email                  TEXT   NOT NULL,
    name                   TEXT,
    company_name           TEXT,
    stripe_customer_id     TEXT,
    default_payment_method TEXT,
    stripe_sync_status     TEXT,
    stripe_synced_at       BIGINT,
    metadata               TEXT   NOT NULL DEFAULT '{}',
    created_at             BIGINT NOT NULL,
    updated_at             BIGINT NOT NULL,
    CONSTRAINT customers_user_id_key UNIQUE (user_id),
    CONSTRAINT customers_stripe_customer_id_key UNIQUE (stripe_customer_id),
    CONSTRAINT customers_customer_id_check
        CHECK (substr(customer_id, 1, 5) = 'cust_' AND length(customer_id) = 37),
    CONSTRAINT customers_stripe_customer_id_check
        CHECK (substr(stripe_customer_id, 1, 4) = 'cus_' AND length(stripe_customer_id) > 4)
);

CREATE INDEX customers_email_index ON customers (email);

-- The token itself is not kept, only its SHA-256.
CREATE TABLE sessions (
    session_id TEXT   NOT NULL PRIMARY KEY,
    user_id    TEXT   NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
    token_hash TEXT   NOT NULL,
    client     TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    CONSTRAINT sessions_token_hash_key UNIQUE (token_hash)
);

CREATE INDEX sessions_user_id_index ON sessions (user_id);
CREATE INDEX sessions_expires_at_index ON sessions (expires_at);
