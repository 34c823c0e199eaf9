-- The language of a customer's mails; null for the server's.
ALTER TABLE customers ADD COLUMN language TEXT;

-- Stripe's page of an order's invoice.
ALTER TABLE orders ADD COLUMN invoice_url TEXT
    CONSTRAINT orders_invoice_url_check CHECK (substr(invoice_url, 1, 8) = 'https://');

-- The order that a mail reports, the language of a mail without a customer, and the key of a mail
-- that is sent once: its kind, customer and occasion.
ALTER TABLE outbox ADD COLUMN order_id TEXT;
ALTER TABLE outbox ADD COLUMN language TEXT;
ALTER TABLE outbox ADD COLUMN once_key TEXT;
CREATE UNIQUE INDEX outbox_once_key_key ON outbox (once_key);

-- The current licenses that end soon or have ended, for reminders.
CREATE INDEX licenses_end_index ON licenses (COALESCE(grace_until, expires_at))
    WHERE superseded_at IS NULL;
