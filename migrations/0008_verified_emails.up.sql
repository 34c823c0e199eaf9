-- When the address was found to be theirs: by the vendor's word, who billed it so far. Null is somebody
-- who signed up with it, which anybody could.
ALTER TABLE users ADD COLUMN email_verified_at BIGINT;
