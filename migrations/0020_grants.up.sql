-- What an operator added to a license: features, limits, a note, and the end of the paid term that
-- it extends. JSON; `{}` is nothing.
ALTER TABLE licenses ADD COLUMN extras TEXT NOT NULL DEFAULT '{}';

-- The audit log by its filters, newest first, and the statistics by day.
CREATE INDEX audit_log_at_index ON audit_log (at, audit_id);
CREATE INDEX audit_log_action_at_index ON audit_log (action, at);
CREATE INDEX audit_log_actor_at_index ON audit_log (actor, at, audit_id);
CREATE INDEX orders_purchased_at_index ON orders (purchased_at);
