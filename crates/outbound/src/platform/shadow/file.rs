//! The file of a shadow: what each person's rows became, one frame after the other. The last frame of a person counts.
//!
//! A frame: length of the payload (4 bytes, little-endian), the first 8 bytes of the payload's SHA-256, the payload. The
//! payload: format version (1 byte, 1), length of the list's name (2), the name, the person (16), the number of rows (2);
//! for each row its state (1: known, 2: adding, 3: removing), its length (2) and the row.

use super::{Row, State};
use delivery::env::{Disk, DiskFile, DiskLock, OpenMode};
use model::id::Key;
use ring::digest;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 12;
/// Longer than any frame that is written: 64 rows of 4 KiB, and the names.
const PAYLOAD_BYTES_MAX: usize = 512 * 1024;
/// How much is written at once when the file is written anew.
const BLOCK_BYTES: usize = 256 * 1024;
/// A file this large is written anew when less than half of it counts.
const REWRITE_BYTES_MIN: u64 = 1024 * 1024;

/// Why a shadow cannot be used. Nothing is sent for what it could not write down.
#[derive(Debug, Error)]
pub enum ShadowError {
    /// The disk failed.
    #[error("could not {action} {}: {source}. Check the disk; it is tried again", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else uses it.
    #[error("{} is locked: another destination uses a shadow of this name. Give each its own name", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// There are too many people in it.
    #[error(
        "the lists of a destination hold {limit} people, which is the limit: raise `people_max`, or send smaller audiences"
    )]
    Full {
        /// The limit.
        limit: usize,
    },
    /// A list's name or a row is too long, or there are too many rows.
    #[error("a list's name or a person's rows are beyond the limits of a shadow: leave identifiers out")]
    TooLarge,
    /// What was written cannot be read back.
    #[error("{} is damaged at byte {offset}: move it away and re-sync the lists", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
    },
    /// A thread that worked on it panicked.
    #[error(
        "the work on a shadow panicked, which is a mistake in this program: it is tried again; report it"
    )]
    Panicked,
}

impl ShadowError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "shadow_io",
            Self::Locked { .. } => "shadow_locked",
            Self::Full { .. } => "shadow_full",
            Self::TooLarge => "shadow_row_too_large",
            Self::Damaged { .. } => "shadow_damaged",
            Self::Panicked => "shadow_work_panicked",
        }
    }
}

/// What a person's rows became.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) list: String,
    pub(super) person: Key,
    pub(super) rows: Vec<(State, Row)>,
}

impl std::fmt::Debug for Frame {
    /// Without rows: they are hashes of personal data.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Frame").field("rows", &self.rows.len()).finish_non_exhaustive()
    }
}

/// Where a frame is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    offset: u64,
    /// Head and payload.
    pub(super) len: u32,
}

impl Frame {
    pub(super) fn without_rows(&self) -> Self {
        Self { list: self.list.clone(), person: self.person, rows: Vec::new() }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let mut payload = vec![VERSION];
        put_text(&mut payload, self.list.as_bytes());
        payload.extend_from_slice(&self.person.0.to_le_bytes());
        payload.extend_from_slice(&u16::try_from(self.rows.len()).unwrap_or(u16::MAX).to_le_bytes());
        for (state, row) in &self.rows {
            payload.push(match state {
                State::Known => 1,
                State::Adding => 2,
                State::Removing => 3,
            });
            put_text(&mut payload, row);
        }
        out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&checksum(&payload));
        out.extend_from_slice(&payload);
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let rest = &mut bytes;
        if take(rest, 1)? != [VERSION] {
            return None;
        }
        let list = String::from_utf8(take_text(rest)?.to_vec()).ok()?;
        let person = Key(u128::from_le_bytes(take(rest, 16)?.try_into().ok()?));
        let count = u16::from_le_bytes(take(rest, 2)?.try_into().ok()?);
        let mut rows = Vec::new();
        for _ in 0..count {
            let state = match take(rest, 1)? {
                [1] => State::Known,
                [2] => State::Adding,
                [3] => State::Removing,
                _ => return None,
            };
            rows.push((state, Row::from(take_text(rest)?)));
        }
        rest.is_empty().then_some(Self { list, person, rows })
    }
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(text);
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let count = u16::from_le_bytes(take(rest, 2)?.try_into().ok()?);
    take(rest, usize::from(count))
}

fn checksum(payload: &[u8]) -> [u8; 8] {
    let hash = digest::digest(&digest::SHA256, payload);
    let mut first = [0; 8];
    for (slot, byte) in first.iter_mut().zip(hash.as_ref()) {
        *slot = *byte;
    }
    first
}

pub(super) struct ShadowFile {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    /// What was written whole.
    len: u64,
    broken: bool,
    _lock: Box<dyn DiskLock>,
}

impl ShadowFile {
    pub(super) fn open(disk: &Arc<dyn Disk>, folder: &Path, name: &str) -> Result<Self, ShadowError> {
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |source| ShadowError::Io { action, path, source }
        };
        disk.create_directory(folder).map_err(io("create", folder))?;
        let lock_path = folder.join(format!("{name}.shadow.lock"));
        let lock = disk.lock(&lock_path).map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => ShadowError::Locked { path: lock_path.clone() },
            _ => ShadowError::Io { action: "lock", path: lock_path.clone(), source },
        })?;
        let path = folder.join(format!("{name}.shadow"));
        let mode = if disk.exists(&path) { OpenMode::ReadWrite } else { OpenMode::CreateNew };
        let file = disk.open(&path, mode).map_err(io("open", &path))?;
        let len = file.len().map_err(io("read", &path))?;
        Ok(Self {
            disk: Arc::clone(disk),
            folder: folder.to_owned(),
            path,
            file,
            len,
            broken: false,
            _lock: lock,
        })
    }

    /// Shows every whole frame. What a crash left behind the last one is not looked at.
    pub(super) fn scan(
        &self,
        visit: &mut dyn FnMut(Frame, Place) -> Result<(), ShadowError>,
    ) -> Result<(), ShadowError> {
        let mut offset = 0;
        while let Some((frame, place)) = self.frame_at(offset)? {
            visit(frame, place)?;
            offset += u64::from(place.len);
        }
        if offset < self.len {
            tracing::warn!(bytes = self.len - offset, "what a crash left at the end of a shadow goes");
        }
        Ok(())
    }

    pub(super) fn read(&self, place: Place) -> Result<Frame, ShadowError> {
        let found = self.frame_at(place.offset)?;
        let damaged = || ShadowError::Damaged { path: self.path.clone(), offset: place.offset };
        found.filter(|(_, actual)| *actual == place).map(|(frame, _)| frame).ok_or_else(damaged)
    }

    /// Appends frames, and gives where they are.
    pub(super) fn append(&mut self, frames: &[Frame], sync: bool) -> Result<Vec<Place>, ShadowError> {
        let mut bytes = Vec::new();
        let mut places = Vec::with_capacity(frames.len());
        for frame in frames {
            let start = bytes.len();
            frame.encode(&mut bytes);
            let len = u32::try_from(bytes.len() - start).unwrap_or(u32::MAX);
            places.push(Place { offset: self.len + start as u64, len });
        }
        if bytes.is_empty() {
            return Ok(places);
        }
        // Until it has succeeded, nobody knows what the file holds.
        self.broken = true;
        self.file.write_all_at(self.len, &bytes).map_err(|source| self.io("write", source))?;
        if sync {
            self.file.sync_data().map_err(|source| self.io("sync", source))?;
        }
        self.len += bytes.len() as u64;
        self.broken = false;
        Ok(places)
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    pub(super) fn wants_rewrite(&self, live_bytes: u64) -> bool {
        self.len >= REWRITE_BYTES_MIN && self.len / 2 > live_bytes
    }

    /// Writes the frames at these places into a new file that takes this one's place. Gives where they are then.
    pub(super) fn rewrite(&mut self, places: &[Place]) -> Result<Vec<Place>, ShadowError> {
        self.broken = true;
        let next_path = self.path.with_extension("shadow.next");
        if self.disk.exists(&next_path) {
            self.disk.remove(&next_path).map_err(|source| self.io("remove", source))?;
        }
        let next = self.disk.open(&next_path, OpenMode::CreateNew);
        let next = next.map_err(|source| self.io("create", source))?;
        let (mut bytes, mut written) = (Vec::new(), 0_u64);
        let mut moved = Vec::with_capacity(places.len());
        for place in places {
            let start = bytes.len();
            self.read(*place)?.encode(&mut bytes);
            let len = u32::try_from(bytes.len() - start).unwrap_or(u32::MAX);
            moved.push(Place { offset: written + start as u64, len });
            if bytes.len() >= BLOCK_BYTES {
                next.write_all_at(written, &bytes).map_err(|source| self.io("write", source))?;
                written += bytes.len() as u64;
                bytes.clear();
            }
        }
        next.write_all_at(written, &bytes).map_err(|source| self.io("write", source))?;
        written += bytes.len() as u64;
        next.sync_data().map_err(|source| self.io("sync", source))?;
        self.disk.rename(&next_path, &self.path).map_err(|source| self.io("rename", source))?;
        // A crash before this is durable brings the old file back, which says the same.
        self.disk.sync_directory(&self.folder).map_err(|source| self.io("sync", source))?;
        (self.file, self.len, self.broken) = (next, written, false);
        Ok(moved)
    }

    fn frame_at(&self, offset: u64) -> Result<Option<(Frame, Place)>, ShadowError> {
        if self.len.saturating_sub(offset) < HEAD_BYTES as u64 {
            return Ok(None);
        }
        let mut head = [0; HEAD_BYTES];
        self.file.read_exact_at(offset, &mut head).map_err(|source| self.io("read", source))?;
        let (len, sum) = head.split_at(4);
        let len = u32::from_le_bytes(len.try_into().unwrap_or_default()) as usize;
        let place = Place { offset, len: u32::try_from(HEAD_BYTES + len).unwrap_or(u32::MAX) };
        if len > PAYLOAD_BYTES_MAX || offset + u64::from(place.len) > self.len {
            return Ok(None);
        }
        let mut payload = vec![0; len];
        let at = offset + HEAD_BYTES as u64;
        self.file.read_exact_at(at, &mut payload).map_err(|source| self.io("read", source))?;
        if checksum(&payload) != sum {
            return Ok(None);
        }
        Ok(Frame::decode(&payload).map(|frame| (frame, place)))
    }

    fn io(&self, action: &'static str, source: io::Error) -> ShadowError {
        ShadowError::Io { action, path: self.path.clone(), source }
    }
}
