-- What all servers count together: attempts to guess a password, and mails that a client causes. A
-- bucket's key is a keyed hash, so the table names no address. `account` is the hash of the account,
-- whose buckets are deleted when its owner sets a new password.
CREATE TABLE throttle_buckets (
    bucket     TEXT   NOT NULL PRIMARY KEY,
    account    TEXT,
    state      TEXT   NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX throttle_buckets_account_index ON throttle_buckets (account)
    WHERE account IS NOT NULL;
CREATE INDEX throttle_buckets_expires_at_index ON throttle_buckets (expires_at);

-- The networks, as keyed hashes, from which the owner of an account has logged in. Attempts of
-- others do not lock the owner out there.
CREATE TABLE known_networks (
    user_id TEXT   NOT NULL REFERENCES users (user_id) ON DELETE CASCADE,
    network TEXT   NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, network)
);
