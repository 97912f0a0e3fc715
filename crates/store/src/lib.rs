//! Keyed tables: memory first, checkpointed as immutable sorted files under a manifest that carries the log position.
//!
//! The log is the durability; this crate makes recovery short and memory bounded. A checkpoint writes what changed as
//! one sorted run and then, in one step, a manifest that names the runs, the log position and the digests. A row that
//! is no longer in memory is read back from the runs of the last checkpoint.
//!
//! **This crate never** touches a disk, clock, thread or entropy except through `env`, writes at random, changes a
//! file once it is visible, decides what a row means, or lets a reader wait for a merge.

mod error;
mod source;
pub mod table;

pub use error::StoreError;
pub use source::{Chunk, RowChange, RowSource, TableId};
pub use table::{AnyTable, Peek, Table, Tables, Value, Wanted};
