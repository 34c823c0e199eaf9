//! The sandbox through its front door: HTTP, SMTP, and webhooks received on a real socket.

mod api;
mod faults;
mod harness;
mod life;
mod mail;
mod oracles;
mod pages;
mod shapes;
mod webhooks;
