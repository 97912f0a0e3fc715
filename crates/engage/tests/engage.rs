//! The customer machine against independent statements of what it should do.

#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "helpers of tests fail by panicking")]

#[path = "engage/audiences.rs"]
mod audiences;
#[path = "engage/bounds.rs"]
mod bounds;
#[path = "engage/consent.rs"]
mod consent;
#[path = "engage/erased.rs"]
mod erased;
#[path = "engage/identity.rs"]
mod identity;
#[path = "engage/life.rs"]
mod life;
#[path = "engage/line.rs"]
mod line;
#[path = "engage/naive.rs"]
mod naive;
#[path = "engage/quarantine.rs"]
mod quarantine;
#[path = "engage/replay.rs"]
mod replay;
#[path = "engage/shard.rs"]
mod shard;
