//! Checkpoints: the state at one position, handed out a slice at a time.

use super::{Core, visit_all};
use crate::core::progress::Progress;
use crate::machine::Machine;
use model::id::{Position, Term};
use std::sync::Arc;
use store::{Chunk, DedupInterval, StateDigest, Store, StoreError, Tables};

/// How far the checkpoint in progress is.
pub(crate) enum Checkpointing {
    /// None is in progress.
    Idle,
    /// Frozen; rows are being encoded.
    Encoding(Box<Frozen>),
    /// Encoded; somebody writes it.
    Writing,
}

/// What a freeze remembers beside the rows.
pub(crate) struct Frozen {
    progress: Progress,
    dedup: DedupInterval,
    dedup_digest: u128,
}

/// A part of a checkpoint. Slices of one checkpoint are written in order.
pub struct Slice {
    /// Rows.
    pub chunk: Arc<Chunk>,
    /// On the last slice: what completes the checkpoint.
    pub finish: Option<Finish>,
}

/// What completes a checkpoint.
pub struct Finish {
    /// How far the shard had come at the freeze.
    pub progress: Progress,
    /// Message ids accepted since the checkpoint before.
    pub dedup: DedupInterval,
    /// Progress and table digests, encoded.
    pub metadata: Vec<u8>,
    /// Digest over all rows and message ids.
    pub state_digest: StateDigest,
}

/// Memory in use, estimates.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Bytes of rows.
    pub row_bytes: usize,
    /// Rows.
    pub rows: usize,
    /// Bytes that de-duplication holds.
    pub dedup_bytes: usize,
    /// Rows that prefetching missed, since the start.
    pub unplanned_reads: u64,
}

/// What a written checkpoint allows.
pub struct Written {
    /// Where it stands.
    pub position: Position,
    /// The log before this position is not needed by any checkpoint that is kept.
    pub log_needed_from: Position,
}

/// Writes the slices of one checkpoint. After an error that is transient, the same slices may be written again.
pub fn write_checkpoint(store: &Store, term: Term, slices: &[Slice]) -> Result<Written, StoreError> {
    let mut writer = store.checkpoint()?;
    for slice in slices {
        // Shared: the slices are needed again if the disk refuses.
        writer.add(Arc::clone(&slice.chunk))?;
    }
    let Some(finish) = slices.last().and_then(|slice| slice.finish.as_ref()) else {
        let reason = "a checkpoint was written before its last slice was encoded".to_owned();
        return Err(StoreError::Options { reason });
    };
    let progress = &finish.progress;
    writer.add_dedup(finish.dedup.clone());
    writer.commit(store::CheckpointMeta {
        position: progress.next_position,
        term,
        rules_version: progress.rules_version,
        log_time: progress.log_time,
        state_digest: finish.state_digest,
        effects_digest: progress.effects_digest,
        metadata: finish.metadata.clone(),
    })?;
    Ok(Written { position: progress.next_position, log_needed_from: store.oldest_kept_position() })
}

impl<M: Machine> Core<M> {
    /// Whether a checkpoint may begin.
    pub fn can_checkpoint(&self) -> bool {
        matches!(self.checkpointing, Checkpointing::Idle)
    }

    /// Whether slices are waiting to be encoded.
    pub fn is_encoding(&self) -> bool {
        matches!(self.checkpointing, Checkpointing::Encoding(..))
    }

    /// Whether anything was applied since the last checkpoint began.
    pub fn has_changed_since_checkpoint(&self) -> bool {
        self.records_since_checkpoint() > 0
    }

    /// Records applied since the last checkpoint began: what a recovery would have to replay at least.
    pub fn records_since_checkpoint(&self) -> u64 {
        self.progress.next_position.0.saturating_sub(self.checkpointed_next.0)
    }

    /// Freezes the state as it is now, between two frames. Costs next to nothing; the slices do the work. Before it is
    /// committed, the feed has to be synced up to here ([`crate::feed::Feed::wait_synced`]).
    pub fn begin_checkpoint(&mut self) {
        if !self.can_checkpoint() {
            return;
        }
        visit_all(&mut self.state, &mut self.system, &mut |table| table.freeze());
        let dedup_digest = self.dedup.digest();
        let dedup = self.dedup.begin_checkpoint();
        self.checkpointed_next = self.progress.next_position;
        if let Some(feed) = &mut self.feed {
            feed.mark();
        }
        let frozen = Frozen { progress: self.progress.clone(), dedup, dedup_digest };
        self.checkpointing = Checkpointing::Encoding(Box::new(frozen));
    }

    /// Encodes up to `rows_max` rows of the frozen state.
    pub fn checkpoint_slice(&mut self, rows_max: usize) -> Slice {
        let mut chunk = Chunk::default();
        let mut waiting = 0;
        visit_all(&mut self.state, &mut self.system, &mut |table| {
            let room = rows_max.saturating_sub(chunk.rows.len());
            waiting += table.encode_some(room, &mut chunk);
        });
        let finish = if waiting == 0 { self.finish_checkpoint() } else { None };
        Slice { chunk: Arc::new(chunk), finish }
    }

    fn finish_checkpoint(&mut self) -> Option<Finish> {
        let state = std::mem::replace(&mut self.checkpointing, Checkpointing::Writing);
        let Checkpointing::Encoding(frozen) = state else {
            self.checkpointing = state;
            return None;
        };
        let Frozen { progress, dedup, dedup_digest } = *frozen;
        let mut digests = Vec::new();
        visit_all(&mut self.state, &mut self.system, &mut |table| {
            digests.push((table.id().0, table.digest()))
        });
        let mut metadata = Vec::new();
        progress.encode(&digests, &mut metadata);
        let state_digest = StateDigest { rows: 0, sum: combine(&digests, dedup_digest) };
        Some(Finish { progress, dedup, metadata, state_digest })
    }

    /// The checkpoint in progress is durable.
    pub fn checkpoint_committed(&mut self) {
        visit_all(&mut self.state, &mut self.system, &mut |table| table.committed());
        self.checkpointing = Checkpointing::Idle;
    }

    /// The digest of the state as it is now: what a checkpoint here would record. For verification, on a core that
    /// writes no checkpoints of its own.
    pub fn digest_now(&mut self) -> u128 {
        self.begin_checkpoint();
        loop {
            let slice = self.checkpoint_slice(usize::MAX);
            if let Some(finish) = slice.finish {
                self.checkpoint_committed();
                return finish.state_digest.sum;
            }
        }
    }

    /// Evicts from one shard of every table that holds more than its part of the budget. Returns the bytes freed.
    pub fn evict_some(&mut self, resident_bytes_max: usize) -> usize {
        let memory = self.memory();
        if memory.row_bytes <= resident_bytes_max {
            return 0;
        }
        let mut freed = 0;
        self.state.visit(&mut |table| {
            // Each table gives in proportion to what it holds.
            let share = (table.resident_bytes() as u128 * resident_bytes_max as u128
                / memory.row_bytes.max(1) as u128) as usize;
            freed += table.evict(share);
        });
        freed
    }

    /// Memory in use.
    pub fn memory(&mut self) -> Memory {
        let mut memory = Memory { dedup_bytes: self.dedup.filter_bytes() as usize, ..Memory::default() };
        visit_all(&mut self.state, &mut self.system, &mut |table| {
            memory.row_bytes += table.resident_bytes();
            memory.rows += table.resident_rows();
            memory.unplanned_reads += table.unplanned_reads();
        });
        memory
    }

    /// Whether de-duplication is close to the ids it may hold. The door refuses events then: the window never shrinks.
    pub fn dedup_is_nearly_full(&self) -> bool {
        self.dedup.live_ids() >= self.dedup_ids_soft_max
    }
}

/// One number over all tables and message ids.
fn combine(digests: &[(u8, u64)], dedup: u128) -> u128 {
    let mut bytes = dedup.to_le_bytes().to_vec();
    for (table, digest) in digests {
        bytes.push(*table);
        bytes.extend_from_slice(&digest.to_le_bytes());
    }
    xxhash_rust::xxh3::xxh3_128(&bytes)
}
