-- The Stripe accounts and checkout options that were found to fit together, as keyed hashes: a
-- check creates a Checkout session, so a start does not repeat it.
CREATE TABLE account_checks (
    check_hash TEXT   NOT NULL PRIMARY KEY,
    checked_at BIGINT NOT NULL
);
