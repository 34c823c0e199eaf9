ALTER TABLE sessions DROP COLUMN password_at;
