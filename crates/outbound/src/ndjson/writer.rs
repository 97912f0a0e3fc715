//! The files themselves, over `env`'s disk, so that a seeded one can tear them.

use super::NdjsonConfig;
use delivery::env::{Disk, DiskFile, DiskLock, OpenMode};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use thiserror::Error;

/// How much is read at once when the end of a file is looked for.
pub(super) const BLOCK_BYTES: u64 = 64 * 1024;

/// Why lines were not written, or a file was not finished. Nothing of the batch counts as written.
#[derive(Debug, Error)]
pub enum FileError {
    /// The disk failed.
    #[error("could not {action} {}: {source}. Check the disk; the lines are written again", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No room.
    #[error("the disk of {} is full: free some space; the lines are written again", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// Another process, or another destination, writes files of this name.
    #[error("{} is locked: another destination writes files of this name. Give each its own name", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// Nobody takes the finished files away.
    #[error(
        "{} finished files lie in the folder, the limit is {limit}: take some away, or raise `files_max`",
        count
    )]
    TooManyFiles {
        /// How many there are.
        count: usize,
        /// How many may be.
        limit: usize,
    },
    /// A message holds a line break, so it is not a line.
    #[error("a message holds a line break, so it cannot be a line: render it as JSON on one line")]
    NotALine,
    /// A thread that worked on files panicked.
    #[error("the work on a file panicked, which is a mistake in this program: it is tried again; report it")]
    Panicked,
}

impl FileError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "file_io",
            Self::Full { .. } => "disk_full",
            Self::Locked { .. } => "folder_locked",
            Self::TooManyFiles { .. } => "too_many_files",
            Self::NotALine => "not_a_line",
            Self::Panicked => "file_work_panicked",
        }
    }
}

/// Writes lines into the file in progress, and finishes files.
///
/// There is always a file in progress, and its name carries its number: the next one is created before the last one is
/// finished, so that no number is used twice even if every finished file was taken away.
pub struct Writer {
    disk: Arc<dyn Disk>,
    config: NdjsonConfig,
    part: Part,
    /// Finished files in the folder when they were last counted, and those finished since.
    finished: usize,
    _lock: Box<dyn DiskLock>,
}

/// The file in progress.
struct Part {
    file: Arc<dyn DiskFile>,
    number: u64,
    /// What is durable and acknowledged.
    len: u64,
    /// When the first line came.
    began_ms: u64,
    /// Something beyond `len` may be in the file.
    dirty: bool,
}

impl Writer {
    /// Takes the lock, and continues the file in progress at the end of its last whole line.
    pub fn open(disk: &Arc<dyn Disk>, config: NdjsonConfig, now_ms: u64) -> Result<Self, FileError> {
        let folder = config.folder.clone();
        disk.create_directory(&folder).map_err(|source| io_error("create", folder.clone(), source))?;
        let path = folder.join(format!("{}.ndjson.lock", config.name));
        let lock = disk.lock(&path).map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => FileError::Locked { path: path.clone() },
            _ => io_error("lock", path.clone(), source),
        })?;
        let found = find(&**disk, &config)?;
        let mut last = None;
        for (place, number) in found.parts.iter().enumerate() {
            let part = continue_part(&**disk, &config, *number, now_ms)?;
            if place + 1 == found.parts.len() {
                last = Some(part);
            } else {
                // A crash came between creating the next file and finishing this one.
                finish(&**disk, &config, &part)?;
            }
        }
        let part = match last {
            Some(part) => part,
            None => begin_part(&**disk, &config, found.next, now_ms)?,
        };
        let finished = find(&**disk, &config)?.finished;
        Ok(Self { disk: Arc::clone(disk), config, part, finished, _lock: lock })
    }

    /// Appends lines and makes them durable. All of them, or none that counts.
    pub fn append<'a>(
        &mut self,
        lines: impl Iterator<Item = &'a [u8]> + Clone,
        now_ms: u64,
    ) -> Result<(), FileError> {
        if lines.clone().any(|line| line.contains(&b'\n')) {
            return Err(FileError::NotALine);
        }
        self.tend(now_ms, false)?;
        if self.finished >= self.config.files_max {
            // Somebody may have taken some away.
            self.finished = find(&*self.disk, &self.config)?.finished;
            if self.finished >= self.config.files_max {
                let (count, limit) = (self.finished, self.config.files_max);
                return Err(FileError::TooManyFiles { count, limit });
            }
        }
        let mut bytes = Vec::new();
        for line in lines {
            bytes.extend_from_slice(line);
            bytes.push(b'\n');
        }
        if bytes.is_empty() {
            return Ok(());
        }
        if self.part.len == 0 {
            self.part.began_ms = now_ms;
        }
        let path = part_path(&self.config, self.part.number);
        write_lines(&mut self.part, &bytes).map_err(|(action, source)| io_error(action, path, source))?;
        // The lines are durable; a file that cannot be finished now is finished later.
        let _ = self.tend(now_ms, false);
        Ok(())
    }

    /// Finishes the file in progress if it is large or old enough, or if `stopping`.
    pub fn tend(&mut self, now_ms: u64, stopping: bool) -> Result<(), FileError> {
        let old = now_ms.saturating_sub(self.part.began_ms) >= self.config.file_age_max_ms;
        if self.part.len == 0 || !(stopping || old || self.part.len >= self.config.file_bytes_max) {
            return Ok(());
        }
        if self.part.dirty {
            let path = part_path(&self.config, self.part.number);
            let failed = |source| io_error("cut", path.clone(), source);
            self.part.file.set_len(self.part.len).map_err(failed)?;
            self.part.file.sync_data().map_err(failed)?;
            self.part.dirty = false;
        }
        let next = begin_part(&*self.disk, &self.config, self.part.number.saturating_add(1), now_ms)?;
        finish(&*self.disk, &self.config, &self.part)?;
        self.part = next;
        self.finished += 1;
        Ok(())
    }
}

/// What lies in the folder.
struct Found {
    /// Numbers of files in progress, in order; more than one only after a crash.
    parts: Vec<u64>,
    /// How many finished files there are.
    finished: usize,
    /// A number above all.
    next: u64,
}

fn find(disk: &dyn Disk, config: &NdjsonConfig) -> Result<Found, FileError> {
    let folder = &config.folder;
    let names = disk.list(folder).map_err(|source| io_error("list", folder.clone(), source))?;
    let mut found = Found { parts: Vec::new(), finished: 0, next: 0 };
    for name in names {
        let Some(rest) = name.strip_prefix(&config.name).and_then(|rest| rest.strip_prefix('-')) else {
            continue;
        };
        let Some((digits, kind)) = rest.split_once('.') else { continue };
        let Ok(number) = digits.parse::<u64>() else { continue };
        match kind {
            "ndjson" => found.finished += 1,
            "ndjson.part" => found.parts.push(number),
            _ => continue,
        }
        found.next = found.next.max(number.saturating_add(1));
    }
    found.parts.sort_unstable();
    Ok(found)
}

fn part_path(config: &NdjsonConfig, number: u64) -> PathBuf {
    config.folder.join(format!("{}-{number:010}.ndjson.part", config.name))
}

fn sync_folder(disk: &dyn Disk, config: &NdjsonConfig) -> Result<(), FileError> {
    disk.sync_directory(&config.folder).map_err(|source| io_error("sync", config.folder.clone(), source))
}

/// Gives a file its final name; an empty one goes away.
fn finish(disk: &dyn Disk, config: &NdjsonConfig, part: &Part) -> Result<(), FileError> {
    let path = part_path(config, part.number);
    let done = if part.len == 0 {
        disk.remove(&path)
    } else {
        disk.rename(&path, &config.folder.join(format!("{}-{:010}.ndjson", config.name, part.number)))
    };
    done.map_err(|source| io_error("finish", path, source))?;
    sync_folder(disk, config)
}

fn begin_part(disk: &dyn Disk, config: &NdjsonConfig, number: u64, now_ms: u64) -> Result<Part, FileError> {
    let path = part_path(config, number);
    let file = match disk.open(&path, OpenMode::CreateNew) {
        // An attempt before this one may have created it and failed then.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => disk.open(&path, OpenMode::ReadWrite),
        other => other,
    };
    let file = file.map_err(|source| io_error("create", path, source))?;
    sync_folder(disk, config)?;
    Ok(Part { file, number, len: 0, began_ms: now_ms, dirty: true })
}

/// Cuts a file in progress behind its last line break, and makes what is left durable before it is believed. It is written
/// again for that: after a sync that failed, the system may hold as clean what the disk never got.
fn continue_part(
    disk: &dyn Disk,
    config: &NdjsonConfig,
    number: u64,
    now_ms: u64,
) -> Result<Part, FileError> {
    let path = part_path(config, number);
    let failed = |action| {
        let path = path.clone();
        move |source| io_error(action, path, source)
    };
    let file = disk.open(&path, OpenMode::ReadWrite).map_err(failed("open"))?;
    let mut end = file.len().map_err(failed("read"))?;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK_BYTES);
        block.resize(usize::try_from(end - start).unwrap_or_default(), 0);
        file.read_exact_at(start, &mut block).map_err(failed("read"))?;
        if let Some(place) = block.iter().rposition(|byte| *byte == b'\n') {
            end = start + place as u64 + 1;
            break;
        }
        end = start;
    }
    file.set_len(end).map_err(failed("cut"))?;
    let mut offset = 0;
    while offset < end {
        let count = BLOCK_BYTES.min(end - offset);
        block.resize(usize::try_from(count).unwrap_or_default(), 0);
        file.read_exact_at(offset, &mut block).map_err(failed("read"))?;
        file.write_all_at(offset, &block).map_err(failed("write"))?;
        offset += count;
    }
    file.sync_data().map_err(failed("sync"))?;
    sync_folder(disk, config)?;
    Ok(Part { file, number, len: end, began_ms: now_ms, dirty: false })
}

fn write_lines(part: &mut Part, bytes: &[u8]) -> Result<(), (&'static str, io::Error)> {
    if part.dirty {
        part.file.set_len(part.len).map_err(|error| ("cut", error))?;
    }
    part.dirty = true;
    part.file.write_all_at(part.len, bytes).map_err(|error| ("write", error))?;
    part.file.sync_data().map_err(|error| ("sync", error))?;
    part.len += bytes.len() as u64;
    part.dirty = false;
    Ok(())
}

pub(super) fn io_error(action: &'static str, path: PathBuf, source: io::Error) -> FileError {
    if source.kind() == io::ErrorKind::StorageFull {
        FileError::Full { path }
    } else {
        FileError::Io { action, path, source }
    }
}
