//! What can go wrong, each with a stable code and what to do about it.

use model::codec::DecodeError;
use model::id::EffectId;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A setting that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{lane}: {option} {what}")]
pub struct OptionsError {
    /// The lane, or what else the option belongs to.
    pub lane: String,
    /// The option's name.
    pub option: &'static str,
    /// What it must be.
    pub what: String,
}

impl OptionsError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        "bad_option"
    }
}

/// A command that cannot be carried out. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    /// No lane has this name.
    #[error("no destination is called {0}: list the destinations to see their names")]
    NoSuchLane(String),
    /// The lane has no such dead letter.
    #[error(
        "{lane} has no dead letter {id}: it was re-sent or discarded, or never died; list the dead letters"
    )]
    NoSuchDeadLetter {
        /// The lane.
        lane: String,
        /// The parcel.
        id: EffectId,
    },
    /// The dead letter is being sent again.
    #[error("{id} of {lane} is being sent again: wait for the outcome")]
    UnderWay {
        /// The lane.
        lane: String,
        /// The parcel.
        id: EffectId,
    },
    /// As many dead letters as the list may hold are already on their way again.
    #[error("{lane} is already sending {limit} dead letters again: wait until some have arrived")]
    TooManyUnderWay {
        /// The lane.
        lane: String,
        /// How many may be on their way.
        limit: usize,
    },
    /// Delivery has stopped or is stopping.
    #[error("delivery has stopped: start it, then try again")]
    Stopped,
}

impl CommandError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoSuchLane(_) => "no_such_destination",
            Self::NoSuchDeadLetter { .. } => "no_such_dead_letter",
            Self::UnderWay { .. } => "dead_letter_under_way",
            Self::TooManyUnderWay { .. } => "too_many_dead_letters_under_way",
            Self::Stopped => "delivery_stopped",
        }
    }
}

/// Why the journal refused, or could not do, something.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The disk failed. The journal takes nothing more until it is opened again.
    #[error("could not {action} {}: {source}. Check the disk and its free space, then restart", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has the journal open.
    #[error("{} is locked: another process delivers from this directory. Stop it first", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// Bytes that were once durable are damaged.
    #[error("{} is damaged at byte {offset}: {what}. Restore it from a backup", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// A file that this version cannot read.
    #[error("{} cannot be read ({error}): it was written by a newer version; start that version", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Why.
        error: DecodeError,
    },
    /// The journal is sealed with a key that is not there.
    #[error("{} is sealed with key {key}, which the keyring does not hold. Give the keyring that has it", path.display())]
    KeyMissing {
        /// The file.
        path: PathBuf,
        /// The key's number.
        key: u32,
    },
    /// Sealing failed, for want of random bytes or beyond the cipher's limits.
    #[error("could not seal an entry of the journal: {0}. Check the system's random source, then restart")]
    Seal(String),
    /// A write or sync failed before.
    #[error("the journal takes nothing more since a write or a sync failed. Check the disk, then restart")]
    Poisoned,
}

impl JournalError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "journal_io",
            Self::Locked { .. } => "journal_locked",
            Self::Corrupt { .. } => "journal_corrupt",
            Self::Foreign { .. } => "journal_foreign",
            Self::KeyMissing { .. } => "journal_key_missing",
            Self::Seal(_) => "journal_seal",
            Self::Poisoned => "journal_poisoned",
        }
    }
}
