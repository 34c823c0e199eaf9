-- Who did what, append-only. It names customers by id only and outlives them.
CREATE TABLE audit_log (
    audit_id    TEXT   NOT NULL PRIMARY KEY,
    at          BIGINT NOT NULL,
    actor       TEXT   NOT NULL,
    action      TEXT   NOT NULL,
    customer_id TEXT,
    detail      TEXT   NOT NULL DEFAULT '{}'
);

CREATE INDEX audit_log_customer_id_index ON audit_log (customer_id, at);
