//! The command `throughline`: hands its arguments to the library and its verdict to the caller.
//!
//! **This binary never** does anything itself, so that tests and benches reach all of it.

use clap::Parser as _;
use server::commands::{self, Arguments};
use std::process::ExitCode;

/// Requests are allocated on one thread and freed on another: this allocator takes that well, the system's does not.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    commands::run(Arguments::parse())
}
