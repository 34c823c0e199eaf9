-- What the plans file of the last start granted, as JSON: the next start reports what is missing.
CREATE TABLE seen_plans (
    id      BIGINT NOT NULL PRIMARY KEY,
    content TEXT   NOT NULL,
    seen_at BIGINT NOT NULL,
    CONSTRAINT seen_plans_id_check CHECK (id = 1)
);
