ALTER TABLE subscriptions DROP COLUMN trial_end_announced;
ALTER TABLE customers DROP COLUMN stripe_trial_at;
DROP TABLE trial_cards;
