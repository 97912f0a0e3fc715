//! The writing side of the feed: a state machine that does one thing at a time. It never holds the lock over I/O.

use super::chunk::Chunk;
use super::forget::{Forgetting, reaches_before, rewrite};
use super::segment::{Draft, Segment, file_name, first_of};
use super::{FeedError, Shared, State};
use model::id::Position;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// The name of a file that is being written anew.
const TEMPORARY: &str = "rewriting.tmp";

/// Writes the feed. There is one for each feed.
pub struct Writer {
    shared: Arc<Shared>,
    directory: PathBuf,
    /// Up to here items were written, or were never there.
    written: Position,
    /// What this writer knows of [`State::epoch`].
    epoch: u64,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, directory: PathBuf, written: Position) -> Self {
        Self { shared, directory, written, epoch: 0 }
    }

    /// Does one thing that is to be done: a block, a sync, a file that goes or is rewritten. `false` if there is nothing.
    ///
    /// After [`FeedError::DiskFull`] the same is tried again on the next call. After any other error the feed begins
    /// anew: what reached the disk is not known, and a failed sync is never repeated.
    pub fn step(&mut self) -> Result<bool, FeedError> {
        let outcome = self.try_step();
        match &outcome {
            Ok(_) | Err(FeedError::DiskFull) => {}
            Err(error) => {
                let mut state = self.shared.lock();
                if state.epoch == self.epoch {
                    tracing::error!(error = %error, "the feed begins anew; followers take a snapshot");
                    state.begin_anew();
                    drop(state);
                    self.shared.begun_anew();
                }
            }
        }
        outcome
    }

    /// Waits for something to do, or for so long. `false` once the feed was stopped.
    pub fn wait(&self, timeout: Duration) -> bool {
        let mut state = self.shared.lock();
        let block_bytes = self.shared.options.block_bytes;
        let busy = state.tail_bytes >= block_bytes || state.tail.back().is_some_and(|chunk| chunk.mark);
        state.waiting_writer = !busy;
        let idle = |state: &mut State| state.waiting_writer && !state.stopping && !state.sweep;
        let waited = self.shared.work.wait_timeout_while(state, timeout, idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.waiting_writer = false;
        !state.stopping
    }

    /// Lets time pass after a refusal, whatever there is to do. `false` once the feed was stopped.
    pub fn pause(&self, time: Duration) -> bool {
        let state = self.shared.lock();
        let waited = self.shared.work.wait_timeout_while(state, time, |state| !state.stopping);
        !waited.unwrap_or_else(PoisonError::into_inner).0.stopping
    }

    /// Whether the feed was stopped.
    pub fn is_stopped(&self) -> bool {
        self.shared.lock().stopping
    }

    fn try_step(&mut self) -> Result<bool, FeedError> {
        if self.sweep()? || self.write()? || self.retain()? {
            return Ok(true);
        }
        self.forget()
    }

    /// After the feed began anew: removes the files of the past.
    fn sweep(&mut self) -> Result<bool, FeedError> {
        let (epoch, start) = {
            let state = self.shared.lock();
            if !state.sweep {
                return Ok(false);
            }
            (state.epoch, state.start)
        };
        self.epoch = epoch;
        self.written = start;
        remove_all(&self.shared, &self.directory)?;
        let mut state = self.shared.lock();
        state.sweep &= state.epoch != epoch;
        Ok(true)
    }

    /// Writes a block if there is enough for one, or if a checkpoint or somebody to forget wants one.
    fn write(&mut self) -> Result<bool, FeedError> {
        let Some((chunks, active)) = self.take() else { return Ok(false) };
        let (Some(draft), Some(end)) = (Draft::of(&chunks), chunks.last()) else { return Ok(false) };
        let seals = &self.shared.seals;
        let mut segment = match active {
            Some(segment) => segment,
            None => {
                let path = self.directory.join(file_name(self.written));
                let identity = self.shared.lock().identity;
                Segment::create(seals, path, identity, self.written)?
            }
        };
        segment.append(seals, &draft)?;
        let full = segment.whole && segment.bytes >= self.shared.options.segment_bytes;
        if end.mark || full {
            segment.sync()?;
        }
        segment.closed = full;
        let (synced, complete) = (end.mark || full, draft.complete);
        let mut state = self.shared.lock();
        if state.epoch != self.epoch {
            // It began anew meanwhile: what was written is swept away.
            return Ok(true);
        }
        self.written = complete;
        for chunk in &chunks {
            state.tail_bytes = state.tail_bytes.saturating_sub(chunk.weight());
            state.tail.pop_front();
        }
        match state.segments.last_mut() {
            Some(last) if last.path == segment.path => *last = segment,
            _ => state.segments.push(segment),
        }
        if synced {
            state.synced = state.synced.max(complete);
        }
        drop(state);
        self.shared.room.notify_all();
        self.shared.settled.notify_all();
        Ok(true)
    }

    /// The chunks of the next block, and the file that is open.
    fn take(&mut self) -> Option<(Vec<Arc<Chunk>>, Option<Segment>)> {
        let state = self.shared.lock();
        if state.epoch != self.epoch {
            return None;
        }
        let mut bytes = 0;
        let mut chunks = Vec::new();
        for chunk in &state.tail {
            bytes += chunk.weight();
            chunks.push(Arc::clone(chunk));
            if chunk.mark || bytes >= self.shared.options.block_bytes {
                let active = state.segments.last().filter(|segment| !segment.closed).cloned();
                return Some((chunks, active));
            }
        }
        let wanted = state
            .forgetting
            .front()
            .is_some_and(|one| chunks.first().is_some_and(|chunk| chunk.first.position < one.before));
        let active = state.segments.last().filter(|segment| !segment.closed).cloned();
        wanted.then_some((chunks, active))
    }

    /// Lets the oldest file go if it is too old, or the feed too large, or the log does not reach back so far.
    fn retain(&mut self) -> Result<bool, FeedError> {
        let options = &self.shared.options;
        let path = {
            let mut state = self.shared.lock();
            let Some(oldest) = state.segments.first() else { return Ok(false) };
            let total: u64 = state.segments.iter().map(|segment| segment.bytes).sum();
            let floor = options.retention_age_us.map(|age_us| state.log_time.plus_us(-age_us));
            let too_old = floor.is_some_and(|floor| oldest.at().is_some_and(|at| at < floor));
            let goes = too_old
                || (total > options.retention_bytes && oldest.closed)
                || oldest.complete() <= state.log_first && state.log_first > Position(0);
            if state.epoch != self.epoch || !goes {
                return Ok(false);
            }
            if !oldest.closed {
                return self.close_active(state);
            }
            let (path, complete) = (oldest.path.clone(), oldest.complete());
            state.start = state.start.max(complete);
            state.segments.remove(0);
            path
        };
        let removed = self.shared.seals.env.disk.remove(&path);
        removed.map_err(FeedError::io("an old file of the feed could not be removed"))?;
        Ok(true)
    }

    /// Syncs and closes the open file, unless it ends within a frame: then the rest comes first.
    fn close_active(&self, state: std::sync::MutexGuard<'_, State>) -> Result<bool, FeedError> {
        let active = state.segments.last().filter(|segment| !segment.closed && segment.whole);
        let Some(active) = active.cloned() else { return Ok(false) };
        drop(state);
        active.sync()?;
        let mut state = self.shared.lock();
        if state.epoch != self.epoch {
            return Ok(true);
        }
        state.synced = state.synced.max(active.complete());
        if let Some(last) = state.segments.last_mut().filter(|last| last.path == active.path) {
            last.closed = true;
        }
        drop(state);
        self.shared.settled.notify_all();
        Ok(true)
    }

    /// Rewrites one file without somebody who is to be forgotten.
    fn forget(&mut self) -> Result<bool, FeedError> {
        let (forgetting, segment) = {
            let mut state = self.shared.lock();
            let Some(forgetting) = state.forgetting.front().cloned() else { return Ok(false) };
            let open_concerned = state
                .segments
                .last()
                .is_some_and(|last| !last.closed && reaches_before(last, forgetting.before));
            if open_concerned {
                return self.close_active(state);
            }
            let next = state.segments.iter().find(|segment| {
                segment.closed
                    && segment.head.first >= forgetting.done_before
                    && reaches_before(segment, forgetting.before)
            });
            let Some(segment) = next.cloned() else {
                state.forgotten = forgetting.ticket;
                state.forgetting.pop_front();
                drop(state);
                self.shared.settled.notify_all();
                return Ok(true);
            };
            (forgetting, segment)
        };
        let temporary = self.directory.join(TEMPORARY);
        let fresh = rewrite(&self.shared.seals, &segment, &forgetting, &temporary)?;
        let mut state = self.shared.lock();
        if state.epoch == self.epoch {
            self.replace(&mut state, &segment, fresh, &forgetting);
        }
        Ok(true)
    }

    fn replace(&self, state: &mut State, old: &Segment, fresh: Option<Segment>, forgetting: &Forgetting) {
        if let Some(fresh) = fresh
            && let Some(slot) = state.segments.iter_mut().find(|segment| segment.path == old.path)
        {
            *slot = fresh;
            state.stats.rewritten_segments += 1;
        }
        if let Some(front) = state.forgetting.front_mut().filter(|front| front.ticket == forgetting.ticket) {
            front.done_before = old.head.first.plus(1);
        }
    }
}

/// Removes every file of the feed but its identity.
fn remove_all(shared: &Shared, directory: &std::path::Path) -> Result<(), FeedError> {
    let disk = &shared.seals.env.disk;
    let names = disk.list(directory).map_err(FeedError::io("the feed's folder could not be listed"))?;
    for name in names.iter().filter(|name| first_of(name).is_some() || name.as_str() == TEMPORARY) {
        disk.remove(&directory.join(name))
            .map_err(FeedError::io("a file of the feed could not be removed"))?;
    }
    disk.sync_directory(directory).map_err(FeedError::io("the feed's folder could not be synced"))
}
