//! Lines that leave files that are finished, because somebody is erased.
//!
//! A file is copied without them, made durable and put in its place by one rename: whoever opens it sees the one or the
//! other, whole. Its name stays, also where no line is left. A file that is taken away while it is copied is left alone;
//! in the instant between that look and the rename it can come back, once, and its lines with it: readers drop repeats.

use super::NdjsonConfig;
use super::writer::{BLOCK_BYTES, FileError, Writer, io_error};
use delivery::BODY_BYTES_MAX;
use delivery::env::{Disk, DiskFile, OpenMode};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Whether a line, without its break, goes.
pub type Goes = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// No line of ours is longer. In a file that somebody else made, a longer one is cut there; every byte of it stays.
const LINE_BYTES_MAX: usize = 2 * BODY_BYTES_MAX;
const COPY_SUFFIX: &str = ".next";

/// What was taken out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForgottenLines {
    /// Files that were looked at.
    pub files: u64,
    /// Files that were replaced.
    pub rewritten: u64,
    /// Lines that went.
    pub lines: u64,
}

/// The names under which files lie in a folder, whether anybody writes them or not. No folder is an empty one.
pub fn names(disk: &dyn Disk, folder: &Path) -> Result<BTreeSet<String>, FileError> {
    Ok(list(disk, folder)?.iter().filter_map(|file| split(file)).map(|(name, _)| name.to_owned()).collect())
}

/// Takes lines out of the finished files of one name. Doing it twice is doing it once.
pub fn forget_finished(
    disk: &dyn Disk,
    folder: &Path,
    name: &str,
    goes: &Goes,
) -> Result<ForgottenLines, FileError> {
    let mut done = ForgottenLines::default();
    for file in list(disk, folder)? {
        let Some((own, kind)) = split(&file) else { continue };
        if own != name {
            continue;
        }
        if kind == "ndjson.next" {
            // A crash left it: what it was made from is still there.
            remove(disk, &folder.join(&file))?;
        } else if kind == "ndjson" {
            let gone = forget_in(disk, folder, &file, goes)?;
            done.files += 1;
            done.rewritten += u64::from(gone > 0);
            done.lines += gone;
        }
    }
    Ok(done)
}

/// As [`Ndjson::forget`](super::Ndjson::forget), for a name that nobody writes at present. What a crash left in progress
/// is finished. Refused with [`FileError::Locked`] if somebody writes it after all.
pub fn forget_at_rest(
    disk: &Arc<dyn Disk>,
    folder: &Path,
    name: &str,
    goes: &Goes,
) -> Result<ForgottenLines, FileError> {
    let unfinished = list(&**disk, folder)?.into_iter().find(|file| {
        let path = folder.join(file);
        let len = || disk.open(&path, OpenMode::Read).and_then(|file| file.len());
        split(file) == Some((name, "ndjson.part")) && len().is_ok_and(|len| len > 0)
    });
    if unfinished.is_some() {
        Writer::open(disk, NdjsonConfig::new(folder, name), 0)?.tend(0, true)?;
    }
    forget_finished(&**disk, folder, name, goes)
}

/// `NAME-NUMBER.KIND`.
fn split(file: &str) -> Option<(&str, &str)> {
    let (stem, kind) = file.split_once('.')?;
    let (name, number) = stem.rsplit_once('-')?;
    number.parse::<u64>().ok().map(|_| (name, kind))
}

fn list(disk: &dyn Disk, folder: &Path) -> Result<Vec<String>, FileError> {
    if !disk.exists(folder) {
        return Ok(Vec::new());
    }
    disk.list(folder).map_err(|source| io_error("list", folder.to_owned(), source))
}

fn remove(disk: &dyn Disk, path: &Path) -> Result<(), FileError> {
    disk.remove(path).map_err(|source| io_error("remove", path.to_owned(), source))
}

/// Takes lines out of one file. Returns how many.
fn forget_in(disk: &dyn Disk, folder: &Path, name: &str, goes: &Goes) -> Result<u64, FileError> {
    let path = folder.join(name);
    let file = match disk.open(&path, OpenMode::Read) {
        Ok(file) => file,
        // It was taken away.
        Err(_) if !disk.exists(&path) => return Ok(0),
        Err(source) => return Err(io_error("open", path, source)),
    };
    let mut gone = 0;
    let read = |visit: &mut dyn FnMut(&[u8]) -> Result<(), FileError>| each_line(&*file, &path, visit);
    read(&mut |line| {
        gone += u64::from(goes(line.strip_suffix(b"\n").unwrap_or(line)));
        Ok(())
    })?;
    if gone == 0 {
        return Ok(0);
    }
    let copy_path = folder.join(format!("{name}{COPY_SUFFIX}"));
    let mut copy = Copy::create(disk, &copy_path)?;
    read(&mut |line| if goes(line.strip_suffix(b"\n").unwrap_or(line)) { Ok(()) } else { copy.write(line) })?;
    copy.finish()?;
    if !disk.exists(&path) {
        remove(disk, &copy_path)?;
        return Ok(gone);
    }
    disk.rename(&copy_path, &path).map_err(|source| io_error("rename", copy_path, source))?;
    disk.sync_directory(folder).map_err(|source| io_error("sync", folder.to_owned(), source))?;
    Ok(gone)
}

/// Shows every line, with its break.
fn each_line(
    file: &dyn DiskFile,
    path: &Path,
    visit: &mut dyn FnMut(&[u8]) -> Result<(), FileError>,
) -> Result<(), FileError> {
    let mut held: Vec<u8> = Vec::new();
    let mut block = vec![0; usize::try_from(BLOCK_BYTES).unwrap_or(1)];
    let mut offset = 0;
    loop {
        let count = file.read_at(offset, &mut block);
        let count = count.map_err(|source| io_error("read", path.to_owned(), source))?;
        offset += count as u64;
        let block = block.get(..count).unwrap_or_default();
        for piece in block.split_inclusive(|byte| *byte == b'\n') {
            held.extend_from_slice(piece);
            if piece.ends_with(b"\n") || held.len() > LINE_BYTES_MAX {
                visit(&held)?;
                held.clear();
            }
        }
        if count == 0 {
            return if held.is_empty() { Ok(()) } else { visit(&held) };
        }
    }
}

/// A file that takes another one's place.
struct Copy {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    waiting: Vec<u8>,
    offset: u64,
}

impl Copy {
    fn create(disk: &dyn Disk, path: &Path) -> Result<Self, FileError> {
        if disk.exists(path) {
            remove(disk, path)?;
        }
        let file = disk.open(path, OpenMode::CreateNew);
        let file = file.map_err(|source| io_error("create", path.to_owned(), source))?;
        Ok(Self { file, path: path.to_owned(), waiting: Vec::new(), offset: 0 })
    }

    fn write(&mut self, line: &[u8]) -> Result<(), FileError> {
        self.waiting.extend_from_slice(line);
        if self.waiting.len() as u64 >= BLOCK_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), FileError> {
        let written = self.file.write_all_at(self.offset, &self.waiting);
        written.map_err(|source| io_error("write", self.path.clone(), source))?;
        self.offset += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<(), FileError> {
        self.flush()?;
        self.file.sync_data().map_err(|source| io_error("sync", self.path.clone(), source))
    }
}
