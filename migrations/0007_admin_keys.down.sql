DROP INDEX audit_log_compared_index;
DROP INDEX outbox_given_up_index;
DROP TABLE admin_keys;
