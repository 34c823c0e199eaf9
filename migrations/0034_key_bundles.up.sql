-- The root key that apps pin: its public part. The private part may be on another machine.
CREATE TABLE root_keys (
    id         BIGINT NOT NULL PRIMARY KEY,
    kid        TEXT   NOT NULL,
    public_key TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    CONSTRAINT root_keys_id_check CHECK (id = 1)
);

-- Every key bundle that was published, as the root signed it. The one with the highest seq counts.
CREATE TABLE key_bundles (
    seq       BIGINT NOT NULL PRIMARY KEY,
    token     TEXT   NOT NULL,
    stored_at BIGINT NOT NULL
);
