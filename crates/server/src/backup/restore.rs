//! Makes a data directory of a backup.

use super::contents::Contents;
use super::copy::{Copier, make_folder, sync_folder};
use super::shelf::finished;
use super::{BackupError, SHADOWS};
use engine::feed::FEED_FOLDER;
use env::Env;
use outbound::platform::shadow::{EXTENSION, RESTORED_EXTENSION};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Where files are put until all are there and checked.
const STAGE: &str = "restore-unfinished";
/// The root of every file system of its own: a new disk is an empty directory.
const LOST_AND_FOUND: &str = "lost+found";
/// Moved last: a server starts nothing on checkpoints without a log.
const LAST: &str = "log";
/// Moved first, for the same reason.
const FIRST: &str = "state";

/// A data directory that was made.
#[derive(Clone, Debug)]
pub(crate) struct Restored {
    /// The backup it was made from.
    pub(crate) backup: PathBuf,
    /// What it holds.
    pub(crate) contents: Contents,
}

/// Checks every file of a backup, or of the newest one in a folder of them, and makes a data directory of it.
pub(crate) fn restore(env: &Env, folder: &Path, to: &Path) -> Result<Restored, BackupError> {
    let backup = newest(folder)?;
    let contents = Contents::read(&backup)?;
    must_be_empty(to)?;
    make_folder(to)?;
    let stage = to.join(STAGE);
    if stage.exists() {
        fs::remove_dir_all(&stage).map_err(BackupError::io("remove", &stage))?;
    }
    let made = fill(env, &backup, &contents, &stage).and_then(|()| move_in(&stage, to));
    if made.is_err() && stage.exists() {
        // The first error is the one that counts. What stays is removed by the next attempt.
        let _ = fs::remove_dir_all(&stage);
    }
    made.map(|()| Restored { backup, contents })
}

fn newest(folder: &Path) -> Result<PathBuf, BackupError> {
    if Contents::is_in(folder) {
        return Ok(folder.to_owned());
    }
    let none = || BackupError::NoBackup(folder.to_owned());
    if !folder.is_dir() {
        return Err(none());
    }
    finished(folder)?.pop().map(|(_, path)| path).ok_or_else(none)
}

fn must_be_empty(to: &Path) -> Result<(), BackupError> {
    if !to.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(to).map_err(BackupError::io("list", to))? {
        let name = entry.map_err(BackupError::io("list", to))?.file_name();
        if name != STAGE && name != LOST_AND_FOUND {
            return Err(BackupError::NotEmpty(to.to_owned()));
        }
    }
    Ok(())
}

fn fill(env: &Env, backup: &Path, contents: &Contents, stage: &Path) -> Result<(), BackupError> {
    make_folder(stage)?;
    let mut copier = Copier::new(0);
    let mut folders = BTreeSet::from([stage.to_owned()]);
    for part in &contents.files {
        let (from, copy) = (backup.join(&part.path), stage.join(&part.path));
        let damaged = |why: String| BackupError::Damaged { path: from.clone(), why };
        let file = File::open(&from).map_err(|error| damaged(format!("it cannot be opened ({error})")))?;
        let bytes = file.metadata().map_err(BackupError::io("read", &from))?.len();
        if bytes != part.bytes {
            return Err(damaged(format!("it has {bytes} bytes and had {}", part.bytes)));
        }
        let above = copy.ancestors().skip(1).take_while(|above| above.starts_with(stage));
        folders.extend(above.map(Path::to_owned));
        if let Some(folder) = copy.parent() {
            make_folder(folder)?;
        }
        if copier.copy(&file, &from, bytes, &copy)?.to_hex().as_str() != part.blake3 {
            return Err(damaged("its bytes are not those that were backed up".to_owned()));
        }
    }
    let feed = stage.join(FEED_FOLDER);
    if feed.exists() {
        // Followers may have seen what is behind the end of this backup: under a new identity their cursors are refused,
        // and they take a snapshot. Destinations go on where the journal says.
        engine::feed::renew_identity(env, &feed)?;
    }
    mark_shadows(contents, stage)?;
    folders.iter().try_for_each(|folder| sync_folder(folder))
}

/// What platforms were told after the backup nobody knows any more: nothing in a shadow counts as acknowledged until it
/// was said again.
fn mark_shadows(contents: &Contents, stage: &Path) -> Result<(), BackupError> {
    let shadows = contents.files.iter().map(|part| Path::new(&part.path));
    let shadows =
        shadows.filter(|path| path.starts_with(SHADOWS) && path.extension() == Some(EXTENSION.as_ref()));
    shadows.map(|path| stage.join(path)).try_for_each(|path| {
        let mark = path.with_extension(RESTORED_EXTENSION);
        super::copy::write_new(&mark, b"")
    })
}

fn move_in(stage: &Path, to: &Path) -> Result<(), BackupError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(stage).map_err(BackupError::io("list", stage))? {
        names.push(entry.map_err(BackupError::io("list", stage))?.file_name());
    }
    names.sort_by_key(|name| (name == LAST, name != FIRST));
    for name in names {
        let place = to.join(&name);
        fs::rename(stage.join(&name), &place).map_err(BackupError::io("name", &place))?;
        sync_folder(to)?;
    }
    fs::remove_dir(stage).map_err(BackupError::io("remove", stage))?;
    sync_folder(to)
}
