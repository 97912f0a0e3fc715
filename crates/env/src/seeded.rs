//! A machine made from a seed: the same seed gives the same disk, the same faults and the same bytes of entropy.
//!
//! The disk models what a crash may do to real ones. A file has bytes that were synced and writes that were not; a
//! directory has names that were synced and changes that were not. [`World::crash`] keeps a prefix of the directory
//! changes (as journaling file systems do) and, of each unsynced write, all, nothing or a torn prefix; writes after a
//! lost one may still survive, since disks reorder. [`Faults`] makes operations fail while the machine is up.

use crate::{Clock, Disk, DiskFile, DiskLock, Entropy, Env, OpenMode, Spawner, Thread};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A small, fast, seeded generator (SplitMix64, Steele et al. 2014). Not for secrets.
#[derive(Clone, Debug)]
pub struct Seed(u64);

impl Seed {
    /// A generator that starts from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 if the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next_u64() % bound }
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What goes wrong while the machine is up. All counts are of operations from now on; `None` is never.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The machine loses its power at this write (which may tear). Everything fails until [`World::crash`].
    pub power_off_at_write: Option<u64>,
    /// This sync of a file fails, and what it should have made durable is dropped from the cache, as Linux does.
    pub fail_sync: Option<u64>,
    /// This write fails with an I/O error and writes nothing.
    pub fail_write: Option<u64>,
    /// This read fails with an I/O error.
    pub fail_read: Option<u64>,
    /// Bytes that all files may hold together; writes beyond fail with `StorageFull`.
    pub capacity_bytes: Option<u64>,
}

/// The seeded machine. Clones share it.
#[derive(Clone)]
pub struct World {
    state: Arc<Mutex<Machine>>,
}

struct Machine {
    seed: Seed,
    now_us: i64,
    monotonic_ns: u64,
    files: BTreeMap<u64, Inode>,
    next_inode: u64,
    /// Names as the running system sees them.
    names: BTreeMap<PathBuf, u64>,
    /// Names as they would be found after a crash.
    synced_names: BTreeMap<PathBuf, u64>,
    /// Changes of names since the last directory sync, in order.
    name_changes: Vec<NameChange>,
    directories: Vec<PathBuf>,
    locks: Vec<PathBuf>,
    faults: Faults,
    powered: bool,
    /// Counts boots, so that a handle from before a crash is dead after it.
    boot: u64,
    writes: u64,
}

enum NameChange {
    Set(PathBuf, u64),
    Remove(PathBuf),
}

#[derive(Default)]
struct Inode {
    current: Vec<u8>,
    synced: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

fn apply_change(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(offset, data) => {
            let start = usize::try_from(*offset).unwrap_or(usize::MAX);
            let end = start.saturating_add(data.len());
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            if let Some(target) = bytes.get_mut(start..end) {
                target.copy_from_slice(data);
            }
        }
        Change::SetLen(len) => bytes.resize(usize::try_from(*len).unwrap_or(usize::MAX), 0),
    }
}

fn failed(what: &str) -> io::Error {
    io::Error::other(what.to_owned())
}

fn power_is_off() -> io::Error {
    failed("seeded fault: the power is off")
}

/// Counts a fault down; true when it strikes.
fn strikes(counter: &mut Option<u64>) -> bool {
    match counter {
        Some(0) => {
            *counter = None;
            true
        }
        Some(left) => {
            *left -= 1;
            false
        }
        None => false,
    }
}

impl World {
    /// A machine with an empty disk whose clock stands at `now_us`.
    pub fn new(seed: u64, now_us: i64) -> Self {
        Self {
            state: Arc::new(Mutex::new(Machine {
                seed: Seed::new(seed),
                now_us,
                monotonic_ns: 0,
                files: BTreeMap::new(),
                next_inode: 0,
                names: BTreeMap::new(),
                synced_names: BTreeMap::new(),
                name_changes: Vec::new(),
                directories: Vec::new(),
                locks: Vec::new(),
                faults: Faults::default(),
                powered: true,
                boot: 0,
                writes: 0,
            })),
        }
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The interface that the code under test uses. Valid until the next crash; take a new one after it.
    pub fn env(&self) -> Env {
        let boot = self.machine().boot;
        let seeded = SeededEnv { world: self.clone(), boot };
        Env {
            disk: Arc::new(seeded.clone()),
            clock: Arc::new(seeded.clone()),
            entropy: Arc::new(seeded.clone()),
            spawner: Arc::new(seeded),
        }
    }

    /// Sets what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.machine().faults = faults;
    }

    /// Whether a fault has cut the power.
    pub fn is_off(&self) -> bool {
        !self.machine().powered
    }

    /// Writes since the beginning: a way to choose where to crash on the next run with the same seed.
    pub fn writes(&self) -> u64 {
        self.machine().writes
    }

    /// Moves the wall clock; may be negative. Monotonic time only moves forward.
    pub fn advance(&self, by_us: i64) {
        let mut machine = self.machine();
        machine.now_us = machine.now_us.saturating_add(by_us);
        machine.monotonic_ns += u64::try_from(by_us.max(1)).unwrap_or(1).saturating_mul(1_000);
    }

    /// Cuts the power and starts again: what was not synced is lost, torn or kept, as the seed says.
    pub fn crash(&self) {
        let mut machine = self.machine();
        let machine = &mut *machine;
        let keep = machine.seed.below(machine.name_changes.len() as u64 + 1);
        for change in machine.name_changes.drain(..).take(usize::try_from(keep).unwrap_or(0)) {
            match change {
                NameChange::Set(path, inode) => {
                    machine.synced_names.insert(path, inode);
                }
                NameChange::Remove(path) => {
                    machine.synced_names.remove(&path);
                }
            }
        }
        for inode in machine.files.values_mut() {
            for change in std::mem::take(&mut inode.unsynced) {
                match (machine.seed.below(4), change) {
                    (0, _) => {}
                    (1, Change::Write(offset, mut data)) => {
                        let torn = machine.seed.below(data.len() as u64 + 1);
                        data.truncate(usize::try_from(torn).unwrap_or(0));
                        apply_change(&mut inode.synced, &Change::Write(offset, data));
                    }
                    (_, change) => apply_change(&mut inode.synced, &change),
                }
            }
            inode.current = inode.synced.clone();
        }
        machine.names = machine.synced_names.clone();
        let names = &machine.names;
        machine.files.retain(|inode, _| names.values().any(|named| named == inode));
        machine.locks.clear();
        machine.faults = Faults::default();
        machine.powered = true;
        machine.boot += 1;
    }

    /// Ends the process without ending the machine (kill -9): the page cache survives, locks and handles do not.
    pub fn kill(&self) {
        let mut machine = self.machine();
        machine.locks.clear();
        machine.faults = Faults::default();
        machine.boot += 1;
    }

    /// The bytes of a file as the running system sees them.
    pub fn read_file(&self, path: &Path) -> Option<Vec<u8>> {
        let machine = self.machine();
        let inode = machine.names.get(path)?;
        machine.files.get(inode).map(|file| file.current.clone())
    }

    /// Replaces the bytes of a file, durably: for tests that damage one.
    pub fn write_file(&self, path: &Path, bytes: &[u8]) {
        let mut machine = self.machine();
        let inode = machine.names.get(path).copied().unwrap_or_else(|| {
            machine.next_inode += 1;
            machine.next_inode
        });
        machine.names.insert(path.to_owned(), inode);
        machine.synced_names.insert(path.to_owned(), inode);
        machine
            .files
            .insert(inode, Inode { current: bytes.to_vec(), synced: bytes.to_vec(), unsynced: Vec::new() });
    }
}

#[derive(Clone)]
struct SeededEnv {
    world: World,
    boot: u64,
}

impl SeededEnv {
    fn up(&self) -> io::Result<MutexGuard<'_, Machine>> {
        let machine = self.world.machine();
        if machine.powered && machine.boot == self.boot { Ok(machine) } else { Err(power_is_off()) }
    }
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{} does not exist", path.display()))
}

impl Machine {
    fn set_name(&mut self, path: &Path, inode: u64) {
        self.names.insert(path.to_owned(), inode);
        self.name_changes.push(NameChange::Set(path.to_owned(), inode));
    }

    fn remove_name(&mut self, path: &Path) -> io::Result<u64> {
        let inode = self.names.remove(path).ok_or_else(|| not_found(path))?;
        self.name_changes.push(NameChange::Remove(path.to_owned()));
        Ok(inode)
    }

    fn used_bytes(&self) -> u64 {
        self.names
            .values()
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .filter_map(|inode| self.files.get(inode))
            .map(|file| file.current.len() as u64)
            .sum()
    }

    fn write(&mut self, inode: u64, change: Change) -> io::Result<()> {
        self.writes += 1;
        let power_off = strikes(&mut self.faults.power_off_at_write);
        if strikes(&mut self.faults.fail_write) {
            return Err(failed("seeded fault: write failed"));
        }
        let used = self.used_bytes();
        let capacity = self.faults.capacity_bytes;
        let file = self.files.get_mut(&inode).ok_or_else(|| failed("the file is gone"))?;
        if let Some(capacity) = capacity {
            let end = match &change {
                Change::Write(offset, data) => offset + data.len() as u64,
                Change::SetLen(len) => *len,
            };
            if used + end.saturating_sub(file.current.len() as u64) > capacity {
                return Err(io::Error::new(io::ErrorKind::StorageFull, "seeded fault: the disk is full"));
            }
        }
        apply_change(&mut file.current, &change);
        file.unsynced.push(change);
        if power_off {
            self.powered = false;
            return Err(power_is_off());
        }
        Ok(())
    }
}

impl Disk for SeededEnv {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut machine = self.up()?;
        let inode = match (machine.names.get(path).copied(), mode) {
            (Some(_), OpenMode::CreateNew) => {
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file exists"));
            }
            (Some(inode), _) => inode,
            (None, OpenMode::CreateNew) => {
                machine.next_inode += 1;
                let inode = machine.next_inode;
                machine.files.insert(inode, Inode::default());
                machine.set_name(path, inode);
                inode
            }
            (None, _) => return Err(not_found(path)),
        };
        Ok(Arc::new(SeededFile { env: self.clone(), inode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut machine = self.up()?;
        let inode = machine.names.get(from).copied().ok_or_else(|| not_found(from))?;
        // One change after another in the journal; a crash in between leaves both names, never neither.
        machine.set_name(to, inode);
        machine.remove_name(from)?;
        Ok(())
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut machine = self.up()?;
        let inode = machine.names.get(from).copied().ok_or_else(|| not_found(from))?;
        machine.set_name(to, inode);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.up()?.remove_name(path).map(|_| ())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let machine = self.up()?;
        Ok(machine
            .names
            .keys()
            .filter(|path| path.parent() == Some(directory))
            .filter_map(|path| path.file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect())
    }

    fn exists(&self, path: &Path) -> bool {
        let machine = self.world.machine();
        machine.names.contains_key(path) || machine.directories.iter().any(|known| known == path)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        // Directories are durable at once: no code here depends on a lost one.
        let mut machine = self.up()?;
        machine.directories.push(path.to_owned());
        Ok(())
    }

    fn sync_directory(&self, _path: &Path) -> io::Result<()> {
        let mut machine = self.up()?;
        machine.name_changes.clear();
        machine.synced_names = machine.names.clone();
        Ok(())
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        let machine = self.up()?;
        Ok(machine
            .faults
            .capacity_bytes
            .map_or(u64::MAX / 2, |capacity| capacity.saturating_sub(machine.used_bytes())))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let mut machine = self.up()?;
        if machine.locks.iter().any(|held| held == path) {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "another process holds the lock"));
        }
        machine.locks.push(path.to_owned());
        Ok(Box::new(SeededLock { env: self.clone(), path: path.to_owned() }))
    }
}

struct SeededLock {
    env: SeededEnv,
    path: PathBuf,
}

impl DiskLock for SeededLock {}

impl Drop for SeededLock {
    fn drop(&mut self) {
        if let Ok(mut machine) = self.env.up() {
            machine.locks.retain(|held| held != &self.path);
        }
    }
}

struct SeededFile {
    env: SeededEnv,
    inode: u64,
}

impl DiskFile for SeededFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut machine = self.env.up()?;
        if strikes(&mut machine.faults.fail_read) {
            return Err(failed("seeded fault: read failed"));
        }
        let file = machine.files.get(&self.inode).ok_or_else(|| failed("the file is gone"))?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(file.current.len());
        let available = file.current.get(start..).unwrap_or_default();
        let count = available.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), available.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }

    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.env.up()?.write(self.inode, Change::Write(offset, bytes.to_vec()))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut machine = self.env.up()?;
        let fails = strikes(&mut machine.faults.fail_sync);
        let file = machine.files.get_mut(&self.inode).ok_or_else(|| failed("the file is gone"))?;
        if fails {
            // The kernel marks the pages clean: the running system still reads them, the disk never gets them.
            file.unsynced.clear();
            return Err(failed("seeded fault: sync failed"));
        }
        // Only what is still dirty is written: pages that a failed sync marked clean stay lost.
        for change in std::mem::take(&mut file.unsynced) {
            apply_change(&mut file.synced, &change);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.env.up()?.write(self.inode, Change::SetLen(len))
    }

    fn len(&self) -> io::Result<u64> {
        let machine = self.env.up()?;
        machine
            .files
            .get(&self.inode)
            .map(|file| file.current.len() as u64)
            .ok_or_else(|| failed("the file is gone"))
    }
}

impl Clock for SeededEnv {
    fn now_us(&self) -> i64 {
        self.world.machine().now_us
    }

    fn monotonic_ns(&self) -> u64 {
        self.world.machine().monotonic_ns
    }
}

impl Entropy for SeededEnv {
    fn fill(&self, buffer: &mut [u8]) -> io::Result<()> {
        let mut machine = self.up()?;
        for chunk in buffer.chunks_mut(8) {
            let bytes = machine.seed.next_u64().to_le_bytes();
            for (to, from) in chunk.iter_mut().zip(bytes) {
                *to = from;
            }
        }
        Ok(())
    }
}

impl Spawner for SeededEnv {
    fn spawn(&self, _name: &str, _body: Box<dyn FnOnce() + Send>) -> io::Result<Box<dyn Thread>> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "the seeded world has one thread: step the core instead",
        ))
    }
}
