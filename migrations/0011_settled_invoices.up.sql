-- The newest invoice of a Stripe customer that is settled together with every older one: nothing
-- that a sync reads about them can change without an event that says so. A sync does not fetch them
-- again. Null when there is none, or when a sync has not determined it yet.
ALTER TABLE customers ADD COLUMN stripe_settled_invoice_id TEXT
    CONSTRAINT customers_stripe_settled_invoice_id_check
        CHECK (substr(stripe_settled_invoice_id, 1, 3) = 'in_');
