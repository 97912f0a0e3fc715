//! Ad platforms: the normalisers against the platforms' own libraries, the shadow on a disk that fails, and the
//! destinations in real lanes against stand-ins that check every payload.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests")]

#[path = "platforms/checks.rs"]
mod checks;
#[path = "platforms/configs.rs"]
mod configs;
#[path = "platforms/events.rs"]
mod events;
#[path = "platforms/lanes.rs"]
mod lanes;
#[path = "platforms/lists.rs"]
mod lists;
#[path = "platforms/normalisers.rs"]
mod normalisers;
#[path = "platforms/payloads.rs"]
mod payloads;
#[path = "platforms/shadow.rs"]
mod shadow;
#[path = "platforms/shadow_file.rs"]
mod shadow_file;
#[path = "platforms/standin.rs"]
mod standin;
#[path = "platforms/tokens.rs"]
mod tokens;
