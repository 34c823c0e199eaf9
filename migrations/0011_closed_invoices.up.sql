-- The newest invoice of a Stripe customer that is closed together with every older one: nothing
-- that a sync reads about them changes without an event that says so. A sync does not fetch them
-- again. Null when there is none, or when no sync has determined it yet.
ALTER TABLE customers ADD COLUMN stripe_closed_invoice_id TEXT
    CONSTRAINT customers_stripe_closed_invoice_id_check
        CHECK (substr(stripe_closed_invoice_id, 1, 3) = 'in_');
