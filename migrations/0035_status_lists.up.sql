-- Status lists: which licenses are revoked, one bit for each. A list is identified in its address,
-- which begins with the origin that the server had when the list was opened: apps compare it.
-- issued_at is the iat of the list that is served. It never goes back: apps refuse a list that is
-- older than the last one they saw. version counts the changes, so that all servers sign the same
-- text for the same version.
CREATE TABLE status_lists (
    list_id   BIGINT NOT NULL PRIMARY KEY,
    origin    TEXT   NOT NULL,
    issued_at BIGINT NOT NULL,
    version   BIGINT NOT NULL
);
CREATE INDEX status_lists_origin_index ON status_lists (origin, list_id);

-- The places that are taken. A place is never given to another license: when its license is deleted
-- with its customer, the row stays, and the bit stays set. There is no foreign key, because every
-- new license would then lock the row of its list.
CREATE TABLE status_places (
    list_id    BIGINT NOT NULL,
    idx        BIGINT NOT NULL,
    deleted_at BIGINT,
    CONSTRAINT status_places_list_id_idx_key PRIMARY KEY (list_id, idx)
);
CREATE INDEX status_places_deleted_index ON status_places (list_id, idx)
    WHERE deleted_at IS NOT NULL;

-- The place of a license. A license from before has none, and its token names no list.
ALTER TABLE licenses ADD COLUMN status_list BIGINT;
ALTER TABLE licenses ADD COLUMN status_idx BIGINT;
CREATE INDEX licenses_revoked_index ON licenses (status_list, status_idx)
    WHERE revoked_at IS NOT NULL;
