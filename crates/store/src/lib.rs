//! Keyed tables: memory first, checkpointed as immutable sorted files under a manifest that carries the log position.
//!
//! The log is the durability; this crate makes recovery short and memory bounded. A checkpoint writes what changed as
//! one sorted run and then, in one step, a manifest that names the runs, the log position and the digests. A row that
//! is no longer in memory is read back from the runs of the last checkpoint.
//!
//! **This crate never** touches a disk, clock, thread or entropy except through `env`, writes at random, changes a
//! file once it is visible, decides what a row means, or lets a reader wait for a merge.

mod dedup;
mod error;
mod filter;
mod manifest;
mod merge;
mod objects;
mod run;
mod sealing;
mod source;
mod store;
pub mod table;

pub use dedup::{DedupInterval, DedupOptions, DedupReader, DedupWindow, Hint, ID_BYTES};
pub use error::StoreError;
pub use manifest::{
    BucketState, DedupManifest, IdFileEntry, METADATA_BYTES_MAX, Manifest, RunEntry, StateDigest,
};
pub use objects::{ETag, LocalObjects, ObjectReader, ObjectWriter, Objects};
pub use sealing::Sealing;
pub use source::{Chunk, RowChange, RowSource, TableId};
pub use store::{CheckpointMeta, CheckpointWriter, Scan, Store, StoreOptions, StoreStats};
pub use table::{AnyTable, Peek, Table, Tables, Value, Wanted};
