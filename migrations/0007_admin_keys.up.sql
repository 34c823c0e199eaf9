-- What operators call /api/admin with. The key itself is not kept, only its SHA-256, and its first
-- characters, by which a key that was found somewhere is recognised.
CREATE TABLE admin_keys (
    admin_key_id   TEXT   NOT NULL PRIMARY KEY,
    name           TEXT   NOT NULL,
    scope          TEXT   NOT NULL,
    visible_prefix TEXT   NOT NULL,
    key_hash       TEXT   NOT NULL,
    created_at     BIGINT NOT NULL,
    -- Null never ends by itself.
    expires_at     BIGINT,
    revoked_at     BIGINT,
    last_used_at   BIGINT,
    CONSTRAINT admin_keys_key_hash_key UNIQUE (key_hash),
    CONSTRAINT admin_keys_scope_check CHECK (scope IN ('read', 'support', 'admin'))
);

-- For counting what waits and what was given up, without looking at all that is done.
CREATE INDEX outbox_given_up_index ON outbox (given_up_at) WHERE given_up_at IS NOT NULL;

-- When everybody was last compared with Stripe.
CREATE INDEX audit_log_compared_index ON audit_log (at) WHERE action = 'stripe.compared';
