//! Everything outside the program that `eventlog`, `store` and `engine` touch: disk, clock, threads and entropy.
//!
//! There are two worlds behind the same traits: [`Env::real`] is the machine, [`seeded::World`] is a machine made
//! from a seed, whose disk can tear writes, refuse a sync, fill up or lose its power at any write. Code that only
//! speaks to `Env` runs unchanged in both, which is what lets the simulator find a crash bug and print its seed.
//!
//! **This crate never** knows what the bytes mean, retries anything, or hides an error.
//!
//! Those three crates use no network today; when one does, its connections join this interface.

mod real;
pub mod seeded;

use std::io;
use std::path::Path;
use std::sync::Arc;

/// The world as one value. Cloning is cheap: the parts are shared.
#[derive(Clone)]
pub struct Env {
    /// Files and directories.
    pub disk: Arc<dyn Disk>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Unpredictable bytes (predictable ones in the seeded world).
    pub entropy: Arc<dyn Entropy>,
    /// Threads.
    pub spawner: Arc<dyn Spawner>,
}

impl Env {
    /// The machine this process runs on.
    pub fn real() -> Self {
        Self {
            disk: Arc::new(real::RealDisk),
            clock: Arc::new(real::RealClock::new()),
            entropy: Arc::new(real::RealEntropy),
            spawner: Arc::new(real::RealSpawner),
        }
    }
}

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Must exist; reads only.
    Read,
    /// Must exist; reads and writes.
    ReadWrite,
    /// Must not exist; reads and writes.
    CreateNew,
}

/// Files and directories. Names become durable with [`Disk::sync_directory`], contents with [`DiskFile::sync_data`].
///
/// A full disk is `io::ErrorKind::StorageFull`.
pub trait Disk: Send + Sync {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;
    /// Replaces `to` by `from` in one step.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives the file a second name. Used for consistent snapshots of immutable files.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Names of the files in a directory, sorted, directories left out.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;
    /// Whether a file or directory of that name exists.
    fn exists(&self, path: &Path) -> bool;
    /// Creates a directory and its parents; not an error if it exists.
    fn create_directory(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in a directory durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// Bytes still free on the file system that holds `path`.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
    /// Takes an exclusive lock on a file, creating it; `WouldBlock` if somebody else holds it.
    /// The lock lasts as long as the returned guard.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>>;
}

/// An exclusive lock, released on drop.
pub trait DiskLock: Send + Sync {}

/// An open file. All offsets are absolute; there is no shared cursor.
pub trait DiskFile: Send + Sync {
    /// Reads up to `buffer.len()` bytes; 0 at or past the end.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes all bytes, extending the file if needed. On an error any part may have been written.
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes the contents durable. After an error, assume that nothing since the last success is.
    fn sync_data(&self) -> io::Result<()>;
    /// Cuts or extends (with zeros) the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// The length of the file, in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file holds no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills the buffer or fails with `UnexpectedEof`.
    fn read_exact_at(&self, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            let read = self.read_at(offset, buffer)?;
            if read == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the file ends before the bytes asked for",
                ));
            }
            buffer = buffer.get_mut(read..).unwrap_or_default();
            offset += read as u64;
        }
        Ok(())
    }
}

/// Wall time, and time that never goes back.
pub trait Clock: Send + Sync {
    /// Microseconds since 1970-01-01T00:00:00Z. May jump, forward or back.
    fn now_us(&self) -> i64;
    /// Nanoseconds since some fixed point; never goes back.
    fn monotonic_ns(&self) -> u64;
}

/// Unpredictable bytes.
pub trait Entropy: Send + Sync {
    /// Fills the buffer.
    fn fill(&self, buffer: &mut [u8]) -> io::Result<()>;
}

/// Threads. The cores of `eventlog`, `store` and `engine` are plain state machines that the simulator steps on one
/// thread; only their outermost shell starts threads, and only through this.
pub trait Spawner: Send + Sync {
    /// Starts a named thread.
    fn spawn(&self, name: &str, body: Box<dyn FnOnce() + Send>) -> io::Result<Box<dyn Thread>>;
}

/// A started thread.
pub trait Thread: Send {
    /// Waits for the end. `false` if the thread panicked.
    fn join(self: Box<Self>) -> bool;
}
