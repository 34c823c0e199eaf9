//! The sandbox through its front door: HTTP, SMTP, and webhooks received on a real socket.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod api;
mod faults;
mod harness;
mod life;
mod mail;
mod oracles;
mod pages;
mod schedules;
mod shapes;
mod webhooks;
