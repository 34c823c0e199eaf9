ALTER TABLE customers DROP COLUMN stripe_trial_at;
DROP TABLE trial_cards;
