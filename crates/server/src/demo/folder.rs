//! The demo's own folder. It is emptied before each run, so it must be one that the demo made.

use anyhow::{Context as _, Result, bail};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// A folder with this file in it belongs to the demo.
const MARK: &str = "throughline-demo";
const MARK_TEXT: &str = "This folder belongs to `throughline demo`: the next run empties `server`. \
                         Downloaded data are kept in `cache`.\n";

/// The folder, and what is in it. One demo at a time: the lock is held as long as this lives.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    _lock: File,
}

impl Folder {
    /// Takes the folder: a new or empty one, or one of an earlier demo, whose server data are removed.
    pub(super) fn take(root: &Path) -> Result<Self> {
        let context =
            || format!("{} cannot be used as the demo's folder: choose another with --data", root.display());
        fs::create_dir_all(root).with_context(context)?;
        let mark = root.join(MARK);
        if !mark.try_exists().with_context(context)? {
            if fs::read_dir(root).with_context(context)?.next().is_some() {
                bail!(
                    "{} holds files that are not the demo's, and the demo empties its folder: choose a new one with \
                     --data",
                    root.display()
                );
            }
            fs::write(&mark, MARK_TEXT).with_context(context)?;
        }
        let lock = File::options().read(true).append(true).open(&mark).with_context(context)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("another demo uses {}: stop it, or choose another folder with --data", root.display())
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(context),
        }
        let folder = Self { root: root.to_owned(), _lock: lock };
        if folder.server().try_exists().with_context(context)? {
            fs::remove_dir_all(folder.server()).with_context(context)?;
        }
        for part in [folder.server(), folder.cache()] {
            fs::create_dir_all(part).with_context(context)?;
        }
        Ok(folder)
    }

    /// Where the server keeps its data: empty at first.
    pub(super) fn server(&self) -> PathBuf {
        self.root.join("server")
    }

    /// Where downloads are kept for the next run.
    pub(super) fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::fixture::Scratch;

    #[test]
    fn only_new_empty_and_own_folders_are_taken_and_only_once_at_a_time() {
        let scratch = Scratch::new("folder");
        let foreign = scratch.path().join("foreign");
        fs::create_dir_all(&foreign).unwrap();
        fs::write(foreign.join("thesis.tex"), "x").unwrap();
        assert!(Folder::take(&foreign).unwrap_err().to_string().contains("--data"));
        assert!(foreign.join("thesis.tex").exists());

        let root = scratch.path().join("a/b");
        let folder = Folder::take(&root).unwrap();
        fs::write(folder.server().join("log"), "old").unwrap();
        fs::write(folder.cache().join("wheel"), "kept").unwrap();
        assert!(Folder::take(&root).unwrap_err().to_string().contains("another demo"));
        assert!(folder.server().join("log").exists());
        drop(folder);
        let again = Folder::take(&root).unwrap();
        assert!(!again.server().join("log").exists());
        assert!(again.cache().join("wheel").exists());
    }
}
