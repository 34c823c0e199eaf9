-- The request that made a change; null for the command line and for background work.
ALTER TABLE audit_log ADD COLUMN request_id TEXT;
-- The values before and after a change that name a person, as JSON. Null again once the customer is
-- deleted: the rest of the entry has ids only.
ALTER TABLE audit_log ADD COLUMN personal TEXT;

-- A page of a customer's part of the log ends at a time and an id.
DROP INDEX audit_log_customer_id_index;
CREATE INDEX audit_log_customer_id_index ON audit_log (customer_id, at, audit_id);

-- Secrets of this database that all servers share: keys of hashes whose input could be guessed.
CREATE TABLE server_secrets (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);
