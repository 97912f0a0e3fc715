//! The loop, generic over a [`Machine`]: read, prefetch, step, apply, views, answer.
//!
//! - [`machine`]: the contract between the loop and the rules.
//! - [`core`]: one shard as a plain state machine. The simulator and `replay` use it as it is.
//! - [`recovery`]: from a data directory to a shard that answers.
//! - [`feed`]: what was applied, in order, for followers outside the loop.
//! - [`shell`]: the core on threads: group commit, one applying thread, checkpoints, sealing.
//! - [`verify`]: replays a log and compares with the checkpoints it led to.
//!
//! The path of a record: [`Engine::submit`] → `shell/commit.rs` (append, one sync for all who wait) →
//! `shell/apply.rs` → [`core::Core::apply_frame`] (prefetch, de-duplicate, [`Machine::apply`], effects, views) → the
//! caller's `done`.
//!
//! **This crate never** knows what an event means, speaks HTTP, delivers an effect, applies a record that is not
//! durable, or answers before the record is applied.

pub mod core;
mod error;
pub mod feed;
pub mod machine;
mod panics;
pub mod recovery;
pub mod shell;
pub mod verify;

pub use crate::core::progress::Progress;
pub use error::{EngineError, SubmitError};
pub use machine::{AsOf, Effect, IssuedEffect, Machine, Outcome, Subject};
pub use recovery::{OpenOptions, Opened, RecoveryReport};
pub use shell::{Applied, Done, Engine, EngineOptions, Stages, Status, Together};
pub use store::{AnyTable, DedupOptions, Peek, Table, TableId, Tables, Value, Wanted};
