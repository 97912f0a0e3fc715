//! Where the server under measurement keeps its data.

use anyhow::{Context as _, bail};
use std::path::{Path, PathBuf};

/// The folder of the data; removed at the end if it is a temporary one.
pub(super) struct Folder {
    path: PathBuf,
    temporary: bool,
}

impl Folder {
    pub(super) fn new(given: Option<&Path>) -> anyhow::Result<Self> {
        let temporary = given.is_none();
        let path = match given {
            Some(path) => path.to_owned(),
            None => std::env::temp_dir().join(format!("throughline-bench-{}", std::process::id())),
        };
        std::fs::create_dir_all(&path).with_context(|| format!("{} cannot be made", path.display()))?;
        if std::fs::read_dir(&path)?.next().is_some() {
            bail!("{} is not empty: name a new folder with --data", path.display());
        }
        Ok(Self { path, temporary })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.temporary {
            // What is left behind is in the folder for temporary files.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
