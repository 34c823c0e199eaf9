DROP INDEX orders_paid_once_index;
