DROP TABLE seen_plans;
