DROP INDEX orders_purchased_at_index;
DROP INDEX audit_log_actor_at_index;
DROP INDEX audit_log_action_at_index;
DROP INDEX audit_log_at_index;
ALTER TABLE licenses DROP COLUMN extras;
