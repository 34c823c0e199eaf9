DROP TABLE ignored_events;
DROP TABLE unknown_buyers;
