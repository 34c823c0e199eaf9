ALTER TABLE subscriptions DROP COLUMN pending_until;
DROP TABLE subscription_changes;
