-- The single payments for a plan that count, which should have given a license: they are counted
-- every half minute. An add-on that was bought alone has no units of a plan.
CREATE INDEX orders_paid_once_index ON orders (customer_id, plan)
    WHERE billing_interval = 'once' AND status = 'succeeded' AND returned = 0
        AND quantity IS NOT NULL;
