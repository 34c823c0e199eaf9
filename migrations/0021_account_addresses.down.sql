DROP TABLE signup_links;
DROP TABLE pending_signups;
DROP TABLE trial_addresses;
DROP TABLE former_addresses;
DELETE FROM mail_links WHERE kind = 'undo';
