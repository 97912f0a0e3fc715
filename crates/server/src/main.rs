//! The command `throughline`.

use clap::Parser as _;
use server::commands::{self, Arguments};
use std::process::ExitCode;

fn main() -> ExitCode {
    commands::run(Arguments::parse())
}
