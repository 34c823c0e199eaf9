-- The signing keys that servers have published. Every server publishes all of them, also those
-- whose private part it does not have. A key is never deleted: licenses of it may exist for years.
CREATE TABLE signing_keys (
    kid          TEXT   NOT NULL PRIMARY KEY,
    -- Counts up with each key: of the keys that may sign, the one with the highest number signs.
    number       BIGINT NOT NULL,
    -- The 32 bytes, base64url. Null for a key that was lost before it was published here.
    public_key   TEXT,
    published_at BIGINT NOT NULL,
    -- The key signs from this time, if the key bundle has it by then.
    signs_from   BIGINT NOT NULL,
    -- The claim nbf of the key in the bundle: not after the first license that it signed.
    not_before   BIGINT NOT NULL,
    -- Since when a bundle has the key.
    bundled_at   BIGINT,
    -- The claim exp of the key in the bundle. Since this was set, the key no longer signs.
    ends_at      BIGINT,
    revoked_at   BIGINT
);

-- The first license that a key signed.
CREATE INDEX licenses_key_id_issued_at_index ON licenses (key_id, issued_at);
