//! The tests of the service through its public interface: HTTP, the command line, and third-party
//! tools. They run on SQLite and, with `TEST_DATABASE=postgres`, on PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

mod account;
mod account_links;
mod addresses;
mod admin;
mod advice;
mod backfill;
mod background;
mod buyers;
mod cli;
mod clocks;
mod crash;
mod crash_accounts;
mod daily;
mod database_faults;
mod demo;
mod drift;
mod edge;
mod event_order;
mod export;
mod find;
mod forgiven;
mod import;
mod keys;
mod left_out;
mod licenses;
mod lifecycle;
mod logs;
mod long_sync;
mod lost_events;
mod mail;
mod migrations;
mod money_back;
mod mounted;
mod once;
mod openapi;
mod oracles;
mod ownership;
mod passwords;
mod pending;
mod plan_changes;
mod plans_file;
mod races;
mod reconcile;
mod refused;
mod requirements;
mod reversals;
mod sales;
mod scenarios;
mod secrets;
mod sessions;
mod signup;
mod simulation;
mod slots;
mod starting;
mod stripe_backfill;
mod stripe_customers;
mod stripe_setup;
mod support;
mod trials;
mod unusable_events;
