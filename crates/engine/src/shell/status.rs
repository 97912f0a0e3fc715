//! What the threads of a shard tell each other and the outside: counters and whether it takes writes.

use crate::core::progress::Progress;
use crate::error::SubmitError;
use model::id::Position;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::sync::{Mutex, PoisonError};

/// Live figures of a shard. Plain counters: reading them costs nothing and may be a moment behind.
#[derive(Debug, Default)]
pub struct Status {
    /// Position after the last durable record.
    pub durable_next: AtomicU64,
    /// Position after the last applied record.
    pub applied_next: AtomicU64,
    /// Log time of the last applied record, microseconds.
    pub log_time_us: AtomicI64,
    /// Records applied, duplicates left out, since position 0.
    pub applied: AtomicU64,
    /// Duplicates dropped since position 0.
    pub duplicates: AtomicU64,
    /// Records skipped since position 0.
    pub skipped: AtomicU64,
    /// Effects issued since position 0.
    pub effects: AtomicU64,
    /// Effects in the outbox.
    pub outbox: AtomicU64,
    /// Timers that wait.
    pub timers: AtomicU64,
    /// Appends since the start.
    pub appends: AtomicU64,
    /// Time in append and sync, nanoseconds.
    pub append_ns: AtomicU64,
    /// Time in apply, nanoseconds.
    pub apply_ns: AtomicU64,
    /// Time spent letting groups grow, nanoseconds.
    pub lingered_ns: AtomicU64,
    /// Time the applying thread spent on checkpoint slices, nanoseconds.
    pub slice_ns: AtomicU64,
    /// Longest single stop of the applying thread for a checkpoint or an eviction, nanoseconds.
    pub pause_max_ns: AtomicU64,
    /// Checkpoints committed since the start.
    pub checkpoints: AtomicU64,
    /// Position of the last committed checkpoint.
    pub checkpoint_next: AtomicU64,
    /// What was deleted before this position is to go from every kept checkpoint, as asked by
    /// [`super::Engine::rewrite_checkpoints`].
    pub rewrite_before: AtomicU64,
    /// What was deleted before this position is in no kept checkpoint and no file of one any more. 0 after a start.
    pub rewritten_before: AtomicU64,
    /// A checkpoint is wanted although nothing may have changed: it pushes an older one out.
    pub(crate) checkpoint_wanted: AtomicBool,
    /// Somebody waits for a checkpoint: the next one need not wait for its interval.
    pub(crate) checkpoint_soon: AtomicBool,
    /// Bytes of rows in memory.
    pub resident_bytes: AtomicU64,
    /// Rows in memory.
    pub resident_rows: AtomicU64,
    /// Bytes that de-duplication holds in memory.
    pub dedup_bytes: AtomicU64,
    /// Rows that prefetching missed.
    pub unplanned_reads: AtomicU64,
    /// The disk is full, or de-duplication is: no writes for now.
    pub writes_refused: AtomicBool,
    /// De-duplication is close to its limit.
    pub dedup_full: AtomicBool,
    stopped: AtomicBool,
    reason: Mutex<Option<String>>,
}

impl Status {
    /// Why the shard has stopped for good, if it has.
    pub fn stopped(&self) -> Option<String> {
        if !self.stopped.load(Relaxed) {
            return None;
        }
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn stop(&self, reason: String) {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
        self.stopped.store(true, Relaxed);
    }

    pub(crate) fn unavailable(&self) -> SubmitError {
        let reason = self.stopped().unwrap_or_else(|| "the shard is stopping".to_owned());
        SubmitError::Unavailable { reason, retry_after_s: super::commit::RETRY_UNAVAILABLE_S }
    }

    pub(crate) fn appended(&self, from_ns: u64, to_ns: u64, next: Position) {
        self.appends.fetch_add(1, Relaxed);
        self.append_ns.fetch_add(to_ns.saturating_sub(from_ns), Relaxed);
        self.durable_next.store(next.0, Relaxed);
    }

    pub(crate) fn progress(&self, progress: &Progress) {
        self.applied_next.store(progress.next_position.0, Relaxed);
        self.log_time_us.store(progress.log_time.0, Relaxed);
        self.applied.store(progress.applied, Relaxed);
        self.duplicates.store(progress.duplicates, Relaxed);
        self.skipped.store(progress.skipped, Relaxed);
        self.effects.store(progress.effects, Relaxed);
    }

    pub(crate) fn paused(&self, ns: u64) {
        self.slice_ns.fetch_add(ns, Relaxed);
        self.pause_max_ns.fetch_max(ns, Relaxed);
    }
}
