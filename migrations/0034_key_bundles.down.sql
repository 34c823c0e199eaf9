DROP TABLE key_bundles;
DROP TABLE root_keys;
