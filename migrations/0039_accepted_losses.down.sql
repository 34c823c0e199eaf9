ALTER TABLE customers DROP COLUMN accepted_losses;
