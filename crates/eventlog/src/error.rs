//! What can go wrong, and what to do about it.

use model::id::{Position, Term, Timestamp};
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why the log refused, or could not do, something.
#[derive(Debug, Error)]
pub enum LogError {
    /// The disk failed.
    #[error("could not {action} {}: {source}. Check the disk and the system's log, then restart", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has the data directory open.
    #[error(
        "{} is locked: another process is using this data directory. Find it with `fuser {}` and stop it, or use another directory",
        path.display(), path.display()
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// No room for the next segment. Nothing was written; the same append may be tried again.
    #[error(
        "the disk is full: the next log segment needs {needed_bytes} bytes. Free some space; nothing was lost"
    )]
    StorageFull {
        /// What the next segment needs.
        needed_bytes: u64,
    },
    /// A write or a sync failed earlier: what is on the disk is unknown until the log is opened again.
    #[error("the log takes no more appends since this failed: {cause}. Check the disk, then restart")]
    Poisoned {
        /// The first failure.
        cause: String,
    },
    /// A newer writer has taken over this shard.
    #[error("this writer's term {} is over: the log has seen term {}. Stop this writer", term.0, seen.0)]
    Deposed {
        /// The caller's term.
        term: Term,
        /// The highest term seen.
        seen: Term,
    },
    /// The caller's idea of the end of the log is wrong.
    #[error("the append expects position {expected}, the next one is {next}. Read up to the end first")]
    Unexpected {
        /// Where the caller thought the log ends.
        expected: Position,
        /// Where it does.
        next: Position,
    },
    /// Log time never goes back.
    #[error("log time {} is earlier than {}, which was already appended. Stamp with the later of the two", received_at.0, last.0)]
    TimeWentBack {
        /// The frame's time.
        received_at: Timestamp,
        /// The latest time in the log.
        last: Timestamp,
    },
    /// A frame holds no record, or more than a limit allows.
    #[error("{what} is {actual}, the limit is {limit}. Split the append")]
    OutOfLimits {
        /// What was counted.
        what: &'static str,
        /// How much it was.
        actual: u64,
        /// What is allowed.
        limit: u64,
    },
    /// The position has been trimmed away.
    #[error(
        "position {position} is gone: the oldest one kept is {first}. Start from a checkpoint or a snapshot"
    )]
    Trimmed {
        /// What was asked for.
        position: Position,
        /// The oldest readable position.
        first: Position,
    },
    /// The position does not exist yet.
    #[error(
        "position {position} does not exist yet: the next one is {next}. Check that the state belongs to this log"
    )]
    Beyond {
        /// What was asked for.
        position: Position,
        /// The end of the log.
        next: Position,
    },
    /// Bytes that were once durable are damaged.
    #[error("{segment} is damaged at byte {offset}: {what}. Restore the file from a replica or a backup")]
    Corrupt {
        /// The segment's file.
        segment: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// A file of this or another program that this version cannot read.
    #[error("{} is not for this log: {what}. Check the configured shard, region and program version", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// A frame is sealed with a key that the keyring does not hold.
    #[error(
        "{segment} at byte {offset} is sealed with key {key}, which the keyring does not hold. Give the keyring that has it"
    )]
    KeyMissing {
        /// The number of the key.
        key: u32,
        /// The segment's file.
        segment: PathBuf,
        /// Where in it.
        offset: u64,
    },
    /// The keyring file cannot be used.
    #[error("the keyring {} cannot be used: {what}", path.display())]
    Keyring {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        what: String,
    },
    /// An option has a value that cannot work.
    #[error("option {option} {what}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// What it must be.
        what: String,
    },
    /// A rewrite tried to change more than record bodies, or a segment that is still being written.
    #[error("the segment that begins at {first} cannot be rewritten: {what}")]
    Rewrite {
        /// The segment.
        first: Position,
        /// Why not.
        what: String,
    },
    /// Compression failed, which only a lack of memory or a wrong level explains.
    #[error("could not compress a block: {0}. Check the compression level and the memory limit")]
    Compress(io::Error),
    /// Sealing failed, which only a frame beyond the cipher's limits explains.
    #[error("could not seal a frame: it is beyond the cipher's limits. Split the append")]
    Seal,
}

impl LogError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    /// As [`LogError::io`], but a full disk is told apart. Only for work that leaves the durable end alone.
    pub(crate) fn io_or_full(
        action: &'static str,
        path: &Path,
        source: io::Error,
        needed_bytes: u64,
    ) -> Self {
        if source.kind() == io::ErrorKind::StorageFull {
            Self::StorageFull { needed_bytes }
        } else {
            Self::io(action, path, source)
        }
    }

    /// Whether the same call may succeed later without a restart.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::StorageFull { .. })
    }
}
