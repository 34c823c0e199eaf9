-- The requests with an `Idempotency-Key`. `request_hash` is the hash of operation, credential and
-- key. `fingerprint` is the HMAC of the request under the key, which is not stored. While a request
-- runs, `lease_token` identifies its attempt. `created_id` is the id of what it created, written in
-- the same transaction. `status` and `body` are its response. `customer_id` is the customer
-- whose data the body has; the deletion of the customer deletes the row. It is no foreign key: its
-- lock and that of the deletion could wait for each other.
CREATE TABLE idempotency_keys (
    request_hash TEXT   NOT NULL PRIMARY KEY,
    fingerprint  TEXT   NOT NULL,
    lease_token  TEXT   NOT NULL,
    leased_until BIGINT,
    created_id   TEXT,
    status       BIGINT,
    body         TEXT,
    customer_id  TEXT,
    kept_until   BIGINT NOT NULL
);
CREATE INDEX idempotency_keys_created_id_index ON idempotency_keys (created_id)
    WHERE created_id IS NOT NULL;
CREATE INDEX idempotency_keys_customer_id_index ON idempotency_keys (customer_id)
    WHERE customer_id IS NOT NULL;
CREATE INDEX idempotency_keys_kept_until_index ON idempotency_keys (kept_until);
