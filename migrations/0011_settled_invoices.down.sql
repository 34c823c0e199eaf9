ALTER TABLE customers DROP COLUMN stripe_settled_invoice_id;
