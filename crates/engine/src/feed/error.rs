//! What can go wrong with the feed.

use super::Place;
use std::io;
use thiserror::Error;

/// Why the feed cannot be read or written.
#[derive(Debug, Error)]
pub enum FeedError {
    /// A cursor that is none.
    #[error(
        "this is not a cursor, or it was mutilated: send one as the feed gave it, character by character"
    )]
    BadCursor,
    /// The feed cannot go on from there: it is too old, of another data directory, or from a future that did not happen.
    #[error(
        "the feed cannot go on from there ({why}): take a snapshot, and go on from the cursor that ends it"
    )]
    Gone {
        /// Which of these.
        why: &'static str,
        /// From here on the feed can be read.
        start: Place,
    },
    /// A file of the feed is damaged. The feed begins anew.
    #[error("the feed file {file} is damaged at byte {offset}: the feed begins anew; take a snapshot")]
    Damaged {
        /// Which.
        file: String,
        /// Where.
        offset: u64,
    },
    /// A file of the feed's history is damaged. Followers do not need it; what happened before it ends is not known any
    /// more to whoever counts old events.
    #[error(
        "the file {file} of the feed's history is damaged at byte {offset}: new audiences count what happened behind it"
    )]
    HistoryDamaged {
        /// Which.
        file: String,
        /// Where.
        offset: u64,
    },
    /// A file is sealed with a key that is not in the keyring.
    #[error("the feed is sealed with key {key_id}, which is not in the keyring: put the key back")]
    NoKey {
        /// Its number.
        key_id: u32,
    },
    /// The disk is full. What waits is kept as far as it may.
    #[error("the disk is full: free some space, or lower feed.retention_bytes")]
    DiskFull,
    /// The operating system refused.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What it said.
        error: io::Error,
    },
}

impl FeedError {
    /// A stable word for it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadCursor => "bad_cursor",
            Self::Gone { .. } => "cursor_gone",
            Self::Damaged { .. } => "feed_damaged",
            Self::HistoryDamaged { .. } => "feed_history_damaged",
            Self::NoKey { .. } => "feed_no_key",
            Self::DiskFull => "feed_disk_full",
            Self::Io { .. } => "feed_io",
        }
    }

    pub(super) fn io(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| {
            if error.kind() == io::ErrorKind::StorageFull { Self::DiskFull } else { Self::Io { what, error } }
        }
    }
}
