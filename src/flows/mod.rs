//! The use cases. HTTP, the command line and tests call the same ones.

pub mod account;
pub mod license;
pub mod session;
pub mod signup;
