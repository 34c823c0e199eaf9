-- When the password was last entered in a session: a deletion needs a recent time.
ALTER TABLE sessions ADD COLUMN password_at BIGINT NOT NULL DEFAULT 0;
UPDATE sessions SET password_at = created_at;
