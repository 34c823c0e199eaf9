ALTER TABLE customers DROP COLUMN stripe_closed_invoice_id;
