//! How far a file was imported, in a file beside it.
//!
//! Batches are answered in any order. What is written down is the row up to which *all* is done; what lies behind it is
//! sent again after a crash, under the same ids.

use super::Kind;
use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const VERSION: u32 = 1;
/// How often it is written down.
const EVERY: Duration = Duration::from_secs(1);
/// Bytes at the beginning of the file that tell it from another.
const HEAD_BYTES: u64 = 1 << 20;
/// A longer file is no note of how far something came.
const NOTE_BYTES_MAX: u64 = 64 * 1024;

/// Which file it is about: one that has only grown since is still the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fingerprint {
    bytes: u64,
    head_bytes: u64,
    head: String,
    kind: String,
}

impl Fingerprint {
    pub(super) fn of(path: &Path, kind: Kind) -> Result<Self> {
        let bytes = fs::metadata(path).with_context(|| format!("{} cannot be read", path.display()))?.len();
        let head_bytes = bytes.min(HEAD_BYTES);
        let kind = format!("{kind:?}").to_lowercase();
        Ok(Self { bytes, head_bytes, head: head_of(path, head_bytes)?, kind })
    }

    /// Whether a file that was noted is this one, or its beginning.
    fn continues(&self, noted: &Self, path: &Path) -> Result<bool> {
        Ok(noted.bytes <= self.bytes
            && noted.kind == self.kind
            && noted.head_bytes <= HEAD_BYTES
            && head_of(path, noted.head_bytes)? == noted.head)
    }
}

fn head_of(path: &Path, bytes: u64) -> Result<String> {
    let context = || format!("{} cannot be read", path.display());
    let mut file = File::open(path).with_context(context)?;
    let mut head = vec![0; usize::try_from(bytes.min(HEAD_BYTES))?];
    file.read_exact(&mut head).with_context(context)?;
    Ok(blake3::hash(&head).to_hex().to_string())
}

#[derive(Debug, Serialize, Deserialize)]
struct Note {
    version: u32,
    file: Fingerprint,
    rows_done: u64,
}

/// How far it came.
#[derive(Debug)]
pub(super) struct Progress {
    path: PathBuf,
    fingerprint: Fingerprint,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rows_done: u64,
    /// The last row of each batch that was begun, and whether it is done.
    batches: BTreeMap<u64, (u64, bool)>,
    begun: u64,
    written: Instant,
}

impl Progress {
    pub(super) fn open(file: &Path, fingerprint: &Fingerprint, again: bool) -> Result<Self> {
        let path = super::beside(file, ".import.json");
        let rows_done = if again || !path.exists() { 0 } else { noted(&path, file, fingerprint)? };
        let state = State { rows_done, batches: BTreeMap::new(), begun: 0, written: Instant::now() };
        Ok(Self { path, fingerprint: fingerprint.clone(), state: Mutex::new(state) })
    }

    pub(super) fn rows_done(&self) -> u64 {
        self.lock().rows_done
    }

    /// A batch leaves that ends with this row. Gives its number.
    pub(super) fn begin(&self, last_row: u64) -> u64 {
        let mut state = self.lock();
        state.begun += 1;
        let number = state.begun;
        state.batches.insert(number, (last_row, false));
        number
    }

    /// Everything of a batch was answered. `before` runs before anything is written down.
    pub(super) fn done(&self, batch: u64, before: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut state = self.lock();
        if let Some(own) = state.batches.get_mut(&batch) {
            own.1 = true;
        }
        while let Some(first) = state.batches.first_entry().filter(|first| first.get().1) {
            let (last_row, _) = first.remove();
            state.rows_done = state.rows_done.max(last_row);
        }
        if state.written.elapsed() < EVERY {
            return Ok(());
        }
        state.written = Instant::now();
        let rows_done = state.rows_done;
        // Held while it is written: an older note must not overtake a newer one.
        before()?;
        self.write(rows_done)
    }

    pub(super) fn save(&self) -> Result<()> {
        let state = self.lock();
        self.write(state.rows_done)
    }

    fn write(&self, rows_done: u64) -> Result<()> {
        let note = Note { version: VERSION, file: self.fingerprint.clone(), rows_done };
        let temporary = super::beside(&self.path, ".new");
        let context = || format!("{} cannot be written", self.path.display());
        let mut file = File::create(&temporary).with_context(context)?;
        file.write_all(&serde_json::to_vec_pretty(&note)?).with_context(context)?;
        file.sync_data().with_context(context)?;
        fs::rename(&temporary, &self.path).with_context(context)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn noted(path: &Path, file: &Path, fingerprint: &Fingerprint) -> Result<u64> {
    let shown = path.display();
    let bytes = fs::metadata(path).with_context(|| format!("{shown} cannot be read"))?.len();
    ensure!(bytes <= NOTE_BYTES_MAX, "{shown} says nothing of how far it came: remove it, or give --again");
    let text = fs::read(path).with_context(|| format!("{shown} cannot be read"))?;
    let note: Note = serde_json::from_slice(&text)
        .with_context(|| format!("{shown} says nothing of how far it came: remove it, or give --again"))?;
    ensure!(note.version == VERSION, "{shown} was written by another version: remove it, or give --again");
    if !fingerprint.continues(&note.file, file)? {
        bail!(
            "{} is another file than the one that was begun (see {shown}): give --again to begin at its first row",
            file.display()
        );
    }
    Ok(note.rows_done)
}
