//! Writes what changed and makes it the state, in one step.

use super::{IDS, RUN, RunSet, Shared, Store, locked};
use crate::dedup::{DedupInterval, FileSet, IdFile};
use crate::manifest::{DedupManifest, Manifest, RunEntry, StateDigest};
use crate::run::{Run, RunWriter};
use crate::{Chunk, StoreError, TableId};
use model::id::{Key, Position, Term, Timestamp};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Memory that one row of a waiting chunk takes beside its bytes.
const ROW_BYTES: usize = 96;

/// What a checkpoint is of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckpointMeta {
    /// The log position whose outcome is the last one included.
    pub position: Position,
    /// The term of the writer.
    pub term: Term,
    /// The rules that made the state.
    pub rules_version: u32,
    /// Log time at the position.
    pub log_time: Timestamp,
    /// Digest of the state.
    pub state_digest: StateDigest,
    /// Digest of the effects so far.
    pub effects_digest: u128,
    /// Whatever the engine wants to find again.
    pub metadata: Vec<u8>,
}

/// A checkpoint in the making. Dropping it leaves nothing behind. For the checkpoint thread.
pub struct CheckpointWriter {
    shared: Arc<Shared>,
    chunks: Vec<Arc<Chunk>>,
    buffered_bytes: usize,
    /// Runs written so far, oldest first.
    runs: Vec<(RunEntry, Arc<Run>)>,
    interval: Option<DedupInterval>,
    id_files: Vec<Arc<IdFile>>,
    keep_files: bool,
}

/// A changed row, ready to be sorted.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    table: TableId,
    key: Key,
    /// Its place among all changes of the run: the last one wins.
    order: u32,
    chunk: u32,
    row: u32,
}

impl Store {
    /// Begins a checkpoint. One at a time.
    pub fn checkpoint(&self) -> Result<CheckpointWriter, StoreError> {
        self.shared.check_writable()?;
        if self.shared.checkpointing.swap(true, Ordering::AcqRel) {
            return Err(StoreError::Options { reason: "another checkpoint is being written".to_owned() });
        }
        Ok(CheckpointWriter {
            shared: self.shared.clone(),
            chunks: Vec::new(),
            buffered_bytes: 0,
            runs: Vec::new(),
            interval: None,
            id_files: Vec::new(),
            keep_files: false,
        })
    }
}

impl CheckpointWriter {
    /// Adds changed rows. A later change of a row replaces an earlier one, within a chunk and between chunks.
    pub fn add(&mut self, chunk: impl Into<Arc<Chunk>>) -> Result<(), StoreError> {
        let chunk = chunk.into();
        let inside = |row| chunk.value(row).is_some() || row.value.is_none();
        if !chunk.rows.iter().all(inside) {
            return Err(StoreError::TooLarge {
                what: "the place of a row in its chunk",
                limit: chunk.bytes.len() as u64,
            });
        }
        self.buffered_bytes += chunk.bytes.len() + chunk.rows.len() * ROW_BYTES;
        self.chunks.push(chunk);
        if self.buffered_bytes >= self.shared.options.checkpoint_buffer_bytes {
            self.write_run()?;
        }
        Ok(())
    }

    /// Adds what [`crate::DedupWindow::begin_checkpoint`] gave at the same log position.
    pub fn add_dedup(&mut self, interval: DedupInterval) {
        self.interval = Some(interval);
    }

    /// Makes the checkpoint durable and current. On an error nothing has changed, except after
    /// [`StoreError::Uncertain`], which the next open settles.
    pub fn commit(mut self, meta: CheckpointMeta) -> Result<(), StoreError> {
        self.check(&meta)?;
        self.write_run()?;
        while self.shared.source.runs().runs.len() + self.runs.len() > self.shared.options.runs_max {
            if !self.shared.merge_some(u64::MAX)? {
                break;
            }
        }
        let before = self.shared.dedup.files();
        if let Some(interval) = &self.interval {
            let shared = &self.shared;
            interval.write(
                &*shared.objects,
                before.filed_through,
                || shared.new_name(IDS),
                &mut self.id_files,
            )?;
        }
        let published =
            self.shared.publish(|current, runs| self.change(current, runs, meta), || self.file_ids());
        // What an uncertain commit may have made current must stay.
        self.keep_files = matches!(published, Ok(()) | Err(StoreError::Uncertain { .. }));
        self.shared.dedup.free_buried();
        published
    }

    fn check(&self, meta: &CheckpointMeta) -> Result<(), StoreError> {
        let state = locked(&self.shared.state);
        if meta.term < state.term() {
            return Err(StoreError::Fenced { ours: meta.term, theirs: state.term() });
        }
        let kept = state.current().position;
        if meta.position < kept {
            let reason = format!("a checkpoint at position {} cannot follow one at {kept}", meta.position);
            return Err(StoreError::Options { reason });
        }
        if self.interval.is_none() && self.shared.dedup_loaded.load(Ordering::Acquire) {
            let reason = "a checkpoint must carry the interval of the de-duplication window".to_owned();
            return Err(StoreError::Options { reason });
        }
        Ok(())
    }

    fn write_run(&mut self) -> Result<(), StoreError> {
        let chunks = std::mem::take(&mut self.chunks);
        self.buffered_bytes = 0;
        let changes = sorted(&chunks)?;
        if changes.is_empty() {
            return Ok(());
        }
        let shared = &self.shared;
        let (name, sealing) = (shared.new_name(RUN), shared.options.sealing.as_ref());
        let mut writer = RunWriter::create(&*shared.objects, &name, shared.options.block_bytes, sealing)?;
        for change in &changes {
            let chunk = chunks.get(change.chunk as usize);
            let value = chunk.and_then(|chunk| chunk.value(chunk.rows.get(change.row as usize)?));
            writer.push(change.table, change.key, value)?;
        }
        let entries = writer.entries();
        let bytes = writer.finish()?;
        let run = match Run::open(&*shared.objects, &name, bytes, sealing) {
            Ok(run) => Arc::new(run),
            Err(error) => {
                shared.discard(&name);
                return Err(error);
            }
        };
        self.runs.push((RunEntry { name, level: 0, entries, bytes }, run));
        Ok(())
    }

    fn change(
        &self,
        current: &Manifest,
        runs: &RunSet,
        meta: CheckpointMeta,
    ) -> Result<(Manifest, RunSet), StoreError> {
        let newest_first = self.runs.iter().rev();
        let entries = newest_first.clone().map(|(entry, _)| entry).chain(&current.runs).cloned().collect();
        let manifest = Manifest {
            generation: 0,
            checkpoint: 0,
            position: meta.position,
            term: meta.term,
            rules_version: meta.rules_version,
            log_time: meta.log_time,
            state_digest: meta.state_digest,
            effects_digest: meta.effects_digest,
            metadata: meta.metadata,
            runs: entries,
            dedup: self.changed_dedup(&current.dedup),
        };
        let runs = newest_first.map(|(_, run)| run).chain(&runs.runs).cloned().collect();
        Ok((manifest, RunSet { runs }))
    }

    fn changed_dedup(&self, current: &DedupManifest) -> DedupManifest {
        let Some(interval) = &self.interval else { return current.clone() };
        let files = self.id_files.iter().map(|file| file.entry()).chain(&current.files);
        DedupManifest {
            bucket_us: interval.bucket_us,
            at: interval.at,
            buckets: interval.buckets.clone(),
            files: files.filter(|file| file.bucket >= interval.oldest_live).cloned().collect(),
        }
    }

    /// The new manifest is durable: readers find the ids in files from here on.
    fn file_ids(&self) {
        let Some(interval) = &self.interval else { return };
        let mut files = FileSet::clone(&self.shared.dedup.files());
        files.filed_through = interval.through;
        files.buckets.retain(|bucket, _| *bucket >= interval.oldest_live);
        for file in &self.id_files {
            files.buckets.entry(file.entry().bucket).or_default().insert(0, file.clone());
        }
        self.shared.dedup.set_files(files);
    }
}

impl Drop for CheckpointWriter {
    fn drop(&mut self) {
        if !self.keep_files {
            let runs = self.runs.iter().map(|(entry, _)| &entry.name);
            let ids = self.id_files.iter().map(|file| &file.entry().name);
            for name in runs.chain(ids) {
                self.shared.discard(name);
            }
        }
        self.shared.checkpointing.store(false, Ordering::Release);
    }
}

/// The last change of each row, in order of table and key.
fn sorted(chunks: &[Arc<Chunk>]) -> Result<Vec<Change>, StoreError> {
    let count = chunks.iter().map(|chunk| chunk.rows.len()).sum::<usize>();
    let limit = u32::MAX;
    if u32::try_from(count.max(chunks.len())).is_err() {
        return Err(StoreError::TooLarge { what: "the number of rows of a run", limit: u64::from(limit) });
    }
    let mut changes = Vec::with_capacity(count);
    for (chunk_number, chunk) in (0..limit).zip(chunks) {
        for (row, change) in (0..limit).zip(&chunk.rows) {
            let order = changes.len() as u32;
            changes.push(Change { table: change.table, key: change.key, order, chunk: chunk_number, row });
        }
    }
    changes.sort_unstable();
    // `dedup_by` keeps the first of equals, so it is shown the last change first.
    changes.reverse();
    changes.dedup_by(|later, kept| (later.table, later.key) == (kept.table, kept.key));
    changes.reverse();
    Ok(changes)
}
