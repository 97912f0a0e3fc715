//! What goes, and when: files of the feed once followers may not read them any more, and what was made of them once the
//! log does not reach them any more.

use super::condense::Condensing;
use super::writer::{TEMPORARY, Writer};
use super::{FeedError, State};
use model::id::Position;
use std::path::Path;
use std::sync::MutexGuard;

/// Files of the history are joined up to this part of a feed's file.
const JOINED_PART: u64 = 4;

impl Writer {
    /// Lets the oldest file go if it is too old, or the feed too large, or the log does not reach back so far. As far as
    /// the log reaches, it is condensed before.
    pub(super) fn retain(&mut self) -> Result<bool, FeedError> {
        if let Some(condensing) = self.condensing.take() {
            return self.condense(condensing);
        }
        let shared = std::sync::Arc::clone(&self.shared);
        let mut state = shared.lock();
        if state.epoch != self.epoch {
            return Ok(false);
        }
        let log_first = state.log_first;
        if state.history.first().is_some_and(|oldest| oldest.complete() <= log_first) {
            let oldest = state.history.remove(0);
            state.history_start = state.history_start.max(oldest.complete());
            drop(state);
            return self.remove(&oldest.path);
        }
        let Some(oldest) = state.segments.first().filter(|_| self.oldest_goes(&state)) else {
            return Ok(false);
        };
        if !oldest.closed {
            return self.close_active(state);
        }
        if oldest.complete() > log_first {
            return self.begin_condensing(state);
        }
        let (path, complete) = (oldest.path.clone(), oldest.complete());
        let_go(&mut state, complete);
        // Older ones went before.
        state.history_start = state.history_start.max(complete);
        drop(state);
        self.remove(&path)
    }

    fn oldest_goes(&self, state: &State) -> bool {
        let options = &self.shared.options;
        let Some(oldest) = state.segments.first() else { return false };
        let total: u64 = state.segments.iter().map(|segment| segment.bytes).sum();
        let floor = options.retention_age_us.map(|age_us| state.log_time.plus_us(-age_us));
        let too_old = floor.is_some_and(|floor| oldest.at().is_some_and(|at| at < floor));
        too_old
            || (total > options.retention_bytes && oldest.closed)
            || oldest.complete() <= state.log_first && state.log_first > Position(0)
    }

    fn begin_condensing(&mut self, state: MutexGuard<'_, State>) -> Result<bool, FeedError> {
        let Some(source) = state.segments.first().cloned() else { return Ok(false) };
        let seals = &self.shared.seals;
        let small = self.shared.options.segment_bytes / JOINED_PART;
        let joined = state.history.last().filter(|last| {
            // Somebody who is being forgotten is taken out file by file: what is done must not be joined with what is
            // not.
            last.bytes < small && state.forgetting.is_empty() && seals.can_open(&last.head)
        });
        let joined = joined.cloned();
        drop(state);
        let temporary = self.directory.join(TEMPORARY);
        self.condensing = Some(Condensing::begin(seals, source, joined, &temporary)?);
        Ok(true)
    }

    /// Goes on with a file on its way into the history.
    fn condense(&mut self, mut condensing: Condensing) -> Result<bool, FeedError> {
        let seals = &self.shared.seals;
        match condensing.step(seals, &self.shared.options) {
            Ok(true) => {
                self.condensing = Some(condensing);
                Ok(true)
            }
            Ok(false) => self.put_condensed(condensing),
            Err(error @ (FeedError::Damaged { .. } | FeedError::NoKey { .. })) => {
                condensing.abandon(seals);
                self.lose(&condensing, &error)
            }
            Err(error) => {
                condensing.abandon(seals);
                Err(error)
            }
        }
    }

    /// The file is condensed: now it goes.
    fn put_condensed(&self, condensing: Condensing) -> Result<bool, FeedError> {
        let (source, joined) = (condensing.source.clone(), condensing.joined.clone());
        let fresh = condensing.finish(&self.shared.seals, &self.directory)?;
        let mut state = self.shared.lock();
        // Where a reader found damage meanwhile, what was joined is to be removed, and this is it.
        let joins = match (&joined, state.history.last()) {
            (Some(joined), Some(last)) => last.is(joined),
            (Some(_), None) => false,
            (None, _) => true,
        };
        if state.epoch != self.epoch || !joins {
            return Ok(true);
        }
        if joined.is_some() {
            state.history.pop();
        }
        state.history.push(fresh);
        let_go(&mut state, source.complete());
        drop(state);
        self.remove(&source.path)
    }

    /// A file that was to be condensed cannot be read. Followers did not need it any more, so only the history suffers.
    fn lose(&self, condensing: &Condensing, error: &FeedError) -> Result<bool, FeedError> {
        let until = condensing.behind_damage();
        let mut state = self.shared.lock();
        if state.epoch != self.epoch {
            return Ok(true);
        }
        state.lose_history(until, error);
        if until < condensing.source.complete() {
            return Ok(true);
        }
        let_go(&mut state, until);
        drop(state);
        self.remove(&condensing.source.path)
    }

    pub(super) fn remove(&self, path: &Path) -> Result<bool, FeedError> {
        let removed = self.shared.seals.env.disk.remove(path);
        removed.map_err(FeedError::io("an old file of the feed could not be removed"))?;
        Ok(true)
    }
}

/// Followers cannot read the oldest file any more.
fn let_go(state: &mut State, complete: Position) {
    state.start = state.start.max(complete);
    state.segments.remove(0);
}
