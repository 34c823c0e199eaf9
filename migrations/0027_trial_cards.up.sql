-- The cards that have had a trial at Stripe, as keyed hashes of Stripe's fingerprints: a card has
-- one trial, whoever uses it. Rows stay when the account is deleted.
CREATE TABLE trial_cards (
    card_hash              TEXT   NOT NULL PRIMARY KEY,
    stripe_subscription_id TEXT   NOT NULL,
    kept_until             BIGINT NOT NULL
);
CREATE INDEX trial_cards_kept_until_index ON trial_cards (kept_until);

-- When the customer had a trial at Stripe: there is one for each customer.
ALTER TABLE customers ADD COLUMN stripe_trial_at BIGINT;
