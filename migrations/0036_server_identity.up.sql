-- The settings that every license contains, of the server that started last. Commands sign with
-- these, so that their licenses contain the same.
CREATE TABLE server_identity (
    id          BIGINT NOT NULL PRIMARY KEY,
    public_url  TEXT   NOT NULL,
    issuer      TEXT   NOT NULL,
    product     TEXT   NOT NULL,
    algorithm   TEXT   NOT NULL,
    recorded_at BIGINT NOT NULL,
    CONSTRAINT server_identity_id_check CHECK (id = 1)
);
