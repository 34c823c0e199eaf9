DROP TABLE customer_leases;
DROP TABLE stripe_attempts;
DROP TABLE orders;
DROP TABLE subscriptions;
