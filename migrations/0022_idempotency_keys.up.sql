-- The requests with an `Idempotency-Key`. `scope_hash` is the hash of operation, caller and key;
-- `fingerprint` is a hash of the request under the key, which is not stored. While a request runs,
-- it has a lease and an id (`holder`). `made_id` is what it created, in the same transaction.
-- `status` and `body` are its response. `customer_id` is the customer whose data the body has.
CREATE TABLE idempotency_keys (
    scope_hash   TEXT   NOT NULL PRIMARY KEY,
    fingerprint  TEXT   NOT NULL,
    holder       TEXT   NOT NULL,
    leased_until BIGINT,
    made_id      TEXT,
    status       BIGINT,
    body         TEXT,
    customer_id  TEXT   REFERENCES customers (customer_id) ON DELETE CASCADE,
    kept_until   BIGINT NOT NULL
);
CREATE INDEX idempotency_keys_made_id_index ON idempotency_keys (made_id)
    WHERE made_id IS NOT NULL;
CREATE INDEX idempotency_keys_customer_id_index ON idempotency_keys (customer_id)
    WHERE customer_id IS NOT NULL;
CREATE INDEX idempotency_keys_kept_until_index ON idempotency_keys (kept_until);
