//! The checkpointing thread: writes what the applier encoded, merges runs, and lets the log go behind it.

use super::EngineOptions;
use super::apply::Work;
use super::mailbox::Mailbox;
use super::status::Status;
use crate::core::{Slice, Written, write_checkpoint};
use crate::feed::Feed;
use crate::machine::Machine;
use env::Env;
use eventlog::{LogHandle, SealStep};
use model::id::{Position, Term};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use store::{Store, StoreError};

/// How often merges get their share of the disk.
const MERGE_PACE: Duration = Duration::from_millis(50);
/// Waits between tries of a checkpoint or a merge that the disk refused.
const RETRY: Duration = Duration::from_secs(2);
/// How long a checkpoint waits for the feed to be synced. The feed is derived: state does not wait for it for ever.
const FEED_WAIT: Duration = Duration::from_secs(5);
/// How often the sealer looks for closed segments.
const SEAL_PACE: Duration = Duration::from_millis(100);

pub(crate) enum Job {
    Slice(Box<Slice>),
}

pub(crate) struct Checkpointer<M: Machine> {
    env: Env,
    store: Store,
    feed: Feed,
    inbox: Arc<Mailbox<Job>>,
    applier: Arc<Mailbox<Work<M>>>,
    status: Arc<Status>,
    merge_bytes_per_second: u64,
    term: Term,
    /// Where the current checkpoint stands.
    committed: Position,
    rewriting: Option<Rewriting>,
    /// Slices of the checkpoint in progress. Kept until it is durable, so that a full disk costs a retry, not rows.
    slices: Vec<Slice>,
    merge_credit_bytes: u64,
    merge_credit_ns: u64,
    /// After a merge failed: when the next one may begin.
    merge_again_ns: u64,
}

/// How far deleted rows are on their way out of the kept checkpoints.
struct Rewriting {
    /// What was deleted before this position.
    before: Position,
    /// The request for a merge of all runs.
    merge: u64,
    /// The first manifest without those rows, once there is one. All older ones have to go.
    clean_from: Option<u64>,
}

impl<M: Machine> Checkpointer<M> {
    pub(crate) fn new(
        env: Env,
        store: Store,
        feed: Feed,
        inbox: Arc<Mailbox<Job>>,
        applier: Arc<Mailbox<Work<M>>>,
        status: Arc<Status>,
        options: &EngineOptions,
    ) -> Self {
        let committed = store.manifest().map_or(Position(0), |manifest| manifest.position);
        let merge_credit_ns = env.clock.monotonic_ns();
        Self {
            env,
            store,
            feed,
            inbox,
            applier,
            status,
            merge_bytes_per_second: options.merge_bytes_per_second,
            term: options.term,
            committed,
            rewriting: None,
            slices: Vec::new(),
            merge_credit_bytes: 0,
            merge_credit_ns,
            merge_again_ns: 0,
        }
    }

    pub(crate) fn run(mut self) {
        loop {
            match self.inbox.pop(MERGE_PACE) {
                Some(Job::Slice(slice)) => {
                    let last = slice.finish.is_some();
                    self.slices.push(*slice);
                    if last {
                        self.write();
                        self.rewrite();
                    }
                }
                None if self.inbox.is_closed() => return,
                None => {
                    self.merge();
                    self.rewrite();
                }
            }
        }
    }

    fn write(&mut self) {
        if !self.wait_for_feed() {
            // The shard is stopping. The log covers what this checkpoint would have.
            return;
        }
        let answer = loop {
            match write_checkpoint(&self.store, self.term, &self.slices) {
                Ok(Written { position, log_needed_from }) => {
                    self.committed = position;
                    break Work::Committed(position, log_needed_from);
                }
                Err(error) if is_transient(&error) => {
                    tracing::warn!(error = %error, "the checkpoint is tried again; the log grows meanwhile");
                    // Closing the inbox ends the wait, and with it this checkpoint: the log has everything.
                    self.inbox.linger(usize::MAX, RETRY);
                    if self.inbox.is_closed() {
                        return;
                    }
                }
                Err(error) => break Work::CheckpointFailed(error.to_string()),
            }
        };
        self.slices.clear();
        self.applier.push_control(answer);
    }

    /// What the feed holds up to the checkpoint cannot be made again once the checkpoint is committed.
    /// `false` if the feed was stopped before it was synced.
    fn wait_for_feed(&self) -> bool {
        let finish = self.slices.last().and_then(|slice| slice.finish.as_ref());
        let Some(position) = finish.map(|finish| finish.progress.next_position) else { return true };
        let synced = self.feed.wait_synced(position, FEED_WAIT);
        if !synced && !self.feed.is_stopped() {
            tracing::warn!(
                position = position.0,
                "the feed's disk is slow; after a crash now, followers take a snapshot"
            );
            return true;
        }
        synced
    }

    /// Merges runs at the configured pace: sequential writes at a bounded rate leave the log's syncs alone.
    fn merge(&mut self) {
        let now_ns = self.env.clock.monotonic_ns();
        if now_ns < self.merge_again_ns {
            return;
        }
        let passed_ns = now_ns.saturating_sub(self.merge_credit_ns).min(1_000_000_000);
        self.merge_credit_ns = now_ns;
        self.merge_credit_bytes = self
            .merge_credit_bytes
            .saturating_add(self.merge_bytes_per_second / 1_000_000 * (passed_ns / 1_000))
            .min(self.merge_bytes_per_second);
        let budget = self.merge_credit_bytes;
        match self.store.merge_step(budget) {
            Ok(true) => self.merge_credit_bytes = 0,
            Ok(false) => {}
            Err(error) => {
                self.merge_again_ns = now_ns.saturating_add(RETRY.as_nanos() as u64);
                tracing::warn!(error = %error, "runs could not be merged; reads get slower, nothing is lost");
            }
        }
    }
}

impl<M: Machine> Checkpointer<M> {
    /// Takes deleted rows out of every kept checkpoint: first a checkpoint in which they are deleted, then a merge of
    /// all runs, then as many checkpoints as it takes to push the older ones out, which the applier is asked for.
    fn rewrite(&mut self) {
        let status = &self.status;
        let Some(rewriting) = &mut self.rewriting else {
            let wanted = status.rewrite_before.load(Relaxed);
            if wanted > status.rewritten_before.load(Relaxed) && self.committed.0 >= wanted {
                let merge = self.store.request_full_merge();
                self.rewriting = Some(Rewriting { before: self.committed, merge, clean_from: None });
            }
            return;
        };
        if self.store.full_merges() < rewriting.merge {
            return;
        }
        let stats = self.store.stats();
        let clean_from = *rewriting.clean_from.get_or_insert(stats.generation);
        let done = stats.oldest_kept_generation >= clean_from && stats.retired_objects == 0;
        status.checkpoint_wanted.store(!done, Relaxed);
        if done {
            status.rewritten_before.store(rewriting.before.0, Relaxed);
            self.rewriting = None;
        }
    }
}

/// Whether the same write may succeed later.
fn is_transient(error: &StoreError) -> bool {
    matches!(error, StoreError::DiskFull { .. } | StoreError::Io { .. })
}

/// The sealing thread: compresses closed segments of the log.
pub(crate) struct Sealer {
    pub(crate) log: LogHandle,
    pub(crate) status: Arc<Status>,
    /// Closed when the shard stops.
    pub(crate) checkpoints: Arc<Mailbox<Job>>,
}

impl Sealer {
    pub(crate) fn run(self) {
        loop {
            let pace = match self.log.seal_step() {
                Ok(SealStep::Idle) => SEAL_PACE,
                Ok(_) => Duration::ZERO,
                Err(error) => {
                    tracing::warn!(error = %error, "a closed segment could not be compressed; tried again");
                    SEAL_PACE * 50
                }
            };
            self.checkpoints.linger(usize::MAX, pace);
            if self.checkpoints.is_closed() || self.status.stopped().is_some() {
                return;
            }
        }
    }
}
