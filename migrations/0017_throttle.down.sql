DROP TABLE known_networks;
DROP TABLE throttle_buckets;
