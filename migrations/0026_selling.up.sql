-- What a paid license was bought by, and what of: the units, the add-ons (a JSON list of ids), and
-- the time after which builds are not covered.
ALTER TABLE licenses ADD COLUMN basis TEXT NOT NULL DEFAULT 'subscription';
ALTER TABLE licenses ADD COLUMN quantity BIGINT NOT NULL DEFAULT 1;
ALTER TABLE licenses ADD COLUMN addons TEXT NOT NULL DEFAULT '[]';
ALTER TABLE licenses ADD COLUMN updates_until BIGINT;

-- What a subscription bills: a JSON list of prices and units. Null until the next sync reads it.
ALTER TABLE subscriptions ADD COLUMN items TEXT;
ALTER TABLE subscriptions ADD COLUMN currency TEXT;

-- What an order was for, and what its amount consists of. Null for orders from before.
ALTER TABLE orders ADD COLUMN billing_interval TEXT;
ALTER TABLE orders ADD COLUMN quantity BIGINT;
ALTER TABLE orders ADD COLUMN addons TEXT;
ALTER TABLE orders ADD COLUMN tax BIGINT;
ALTER TABLE orders ADD COLUMN discount BIGINT;
ALTER TABLE orders ADD COLUMN receipt_url TEXT
    CONSTRAINT orders_receipt_url_check CHECK (substr(receipt_url, 1, 8) = 'https://');

-- Purchases that a license may still depend on, whatever their age: invoices, Checkout sessions,
-- and ended subscriptions. Each sync fetches them, also when newer objects fill its pages.
CREATE TABLE kept_purchases (
    customer_id TEXT NOT NULL REFERENCES customers (customer_id) ON DELETE CASCADE,
    stripe_id   TEXT NOT NULL,
    PRIMARY KEY (customer_id, stripe_id)
);
