//! Destinations with real receivers, real files and the official verifiers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests")]

#[path = "outbound/delivery.rs"]
mod delivery_runs;
#[path = "outbound/files.rs"]
mod files;
#[path = "outbound/forgetting.rs"]
mod forgetting;
#[path = "outbound/receiver.rs"]
mod receiver;
#[path = "outbound/signatures.rs"]
mod signatures;
#[path = "../../../examples/webhooks/verify.rs"]
#[allow(unreachable_pub, reason = "an example to copy, as others would write it")]
mod verify;
#[path = "outbound/webhooks.rs"]
mod webhooks;
