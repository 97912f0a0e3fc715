//! The door from outside: bytes in, records and answers out.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail like tests")]

mod answers;
mod captured;
mod followed;
mod hostile;
mod ids;
mod limits;
mod meaning;
mod mutations;
mod questions;
mod rules;
mod spellings;
mod support;
