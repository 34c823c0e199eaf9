DROP TABLE server_secrets;
DROP INDEX audit_log_customer_id_index;
CREATE INDEX audit_log_customer_id_index ON audit_log (customer_id, at);
ALTER TABLE audit_log DROP COLUMN personal;
ALTER TABLE audit_log DROP COLUMN request_id;
