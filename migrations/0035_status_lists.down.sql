DROP INDEX licenses_revoked_index;
ALTER TABLE licenses DROP COLUMN status_idx;
ALTER TABLE licenses DROP COLUMN status_list;
DROP TABLE status_places;
DROP TABLE status_lists;
