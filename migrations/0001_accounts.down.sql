DROP TABLE sessions;
DROP TABLE customers;
DROP TABLE users;
