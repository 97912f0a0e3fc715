//! The journal: an append-only file of ledger entries, replaced as a whole when it has grown.
//!
//! Why not `store`: progress changes with every answer, and a checkpoint of sorted runs is made for large states that
//! change in bulk. The ledger is small (cursors, and the bounded exceptions to them), so a file that is appended to,
//! synced where order depends on it, and rewritten now and then is all it takes. The form is in `docs/delivery.md`.

mod frame;

use crate::error::JournalError;
use crate::ledger::{Entry, Ledger};
use env::{Disk, DiskFile, DiskLock, Entropy, Env, OpenMode};
use frame::{FileScan, Sealer, scan};
use model::codec::Decoder;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

const FILE: &str = "delivery.journal";
const NEXT_FILE: &str = "delivery.journal.next";
const LOCK_FILE: &str = "delivery.lock";
/// The journal is rewritten when it is longer than this and than twice what a rewrite last left.
const REWRITE_BYTES_MIN: u64 = 4 * 1024 * 1024;
/// Entries are put into frames of about this size.
const FRAME_BYTES_GOAL: usize = 256 * 1024;
/// A journal is not read beyond this: bounded dead letters make it far smaller.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024 * 1024;

/// How the journal is kept.
#[derive(Clone, Debug, Default)]
pub struct JournalOptions {
    /// Keys that seal entries, since dead letters hold bodies. `None` leaves them in clear.
    pub keys: Option<JournalKeys>,
}

/// The region's keys. Never printed.
#[derive(Clone)]
pub struct JournalKeys {
    /// The number of the key that seals; not 0.
    pub active: u32,
    /// Every key, by number.
    pub keys: Arc<BTreeMap<u32, Zeroizing<[u8; model::seal::SECRET_BYTES]>>>,
}

impl fmt::Debug for JournalKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "JournalKeys(active key {})", self.active)
    }
}

/// An open journal. Its owner is the only writer.
pub struct Journal {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    file: Arc<dyn DiskFile>,
    len: u64,
    /// What the disk is known to hold.
    durable_len: u64,
    /// The length after the last rewrite.
    rewritten_len: u64,
    sealer: Sealer,
    poisoned: bool,
    _lock: Box<dyn DiskLock>,
}

impl Journal {
    /// Opens the journal of a folder, creating both, and gives back what it holds. The file is rewritten first, so that
    /// nothing is believed that is not durable.
    pub fn open(env: &Env, folder: &Path, options: &JournalOptions) -> Result<(Self, Ledger), JournalError> {
        let disk = Arc::clone(&env.disk);
        disk.create_directory(folder).map_err(|error| JournalError::io("create", folder, error))?;
        let lock_path = folder.join(LOCK_FILE);
        let lock = disk.lock(&lock_path).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => JournalError::Locked { path: lock_path.clone() },
            _ => JournalError::io("lock", &lock_path, error),
        })?;
        let sealer = Sealer::new(options.keys.clone(), Arc::clone(&env.entropy) as Arc<dyn Entropy>);
        let path = folder.join(FILE);
        let ledger = read(&*disk, &path, &sealer)?;
        let (file, len) = write_whole(&*disk, folder, &sealer, &ledger)?;
        let journal = Self {
            disk,
            folder: folder.to_owned(),
            file,
            len,
            durable_len: len,
            rewritten_len: len,
            sealer,
            poisoned: false,
            _lock: lock,
        };
        Ok((journal, ledger))
    }

    /// Appends entries; with `sync` they, and all before them, are durable on return. After an error the journal takes
    /// nothing more.
    pub fn append(&mut self, entries: &[Entry], sync: bool) -> Result<(), JournalError> {
        self.guarded(|journal| {
            let mut bytes = Vec::new();
            for payload in payloads(entries) {
                let frame = journal.sealer.frame(&payload, journal.durable_len)?;
                bytes.extend_from_slice(&frame);
            }
            let path = journal.folder.join(FILE);
            if !bytes.is_empty() {
                let written = journal.file.write_all_at(journal.len, &bytes);
                written.map_err(|error| JournalError::io("append to", &path, error))?;
                journal.len += bytes.len() as u64;
            }
            if sync && journal.durable_len < journal.len {
                journal.file.sync_data().map_err(|error| JournalError::io("sync", &path, error))?;
                journal.durable_len = journal.len;
            }
            Ok(())
        })
    }

    /// Whether it has grown so far that [`Journal::rewrite`] is due.
    pub fn wants_rewrite(&self) -> bool {
        self.len > REWRITE_BYTES_MIN.max(self.rewritten_len.saturating_mul(2))
    }

    /// Replaces the file by one that holds just this ledger, durable on return.
    pub fn rewrite(&mut self, ledger: &Ledger) -> Result<(), JournalError> {
        self.guarded(|journal| {
            let (file, len) = write_whole(&*journal.disk, &journal.folder, &journal.sealer, ledger)?;
            journal.file = file;
            (journal.len, journal.durable_len, journal.rewritten_len) = (len, len, len);
            Ok(())
        })
    }

    /// The length of the file, in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.len
    }

    fn guarded(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        if self.poisoned {
            return Err(JournalError::Poisoned);
        }
        let result = work(self);
        self.poisoned = result.is_err();
        result
    }
}

/// Entries, encoded and cut into pieces of about [`FRAME_BYTES_GOAL`].
fn payloads(entries: &[Entry]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut payload = Vec::new();
    for entry in entries {
        entry.encode(&mut payload);
        if payload.len() >= FRAME_BYTES_GOAL {
            all.push(std::mem::take(&mut payload));
        }
    }
    if !payload.is_empty() {
        all.push(payload);
    }
    all
}

fn read(disk: &dyn Disk, path: &Path, sealer: &Sealer) -> Result<Ledger, JournalError> {
    let failed = |error| JournalError::io("read", path, error);
    let file = match disk.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ledger::default()),
        Err(error) => return Err(failed(error)),
    };
    let len = file.len().map_err(failed)?;
    if len > FILE_BYTES_MAX {
        let what = format!("it has {len} bytes, which no journal reaches");
        return Err(JournalError::Corrupt { path: path.to_owned(), offset: 0, what });
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    file.read_exact_at(0, &mut bytes).map_err(failed)?;
    let FileScan { frames } = scan(path, &bytes)?;
    let mut ledger = Ledger::default();
    for frame in frames {
        let payload = sealer.open(path, &frame)?;
        let mut decoder = Decoder::new(&payload);
        while !decoder.is_empty() {
            let entry = Entry::decode(&mut decoder)
                .map_err(|error| JournalError::Foreign { path: path.to_owned(), error })?;
            ledger.apply(&entry);
        }
    }
    Ok(ledger)
}

/// Writes the ledger beside the journal, makes it durable, and puts it in the journal's place.
fn write_whole(
    disk: &dyn Disk,
    folder: &Path,
    sealer: &Sealer,
    ledger: &Ledger,
) -> Result<(Arc<dyn DiskFile>, u64), JournalError> {
    let (next, path) = (folder.join(NEXT_FILE), folder.join(FILE));
    let failed = |action: &'static str| move |error| JournalError::io(action, &folder.join(NEXT_FILE), error);
    if disk.exists(&next) {
        disk.remove(&next).map_err(failed("remove"))?;
    }
    let file = disk.open(&next, OpenMode::CreateNew).map_err(failed("create"))?;
    let mut bytes = frame::MAGIC.to_vec();
    let mut offset = 0;
    for payload in payloads(&ledger.entries()) {
        bytes.extend_from_slice(&sealer.frame(&payload, 0)?);
        if bytes.len() >= FRAME_BYTES_GOAL {
            file.write_all_at(offset, &bytes).map_err(failed("write"))?;
            offset += bytes.len() as u64;
            bytes.clear();
        }
    }
    // An empty frame at the end vouches for all before it: the file is not seen before it was synced.
    let end = offset + bytes.len() as u64;
    bytes.extend_from_slice(&sealer.frame(&[], end)?);
    file.write_all_at(offset, &bytes).map_err(failed("write"))?;
    offset += bytes.len() as u64;
    file.sync_data().map_err(failed("sync"))?;
    disk.rename(&next, &path).map_err(failed("rename"))?;
    disk.sync_directory(folder).map_err(|error| JournalError::io("sync", folder, error))?;
    Ok((file, offset))
}

#[cfg(test)]
mod tests;
