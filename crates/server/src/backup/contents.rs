//! What a backup says about itself: `backup.json`, and beside it the digest of that file.

use super::BackupError;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The description of a backup.
pub(crate) const CONTENTS: &str = "backup.json";
/// The BLAKE3 digest of the description, as 64 hexadecimal digits. Written last: without it a backup is not finished.
pub(crate) const CHECK: &str = "backup.check";
/// The form that this program writes and reads.
const FORM: u32 = 1;
/// A longer description is damage: some 200 bytes for each of at most a million files.
const CONTENTS_BYTES_MAX: u64 = 256 << 20;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contents {
    /// The form of this description.
    pub(crate) form: u32,
    /// The version of the program that made it.
    pub(crate) program: String,
    /// When it was begun.
    pub(crate) made_at: String,
    /// The first position of the log in it.
    pub(crate) log_first: u64,
    /// The position behind the last record in it: where the backup stands.
    pub(crate) log_next: u64,
    /// The checkpoints in it, oldest first.
    pub(crate) checkpoints: Vec<CheckpointPart>,
    /// The hash that tells the master secret of this data from others; empty if the directory had none yet.
    pub(crate) fingerprint: String,
    /// Whether a keyring is needed to read it.
    pub(crate) sealed: bool,
    /// Whether master secret and keyring are in it.
    pub(crate) with_keys: bool,
    /// Every other file in it, in order of paths.
    pub(crate) files: Vec<FilePart>,
}

/// A checkpoint in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckpointPart {
    /// Where in the log it stands.
    pub(crate) position: u64,
    /// The digest of the whole state there, as `throughline replay --verify` shows it.
    pub(crate) state: String,
}

/// A file in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FilePart {
    /// Its path in the backup and in the data directory.
    pub(crate) path: String,
    /// Its length.
    pub(crate) bytes: u64,
    /// The digest of its bytes, 64 hexadecimal digits.
    pub(crate) blake3: String,
}

impl Contents {
    /// An empty one, of this program's form.
    pub(crate) fn new(made_at: String) -> Self {
        Self {
            form: FORM,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            made_at,
            log_first: 0,
            log_next: 0,
            checkpoints: Vec::new(),
            fingerprint: String::new(),
            sealed: false,
            with_keys: false,
            files: Vec::new(),
        }
    }

    /// Writes the description, then its digest. The caller syncs the folder.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), BackupError> {
        let path = folder.join(CONTENTS);
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| BackupError::NotWhole { path: path.clone(), why: error.to_string() })?;
        bytes.push(b'\n');
        super::copy::write_new(&path, &bytes)?;
        let check = format!("{}\n", blake3::hash(&bytes).to_hex());
        super::copy::write_new(&folder.join(CHECK), check.as_bytes())
    }

    /// Reads the description of a finished backup and checks it.
    pub(crate) fn read(folder: &Path) -> Result<Self, BackupError> {
        let (path, check_path) = (folder.join(CONTENTS), folder.join(CHECK));
        let damaged = |why: &str| BackupError::Damaged { path: path.clone(), why: why.to_owned() };
        let bytes = bounded(&path, CONTENTS_BYTES_MAX)?;
        let check = bounded(&check_path, 1024)?;
        if check != format!("{}\n", blake3::hash(&bytes).to_hex()).as_bytes() {
            return Err(damaged(&format!("it does not have the digest that {CHECK} names")));
        }
        #[derive(Deserialize)]
        struct Form {
            form: u32,
        }
        let Form { form: found } =
            serde_json::from_slice(&bytes).map_err(|error| damaged(&error.to_string()))?;
        if found != FORM {
            return Err(BackupError::Form { path, found, known: FORM });
        }
        let contents: Self = serde_json::from_slice(&bytes).map_err(|error| damaged(&error.to_string()))?;
        match contents.files.iter().find(|file| !is_inside(&file.path)) {
            Some(file) => Err(damaged(&format!("it names {:?}, which is no path in a backup", file.path))),
            None => Ok(contents),
        }
    }

    /// Whether a folder holds a finished backup.
    pub(crate) fn is_in(folder: &Path) -> bool {
        folder.join(CONTENTS).exists() && folder.join(CHECK).exists()
    }

    /// Bytes of all its files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// Whether a path leads to a place below the folder that it is joined to, whatever it says.
fn is_inside(path: &str) -> bool {
    let path = PathBuf::from(path);
    path.components().count() > 0 && path.components().all(|part| matches!(part, Component::Normal(_)))
}

fn bounded(path: &Path, bytes_max: u64) -> Result<Vec<u8>, BackupError> {
    let bytes = fs::metadata(path).map_err(BackupError::io("read", path))?.len();
    if bytes > bytes_max {
        let why = format!("it has {bytes} bytes, and no more than {bytes_max} are expected");
        return Err(BackupError::Damaged { path: path.to_owned(), why });
    }
    fs::read(path).map_err(BackupError::io("read", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_below_the_folder_are_taken() {
        for (path, inside) in [
            ("log/00.seg", true),
            ("backup", true),
            ("", false),
            ("/etc/passwd", false),
            ("../secret", false),
            ("log/../../secret", false),
            ("./log", false),
        ] {
            assert_eq!(is_inside(path), inside, "{path}");
        }
    }
}
