//! Everything that can go wrong here, each with what to do about it.

use crate::TableId;
use model::codec::DecodeError;
use model::id::{Key, Term};
use std::io;
use thiserror::Error;

/// Why the store could not do what was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// An operation on an object failed and changed nothing that a reader can see.
    #[error("cannot {action} {object}: {source}; check the disk under the data directory, then try again")]
    Io {
        /// What was being done: "read", "write", "sync", …
        action: &'static str,
        /// The object or folder.
        object: String,
        /// What the system said.
        source: io::Error,
    },
    /// The disk under the data directory is full. Nothing was changed.
    #[error("cannot write {object}: the disk is full; free or add space, and it goes on by itself")]
    DiskFull {
        /// The object that was being written.
        object: String,
    },
    /// A replacement may or may not have happened. The store takes no more commits until it is opened again.
    #[error("it is unknown whether {object} was replaced: {reason}; open the store again, which finds out")]
    Uncertain {
        /// The object that was being replaced.
        object: String,
        /// What failed.
        reason: String,
    },
    /// No object of that name.
    #[error(
        "{object} does not exist; if it is named by a manifest, restore the data directory from a backup"
    )]
    Missing {
        /// The object asked for.
        object: String,
    },
    /// An object of that name exists, or somebody replaced it first.
    #[error("{object} was written by another writer; stop the other process that uses this data directory")]
    Conflict {
        /// The object that was to be created or replaced.
        object: String,
    },
    /// A writer with a higher term, or one that opened later, owns the store.
    #[error("this writer (term {}) was deposed by another (term {}); stop it and let the newer one run", ours.0, theirs.0)]
    Fenced {
        /// The term of the refused writer.
        ours: Term,
        /// The term that the store carries.
        theirs: Term,
    },
    /// Stored bytes are not what was written.
    #[error(
        "{object} is damaged at byte {offset}: {reason}; restore it from a backup or rebuild state from the log"
    )]
    Damaged {
        /// The object.
        object: String,
        /// Where the damage was noticed.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// A row's bytes cannot be understood by the table that owns them.
    #[error("row {key} of table {} cannot be read: {source}; it was written by another version or is damaged", table.0)]
    Row {
        /// The table.
        table: TableId,
        /// The row.
        key: Key,
        /// What is wrong with the bytes.
        source: DecodeError,
    },
    /// A block is sealed with a key that is not in the keyring.
    #[error(
        "{object} is sealed with key {key_id}, which the keyring does not hold; add that key to the keyring"
    )]
    NoKey {
        /// The object.
        object: String,
        /// The key's number.
        key_id: u32,
    },
    /// The random bytes that a sealed run needs could not be had.
    #[error("no random bytes for sealing: {0}; check the system's entropy source")]
    Entropy(io::Error),
    /// De-duplication may not keep more ids. The window never shrinks, so new events must wait.
    #[error(
        "de-duplication holds {used_bytes} of {limit_bytes} bytes; raise its limit or wait until ids leave the window"
    )]
    DedupFull {
        /// Bytes that the live ids take.
        used_bytes: u64,
        /// The configured limit.
        limit_bytes: u64,
    },
    /// A limit that protects memory or a format was exceeded by the caller.
    #[error("{what} is over its limit of {limit}; send less at once")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The options contradict what is stored, or each other.
    #[error("the store cannot run with these options: {reason}; correct the configuration")]
    Options {
        /// What is wrong.
        reason: String,
    },
    /// A store opened for reading, or one whose last commit has an unknown outcome, was asked to change something.
    #[error("the store takes no changes: {reason}; open it again for writing")]
    ReadOnly {
        /// Why not.
        reason: &'static str,
    },
}
