//! The durable, ordered log of one shard.
//!
//! A log is a sequence of records with dense positions, kept in frames, kept in segment files. [`Log::append`] writes
//! a group of frames with one write and one sync; when it returns, the group cannot be lost. Readers follow the
//! durable end. Full segments are sealed in the background: compressed and, with a keyring, encrypted. The formats
//! are described in `docs/format-log.md`.
//!
//! What a crash may leave behind is decided in `scan`: the torn rest of an append that nobody was told about is cut;
//! anything else that does not fit is damage, and the log refuses to open over it.
//!
//! **This crate never** decides when to sync (group commit is the engine's), retries a sync, acknowledges before one,
//! drops a record that was durable, looks into a record except to find where it ends, or touches the disk, the clock
//! or entropy except through `env`.

mod cursor;
mod error;
mod frame;
mod handle;
mod inspect;
pub mod keyring;
mod local;
mod open;
mod options;
mod reader;
mod scan;
mod seal;
mod segment;
mod shared;
mod spare;

pub use error::LogError;
pub use handle::{LogHandle, LogStats, SealStep, SegmentSummary};
pub use inspect::{Damage, LogSummary, VerifyReport, inspect, verify};
pub use keyring::Keyring;
pub use local::LocalLog;
pub use open::{Cut, OpenReport};
pub use options::{
    BLOCK_BYTES_MAX, FRAME_BODY_BYTES_MAX, LogOptions, Retention, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
    SPARE_SEGMENTS_MAX,
};
pub use seal::RewriteReport;

use model::id::{Position, Term, Timestamp};

/// Records to append, in one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameDraft {
    /// Log time of all its records. Never earlier than what was appended before.
    pub received_at: Timestamp,
    /// Whether the engine itself wrote the records.
    pub control: bool,
    /// How many records the body holds; at least one.
    pub count: u32,
    /// A sequence of [`model::record`] records.
    pub body: Vec<u8>,
}

/// Records of the log, as they were appended together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The position of the first record.
    pub first: Position,
    /// How many records the body holds.
    pub count: u32,
    /// Whose writer appended them.
    pub term: Term,
    /// Log time of all its records.
    pub received_at: Timestamp,
    /// Whether the engine itself wrote the records.
    pub control: bool,
    /// A sequence of [`model::record`] records.
    pub body: Vec<u8>,
}

impl Frame {
    /// The position after the last record.
    pub fn next(&self) -> Position {
        self.first.plus(u64::from(self.count))
    }
}

/// One shard's log, as its only writer sees it. The local one is [`LocalLog`]; a replicated broker is another.
pub trait Log: Send {
    /// The oldest readable position.
    fn first_position(&self) -> Position;
    /// The position of the next record. Everything before it is durable.
    fn next_position(&self) -> Position;
    /// The highest term seen.
    fn term(&self) -> Term;
    /// The latest log time; 0 if nothing was ever appended.
    fn last_received_at(&self) -> Timestamp;
    /// Appends frames, all with one write and one sync, and returns the next position. Durable on return.
    ///
    /// Refuses a term lower than one seen, another position than the next, and log time that goes back. After a write
    /// or a sync has failed every append is refused ([`LogError::Poisoned`]); only a full disk before anything was
    /// written ([`LogError::StorageFull`]) may be tried again.
    fn append(&mut self, term: Term, expected: Position, frames: &[FrameDraft])
    -> Result<Position, LogError>;
    /// Reads in order. The first frame begins exactly at `from`.
    fn read_from(&self, from: Position) -> Result<Box<dyn LogReader>, LogError>;
    /// Closes the segment that is being written, if it holds a record, and begins the next: what was appended so far can
    /// then be sealed and rewritten although nothing more comes. A used file that is to be forgotten
    /// ([`LogHandle::forget_used_files`]) is left in any case. Returns whether a segment was begun.
    ///
    /// The same can go wrong as when an append begins a segment: a full disk ([`LogError::StorageFull`]) leaves
    /// everything as it was, any other failure ends the log for appends.
    fn roll(&mut self) -> Result<bool, LogError>;
    /// Lets go of whole segments below a position. Files go later, in the background; after a crash they may be back.
    fn trim(&mut self, below: Position) -> Result<(), LogError>;
}

/// Reads frames in order.
pub trait LogReader: Send {
    /// The next frame; `None` at the durable end for now, a later call may give more.
    ///
    /// After an error the reader stands where it stood.
    fn next(&mut self) -> Result<Option<Frame>, LogError>;
}
