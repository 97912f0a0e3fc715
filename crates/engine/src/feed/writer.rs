//! The writing side of the feed: a state machine that does one thing at a time. It never holds the lock over I/O.

use super::chunk::Chunk;
use super::condense::Condensing;
use super::forget::{Forgetting, reaches_before, rewrite};
use super::head::{Holds, is_file_name};
use super::segment::{Draft, Segment};
use super::{FeedError, Shared, State};
use model::id::Position;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// The name of a file that is being written anew.
pub(super) const TEMPORARY: &str = "rewriting.tmp";

/// Writes the feed. There is one for each feed.
pub struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) directory: PathBuf,
    /// Up to here items were written, or were never there.
    written: Position,
    /// What this writer knows of [`State::epoch`].
    pub(super) epoch: u64,
    /// A file of the feed on its way into the history.
    pub(super) condensing: Option<Condensing>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, directory: PathBuf, written: Position) -> Self {
        Self { shared, directory, written, epoch: 0, condensing: None }
    }

    /// Does one thing that is to be done: a block, a sync, a block of a file that is condensed, a file that goes or is
    /// rewritten. `false` if there is nothing.
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

    /// After the feed began anew: removes the files of the past. And files of the history that were found damaged.
    fn sweep(&mut self) -> Result<bool, FeedError> {
        let (epoch, start) = {
            let mut state = self.shared.lock();
            if !state.sweep {
                let Some(path) = state.lost.pop() else { return Ok(false) };
                drop(state);
                return self.remove(&path);
            }
            state.lost.clear();
            (state.epoch, state.start)
        };
        self.condensing = None;
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
                let path = self.directory.join(Holds::Items.file_name(self.written));
                let identity = self.shared.lock().identity;
                Segment::create(seals, path, Holds::Items, identity, self.written)?
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

    /// Syncs and closes the open file, unless it ends within a frame: then the rest comes first.
    pub(super) fn close_active(&self, state: std::sync::MutexGuard<'_, State>) -> Result<bool, FeedError> {
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
            // Those of the history begin before those of the feed.
            let next = state.history.iter().chain(&state.segments).find(|segment| {
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
        let (seals, kinds) = (&self.shared.seals, self.shared.options.history_kinds);
        let rewritten = rewrite(seals, &segment, &forgetting, kinds, &temporary);
        let mut state = self.shared.lock();
        match rewritten {
            _ if state.epoch != self.epoch => {}
            Ok(fresh) => self.replace(&mut state, &segment, fresh, &forgetting),
            // What cannot be read cannot be rewritten: it goes, as it does where a reader meets it.
            Err(error @ (FeedError::HistoryDamaged { .. } | FeedError::NoKey { .. }))
                if segment.head.holds == Holds::History =>
            {
                state.lose_history(segment.complete(), &error);
            }
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    fn replace(&self, state: &mut State, old: &Segment, fresh: Option<Segment>, forgetting: &Forgetting) {
        let mut files = state.history.iter_mut().chain(&mut state.segments);
        if let Some(fresh) = fresh
            && let Some(slot) = files.find(|segment| segment.is(old))
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
fn remove_all(shared: &Shared, directory: &Path) -> Result<(), FeedError> {
    let disk = &shared.seals.env.disk;
    let names = disk.list(directory).map_err(FeedError::io("the feed's folder could not be listed"))?;
    for name in names.iter().filter(|name| is_file_name(name) || name.as_str() == TEMPORARY) {
        disk.remove(&directory.join(name))
            .map_err(FeedError::io("a file of the feed could not be removed"))?;
    }
    disk.sync_directory(directory).map_err(FeedError::io("the feed's folder could not be synced"))
}
