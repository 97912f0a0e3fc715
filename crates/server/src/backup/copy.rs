//! Copies files at a bounded rate, with a digest of what was read and a second look at what was written.

use super::BackupError;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

/// Read and written at once.
const PART_BYTES: usize = 1 << 20;
/// Written between two syncs: one long flush at the end would make the log's own syncs wait.
const SYNC_EVERY_BYTES: u64 = 32 << 20;

/// A digest of bytes.
pub(crate) type Digest = blake3::Hash;

/// Reads and writes no faster than it was told.
pub(crate) struct Copier {
    /// 0: as fast as it goes.
    bytes_per_second: u64,
    started: Instant,
    read: u64,
    buffer: Vec<u8>,
}

impl Copier {
    /// At most so many bytes a second; 0 is no limit.
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, started: Instant::now(), read: 0, buffer: vec![0; PART_BYTES] }
    }

    /// The digest of the first bytes of a file.
    pub(crate) fn digest(&mut self, file: &File, path: &Path, bytes: u64) -> Result<Digest, BackupError> {
        self.each_part(file, path, bytes, &mut |_| Ok(()))
    }

    /// Copies the first bytes of a file to a new one, which is durable on return, its name aside.
    pub(crate) fn copy(
        &mut self,
        file: &File,
        path: &Path,
        bytes: u64,
        to: &Path,
    ) -> Result<Digest, BackupError> {
        let failed = || BackupError::io("write", to);
        let mut copy = create_new(to).map_err(failed())?;
        let mut unsynced = 0;
        let digest = self.each_part(file, path, bytes, &mut |part| {
            copy.write_all(part).map_err(failed())?;
            unsynced += part.len() as u64;
            if unsynced >= SYNC_EVERY_BYTES {
                unsynced = 0;
                copy.sync_data().map_err(failed())?;
            }
            Ok(())
        })?;
        copy.sync_all().map_err(failed())?;
        Ok(digest)
    }

    fn each_part(
        &mut self,
        file: &File,
        path: &Path,
        bytes: u64,
        each: &mut dyn FnMut(&[u8]) -> Result<(), BackupError>,
    ) -> Result<Digest, BackupError> {
        let mut hasher = blake3::Hasher::new();
        let mut offset = 0;
        while offset < bytes {
            let want = usize::try_from(bytes - offset).unwrap_or(PART_BYTES).min(PART_BYTES);
            let part = self.buffer.get_mut(..want).unwrap_or_default();
            file.read_exact_at(part, offset).map_err(BackupError::io("read", path))?;
            hasher.update(part);
            each(part)?;
            offset += want as u64;
            self.read += want as u64;
            self.rest();
        }
        Ok(hasher.finalize())
    }

    /// Waits until the bytes that were read so far may have been.
    fn rest(&self) {
        if self.bytes_per_second == 0 {
            return;
        }
        let due_ms = self.read.saturating_mul(1_000) / self.bytes_per_second;
        if let Some(left) = Duration::from_millis(due_ms).checked_sub(self.started.elapsed()) {
            std::thread::sleep(left);
        }
    }
}

/// Makes a folder and those above it, readable by nobody else.
pub(crate) fn make_folder(path: &Path) -> Result<(), BackupError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(BackupError::io("make", path))
}

/// Writes a new file, durable on return, its name aside.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    let write = || -> io::Result<()> {
        let mut file = create_new(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(BackupError::io("write", path))
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> Result<(), BackupError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(BackupError::io("sync", path))
}

fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_whole_and_no_faster_than_allowed() {
        let folder = std::env::temp_dir().join(format!("throughline-copier-{}", std::process::id()));
        make_folder(&folder).unwrap();
        let bytes: Vec<u8> = (0..(5 << 20) / 2).map(|number: u32| (number % 251) as u8).collect();
        let (from, to) = (folder.join("from"), folder.join("to"));
        write_new(&from, &bytes).unwrap();
        let file = File::open(&from).unwrap();
        let (wanted, started) = (bytes.len() as u64 - 7, Instant::now());
        let digest = Copier::new(10 << 20).copy(&file, &from, wanted, &to).unwrap();
        assert!(started.elapsed() >= Duration::from_millis(240), "{:?}", started.elapsed());
        assert_eq!(std::fs::read(&to).unwrap(), bytes[..bytes.len() - 7]);
        assert_eq!(digest, blake3::hash(&bytes[..bytes.len() - 7]));
        assert_eq!(Copier::new(0).digest(&file, &from, wanted).unwrap(), digest);
        assert!(Copier::new(0).copy(&file, &from, 1, &to).is_err(), "nothing is written over");
        assert!(Copier::new(0).digest(&file, &from, wanted + 8).is_err(), "a file that ends early");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
