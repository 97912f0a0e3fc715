//! What reads bytes from outside, under bytes that nobody meant.
//!
//! A [`Target`] takes any bytes and panics if a promise about them does not hold: what is refused is refused in words,
//! what is accepted can be read back, what was damaged is noticed. Bytes come from two places: [`walk`] changes known ones
//! by chance (a smoke of it is in `make test`), and libFuzzer searches guided by coverage (`tests/proof/fuzz.sh`).
//!
//! **This crate never** ships: it is for development only.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a broken promise ends the process: that is how a finding is told"
)]

mod targets;
pub mod walk;

/// Something that reads bytes from outside.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What has to hold for any bytes.
    pub promise: &'static str,
    /// Panics if it does not hold. Says whether the bytes were accepted.
    pub check: fn(&[u8]) -> bool,
    /// Bytes that are accepted, to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// What tends to be read wrongly, to be mixed in.
    pub words: &'static [&'static [u8]],
}

/// Every target.
pub const TARGETS: [Target; 7] = [
    targets::collector::TARGET,
    targets::event::TARGET,
    targets::log::TARGET,
    targets::plan::TARGET,
    targets::records::TARGET,
    targets::rule::TARGET,
    targets::run::TARGET,
];

/// The target with this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
