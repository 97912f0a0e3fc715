//! The applying thread: the one writer of a shard's state.

use super::EngineOptions;
use super::bodies::Bodies;
use super::checkpointer::Job;
use super::commit::{Commit, DurableFrame, Submission, answer};
use super::mailbox::Mailbox;
use super::stages::{Stages, Waiter};
use super::status::Status;
use crate::core::Core;
use crate::error::EngineError;
use crate::feed::Feed;
use crate::machine::Machine;
use crate::panics;
use env::Env;
use model::id::{Key, Position, Timestamp};
use model::record::{RecordKind, encode_record};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use store::TableId;

/// Rows encoded for a checkpoint between two frames: about half a millisecond of work.
const SLICE_ROWS: usize = 512;
/// How long the thread sleeps when there is nothing to do.
const IDLE: Duration = Duration::from_millis(20);
/// How often timers, memory and checkpoints are looked at.
const HOUSEKEEPING_NS: u64 = 10_000_000;

/// How long after the last checkpoint one may begin that somebody waits for.
const CHECKPOINT_SOON_MS: u64 = 250;

/// Something to run on the state.
pub(crate) type Inspect<M> = Box<dyn FnOnce(&mut Core<M>) + Send>;

/// What the applying thread is asked to do.
pub(crate) enum Work<M: Machine> {
    /// Durable frames, in order.
    Group(Vec<DurableFrame>),
    /// A read of the state between two groups.
    Inspect(Inspect<M>),
    /// Stored rows, read ahead after a restart.
    Warm(TableId, Vec<(Key, Vec<u8>)>),
    /// All of them have been handed over.
    Warmed,
    /// The last checkpoint is durable; the log before this position is not needed for recovery.
    Committed(Position, Position),
    /// The last checkpoint cannot be written, ever.
    CheckpointFailed(String),
}

pub(crate) struct Applier<M: Machine> {
    pub(crate) env: Env,
    pub(crate) directory: PathBuf,
    pub(crate) core: Core<M>,
    pub(crate) options: EngineOptions,
    pub(crate) inbox: Arc<Mailbox<Work<M>>>,
    pub(crate) committer: Arc<Mailbox<Commit>>,
    pub(crate) checkpointer: Arc<Mailbox<Job>>,
    pub(crate) status: Arc<Status>,
    pub(crate) bodies: Arc<Bodies>,
    /// Stopped when nothing more is applied.
    pub(crate) feed: Feed,
    pub(crate) checkpoint_started_ns: u64,
    pub(crate) housekeeping_ns: u64,
    pub(crate) tick_pending: bool,
}

impl<M: Machine> Applier<M> {
    pub(crate) fn run(mut self) {
        loop {
            let wait = if self.core.is_encoding() { Duration::ZERO } else { IDLE };
            match self.inbox.pop(wait) {
                Some(work) => {
                    if let Err(error) = self.work(work) {
                        self.fail(&error);
                        break;
                    }
                }
                None if self.inbox.is_closed() => break,
                None => {}
            }
            self.house_keeping();
        }
        if self.status.stopped().is_none() {
            self.last_checkpoint();
        }
        self.inbox.close();
        self.committer.close();
        self.checkpointer.close();
        self.feed.stop();
        while let Some(work) = self.inbox.pop(Duration::ZERO) {
            if let Work::Group(group) = work {
                for waiter in group.into_iter().flat_map(|durable| durable.waiters) {
                    (waiter.done)(Err(self.status.unavailable()));
                }
            }
        }
    }

    fn work(&mut self, work: Work<M>) -> Result<(), EngineError> {
        match work {
            Work::Group(group) => {
                let mut group = group.into_iter();
                while let Some(durable) = group.next() {
                    if let Err(error) = self.apply(durable) {
                        for waiter in group.flat_map(|durable| durable.waiters) {
                            (waiter.done)(Err(self.status.unavailable()));
                        }
                        return Err(error);
                    }
                    self.slice();
                }
            }
            Work::Inspect(inspect) => inspect(&mut self.core),
            Work::Warm(table, rows) => self.core.warm(table, &rows)?,
            Work::Warmed => self.core.end_warming(),
            Work::Committed(position, needed) => {
                self.core.checkpoint_committed();
                self.status.checkpoints.fetch_add(1, Relaxed);
                self.status.checkpoint_next.store(position.0, Relaxed);
                self.committer.push_control(Commit::Trim(needed));
            }
            Work::CheckpointFailed(reason) => {
                self.status.stop(reason);
                self.inbox.close();
            }
        }
        Ok(())
    }

    fn apply(&mut self, durable: DurableFrame) -> Result<(), EngineError> {
        let DurableFrame { frame, waiters, followed } = durable;
        let unplanned_before = if followed { self.core.memory().unplanned_reads } else { 0 };
        let start_ns = self.env.clock.monotonic_ns();
        let outcome = match panics::guard(|| self.core.apply_frame(&frame)) {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => {
                self.give_up(waiters, &error);
                return Err(error);
            }
            Err(message) => {
                let position = self.core.applying().unwrap_or(frame.first);
                if let Err(error) = panics::remember(&self.env, &self.directory, position) {
                    tracing::error!(error = %error, "the position of a panic could not be written down");
                }
                let error = EngineError::Panicked { position, message };
                self.give_up(waiters, &error);
                return Err(error);
            }
        };
        let applied_ns = self.env.clock.monotonic_ns();
        self.status.apply_ns.fetch_add(applied_ns.saturating_sub(start_ns), Relaxed);
        self.status.progress(self.core.progress());
        if frame.control {
            self.tick_pending = false;
        }
        let mut applied = Stages { apply_started_ns: start_ns, applied_ns, ..Stages::default() };
        if followed {
            applied.unplanned_reads = self.core.memory().unplanned_reads.saturating_sub(unplanned_before);
        }
        answer(waiters, frame.first, outcome, self.core.progress().next_position, &applied);
        self.bodies.give(frame.body);
        Ok(())
    }

    fn give_up(&self, waiters: Vec<Waiter>, error: &EngineError) {
        self.status.stop(error.to_string());
        for waiter in waiters {
            (waiter.done)(Err(self.status.unavailable()));
        }
    }

    fn fail(&self, error: &EngineError) {
        tracing::error!(error = %error, "the shard has stopped");
        self.status.stop(error.to_string());
        self.inbox.close();
    }

    /// Encodes one slice of the checkpoint in progress.
    fn slice(&mut self) {
        if !self.core.is_encoding() {
            return;
        }
        let start_ns = self.env.clock.monotonic_ns();
        let slice = self.core.checkpoint_slice(SLICE_ROWS);
        self.status.paused(self.env.clock.monotonic_ns().saturating_sub(start_ns));
        if self.checkpointer.push(Job::Slice(Box::new(slice)), 1).is_err() {
            self.status.stop("the checkpointing thread has stopped".to_owned());
            self.inbox.close();
        }
    }

    fn house_keeping(&mut self) {
        self.slice();
        let now_ns = self.env.clock.monotonic_ns();
        if now_ns.saturating_sub(self.housekeeping_ns) < HOUSEKEEPING_NS {
            return;
        }
        self.housekeeping_ns = now_ns;
        self.evict();
        self.refresh_status();
        self.tick();
        let soon = self.status.checkpoint_soon.load(Relaxed);
        let interval_ms = if soon { CHECKPOINT_SOON_MS } else { u64::MAX };
        let interval_ms = interval_ms.min(self.options.checkpoint_interval_ms);
        let due = now_ns.saturating_sub(self.checkpoint_started_ns) >= interval_ms * 1_000_000
            || self.core.records_since_checkpoint() >= self.options.checkpoint_records_max;
        let wanted = self.core.has_changed_since_checkpoint() || self.status.checkpoint_wanted.load(Relaxed);
        if due && self.core.can_checkpoint() && wanted {
            self.checkpoint_started_ns = now_ns;
            self.status.checkpoint_soon.store(false, Relaxed);
            self.core.begin_checkpoint();
        }
    }

    fn evict(&mut self) {
        let start_ns = self.env.clock.monotonic_ns();
        if self.core.evict_some(self.options.resident_bytes_max) > 0 {
            self.status.paused(self.env.clock.monotonic_ns().saturating_sub(start_ns));
        }
    }

    fn refresh_status(&mut self) {
        let memory = self.core.memory();
        self.status.resident_bytes.store(memory.row_bytes as u64, Relaxed);
        self.status.resident_rows.store(memory.rows as u64, Relaxed);
        self.status.dedup_bytes.store(memory.dedup_bytes as u64, Relaxed);
        self.status.unplanned_reads.store(memory.unplanned_reads, Relaxed);
        self.status.dedup_full.store(self.core.dedup_is_nearly_full(), Relaxed);
        self.status.outbox.store(self.core.outbox_len() as u64, Relaxed);
        self.status.timers.store(self.core.timers() as u64, Relaxed);
    }

    /// Lets time pass where a timer is due and nothing else moves log time.
    fn tick(&mut self) {
        if self.tick_pending || self.options.drive_log_time {
            return;
        }
        let now = Timestamp(self.env.clock.now_us());
        if self.core.next_timer().is_some_and(|due| due <= now) {
            let mut records = Vec::new();
            encode_record(&mut records, RecordKind::TICK, &[]);
            let tick = Submission {
                records,
                count: 1,
                control: true,
                log_time: None,
                done: Box::new(|_| {}),
                stages: None,
            };
            // A full queue means that records come anyway, and they move log time as well.
            self.tick_pending = self.committer.try_push(Commit::Records(tick), 0).is_ok();
        }
    }

    /// On a graceful stop: a checkpoint at the very end makes the next start instant.
    fn last_checkpoint(&mut self) {
        if !self.core.can_checkpoint() {
            // One is being written. The tail of the log covers the rest.
            self.wait_for_commit();
        }
        if self.core.can_checkpoint() && self.core.has_changed_since_checkpoint() {
            self.core.begin_checkpoint();
            self.wait_for_commit();
        }
    }

    fn wait_for_commit(&mut self) {
        const WAIT: Duration = Duration::from_secs(60);
        while !self.core.can_checkpoint() && self.status.stopped().is_none() {
            if self.core.is_encoding() {
                self.slice();
                continue;
            }
            let Some(work) = self.inbox.pop_control(WAIT) else {
                tracing::warn!(
                    "the last checkpoint takes too long; the next start replays the tail of the log"
                );
                return;
            };
            if self.work(work).is_err() {
                return;
            }
        }
    }
}
