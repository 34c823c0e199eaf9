DROP TABLE server_secrets;
DROP INDEX audit_log_actor_index;
DROP INDEX audit_log_action_index;
DROP INDEX audit_log_at_index;
DROP INDEX audit_log_customer_id_index;
CREATE INDEX audit_log_customer_id_index ON audit_log (customer_id, at);
ALTER TABLE audit_log DROP COLUMN personal;
ALTER TABLE audit_log DROP COLUMN request_id;
