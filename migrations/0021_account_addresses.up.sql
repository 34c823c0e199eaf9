-- The addresses that customers had before. Until `reserved_until`, the link in the mail to a former
-- address undoes the change, and no other customer can have the address. `seq` is the order of a
-- customer's changes.
CREATE TABLE former_addresses (
    customer_id       TEXT   NOT NULL REFERENCES customers (customer_id) ON DELETE CASCADE,
    email             TEXT   NOT NULL,
    seq               BIGINT NOT NULL,
    email_verified_at BIGINT,
    reserved_until    BIGINT NOT NULL,
    PRIMARY KEY (customer_id, email)
);
CREATE INDEX former_addresses_email_index ON former_addresses (email);
CREATE INDEX former_addresses_reserved_until_index ON former_addresses (reserved_until);

-- The addresses that have had a trial and belong to no customer any more: a hash under the key of
-- this database, nothing else.
CREATE TABLE trial_addresses (
    address_hash TEXT   NOT NULL PRIMARY KEY,
    kept_until   BIGINT NOT NULL
);
CREATE INDEX trial_addresses_kept_until_index ON trial_addresses (kept_until);

-- Sign-ups that wait until their address is confirmed, each with the id of its mail. A confirmed one
-- keeps only the time, so that its link says that it was used.
CREATE TABLE pending_signups (
    mail_id       TEXT   NOT NULL PRIMARY KEY,
    email         TEXT   NOT NULL,
    password_hash TEXT   NOT NULL,
    name          TEXT,
    company_name  TEXT,
    language      TEXT,
    created_at    BIGINT NOT NULL,
    kept_until    BIGINT NOT NULL,
    confirmed_at  BIGINT
);
CREATE INDEX pending_signups_email_index ON pending_signups (email);
CREATE INDEX pending_signups_kept_until_index ON pending_signups (kept_until);

-- The links that confirm a sign-up. A mail that is sent again has another link.
CREATE TABLE signup_links (
    token_hash TEXT   NOT NULL PRIMARY KEY,
    mail_id    TEXT   NOT NULL REFERENCES pending_signups (mail_id) ON DELETE CASCADE,
    expires_at BIGINT NOT NULL
);
CREATE INDEX signup_links_mail_id_index ON signup_links (mail_id);
