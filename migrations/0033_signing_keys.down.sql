DROP INDEX licenses_key_id_issued_at_index;
DROP TABLE signing_keys;
