//! The shop machine without threads: every refusal, and whole lives of a shop from a seed.

#![expect(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "helpers of tests fail by panicking")]
#![allow(dead_code, reason = "helpers are shared by modules that use some of them")]

#[path = "commerce/checks.rs"]
mod checks;
#[path = "commerce/life.rs"]
mod life;
#[path = "commerce/refusals.rs"]
mod refusals;
#[path = "commerce/setup.rs"]
mod setup;
#[path = "commerce/shard.rs"]
mod shard;
