//! The file of a shadow: one frame after the other. The last frame of a person counts.
//!
//! Beside it may be a file `NAME.shadow.restored`, which a restored backup has: what the shadow says may be older than
//! what the platform was told, so nothing in it counts as acknowledged until it was said again.

use super::error::ShadowError;
use super::frame::{FRAME_MAGIC, Frame, HEAD_BYTES, Head, MAGIC, Place, Sealer};
use delivery::JournalKeys;
use delivery::env::{Disk, DiskFile, DiskLock, Env, OpenMode};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a shadow's file ends.
pub const EXTENSION: &str = "shadow";
/// How the file ends that says that a shadow comes from a backup.
pub const RESTORED_EXTENSION: &str = "shadow.restored";
/// How much is written at once when the file is written anew, and read at once behind damage.
const BLOCK_BYTES: usize = 256 * 1024;
/// A file this large is written anew when less than half of it counts.
const REWRITE_BYTES_MIN: u64 = 1024 * 1024;

pub(super) struct ShadowFile {
    disk: Arc<dyn Disk>,
    sealer: Sealer,
    folder: PathBuf,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    /// What was written whole.
    len: u64,
    /// What the disk is known to hold.
    durable_len: u64,
    broken: bool,
    _lock: Box<dyn DiskLock>,
}

impl ShadowFile {
    pub(super) fn open(
        env: &Env,
        folder: &Path,
        name: &str,
        keys: Option<JournalKeys>,
    ) -> Result<Self, ShadowError> {
        let disk = &env.disk;
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
        let path = folder.join(format!("{name}.{EXTENSION}"));
        let mode = if disk.exists(&path) { OpenMode::ReadWrite } else { OpenMode::CreateNew };
        let file = disk.open(&path, mode).map_err(io("open", &path))?;
        let len = file.len().map_err(io("read", &path))?;
        Ok(Self {
            disk: Arc::clone(disk),
            sealer: Sealer::new(env, keys),
            folder: folder.to_owned(),
            path,
            file,
            len,
            durable_len: 0,
            broken: false,
            _lock: lock,
        })
    }

    /// Shows every whole frame. What a crash left behind the last one is not looked at; but a frame that was durable and
    /// cannot be read is damage: nobody could be taken out of a list by what it said.
    pub(super) fn scan(
        &self,
        visit: &mut dyn FnMut(Frame, Place) -> Result<(), ShadowError>,
    ) -> Result<(), ShadowError> {
        // A file is renamed into place only after it was synced; one that was made and never written is empty.
        if self.len == 0 {
            return Ok(());
        }
        let mut begin = [0; MAGIC.len()];
        if self.len >= MAGIC.len() as u64 {
            self.file.read_exact_at(0, &mut begin).map_err(|source| self.io("read", source))?;
        }
        if begin != *MAGIC {
            return Err(ShadowError::Foreign { path: self.path.clone() });
        }
        let mut offset = MAGIC.len() as u64;
        while let Some((head, payload)) = self.raw_at(offset)? {
            let place = place_of(offset, &head);
            visit(self.sealer.open(&self.path, offset, &head, &payload)?, place)?;
            offset += u64::from(place.len);
        }
        if offset < self.len {
            self.check_tail(offset)?;
            tracing::warn!(bytes = self.len - offset, "what a crash left at the end of a shadow goes");
        }
        Ok(())
    }

    /// Whether the rest of the file is only what was never durable.
    fn check_tail(&self, hole: u64) -> Result<(), ShadowError> {
        let (mut offset, mut block) = (hole, Vec::new());
        while offset < self.len {
            let bytes = BLOCK_BYTES.min(usize::try_from(self.len - offset).unwrap_or(BLOCK_BYTES));
            block.resize(bytes, 0);
            self.file.read_exact_at(offset, &mut block).map_err(|source| self.io("read", source))?;
            for (at, _) in block.windows(FRAME_MAGIC.len()).enumerate().filter(|(_, one)| one == FRAME_MAGIC)
            {
                let found = self.raw_at(offset + at as u64)?;
                if found.is_some_and(|(head, _)| head.durable_len > hole) {
                    return Err(ShadowError::Damaged { path: self.path.clone(), offset: hole });
                }
            }
            // A magic that stands across two blocks is seen in the second one.
            offset += (bytes + 1).saturating_sub(FRAME_MAGIC.len()).max(1) as u64;
        }
        Ok(())
    }

    pub(super) fn read(&self, place: Place) -> Result<Frame, ShadowError> {
        let damaged = || ShadowError::Damaged { path: self.path.clone(), offset: place.offset };
        let (head, payload) = self.raw_at(place.offset)?.ok_or_else(damaged)?;
        if place_of(place.offset, &head) != place {
            return Err(damaged());
        }
        self.sealer.open(&self.path, place.offset, &head, &payload)
    }

    /// Appends frames, and gives where they are.
    pub(super) fn append(&mut self, frames: &[Frame], sync: bool) -> Result<Vec<Place>, ShadowError> {
        let mut bytes = Vec::new();
        let mut places = Vec::with_capacity(frames.len());
        for frame in frames {
            let start = bytes.len();
            self.sealer.put(frame, self.durable_len, &mut bytes)?;
            let len = u32::try_from(bytes.len() - start).unwrap_or(u32::MAX);
            places.push(Place { offset: self.len + start as u64, len });
        }
        if bytes.is_empty() {
            return Ok(places);
        }
        // Until it has succeeded, nobody knows what the file holds.
        self.broken = true;
        self.file.write_all_at(self.len, &bytes).map_err(|source| self.io("write", source))?;
        let len = self.len + bytes.len() as u64;
        if sync {
            self.file.sync_data().map_err(|source| self.io("sync", source))?;
            self.durable_len = len;
        }
        self.len = len;
        self.broken = false;
        Ok(places)
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    pub(super) fn wants_rewrite(&self, live_bytes: u64) -> bool {
        self.len >= REWRITE_BYTES_MIN && self.len / 2 > live_bytes
    }

    /// Whether there is anything in it that does not count.
    pub(super) fn has_past(&self, live_bytes: u64) -> bool {
        self.broken || self.len != MAGIC.len() as u64 + live_bytes
    }

    /// Writes the frames at these places into a new file that takes this one's place. Gives where they are then.
    pub(super) fn rewrite(&mut self, places: &[Place], doubted: bool) -> Result<Vec<Place>, ShadowError> {
        self.broken = true;
        let next_path = self.path.with_extension("shadow.next");
        if self.disk.exists(&next_path) {
            self.disk.remove(&next_path).map_err(|source| self.io("remove", source))?;
        }
        let next = self.disk.open(&next_path, OpenMode::CreateNew);
        let next = next.map_err(|source| self.io("create", source))?;
        let (mut bytes, mut written) = (MAGIC.to_vec(), 0_u64);
        let mut moved = Vec::with_capacity(places.len());
        for place in places {
            let start = bytes.len();
            let mut frame = self.read(*place)?;
            if doubted {
                frame.doubt();
            }
            self.sealer.put(&frame, 0, &mut bytes)?;
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
        (self.file, self.len, self.durable_len, self.broken) = (next, written, written, false);
        Ok(moved)
    }

    /// Whether it comes from a backup and was not opened since.
    pub(super) fn is_restored(&self) -> bool {
        self.disk.exists(&self.path.with_extension(RESTORED_EXTENSION))
    }

    /// What comes from the backup is doubted durably: the mark has done its work.
    pub(super) fn unmark_restored(&self) -> Result<(), ShadowError> {
        let mark = self.path.with_extension(RESTORED_EXTENSION);
        self.disk.remove(&mark).map_err(|source| self.io("remove the mark of", source))?;
        self.disk.sync_directory(&self.folder).map_err(|source| self.io("sync", source))
    }

    /// Head and payload of the frame at an offset; none where no whole frame is.
    fn raw_at(&self, offset: u64) -> Result<Option<(Head, Vec<u8>)>, ShadowError> {
        if self.len.saturating_sub(offset) < HEAD_BYTES as u64 {
            return Ok(None);
        }
        let mut head = [0; HEAD_BYTES];
        self.file.read_exact_at(offset, &mut head).map_err(|source| self.io("read", source))?;
        let Some(head) = Head::read(&head) else { return Ok(None) };
        let at = offset + HEAD_BYTES as u64;
        if at + head.payload_len as u64 > self.len {
            return Ok(None);
        }
        let mut payload = vec![0; head.payload_len];
        self.file.read_exact_at(at, &mut payload).map_err(|source| self.io("read", source))?;
        Ok(head.fits(&payload).then_some((head, payload)))
    }

    fn io(&self, action: &'static str, source: io::Error) -> ShadowError {
        ShadowError::Io { action, path: self.path.clone(), source }
    }
}

fn place_of(offset: u64, head: &Head) -> Place {
    Place { offset, len: u32::try_from(HEAD_BYTES + head.payload_len).unwrap_or(u32::MAX) }
}
