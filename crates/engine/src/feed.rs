//! The change feed of a shard: what was applied, in order, for followers outside the loop.
//!
//! An [`Item`] is an effect under its [`EffectId`], or an accepted event, whose item stands behind the effects of its
//! record ([`EVENT_ORDINAL`]) and says only whom it was about: the event itself is in the event log, at the same
//! position, so nothing is stored twice. The feed is derived. The applying side packs the items of a frame into a chunk
//! ([`Appender`]), which readers see at once; a [`Writer`], on a thread of its own in production and stepped by the
//! simulator, gathers chunks into blocks and files.
//!
//! Nothing is synced for an item. Before a checkpoint is committed, the feed is synced up to where it stands; what comes
//! later is made again by the replay that begins there. So after any crash the feed on disk, cut at the checkpoint, and
//! what the replay adds are all items, each once. Where that cannot be (the files were lost, the disk failed, or the
//! writer fell behind further than memory allows) the feed *begins anew*: [`Bounds::start`] moves, older cursors are
//! [`FeedError::Gone`], and it is counted. The applying side waits for a slow disk only a few milliseconds before that.
//!
//! **The feed never** slows the loop for a reader, knows what an effect means, or gives an item before its frame is
//! applied.
//!
//! Followers see what retention leaves them. Which events were accepted before that, and under which key each was
//! counted, stays known as far back as the log reaches ([`Feed::history`]): a new audience counts old events.

mod appender;
mod chunk;
mod condense;
mod cursor;
mod error;
mod forget;
mod head;
mod history;
mod open;
mod renew;
mod retain;
mod segment;
mod writer;

pub use appender::Appender;
pub use chunk::EVENT_ORDINAL;
pub use cursor::Cursor;
pub use error::FeedError;
pub use history::{HistoryBatch, HistoryItem, Kept, Part};
pub use open::{FeedReport, Feeding, open};
pub use renew::renew_identity;
pub use writer::Writer;

use chunk::Chunk;
use forget::Forgetting;
use model::id::{EffectId, Key, Position, Timestamp};
use segment::{Seals, Segment};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The folder of the feed in a data directory.
pub const FEED_FOLDER: &str = "feed";
/// Items that one read gives at most.
const READ_ITEMS_MAX: usize = 4_096;

/// One thing that was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its key: the same on every replay. Items come in this order.
    pub id: EffectId,
    /// Log time of the record that caused it.
    pub at: Timestamp,
    /// Whom it concerns, e.g. a profile.
    pub subject: Key,
    /// What it is.
    pub what: What,
}

/// What an item is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The event at this position was accepted.
    Event {
        /// The part of the subject that it was counted under, e.g. a node.
        part: Key,
        /// Which of the keys that the record names that is; see [`Subject::named`](crate::Subject::named).
        named: Option<u8>,
    },
    /// An effect was issued.
    Effect {
        /// Its kind; numbers belong to the machine.
        kind: u16,
        /// Encoded by the machine.
        body: Vec<u8>,
    },
}

/// A place between items: what stands at it or behind it is read next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The record.
    pub position: Position,
    /// The place among that record's items.
    pub ordinal: u32,
}

impl Place {
    /// Before every item of this record and of later ones.
    pub fn at(position: Position) -> Self {
        Self { position, ordinal: 0 }
    }

    /// Behind an item.
    pub fn after(id: EffectId) -> Self {
        match id.ordinal.checked_add(1) {
            Some(ordinal) => Self { position: id.position, ordinal },
            None => Self::at(id.position.plus(1)),
        }
    }
}

/// How much of the feed is kept, and in what portions it is written.
#[derive(Clone, Debug)]
pub struct FeedOptions {
    /// Items may go once they are so much older than log time, microseconds; `None` keeps them.
    pub retention_age_us: Option<i64>,
    /// The oldest items go while the feed takes more bytes on disk.
    pub retention_bytes: u64,
    /// A file is closed at this size.
    pub segment_bytes: u64,
    /// Chunks are joined into blocks of about this size.
    pub block_bytes: usize,
    /// What may wait in memory to be written. Beyond it the feed begins anew.
    pub waiting_bytes_max: usize,
    /// How long a frame may wait for room, at most.
    pub room_wait_ms: u64,
    /// Effects that stay known as long as the log reaches: the machine's to say, see
    /// [`Machine::HISTORY_KINDS`](crate::Machine::HISTORY_KINDS).
    pub history_kinds: &'static [u16],
}

impl Default for FeedOptions {
    fn default() -> Self {
        Self {
            retention_age_us: Some(7 * 24 * 3_600 * 1_000_000),
            retention_bytes: 4 << 30,
            segment_bytes: 32 << 20,
            block_bytes: 64 << 10,
            waiting_bytes_max: 16 << 20,
            room_wait_ms: 5,
            history_kinds: &[],
        }
    }
}

/// What can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The feed of which data directory.
    pub identity: u64,
    /// Items before this position are gone.
    pub start: Position,
    /// Of what was accepted before this position nothing is known: either the log does not reach back so far, or the
    /// feed began anew since.
    pub history: Position,
    /// Every item before this position can be read.
    pub complete: Position,
    /// Log time of the last frame.
    pub log_time: Timestamp,
}

/// Some items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// In order; may be empty.
    pub items: Vec<Item>,
    /// Where to read on.
    pub next: Place,
    /// There is nothing behind them for now.
    pub at_end: bool,
}

/// Figures of the feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedStats {
    /// Items since the start.
    pub items: u64,
    /// Times that the feed began anew since the start, so that older cursors are refused.
    pub gaps: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Files.
    pub segments: u64,
    /// Bytes of what is left of older items, beside [`Self::disk_bytes`].
    pub history_bytes: u64,
    /// Bytes that wait to be written.
    pub waiting_bytes: u64,
    /// Everything before this position is synced.
    pub synced: Position,
    /// Files that were rewritten without erased subjects since the start.
    pub rewritten_segments: u64,
}

/// The feed, for readers. Cheap to clone.
#[derive(Clone)]
pub struct Feed {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Items have come.
    arrived: Condvar,
    /// The writer has something to do.
    work: Condvar,
    /// The writer has made room.
    room: Condvar,
    /// Something was synced, forgotten, or begun anew.
    settled: Condvar,
    seals: Seals,
    options: FeedOptions,
}

#[derive(Default)]
struct State {
    identity: u64,
    start: Position,
    complete: Position,
    log_time: Timestamp,
    /// Not on disk yet, in order.
    tail: VecDeque<Arc<Chunk>>,
    tail_bytes: usize,
    /// On disk, oldest first. The last one may be open.
    segments: Vec<Segment>,
    /// What is known of older items, up to where the segments begin; oldest first.
    history: Vec<Segment>,
    /// Of what was before nothing is known.
    history_start: Position,
    /// Files that do not count any more, to be removed.
    lost: Vec<PathBuf>,
    /// Counts the times the feed began anew: what was at work before then is not what counts.
    epoch: u64,
    /// Files of the past are to be removed.
    sweep: bool,
    synced: Position,
    /// The log holds nothing before this position any more: neither may the feed, whose events are there.
    log_first: Position,
    waiting_readers: usize,
    waiting_writer: bool,
    stopping: bool,
    forgetting: VecDeque<Forgetting>,
    forget_tickets: u64,
    forgotten: u64,
    stats: FeedStats,
}

impl State {
    fn begin_anew(&mut self) {
        self.epoch += 1;
        self.start = self.complete;
        self.tail.clear();
        self.tail_bytes = 0;
        self.segments.clear();
        // What lay between is not known.
        self.history.clear();
        self.history_start = self.complete;
        self.sweep = true;
        self.stats.gaps += 1;
    }

    /// A file that ends here cannot be read, so nothing is known any more of what was before.
    fn lose_history(&mut self, until: Position, error: &FeedError) {
        tracing::error!(error = %error, from = until.0, "new audiences count what happened from here on");
        let kept = self.history.partition_point(|file| file.head.first < until);
        self.lost.extend(self.history.drain(..kept).map(|file| file.path));
        self.history_start = self.history_start.max(until);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everybody who waits that what they wait for may never come.
    fn begun_anew(&self) {
        self.work.notify_all();
        self.settled.notify_all();
        self.arrived.notify_all();
    }
}

/// Where a read finds what it is to give.
enum Found {
    /// Chunks in memory, and whether they are all that there are.
    Tail(Vec<Arc<Chunk>>, bool),
    Block(Box<Segment>, segment::BlockRef),
    Nothing,
}

impl Feed {
    /// What can be read now.
    pub fn bounds(&self) -> Bounds {
        let state = self.shared.lock();
        Bounds {
            identity: state.identity,
            start: state.start,
            history: state.history_start,
            complete: state.complete,
            log_time: state.log_time,
        }
    }

    /// Figures.
    pub fn stats(&self) -> FeedStats {
        let state = self.shared.lock();
        FeedStats {
            disk_bytes: state.segments.iter().map(|segment| segment.bytes).sum(),
            segments: state.segments.len() as u64,
            history_bytes: state.history.iter().map(|file| file.bytes).sum(),
            waiting_bytes: state.tail_bytes as u64,
            synced: state.synced,
            ..state.stats
        }
    }

    /// The cursor of a place.
    pub fn cursor(&self, next: Place) -> Cursor {
        Cursor { identity: self.shared.lock().identity, next }
    }

    /// The place of a cursor. [`FeedError::Gone`] if the feed cannot go on from there.
    pub fn place(&self, cursor: &Cursor) -> Result<Place, FeedError> {
        let state = self.shared.lock();
        if cursor.identity != state.identity {
            let why = "the cursor is of another data directory";
            return Err(FeedError::Gone { why, start: Place::at(state.start) });
        }
        check(&state, cursor.next).map(|()| cursor.next)
    }

    /// Reads some items from a place on. Never waits for more.
    pub fn read(&self, from: Place) -> Result<Batch, FeedError> {
        let (found, end, epoch) = {
            let state = self.shared.lock();
            check(&state, from)?;
            (find(&state, from), Place::at(state.complete), state.epoch)
        };
        let mut items = Vec::new();
        let read = match &found {
            Found::Nothing => Ok(()),
            Found::Tail(chunks, _) => chunks
                .iter()
                .try_for_each(|chunk| chunk.read(from, READ_ITEMS_MAX, &mut items))
                .map_err(|_| FeedError::Damaged { file: "(memory)".to_owned(), offset: 0 }),
            Found::Block(segment, block) => {
                segment.read(&self.shared.seals, block, from, READ_ITEMS_MAX, &mut items)
            }
        };
        if let Err(error) = read {
            if matches!(error, FeedError::Damaged { .. } | FeedError::NoKey { .. }) {
                self.give_up(epoch, &error);
            }
            return Err(error);
        }
        let full = items.len() >= READ_ITEMS_MAX;
        let next = match (&found, items.last()) {
            (Found::Nothing, _) => end,
            (Found::Tail(_, true), _) if !full => end,
            (_, Some(last)) => Place::after(last.id),
            // It held nothing from there on: its watermark is as far as it knows.
            (Found::Block(_, block), None) => Place::at(block.complete).max(from),
            (Found::Tail(..), None) => end,
        };
        Ok(Batch { items, next, at_end: next >= end })
    }

    /// Waits until there is an item from a place on, or for so long. Whether there is one.
    pub fn wait(&self, from: Place, timeout: Duration) -> bool {
        let mut state = self.shared.lock();
        state.waiting_readers += 1;
        let nothing =
            |state: &mut State| !has_items(state, from) && from >= Place::at(state.start) && !state.stopping;
        let waited = self.shared.arrived.wait_timeout_while(state, timeout, nothing);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.waiting_readers -= 1;
        has_items(&state, from)
    }

    /// Waits until the feed is synced up to a position, or for so long: before a checkpoint there is committed. `false`
    /// if it is not: the checkpoint may be committed nevertheless, the feed then begins anew after a crash.
    pub fn wait_synced(&self, position: Position, timeout: Duration) -> bool {
        let state = self.shared.lock();
        let unsettled = |state: &mut State| !is_synced(state, position) && !state.stopping;
        let waited = self.shared.settled.wait_timeout_while(state, timeout, unsettled);
        is_synced(&waited.unwrap_or_else(PoisonError::into_inner).0, position)
    }

    /// Whether the feed is synced up to a position, or will never be because it began anew behind it.
    pub fn is_synced(&self, position: Position) -> bool {
        is_synced(&self.shared.lock(), position)
    }

    /// The log holds nothing before this position any more.
    pub fn log_begins_at(&self, first: Position) {
        let mut state = self.shared.lock();
        state.log_first = state.log_first.max(first);
    }

    /// Whether it was stopped.
    pub fn is_stopped(&self) -> bool {
        self.shared.lock().stopping
    }

    /// Ends every wait. The writer stops after what it is at.
    pub fn stop(&self) {
        self.shared.lock().stopping = true;
        self.shared.arrived.notify_all();
        self.shared.work.notify_all();
        self.shared.room.notify_all();
        self.shared.settled.notify_all();
    }

    fn give_up(&self, epoch: u64, error: &FeedError) {
        let mut state = self.shared.lock();
        if state.epoch == epoch {
            tracing::error!(error = %error, "the feed begins anew; followers take a snapshot");
            state.begin_anew();
            drop(state);
            self.shared.begun_anew();
        }
    }
}

fn is_synced(state: &State, position: Position) -> bool {
    state.synced >= position || (state.epoch > 0 && state.start >= position)
}

fn has_items(state: &State, from: Place) -> bool {
    let last = state.tail.iter().rev().find_map(|chunk| chunk.last).map(Place::of);
    let stored = || {
        let blocks = state.segments.iter().rev().flat_map(|segment| segment.blocks.iter().rev());
        blocks.filter(|block| block.items > 0).map(|block| block.last).next()
    };
    last.or_else(stored).is_some_and(|last| last >= from)
}

fn check(state: &State, from: Place) -> Result<(), FeedError> {
    let start = Place::at(state.start);
    if from < start {
        return Err(FeedError::Gone { why: "what comes next is older than what is kept", start });
    }
    if from.position > state.complete || (from.position == state.complete && from.ordinal > 0) {
        return Err(FeedError::Gone { why: "the cursor is ahead of this server: it was set back", start });
    }
    Ok(())
}

fn find(state: &State, from: Place) -> Found {
    let index = state
        .segments
        .partition_point(|segment| segment.blocks.last().is_some_and(|block| block.last < from));
    for segment in state.segments.iter().skip(index) {
        if let Some(block) = segment.block_from(from) {
            return Found::Block(Box::new(segment.handle()), *block);
        }
    }
    let index = state.tail.partition_point(|chunk| chunk.last.map_or(chunk.first, Place::of) < from);
    let mut items = 0;
    let mut chunks = Vec::new();
    let mut waiting = state.tail.iter().skip(index).filter(|chunk| chunk.items > 0);
    while items < READ_ITEMS_MAX {
        let Some(chunk) = waiting.next() else { break };
        items += chunk.items as usize;
        chunks.push(Arc::clone(chunk));
    }
    if chunks.is_empty() { Found::Nothing } else { Found::Tail(chunks, waiting.next().is_none()) }
}

#[cfg(test)]
mod tests;
