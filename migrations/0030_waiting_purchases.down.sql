DROP TABLE waiting_purchases;
