//! The applying side of the feed: packs what a frame leads to, and hands it over when the frame is applied.

use super::chunk::{Chunk, Packer};
use super::{Shared, State};
use crate::machine::{IssuedEffect, Subject};
use model::id::{Position, Timestamp};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// A frame's items are handed over in chunks of about this size.
const CHUNK_BYTES: usize = 1 << 20;

/// Where the applying side puts items. There is one for each feed.
pub struct Appender {
    pub(super) shared: Arc<Shared>,
    packer: Packer,
    /// Chunks of this frame that are full.
    full: Vec<Chunk>,
    /// Up to here every item was handed over.
    complete: Position,
    log_time: Timestamp,
}

impl Appender {
    pub(super) fn new(shared: Arc<Shared>, complete: Position, log_time: Timestamp) -> Self {
        Self { shared, packer: Packer::default(), full: Vec::new(), complete, log_time }
    }

    /// An event was accepted.
    #[inline]
    pub fn event(&mut self, position: Position, subject: Subject) {
        self.packer.event(position, subject);
    }

    /// An effect was issued.
    pub fn effect(&mut self, issued: &IssuedEffect) {
        self.packer.effect(issued.id, issued.effect.kind, issued.effect.subject, &issued.effect.body);
        if self.packer.len() >= CHUNK_BYTES {
            let chunk = self.packer.take(issued.issued_at, self.complete);
            self.full.push(chunk);
        }
    }

    /// The frame is applied: readers see its items from now on.
    pub fn end_frame(&mut self, complete: Position, log_time: Timestamp) {
        self.complete = complete;
        self.log_time = log_time;
        if !self.packer.is_empty() {
            let chunk = self.packer.take(log_time, complete);
            self.full.push(chunk);
        }
        if let Some(last) = self.full.last_mut() {
            last.whole = true;
            last.complete = complete;
        }
        let weight: usize = self.full.iter().map(Chunk::weight).sum();
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        if weight > 0 && !has_room(&state, weight, &shared) {
            state.waiting_writer = false;
            shared.work.notify_one();
            let crowded = |state: &mut State| !has_room(state, weight, &shared) && !state.stopping;
            let most = Duration::from_millis(shared.options.room_wait_ms);
            let waited = shared.room.wait_timeout_while(state, most, crowded);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.complete = complete;
        state.log_time = log_time;
        if weight == 0 {
            return;
        }
        if !has_room(&state, weight, &shared) {
            self.full.clear();
            state.begin_anew();
            drop(state);
            tracing::error!("the feed's disk is too slow: the feed begins anew; followers take a snapshot");
            shared.begun_anew();
            return;
        }
        for chunk in self.full.drain(..) {
            state.stats.items += u64::from(chunk.items);
            state.tail_bytes += chunk.weight();
            state.tail.push_back(Arc::new(chunk));
        }
        let wake_writer = state.waiting_writer && state.tail_bytes >= shared.options.block_bytes;
        let wake_readers = state.waiting_readers > 0;
        state.waiting_writer &= !wake_writer;
        drop(state);
        if wake_writer {
            shared.work.notify_one();
        }
        if wake_readers {
            shared.arrived.notify_all();
        }
    }

    /// A checkpoint begins here: what was handed over so far has to be synced before it is committed.
    pub fn mark(&mut self) {
        let chunk = Chunk::mark(self.complete, self.log_time);
        let mut state = self.shared.lock();
        if state.synced >= self.complete && state.tail.is_empty() {
            return;
        }
        state.tail_bytes += chunk.weight();
        state.tail.push_back(Arc::new(chunk));
        state.waiting_writer = false;
        drop(state);
        self.shared.work.notify_one();
    }
}

fn has_room(state: &State, weight: usize, shared: &Shared) -> bool {
    state.tail.is_empty() || state.tail_bytes + weight <= shared.options.waiting_bytes_max
}
