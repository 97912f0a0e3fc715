//! The store: which runs and id files make up the state, and the one way to change that.

mod checkpoint;
mod merging;
mod publish;
mod snapshot;

use crate::dedup::{DedupOptions, DedupShared, DedupWindow};
use crate::manifest::{CURRENT, MANIFEST, Manifest, Pointer, generation_of};
use crate::objects::{ETag, Objects};
use crate::run::Run;
use crate::sealing::Sealing;
use crate::{RowSource, StoreError, TableId};
use model::id::{Position, Term};
use publish::State;
use snapshot::{RunSet, Source};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use checkpoint::{CheckpointMeta, CheckpointWriter};
pub use snapshot::Scan;

/// How names of runs begin.
const RUN: &str = "run-";
/// How names of id files begin.
const IDS: &str = "ids-";

/// How a store is kept.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The term of this writer; opening with a lower one than the store's is refused. `None`: go on with the store's.
    pub term: Option<Term>,
    /// Checkpoints whose manifests and files stay readable, the current one included.
    pub kept_checkpoints: usize,
    /// Rows are put into blocks of about this many bytes: what one cold read costs.
    pub block_bytes: usize,
    /// A checkpoint that was handed more bytes than this writes a run and goes on.
    pub checkpoint_buffer_bytes: usize,
    /// Runs (and id files) of one level that are merged into one of the next.
    pub merge_fan_in: usize,
    /// With so many runs, a checkpoint merges before it commits: look-ups ask every run.
    pub runs_max: usize,
    /// Seals the blocks of runs.
    pub sealing: Option<Sealing>,
    /// The de-duplication window.
    pub dedup: DedupOptions,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            term: None,
            kept_checkpoints: 4,
            block_bytes: 4096,
            checkpoint_buffer_bytes: 256 << 20,
            merge_fan_in: 8,
            runs_max: 64,
            sealing: None,
            dedup: DedupOptions::default(),
        }
    }
}

impl StoreOptions {
    fn check(&self) -> Result<(), StoreError> {
        self.dedup.check()?;
        let sound = self.kept_checkpoints >= 1
            && self.merge_fan_in >= 2
            && self.runs_max >= self.merge_fan_in
            && (256..=1 << 20).contains(&self.block_bytes);
        if sound {
            return Ok(());
        }
        let reason = "keep at least 1 checkpoint, merge at least 2 runs and no more than runs_max, \
                      and use blocks of 256 bytes to 1 MiB";
        Err(StoreError::Options { reason: reason.to_owned() })
    }
}

/// What a store holds, for operators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// The current manifest; 0 before the first checkpoint.
    pub generation: u64,
    /// Runs that a look-up may have to ask.
    pub runs: usize,
    /// Rows and deletions in them, counted once for each run.
    pub entries: u64,
    /// Their bytes.
    pub run_bytes: u64,
    /// Memory that their indexes and filters take.
    pub memory_bytes: u64,
    /// Id files of the de-duplication window.
    pub id_files: usize,
    /// The oldest manifest that is kept; 0 before the first checkpoint.
    pub oldest_kept_generation: u64,
    /// Manifests that are kept.
    pub kept_manifests: usize,
    /// Objects that could not be deleted yet.
    pub retired_objects: usize,
}

/// Tables on disk. Clones share it; see the methods for which thread they are for.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    objects: Arc<dyn Objects>,
    options: StoreOptions,
    source: Arc<Source>,
    state: Mutex<State>,
    merge: Mutex<merging::Merging>,
    checkpointing: AtomicBool,
    dedup: Arc<DedupShared>,
    dedup_loaded: AtomicBool,
    next_object: AtomicU64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// Opens a store for writing and deposes whoever had it open, then removes what no kept manifest needs.
    /// Gives the current manifest; `None` before the first checkpoint.
    pub fn open(
        objects: Arc<dyn Objects>,
        options: StoreOptions,
    ) -> Result<(Self, Option<Manifest>), StoreError> {
        options.check()?;
        let (pointer, tag) = claim(&*objects, options.term)?;
        let manifest = match pointer.generation {
            0 => Manifest::default(),
            generation => Manifest::read(&*objects, generation)?,
        };
        let generations: Vec<u64> =
            objects.list(MANIFEST)?.iter().filter_map(|name| generation_of(name)).collect();
        let last = generations.iter().copied().max().unwrap_or(0).max(pointer.generation);
        let older = generations.into_iter().filter(|generation| *generation < pointer.generation);
        let mut kept = read_older(&*objects, older)?;
        if pointer.generation > 0 {
            kept.push(manifest.clone());
        }
        let state =
            State::new(manifest.clone(), kept, Some(tag), pointer.term, last + 1, options.kept_checkpoints);
        let next_object = remove_orphans(&*objects, &state)?;
        let store = Self::assemble(objects, options, &manifest, state, next_object)?;
        Ok((store, (pointer.generation > 0).then_some(manifest)))
    }

    /// Opens one kept manifest for reading. Nothing is claimed, written or removed.
    pub fn open_at(
        objects: Arc<dyn Objects>,
        options: StoreOptions,
        generation: u64,
    ) -> Result<(Self, Manifest), StoreError> {
        options.check()?;
        let manifest = Manifest::read(&*objects, generation)?;
        let keep = options.kept_checkpoints;
        let state =
            State::new(manifest.clone(), vec![manifest.clone()], None, manifest.term, generation + 1, keep);
        let store = Self::assemble(objects, options, &manifest, state, 0)?;
        Ok((store, manifest))
    }

    /// The manifests that can be opened, oldest first, one for each kept checkpoint; the last is the current one.
    pub fn kept(objects: &dyn Objects) -> Result<Vec<Manifest>, StoreError> {
        let Some((raw, _)) = objects.read_tagged(CURRENT)? else { return Ok(Vec::new()) };
        let current = Pointer::decode(&raw)?.generation;
        let listed = objects.list(MANIFEST)?;
        let generations =
            listed.iter().filter_map(|name| generation_of(name)).filter(|known| *known <= current);
        let mut manifests = read_older(objects, generations)?;
        manifests.sort_by_key(|manifest| manifest.generation);
        manifests.reverse();
        manifests.dedup_by_key(|manifest| manifest.checkpoint);
        manifests.reverse();
        Ok(manifests)
    }

    fn assemble(
        objects: Arc<dyn Objects>,
        options: StoreOptions,
        manifest: &Manifest,
        mut state: State,
        next_object: u64,
    ) -> Result<Self, StoreError> {
        let mut runs = Vec::with_capacity(manifest.runs.len());
        for entry in &manifest.runs {
            let run = Arc::new(Run::open(&*objects, &entry.name, entry.bytes, options.sealing.as_ref())?);
            state.opened(&run);
            runs.push(run);
        }
        let shared = Shared {
            objects,
            options,
            source: Arc::new(Source::new(RunSet { runs })),
            state: Mutex::new(state),
            merge: Mutex::default(),
            checkpointing: AtomicBool::new(false),
            dedup: Arc::default(),
            dedup_loaded: AtomicBool::new(false),
            next_object: AtomicU64::new(next_object),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Reads rows of the newest checkpoint, from any thread; never waits for a checkpoint or merge.
    pub fn source(&self) -> Arc<dyn RowSource> {
        self.shared.source.clone()
    }

    /// All rows of a table in the newest checkpoint, in order of their keys, as it is now.
    pub fn scan(&self, table: TableId) -> Scan {
        Scan::new(&self.shared.source.runs(), table)
    }

    /// The de-duplication window of the manifest this store was opened with. Once for each store, before anything is
    /// committed: the window is from then on kept by the checkpoints.
    pub fn dedup_window(&self) -> Result<DedupWindow, StoreError> {
        let shared = &self.shared;
        if shared.dedup_loaded.swap(true, Ordering::AcqRel) {
            let reason = "the de-duplication window was taken already".to_owned();
            return Err(StoreError::Options { reason });
        }
        let manifest = locked(&shared.state).current().dedup.clone();
        let bucket_us = shared.options.dedup.bucket_us;
        let loaded = if manifest.bucket_us != 0 && manifest.bucket_us != bucket_us {
            let kept = manifest.bucket_us;
            let reason =
                format!("de-duplication buckets are {kept} µs long in this data directory, not {bucket_us}");
            Err(StoreError::Options { reason })
        } else {
            DedupWindow::load(shared.dedup.clone(), shared.options.dedup, &*shared.objects, &manifest)
        };
        if loaded.is_err() {
            shared.dedup_loaded.store(false, Ordering::Release);
        }
        loaded
    }

    /// The current manifest; `None` before the first checkpoint.
    pub fn manifest(&self) -> Option<Manifest> {
        let state = locked(&self.shared.state);
        (state.current().generation > 0).then(|| state.current().clone())
    }

    /// Where the oldest kept checkpoint stands: the log before it is not needed by any. 0 before the first checkpoint.
    pub fn oldest_kept_position(&self) -> Position {
        locked(&self.shared.state).oldest_kept().map_or(Position(0), |manifest| manifest.position)
    }

    /// What the store holds.
    pub fn stats(&self) -> StoreStats {
        let runs = self.shared.source.runs();
        let state = locked(&self.shared.state);
        let current = state.current();
        StoreStats {
            generation: current.generation,
            runs: runs.runs.len(),
            entries: runs.runs.iter().map(|run| run.entries()).sum(),
            run_bytes: current.runs.iter().map(|run| run.bytes).sum(),
            memory_bytes: runs.runs.iter().map(|run| run.memory_bytes()).sum(),
            id_files: current.dedup.files.len(),
            oldest_kept_generation: state.oldest_kept().map_or(0, |manifest| manifest.generation),
            kept_manifests: state.kept_manifests(),
            retired_objects: state.retired_objects(),
        }
    }
}

impl Shared {
    fn new_name(&self, prefix: &str) -> String {
        format!("{prefix}{:020}", self.next_object.fetch_add(1, Ordering::Relaxed))
    }
}

/// Makes this writer the owner: replaces the pointer by one with this term, which changes its tag, so that a commit of
/// anybody who read the old tag fails.
fn claim(objects: &dyn Objects, term: Option<Term>) -> Result<(Pointer, ETag), StoreError> {
    let (found, tag) = match objects.read_tagged(CURRENT)? {
        Some((raw, tag)) => (Pointer::decode(&raw)?, Some(tag)),
        None if objects.list(MANIFEST)?.is_empty() => (Pointer { generation: 0, term: Term(0) }, None),
        None => return Err(StoreError::Missing { object: CURRENT.to_owned() }),
    };
    let term = term.unwrap_or(found.term);
    if term < found.term {
        return Err(StoreError::Fenced { ours: term, theirs: found.term });
    }
    let claimed = Pointer { generation: found.generation, term };
    let tag = objects.compare_and_swap(CURRENT, tag.as_ref(), &claimed.encode())?;
    Ok((claimed, tag))
}

/// Reads manifests other than the current one. A damaged one is left out: nothing depends on it any more.
fn read_older(
    objects: &dyn Objects,
    generations: impl Iterator<Item = u64>,
) -> Result<Vec<Manifest>, StoreError> {
    let mut manifests = Vec::new();
    for generation in generations {
        match Manifest::read(objects, generation) {
            Ok(manifest) => manifests.push(manifest),
            Err(StoreError::Damaged { .. } | StoreError::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    manifests.sort_by_key(|manifest| manifest.generation);
    Ok(manifests)
}

/// Removes what crashes and deposed writers left; gives a number that no object has.
fn remove_orphans(objects: &dyn Objects, state: &State) -> Result<u64, StoreError> {
    let mut next = 0;
    for prefix in [RUN, IDS, MANIFEST] {
        for name in objects.list(prefix)? {
            let number = name.strip_prefix(prefix).and_then(|digits| digits.parse::<u64>().ok());
            if prefix != MANIFEST {
                next = next.max(number.map_or(0, |number| number + 1));
            }
            if number.is_some() && !state.needs(&name) {
                objects.delete(&name)?;
            }
        }
    }
    Ok(next)
}

#[cfg(test)]
mod tests;
