//! The binary: parse the command line and run what it says.

use std::process::ExitCode;

use clap::Parser;
use licentia::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
