//! Objects as files of one folder: temporary name, sync, final name, sync of the folder.
//!
//! A swappable object begins with a header: magic (8 bytes), version (u64), CRC32C of version and content (u32). The
//! version is the tag. Reading it, comparing and renaming happen under a file lock, so that two processes that both
//! believe they own the folder cannot both succeed, whatever lock they hold elsewhere.

use super::{ETag, ObjectReader, ObjectWriter, Objects};
use crate::StoreError;
use env::{Disk, DiskFile, Env, OpenMode};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes collected before one write.
const BUFFER_BYTES: usize = 1 << 20;
/// Bytes written between two syncs: a long file must not leave one large flush to the end, where the log's own sync
/// would have to wait behind it.
const SYNC_EVERY_BYTES: u64 = 32 << 20;
/// A swappable object is a pointer; more than this is damage.
const SWAPPABLE_BYTES_MAX: u64 = 64 << 10;
const SWAP_MAGIC: &[u8; 8] = b"TLSWAP\0\x01";
const SWAP_HEADER_BYTES: usize = 20;
const TEMPORARY: &str = "tmp-";
const SWAP_LOCK: &str = "swap.lock";

/// Objects in a folder of the local disk.
pub struct LocalObjects {
    folder: Folder,
    temporaries: AtomicU64,
    swap: Mutex<()>,
}

#[derive(Clone)]
struct Folder {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl LocalObjects {
    /// Opens or creates the folder and removes what an earlier process left half-written. The caller holds the lock
    /// of the data directory.
    pub fn open(env: &Env, folder: &Path) -> Result<Self, StoreError> {
        let objects = Self::view(env, folder);
        let shown = folder.display().to_string();
        env.disk.create_directory(folder).map_err(|error| failed("create", &shown, error))?;
        if let Some(parent) = folder.parent() {
            env.disk.sync_directory(parent).map_err(|error| failed("sync", &shown, error))?;
        }
        for name in objects.list(TEMPORARY)? {
            objects.delete(&name)?;
        }
        Ok(objects)
    }

    /// The folder as it is, for reading only: nothing is created or removed.
    pub fn view(env: &Env, folder: &Path) -> Self {
        Self {
            folder: Folder { disk: env.disk.clone(), path: folder.to_owned() },
            temporaries: AtomicU64::new(0),
            swap: Mutex::new(()),
        }
    }

    fn writer(&self, name: &str) -> Result<LocalWriter, StoreError> {
        let number = self.temporaries.fetch_add(1, Ordering::Relaxed);
        let temporary = format!("{TEMPORARY}{name}-{number}");
        let file = self
            .folder
            .disk
            .open(&self.folder.path.join(&temporary), OpenMode::CreateNew)
            .map_err(|error| failed("create", &temporary, error))?;
        Ok(LocalWriter {
            folder: self.folder.clone(),
            file,
            temporary: Some(temporary),
            name: name.to_owned(),
            buffer: Vec::new(),
            written: 0,
            synced: 0,
        })
    }

    fn swap_locked(&self, name: &str, expected: Option<&ETag>, bytes: &[u8]) -> Result<ETag, StoreError> {
        let found = self.read_tagged(name)?.map(|(_, tag)| tag);
        if found.as_ref() != expected {
            return Err(StoreError::Conflict { object: name.to_owned() });
        }
        let version = found.and_then(|tag| tag.0.parse::<u64>().ok()).unwrap_or(0).saturating_add(1);
        let mut writer = self.writer(name)?;
        writer.write(&swap_header(version, bytes))?;
        writer.write(bytes)?;
        writer.sync()?;
        let uncertain =
            |error: io::Error| StoreError::Uncertain { object: name.to_owned(), reason: error.to_string() };
        writer.rename().map_err(uncertain)?;
        self.folder.sync().map_err(uncertain)?;
        Ok(ETag(version.to_string()))
    }
}

impl Objects for LocalObjects {
    fn put_if_absent(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let mut writer = Box::new(self.writer(name)?);
        writer.write(bytes)?;
        writer.finish()
    }

    fn create_writer(&self, name: &str) -> Result<Box<dyn ObjectWriter>, StoreError> {
        Ok(Box::new(self.writer(name)?))
    }

    fn reader(&self, name: &str) -> Result<Arc<dyn ObjectReader>, StoreError> {
        let path = self.folder.path.join(name);
        let file =
            self.folder.disk.open(&path, OpenMode::Read).map_err(|error| failed("open", name, error))?;
        Ok(Arc::new(LocalReader { file, name: name.to_owned() }))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let listed = self.folder.disk.list(&self.folder.path);
        let mut names =
            listed.map_err(|error| failed("list", &self.folder.path.display().to_string(), error))?;
        names.retain(|name| name.starts_with(prefix));
        Ok(names)
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        match self.folder.disk.remove(&self.folder.path.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("delete", name, error)),
            _ => Ok(()),
        }
    }

    fn read_tagged(&self, name: &str) -> Result<Option<(Vec<u8>, ETag)>, StoreError> {
        let reader = match self.reader(name) {
            Err(StoreError::Missing { .. }) => return Ok(None),
            other => other?,
        };
        let damaged = |reason| StoreError::Damaged { object: name.to_owned(), offset: 0, reason };
        let len = reader.len()?;
        if len > SWAPPABLE_BYTES_MAX {
            return Err(damaged("it is longer than a pointer can be"));
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        reader.read_exact_at(0, &mut bytes)?;
        let (header, content) =
            bytes.split_at_checked(SWAP_HEADER_BYTES).ok_or_else(|| damaged("it ends inside its header"))?;
        let version = header.get(8..16).and_then(|raw| raw.try_into().ok()).map_or(0, u64::from_le_bytes);
        if header != swap_header(version, content) {
            return Err(damaged("its checksum does not match"));
        }
        Ok(Some((content.to_vec(), ETag(version.to_string()))))
    }

    fn compare_and_swap(
        &self,
        name: &str,
        expected: Option<&ETag>,
        bytes: &[u8],
    ) -> Result<ETag, StoreError> {
        let _one_at_a_time = self.swap.lock().unwrap_or_else(PoisonError::into_inner);
        let _process = match self.folder.disk.lock(&self.folder.path.join(SWAP_LOCK)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(StoreError::Conflict { object: name.to_owned() });
            }
            other => other.map_err(|error| failed("lock", SWAP_LOCK, error))?,
        };
        self.swap_locked(name, expected, bytes)
    }
}

impl Folder {
    fn sync(&self) -> io::Result<()> {
        self.disk.sync_directory(&self.path)
    }
}

struct LocalWriter {
    folder: Folder,
    file: Arc<dyn DiskFile>,
    /// Its name until it is renamed.
    temporary: Option<String>,
    name: String,
    buffer: Vec<u8>,
    written: u64,
    synced: u64,
}

impl LocalWriter {
    fn flush(&mut self) -> Result<(), StoreError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let done = self.file.write_all_at(self.written, &self.buffer);
        done.map_err(|error| failed("write", &self.name, error))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.flush()?;
        self.file.sync_data().map_err(|error| failed("sync", &self.name, error))?;
        self.synced = self.written;
        Ok(())
    }

    fn rename(&mut self) -> io::Result<()> {
        let Some(temporary) = &self.temporary else { return Ok(()) };
        let (from, to) = (self.folder.path.join(temporary), self.folder.path.join(&self.name));
        self.folder.disk.rename(&from, &to)?;
        self.temporary = None;
        Ok(())
    }
}

impl ObjectWriter for LocalWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
            if self.written - self.synced >= SYNC_EVERY_BYTES {
                self.sync()?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        self.sync()?;
        let Some(temporary) = &self.temporary else { return Ok(()) };
        let (from, to) = (self.folder.path.join(temporary), self.folder.path.join(&self.name));
        let taken = || StoreError::Conflict { object: self.name.clone() };
        if self.folder.disk.exists(&to) {
            return Err(taken());
        }
        // A second name, not a rename: it fails if another writer took the name a moment ago.
        self.folder.disk.hard_link(&from, &to).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => taken(),
            _ => failed("name", &self.name, error),
        })?;
        self.folder.sync().map_err(|error| failed("sync the folder of", &self.name, error))
    }
}

impl Drop for LocalWriter {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // Best effort: what stays is removed when the folder is next opened.
            let _ = self.folder.disk.remove(&self.folder.path.join(temporary));
        }
    }
}

struct LocalReader {
    file: Arc<dyn DiskFile>,
    name: String,
}

impl ObjectReader for LocalReader {
    fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        self.file.read_exact_at(offset, buffer).map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof {
                StoreError::Damaged { object: self.name.clone(), offset, reason: "it ends too early" }
            } else {
                failed("read", &self.name, error)
            }
        })
    }

    fn len(&self) -> Result<u64, StoreError> {
        self.file.len().map_err(|error| failed("read", &self.name, error))
    }
}

fn swap_header(version: u64, content: &[u8]) -> [u8; SWAP_HEADER_BYTES] {
    let mut header = [0; SWAP_HEADER_BYTES];
    let crc = crc32c::crc32c_append(crc32c::crc32c(&version.to_le_bytes()), content);
    let parts = SWAP_MAGIC.iter().copied().chain(version.to_le_bytes()).chain(crc.to_le_bytes());
    for (to, from) in header.iter_mut().zip(parts) {
        *to = from;
    }
    header
}

fn failed(action: &'static str, object: &str, source: io::Error) -> StoreError {
    let object = object.to_owned();
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::DiskFull { object },
        io::ErrorKind::NotFound => StoreError::Missing { object },
        _ => StoreError::Io { action, object, source },
    }
}
