//! Makes a backup.

use super::contents::Contents;
use super::copy::Copier;
use super::log::names_in;
use super::shelf::{Draft, Figures, Shelf, fingerprint_of};
use super::state::Pinned;
use super::{BackupError, FINGERPRINT, JOURNAL, KEYRING, MASTER_SECRET, SHADOWS, log, state};
use crate::calendar::{iso, now_us};
use crate::config::Config;
use crate::serve::{DataDirectory, open_options};
use env::Env;
use outbound::platform::shadow::EXTENSION;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often something is looked at again that a server changed meanwhile.
pub(super) const LOOKS_MAX: u32 = 20;
/// Small files at the top of a data directory that a backup holds.
const SMALL_FILES: [&str; 3] = [FINGERPRINT, "erasures.json", "log-time-is-driven"];

/// What a backup should hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wishes {
    /// Master secret and keyring too: whoever has such a backup can read everything.
    pub(crate) with_keys: bool,
    /// Only what the kept checkpoints need of the log.
    pub(crate) recent: bool,
    /// How fast it may read and write; 0 is no limit.
    pub(crate) bytes_per_second: u64,
}

/// A backup that was made.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    /// Its folder.
    pub(crate) path: PathBuf,
    /// What it holds.
    pub(crate) contents: Contents,
    /// What was written for it.
    pub(crate) figures: Figures,
    /// How long it took.
    pub(crate) elapsed: Duration,
}

/// Makes a backup of a data directory in a folder of backups, whether a server runs on it or not.
pub(crate) fn take(env: &Env, config: &Config, folder: &Path, wishes: Wishes) -> Result<Taken, BackupError> {
    let started = Instant::now();
    let directory = DataDirectory::at(&config.data);
    let data = directory.path();
    if !directory.holds_data() {
        return Err(BackupError::NoData(data.to_owned()));
    }
    let opening = open_options(config, &directory, env)?;
    let keyring = opening.log.keyring.as_ref();
    let shelf = Shelf::open(env, folder)?;
    let copier = Copier::new(wishes.bytes_per_second);
    let mut draft = shelf.begin(fingerprint_of(data)?, iso(now_us()), copier)?;
    draft.contents.sealed = keyring.is_some();
    draft.take_if_there(JOURNAL, &data.join(JOURNAL))?;
    take_shadows(data, &mut draft)?;
    for name in SMALL_FILES {
        draft.take_if_there(name, &data.join(name))?;
    }
    if wishes.with_keys {
        take_keys(&directory, keyring.is_some(), &mut draft)?;
    }
    let pinned = Pinned::open(env, data)?;
    let needed_from = pinned.as_ref().map_or(0, Pinned::oldest_position);
    if let Some(pinned) = pinned {
        pinned.take(data, &mut draft)?;
    }
    log::take_feed(data, &mut draft)?;
    log::take_log(env, data, keyring, needed_from, wishes.recent, &mut draft)?;
    log::take_audit(data, &mut draft)?;
    let copy = draft.folder().to_owned();
    log::check(env, &copy, keyring, &draft)?;
    state::check(env, &copy, &opening.store)?;
    let (path, contents, figures) = draft.finish()?;
    Ok(Taken { path, contents, figures, elapsed: started.elapsed() })
}

/// Takes in what platforms were told of their lists: without it nobody could be taken out of them. A file may be
/// replaced by a shorter one while it is copied; the copy is the one that was opened.
fn take_shadows(data: &Path, draft: &mut Draft) -> Result<(), BackupError> {
    let folder = data.join(SHADOWS);
    for name in names_in(&folder)? {
        if name.ends_with(&format!(".{EXTENSION}")) {
            draft.take_if_there(&format!("{SHADOWS}/{name}"), &folder.join(&name))?;
        }
    }
    Ok(())
}

fn take_keys(directory: &DataDirectory, sealed: bool, draft: &mut Draft) -> Result<(), BackupError> {
    draft.contents.with_keys = draft.take_if_there(MASTER_SECRET, directory.master_secret_path())?;
    if sealed {
        draft.take_if_there(KEYRING, directory.keyring_path())?;
    }
    Ok(())
}
