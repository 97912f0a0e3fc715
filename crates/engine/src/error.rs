//! What can go wrong in the loop.

use crate::feed::FeedError;
use eventlog::LogError;
use model::codec::DecodeError;
use model::id::Position;
use store::StoreError;
use thiserror::Error;

/// Why the loop stopped or refused.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The log refused or failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The checkpoints refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The feed refused or failed.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// A record of the log cannot be read although its checksum holds: it was written by another version.
    #[error(
        "record {position} cannot be read ({error}): it was written by a newer version; start that version"
    )]
    Record {
        /// Where.
        position: Position,
        /// Why.
        error: DecodeError,
    },
    /// A frame does not follow what has been applied.
    #[error(
        "the log continues at {found}, but {expected} is the next record to apply: a part of the log is missing"
    )]
    Gap {
        /// What should come.
        expected: Position,
        /// What came.
        found: Position,
    },
    /// The checkpoint is newer than the log.
    #[error(
        "the checkpoint stands at {checkpoint}, but the log ends at {log}: the log was replaced or cut by hand"
    )]
    LogBehindCheckpoint {
        /// Next position of the checkpoint.
        checkpoint: Position,
        /// Next position of the log.
        log: Position,
    },
    /// Applying a record panicked. The process must stop; on the second time the record is skipped.
    #[error("applying record {position} panicked: {message}")]
    Panicked {
        /// Which record.
        position: Position,
        /// What the panic said.
        message: String,
    },
    /// The rules recorded in the log are newer than this program.
    #[error(
        "the log was written under rules version {log}, this program knows {program}: start the newer version"
    )]
    RulesFromTheFuture {
        /// In the log.
        log: u32,
        /// In this program.
        program: u32,
    },
    /// The metadata of a checkpoint cannot be read.
    #[error("the metadata of the checkpoint cannot be read: {0}")]
    Metadata(DecodeError),
    /// The operating system refused.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What it said.
        error: std::io::Error,
    },
}

/// Why a submission was not taken. Nothing of it was written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SubmitError {
    /// The queue is full: try again a little later.
    #[error("the queue is full; try again in {retry_after_s} s")]
    Full {
        /// Seconds to wait.
        retry_after_s: u32,
    },
    /// The shard cannot write now: its disk is full, its log is poisoned, or it is stopping.
    #[error("the shard cannot take writes: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
        /// Seconds to wait.
        retry_after_s: u32,
    },
}
