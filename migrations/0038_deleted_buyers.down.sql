DROP TABLE deleted_buyers;
