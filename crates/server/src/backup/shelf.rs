//! The folder of backups: numbered folders, each a whole backup. What two have in common is one file with two names, so
//! a backup takes only what is new, and any of them can be removed without a look at the others.

use super::contents::{Contents, FilePart};
use super::copy::{Copier, Digest, make_folder, sync_folder};
use super::{BackupError, FINGERPRINT};
use env::{DiskLock, Env};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Held by whoever adds a backup.
const LOCK: &str = "lock";
/// How the folder of a backup begins that is being made, or was when its maker was killed.
const UNFINISHED: &str = "unfinished-";
/// Digits of a backup's number, so that names sort as numbers do.
const NUMBER_DIGITS: usize = 6;
/// Of a time, as `20261122T091500`.
const COMPACT_CHARS: usize = 15;

/// A folder of backups, locked against other makers.
pub(super) struct Shelf {
    folder: PathBuf,
    _lock: Box<dyn DiskLock>,
}

/// A backup that is being made. Dropping it leaves nothing behind.
pub(super) struct Draft {
    pub(super) contents: Contents,
    pub(super) copier: Copier,
    pub(super) figures: Figures,
    unfinished: PathBuf,
    finished: PathBuf,
    shelf: PathBuf,
    previous: Option<Previous>,
    is_done: bool,
}

/// What making a backup cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    /// Files that were written.
    pub(crate) written_files: u64,
    /// Their bytes.
    pub(crate) written_bytes: u64,
    /// Files that the backup before has too.
    pub(crate) shared_files: u64,
    /// Their bytes.
    pub(crate) shared_bytes: u64,
}

struct Previous {
    folder: PathBuf,
    files: BTreeMap<String, FilePart>,
}

impl Shelf {
    /// Opens or makes the folder, takes its lock and removes what killed makers left.
    pub(super) fn open(env: &Env, folder: &Path) -> Result<Self, BackupError> {
        make_folder(folder)?;
        let lock = env.disk.lock(&folder.join(LOCK)).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => BackupError::Busy(folder.to_owned()),
            _ => BackupError::io("lock", folder)(error),
        })?;
        for (name, path) in folders(folder)? {
            if name.starts_with(UNFINISHED) {
                fs::remove_dir_all(&path).map_err(BackupError::io("remove", &path))?;
            }
        }
        Ok(Self { folder: folder.to_owned(), _lock: lock })
    }

    /// Begins a backup of the data directory with this fingerprint.
    pub(super) fn begin(
        &self,
        fingerprint: String,
        made_at: String,
        copier: Copier,
    ) -> Result<Draft, BackupError> {
        let backups = finished(&self.folder)?;
        let number = backups.last().map_or(0, |(number, _)| *number) + 1;
        // A damaged one is left alone: this backup then shares nothing with it.
        let newest = backups.iter().rev().find_map(|(_, path)| Some((path, Contents::read(path).ok()?)));
        let previous = match newest {
            Some((_, contents)) if contents.fingerprint != fingerprint => {
                return Err(BackupError::OfAnother(self.folder.clone()));
            }
            Some((path, contents)) => Some(Previous {
                folder: path.clone(),
                files: contents.files.into_iter().map(|file| (file.path.clone(), file)).collect(),
            }),
            None => None,
        };
        let compact: String =
            made_at.chars().filter(char::is_ascii_alphanumeric).take(COMPACT_CHARS).collect();
        let name = format!("{number:0NUMBER_DIGITS$}-{compact}");
        let unfinished = self.folder.join(format!("{UNFINISHED}{name}"));
        make_folder(&unfinished)?;
        Ok(Draft {
            contents: Contents { fingerprint, ..Contents::new(made_at) },
            copier,
            figures: Figures::default(),
            unfinished,
            finished: self.folder.join(name),
            shelf: self.folder.clone(),
            previous,
            is_done: false,
        })
    }
}

impl Draft {
    /// Where the files are until it is finished.
    pub(super) fn folder(&self) -> &Path {
        &self.unfinished
    }

    /// Takes the first bytes of an open file in under a path. They do not change any more.
    pub(super) fn take(
        &mut self,
        path: &str,
        file: &File,
        from: &Path,
        bytes: u64,
    ) -> Result<(), BackupError> {
        let to = self.unfinished.join(path);
        if let Some(folder) = to.parent() {
            make_folder(folder)?;
        }
        let digest = match self.share(path, file, from, bytes, &to)? {
            Some(digest) => {
                self.figures.shared_files += 1;
                self.figures.shared_bytes += bytes;
                digest
            }
            None => {
                let digest = self.copier.copy(file, from, bytes, &to)?;
                let copy = File::open(&to).map_err(BackupError::io("read back", &to))?;
                if self.copier.digest(&copy, &to, bytes)? != digest {
                    let why = format!("{path} reads differently from what was written");
                    return Err(BackupError::NotWhole { path: self.unfinished.clone(), why });
                }
                self.figures.written_files += 1;
                self.figures.written_bytes += bytes;
                digest
            }
        };
        self.note(path, bytes, &digest);
        Ok(())
    }

    /// Takes a file of the data directory in, as long as it is now. `false`: there is none.
    pub(super) fn take_if_there(&mut self, path: &str, from: &Path) -> Result<bool, BackupError> {
        let Some(file) = open_if_there(from)? else { return Ok(false) };
        let bytes = file.metadata().map_err(BackupError::io("read", from))?.len();
        self.take(path, &file, from, bytes)?;
        Ok(true)
    }

    /// Takes bytes in under a path.
    pub(super) fn take_bytes(&mut self, path: &str, bytes: &[u8]) -> Result<(), BackupError> {
        let to = self.unfinished.join(path);
        if let Some(folder) = to.parent() {
            make_folder(folder)?;
        }
        super::copy::write_new(&to, bytes)?;
        self.figures.written_files += 1;
        self.figures.written_bytes += bytes.len() as u64;
        self.note(path, bytes.len() as u64, &blake3::hash(bytes));
        Ok(())
    }

    /// Takes a file out again, because it turned out to be another one under the same name.
    pub(super) fn put_back(&mut self, path: &str) -> Result<(), BackupError> {
        self.contents.files.retain(|file| file.path != path);
        let copy = self.unfinished.join(path);
        fs::remove_file(&copy).map_err(BackupError::io("remove", &copy))
    }

    /// Makes it a backup: in one step, and durable on return.
    pub(super) fn finish(mut self) -> Result<(PathBuf, Contents, Figures), BackupError> {
        self.contents.files.sort_by(|one, other| one.path.cmp(&other.path));
        self.contents.write(&self.unfinished)?;
        let mut inside: BTreeSet<PathBuf> = BTreeSet::from([self.unfinished.clone()]);
        for file in &self.contents.files {
            let path = self.unfinished.join(&file.path);
            inside.extend(
                path.ancestors()
                    .skip(1)
                    .take_while(|above| above.starts_with(&self.unfinished))
                    .map(Path::to_owned),
            );
        }
        for folder in &inside {
            sync_folder(folder)?;
        }
        fs::rename(&self.unfinished, &self.finished).map_err(BackupError::io("name", &self.finished))?;
        self.is_done = true;
        sync_folder(&self.shelf)?;
        Ok((self.finished.clone(), self.contents.clone(), self.figures))
    }

    fn note(&mut self, path: &str, bytes: u64, digest: &Digest) {
        let blake3 = digest.to_hex().to_string();
        self.contents.files.push(FilePart { path: path.to_owned(), bytes, blake3 });
    }

    /// Gives the same file of the backup before a second name, if it is still what it was. A name alone proves nothing:
    /// segments change while they are open, and a state that is built anew counts its files anew.
    fn share(
        &mut self,
        path: &str,
        file: &File,
        from: &Path,
        bytes: u64,
        to: &Path,
    ) -> Result<Option<Digest>, BackupError> {
        let Some(previous) = &self.previous else { return Ok(None) };
        let Some(known) = previous.files.get(path).filter(|known| known.bytes == bytes) else {
            return Ok(None);
        };
        let digest = self.copier.digest(file, from, bytes)?;
        if known.blake3 != digest.to_hex().as_str() {
            return Ok(None);
        }
        let old = previous.folder.join(path);
        let Some(copy) = open_if_there(&old)? else { return Ok(None) };
        let length = copy.metadata().map_err(BackupError::io("read", &old))?.len();
        let is_whole = length == bytes && self.copier.digest(&copy, &old, bytes)? == digest;
        // Where a file cannot have two names, it is copied.
        Ok((is_whole && fs::hard_link(&old, to).is_ok()).then_some(digest))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_done {
            // What cannot be removed now is removed by the next backup, and no restore accepts it.
            let _ = fs::remove_dir_all(&self.unfinished);
        }
    }
}

/// The finished backups of a folder with their numbers, oldest first.
pub(super) fn finished(folder: &Path) -> Result<Vec<(u64, PathBuf)>, BackupError> {
    let mut found = Vec::new();
    for (name, path) in folders(folder)? {
        let number = name.split('-').next().and_then(|digits| digits.parse::<u64>().ok());
        if let Some(number) = number.filter(|_| Contents::is_in(&path)) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Opens a file for reading; `None` if there is none.
pub(super) fn open_if_there(path: &Path) -> Result<Option<File>, BackupError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(BackupError::io("read", path)(error)),
    }
}

/// The fingerprint of a data directory; empty if it has none yet.
pub(super) fn fingerprint_of(directory: &Path) -> Result<String, BackupError> {
    let path = directory.join(FINGERPRINT);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(BackupError::io("read", &path)(error)),
    }
}

fn folders(folder: &Path) -> Result<Vec<(String, PathBuf)>, BackupError> {
    let failed = || BackupError::io("list", folder);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        if entry.file_type().map_err(failed())?.is_dir() {
            found.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
        }
    }
    found.sort();
    Ok(found)
}
