//! Copies of a data directory, taken beside a running server, and data directories made from them.
//!
//! A backup is read from the files, without the directory's lock and without a word to the server: what it needs never
//! changes once it is visible (checkpoints, sealed segments) or only grows (the open segment, the feed, the journal), so
//! nothing has to stand still. Files are opened before they are read, so what the server removes meanwhile stays
//! readable, and every copy is read back and held against its digest.
//!
//! The order is what makes the parts fit: the journal of deliveries before what platforms were told of their lists (so
//! that whatever counts as delivered stands there) and before the checkpoints, the checkpoints before the
//! feed and the log. So the log reaches at least as far as everything that speaks of it, and what the journal says was
//! delivered is in it. The form is described in `docs/operating.md`.
//!
//! **This module never** writes into the data directory it copies from, or accepts a copy that is not whole.

mod contents;
mod copy;
mod log;
mod restore;
mod shelf;
mod state;
mod take;

pub(crate) use restore::restore;
pub(crate) use take::{Taken, Wishes, take};

use crate::serve::DirectoryError;
use engine::feed::FeedError;
use eventlog::LogError;
use std::io;
use std::path::{Path, PathBuf};
use store::StoreError;
use thiserror::Error;

/// Where the delivery journal is in a data directory.
const JOURNAL: &str = "delivery/journal/delivery.journal";
/// Where the shadows of platforms' lists are in a data directory.
const SHADOWS: &str = "delivery/platforms";
/// The copy of the master secret, where keys are wanted.
const MASTER_SECRET: &str = "master.secret";
/// The copy of the keyring, where keys are wanted.
const KEYRING: &str = "keyring";
/// Tells the secret of one data directory from that of another.
const FINGERPRINT: &str = "master.fingerprint";

/// Why there is no backup, or no data directory from one.
#[derive(Debug, Error)]
pub(crate) enum BackupError {
    /// The operating system refused.
    #[error("cannot {what} {} ({error}): check the path, its permissions and the free space", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
    /// Nothing to copy.
    #[error("{} holds no log: name a data directory with --data", .0.display())]
    NoData(PathBuf),
    /// Another backup into the same folder runs.
    #[error("another backup into {} runs: wait for it, or name another folder", .0.display())]
    Busy(PathBuf),
    /// The folder belongs to other data.
    #[error(
        "{} holds backups of another data directory: give every data directory a folder of its own",
        .0.display()
    )]
    OfAnother(PathBuf),
    /// The server removes files faster than they can be opened.
    #[error(
        "{} changes faster than it can be read: try again, with a longer state.checkpoint_interval_ms or a larger \
         log.retention_bytes if it happens again",
        .0.display()
    )]
    Restless(PathBuf),
    /// The copy does not hold what it must.
    #[error("the copy in {} is not whole: {why}. It was removed; check both disks and try again", path.display())]
    NotWhole {
        /// The copy.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No finished backup.
    #[error(
        "{} holds no finished backup: name the folder that was given to `throughline backup`, or one backup in it",
        .0.display()
    )]
    NoBackup(PathBuf),
    /// A file of a backup is not what was written.
    #[error("{} is damaged: {why}. Use another backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A backup of a later program.
    #[error("{} has form {found} and this program reads form {known}: use the program that made it", path.display())]
    Form {
        /// The description of the backup.
        path: PathBuf,
        /// Its form.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// Restoring never writes over anything.
    #[error("{} is not empty, and nothing is written over: name a new directory", .0.display())]
    NotEmpty(PathBuf),
    /// The log of the data directory.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Its checkpoints.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its feed.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// Its keys.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

impl BackupError {
    /// An error of the operating system, for `map_err`.
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { what, path, error }
    }
}
