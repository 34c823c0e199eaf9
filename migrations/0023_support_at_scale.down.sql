DROP TABLE order_returns;
ALTER TABLE orders DROP COLUMN returned;
DROP INDEX audit_log_action_at_index;
CREATE INDEX audit_log_action_at_index ON audit_log (action, at);
DROP INDEX inbox_stripe_customer_id_index;
DROP INDEX inbox_customer_id_index;
CREATE INDEX inbox_customer_id_index ON inbox (customer_id) WHERE customer_id IS NOT NULL;
CREATE INDEX inbox_stripe_customer_id_index ON inbox (stripe_customer_id)
    WHERE stripe_customer_id IS NOT NULL;
