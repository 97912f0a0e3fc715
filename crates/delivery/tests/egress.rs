//! The egress client: what it refuses before a packet leaves, and how it behaves on real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "egress/addresses.rs"]
mod addresses;
#[path = "egress/server.rs"]
mod server;
#[path = "egress/sockets.rs"]
mod sockets;
#[path = "egress/urls.rs"]
mod urls;
