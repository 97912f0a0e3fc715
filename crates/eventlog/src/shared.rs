//! What the writer, the readers and the background work of one open log share.

use crate::error::LogError;
use crate::options::{LogOptions, Retention};
use crate::scan::{IndexEntry, extend_index};
use crate::segment::{Content, DATA_OFFSET, Segment};
use crate::spare::Spare;
use crate::{LogStats, SegmentSummary, frame::Header};
use env::{DiskLock, Env};
use model::id::{Position, Timestamp};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) struct Shared {
    pub(crate) env: Env,
    /// The directory of the segments.
    pub(crate) directory: PathBuf,
    pub(crate) options: LogOptions,
    state: Mutex<State>,
    /// Signalled when the durable end moves or no more appends will come.
    grown: Condvar,
    /// Held by whoever replaces or removes segment files. Never taken by the writer.
    pub(crate) background: Mutex<()>,
    _lock: Box<dyn DiskLock>,
}

pub(crate) struct State {
    /// In order; the last one is being written.
    pub(crate) segments: Vec<Entry>,
    /// Trimmed, oldest first: their files are removed in the background.
    pub(crate) trimmed: Vec<Entry>,
    pub(crate) spares: Vec<Spare>,
    pub(crate) next_spare: u64,
    /// Counts the requests to forget what recycled files still hold.
    pub(crate) forget_requests: u64,
    /// Every record before this position is durable.
    pub(crate) durable: Position,
    /// No more appends will come.
    pub(crate) closed: bool,
    pub(crate) stats: LogStats,
}

/// A segment and what is known of its content.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) segment: Arc<Segment>,
    pub(crate) content: Content,
    /// Only of open segments.
    pub(crate) index: Vec<IndexEntry>,
    pub(crate) file_bytes: u64,
    /// Whether frames of an earlier use may still stand behind the end of the file.
    pub(crate) stale: bool,
    /// The requests to forget that had been made when its file was taken.
    pub(crate) forget_requests: u64,
    /// Sealing failed: it is left alone until the next start.
    pub(crate) seal_failed: bool,
}

/// Where to read on.
pub(crate) struct Place {
    pub(crate) segment: Arc<Segment>,
    /// A frame begins here, at or before the wanted position.
    pub(crate) offset: u64,
    pub(crate) end: u64,
}

impl Shared {
    pub(crate) fn new(
        env: Env,
        directory: PathBuf,
        options: LogOptions,
        lock: Box<dyn DiskLock>,
        segments: Vec<Entry>,
        spares: Vec<Spare>,
    ) -> Self {
        let durable = segments.last().map_or(options.start, |last| last.content.next);
        let next_spare = spares.iter().map(|spare| spare.number + 1).max().unwrap_or(0);
        let state = State {
            segments,
            trimmed: Vec::new(),
            spares,
            next_spare,
            forget_requests: 0,
            durable,
            closed: false,
            stats: LogStats::default(),
        };
        Self {
            env,
            directory,
            options,
            state: Mutex::new(state),
            grown: Condvar::new(),
            background: Mutex::new(()),
            _lock: lock,
        }
    }

    /// A panic of another holder cannot leave the state half changed: every change is made of finished values.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets readers see an append that is durable.
    pub(crate) fn publish(&self, headers: &[Header], bytes: u64) {
        let mut state = self.state();
        let state = &mut *state;
        if let Some(active) = state.segments.last_mut() {
            for header in headers {
                let offset = active.content.end_offset;
                extend_index(&mut active.index, IndexEntry { first: header.first, offset });
                active.content.add(header);
            }
            let records = active.content.next.0.saturating_sub(state.durable.0);
            state.durable = active.content.next;
            state.stats.appends += 1;
            state.stats.frames += headers.len() as u64;
            state.stats.records += records;
            state.stats.appended_bytes += bytes;
        }
        self.grown.notify_all();
    }

    /// Tells everybody who waits that no more appends will come.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.grown.notify_all();
    }

    pub(crate) fn wait_beyond(&self, position: Position, timeout: Duration) -> Position {
        let (state, _) = self
            .grown
            .wait_timeout_while(self.state(), timeout, |state| state.durable <= position && !state.closed)
            .unwrap_or_else(PoisonError::into_inner);
        state.durable
    }

    /// Until nobody is replacing or removing segment files.
    pub(crate) fn wait_for_background(&self) {
        drop(self.background.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether the log still reads from this version of a segment.
    pub(crate) fn is_current(&self, segment: &Arc<Segment>) -> bool {
        let state = self.state();
        let at = state.segments.partition_point(|entry| entry.segment.first < segment.first);
        state.segments.get(at).is_some_and(|entry| Arc::ptr_eq(&entry.segment, segment))
    }

    /// Finds the segment that holds a position. `None` at the durable end.
    pub(crate) fn locate(&self, position: Position) -> Result<Option<Place>, LogError> {
        let state = self.state();
        let first = state.segments.first().map_or(state.durable, |entry| entry.segment.first);
        if position < first {
            return Err(LogError::Trimmed { position, first });
        }
        if position > state.durable {
            return Err(LogError::Beyond { position, next: state.durable });
        }
        let behind = state.segments.partition_point(|entry| entry.segment.first <= position);
        let entry = behind.checked_sub(1).and_then(|at| state.segments.get(at));
        let Some(entry) = entry.filter(|entry| position < entry.content.next) else {
            return Ok(None);
        };
        let passed = entry.index.partition_point(|index| index.first <= position);
        let hint = passed.checked_sub(1).and_then(|at| entry.index.get(at));
        Ok(Some(Place {
            segment: Arc::clone(&entry.segment),
            offset: hint.map_or(DATA_OFFSET, |hint| hint.offset),
            end: entry.content.end_offset,
        }))
    }
}

impl State {
    /// Whether the segment's file holds what is to be forgotten: it must be left, and not be used again.
    pub(crate) fn must_forget(&self, entry: &Entry) -> bool {
        !entry.segment.is_sealed() && entry.stale && entry.forget_requests < self.forget_requests
    }

    pub(crate) fn first_position(&self) -> Position {
        self.segments.first().map_or(self.durable, |entry| entry.segment.first)
    }

    /// Sets the segments aside that lie wholly below a position. The newest record always stays, since the log's term
    /// and log time are known by it.
    pub(crate) fn trim(&mut self, below: Position) {
        let needed_from = match self.segments.last() {
            Some(active) if active.content.is_empty() => self.segments.len().saturating_sub(2),
            _ => self.segments.len().saturating_sub(1),
        };
        let whole = self.segments.partition_point(|entry| entry.content.next <= below);
        self.trimmed.extend(self.segments.drain(..whole.min(needed_from)));
    }

    /// The position below which age and size would allow to trim.
    pub(crate) fn retention_floor(&self, now: Timestamp, retention: &Retention) -> Position {
        let mut bytes: u64 = self.segments.iter().map(|entry| entry.file_bytes).sum();
        let mut floor = self.first_position();
        let sealed_or_full = self.segments.len().saturating_sub(1);
        for entry in self.segments.iter().take(sealed_or_full) {
            let too_old = retention.age_us.is_some_and(|age_us| now.since_us(entry.content.last_at) > age_us);
            let too_large = retention.bytes.is_some_and(|limit| bytes > limit);
            if !too_old && !too_large {
                break;
            }
            floor = entry.content.next;
            bytes = bytes.saturating_sub(entry.file_bytes);
        }
        floor
    }

    pub(crate) fn summaries(&self) -> Vec<SegmentSummary> {
        self.segments
            .iter()
            .map(|entry| SegmentSummary::of(&entry.segment, &entry.content, entry.file_bytes))
            .collect()
    }
}
