-- The events and tasks of a customer, newest first, and the audit log by action: a page reads only
-- its own rows, however many entries one customer or one second has.
DROP INDEX inbox_customer_id_index;
DROP INDEX inbox_stripe_customer_id_index;
CREATE INDEX inbox_customer_id_index ON inbox (customer_id, received_at, event_id)
    WHERE customer_id IS NOT NULL;
CREATE INDEX inbox_stripe_customer_id_index ON inbox (stripe_customer_id, received_at, event_id)
    WHERE stripe_customer_id IS NOT NULL;
DROP INDEX audit_log_action_at_index;
CREATE INDEX audit_log_action_at_index ON audit_log (action, at, audit_id);

-- The part of an order that was returned so far, in the currency's smallest unit: refunds, credits,
-- and money that disputes took or withhold.
ALTER TABLE orders ADD COLUMN returned BIGINT NOT NULL DEFAULT 0;
UPDATE orders SET returned = amount WHERE status IN ('refunded', 'disputed');

-- Each change of `returned`, at the time at which it was recorded, for the revenue by day. Negative
-- when a dispute was won.
CREATE TABLE order_returns (
    order_id TEXT   NOT NULL REFERENCES orders (order_id) ON DELETE CASCADE,
    at       BIGINT NOT NULL,
    amount   BIGINT NOT NULL,
    PRIMARY KEY (order_id, at)
);
CREATE INDEX order_returns_at_index ON order_returns (at);
INSERT INTO order_returns (order_id, at, amount)
    SELECT order_id, updated_at, returned FROM orders WHERE returned > 0;
