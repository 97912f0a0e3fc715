//! What can go wrong with a shadow.

use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why a shadow cannot be used. Nothing is sent for what it could not write down.
#[derive(Debug, Error)]
pub enum ShadowError {
    /// The disk failed.
    #[error("could not {action} {}: {source}. Check the disk; it is tried again", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else uses it.
    #[error("{} is locked: another destination uses a shadow of this name. Give each its own name", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// There are too many people in it.
    #[error(
        "the lists of a destination hold {limit} people, which is the limit: raise `people_max`, or send smaller audiences"
    )]
    Full {
        /// The limit.
        limit: usize,
    },
    /// A list's name or a row is too long, or there are too many rows.
    #[error("a list's name or a person's rows are beyond the limits of a shadow: leave identifiers out")]
    TooLarge,
    /// What was written cannot be read back.
    #[error(
        "{} is damaged at byte {offset}: put a copy from a backup in its place, or move it away; then replace the lists",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
    },
    /// It is no shadow of this format.
    #[error("{} does not begin as a shadow of format 2 does: move it away, then replace the lists", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It was sealed with a key that is not there.
    #[error("{} is sealed with key {key}, which the keyring does not hold: put the keyring of this data back", path.display())]
    KeyMissing {
        /// The file.
        path: PathBuf,
        /// The number of the key.
        key: u32,
    },
    /// It cannot be sealed.
    #[error("a shadow cannot be sealed ({0}): check keyring and random source; it is tried again")]
    Seal(String),
    /// A thread that worked on it panicked.
    #[error(
        "the work on a shadow panicked, which is a mistake in this program: it is tried again; report it"
    )]
    Panicked,
}

impl ShadowError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "shadow_io",
            Self::Locked { .. } => "shadow_locked",
            Self::Full { .. } => "shadow_full",
            Self::TooLarge => "shadow_row_too_large",
            Self::Damaged { .. } => "shadow_damaged",
            Self::Foreign { .. } => "shadow_foreign",
            Self::KeyMissing { .. } => "shadow_key_missing",
            Self::Seal(_) => "shadow_not_sealed",
            Self::Panicked => "shadow_work_panicked",
        }
    }
}
