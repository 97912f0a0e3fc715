//! One shard as a plain state machine: frames in, replies, effects and view differences out. No thread, no waiting.
//!
//! The shell in [`crate::shell`] drives it in production, the simulator steps it from a seed, and
//! `throughline replay` runs it over a log without any shell: there is one way to apply a record.

mod checkpoint;
pub(crate) mod progress;
mod system;

pub use checkpoint::{Finish, Memory, Slice, Written, write_checkpoint};
pub use system::OUTBOX_UNCONSUMED_MAX;

use crate::error::EngineError;
use crate::feed;
use crate::machine::{AsOf, Effect, IssuedEffect, Machine, Outcome};
use checkpoint::Checkpointing;
use eventlog::Frame;
use model::codec::Decoder;
use model::id::{EffectId, Key, Position, Timestamp};
use model::record::{Record, RecordKind, decode_records};
use progress::{CONSUMERS_MAX, Progress};
use std::collections::BTreeSet;
use std::sync::Arc;
use store::{AnyTable, DedupWindow, RowSource, StoreError, TableId, Tables, Wanted};
use system::System;

/// Records that are prefetched and published together. A query waits for one slice at most.
const SLICE_RECORDS: usize = 512;
/// Records whose rows are read together: few enough that the rows are still in the cache when they are applied.
const TOUCHED_RECORDS: usize = 64;
/// Rounds of prefetching: a record can follow this many pointers before rows are read on the spot.
const PREFETCH_ROUNDS_MAX: usize = 4;
/// Timers that fire before one frame; the rest fire before the next, which the shell appends at once.
pub const TIMERS_PER_FRAME_MAX: usize = 1_024;

/// The place among its record's effects of the first one that says that somebody was erased ([`Machine::ERASING_KIND`]).
///
/// A replay of a log that was rewritten since may issue fewer effects before it, or others: those of whoever was erased.
/// So what must come out the same does not depend on them. The number is beyond what one record leads to, the outbox drops
/// what is older and of another kind, and the chain over effects begins again.
pub const ERASING_ORDINAL: u32 = 1 << 30;

/// What applying a frame leads to, for whoever waits for it.
#[derive(Debug, Default)]
pub struct FrameOutcome {
    /// Replies of the records that answer, by their index in the frame.
    pub replies: Vec<(u32, Vec<u8>)>,
    /// Records dropped because they were seen before.
    pub duplicates: u32,
    /// Effects issued.
    pub effects: u32,
}

/// Reads many rows that are not in memory. The shell gives one that reads in parallel.
pub trait ReadRows: Send {
    /// One answer per row asked for, in order.
    fn read_rows(&mut self, source: &Arc<dyn RowSource>, rows: &[(TableId, Key)]) -> Vec<RowRead>;
}

/// A row as it was found, or why it was not.
pub type RowRead = Result<Option<Vec<u8>>, StoreError>;

/// Reads one row after the other.
pub struct ReadInOrder;

impl ReadRows for ReadInOrder {
    fn read_rows(&mut self, source: &Arc<dyn RowSource>, rows: &[(TableId, Key)]) -> Vec<RowRead> {
        rows.iter().map(|(table, key)| source.read(*table, *key)).collect()
    }
}

/// One shard.
pub struct Core<M: Machine> {
    machine: M,
    view: Arc<M::View>,
    state: M::State,
    system: System,
    dedup: DedupWindow,
    source: Arc<dyn RowSource>,
    reader: Box<dyn ReadRows>,
    progress: Progress,
    skips: BTreeSet<Position>,
    /// The record being applied: what a panic is blamed on.
    applying: Option<Position>,
    /// Ordinal of the next effect of `applying`.
    ordinal: u32,
    checkpointing: Checkpointing,
    /// Where the last checkpoint began.
    checkpointed_next: Position,
    /// Message ids from which on the door refuses events.
    dedup_ids_soft_max: u64,
    /// Where followers learn of what is applied. None in a replay that only verifies.
    feed: Option<feed::Appender>,
}

impl<M: Machine> Core<M> {
    /// An empty shard at position 0 whose rows can be read from `source`.
    pub fn new(machine: M, source: Arc<dyn RowSource>, dedup: DedupWindow) -> Self {
        let view = Arc::new(machine.empty_view());
        let state = machine.empty_state();
        let mut core = Self {
            machine,
            view,
            state,
            system: System::new(),
            dedup,
            source,
            reader: Box::new(ReadInOrder),
            progress: Progress::default(),
            skips: BTreeSet::new(),
            applying: None,
            ordinal: 0,
            checkpointing: Checkpointing::Idle,
            checkpointed_next: Position(0),
            dedup_ids_soft_max: u64::MAX,
            feed: None,
        };
        core.attach(true);
        core
    }

    fn attach(&mut self, complete: bool) {
        let source = &self.source;
        visit_all(&mut self.state, &mut self.system, &mut |table| table.attach(Arc::clone(source), complete));
    }

    /// Takes up the progress and digests that a checkpoint recorded. Rows stay on disk.
    pub fn restore(&mut self, metadata: &[u8]) -> Result<(), EngineError> {
        let (progress, digests) = Progress::decode(metadata).map_err(EngineError::Metadata)?;
        self.attach(false);
        visit_all(&mut self.state, &mut self.system, &mut |table| {
            table.set_digest(digests.get(&table.id().0).copied().unwrap_or(0));
        });
        self.checkpointed_next = progress.next_position;
        self.progress = progress;
        Ok(())
    }

    /// Begins to read every row into memory, so that no later record has to ask the disk whether one exists. Returns
    /// the tables to give to [`Core::warm`]; what is scanned must be the checkpoint as it is now, or newer.
    pub fn begin_warming(&mut self) -> Vec<TableId> {
        let mut cold = Vec::new();
        visit_all(&mut self.state, &mut self.system, &mut |table| {
            table.begin_warming();
            if !table.is_complete() {
                cold.push(table.id());
            }
        });
        cold
    }

    /// Takes in stored rows of one table. Rows that memory knows are left alone: they are newer.
    pub fn warm(&mut self, table: TableId, rows: &[(Key, Vec<u8>)]) -> Result<(), EngineError> {
        let mut failed = None;
        visit_all(&mut self.state, &mut self.system, &mut |candidate| {
            if candidate.id() != table {
                return;
            }
            for (key, bytes) in rows {
                if let Err(error) = candidate.warm(*key, bytes) {
                    failed.get_or_insert(error);
                }
            }
        });
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Every row has been given to [`Core::warm`].
    pub fn end_warming(&mut self) {
        visit_all(&mut self.state, &mut self.system, &mut |table| table.end_warming());
    }

    /// Tables whose rows [`Core::load_row`] must see after [`Core::restore`].
    pub fn tables_to_load(&self) -> Vec<TableId> {
        let own = [system::TIMERS, system::OUTBOX];
        own.into_iter().chain(M::VIEW_TABLES.iter().copied()).collect()
    }

    /// Puts a stored row into the indexes and views that are derived from it.
    pub fn load_row(&mut self, table: TableId, key: Key, row: &[u8]) -> Result<(), EngineError> {
        if table == system::TIMERS || table == system::OUTBOX {
            self.system.load_index(table, key, row).map_err(EngineError::Metadata)
        } else {
            self.machine.load_view(&self.view, table, key, row);
            Ok(())
        }
    }

    /// Message ids from which on [`Core::dedup_is_nearly_full`].
    pub fn set_dedup_ids_soft_max(&mut self, ids: u64) {
        self.dedup_ids_soft_max = ids;
    }

    /// What is applied from now on is handed to a feed, which must stand where the state stands.
    pub fn set_feed(&mut self, feed: feed::Appender) {
        self.feed = Some(feed);
    }

    /// Records that are to be treated as absent.
    pub fn set_skips(&mut self, skips: BTreeSet<Position>) {
        self.skips = skips;
    }

    /// How far the shard has come.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The point that the state reflects.
    pub fn as_of(&self) -> AsOf {
        AsOf { next_position: self.progress.next_position, log_time: self.progress.log_time }
    }

    /// What other threads read.
    pub fn view(&self) -> Arc<M::View> {
        Arc::clone(&self.view)
    }

    /// When the earliest timer is due, in log time.
    pub fn next_timer(&self) -> Option<Timestamp> {
        self.system.next_due()
    }

    /// Timers that wait.
    pub fn timers(&self) -> usize {
        self.system.timers()
    }

    /// Effects in the outbox.
    pub fn outbox_len(&self) -> usize {
        self.system.outbox_len()
    }

    /// Effects after `after`, oldest first.
    pub fn effects_after(&mut self, after: Option<EffectId>, limit: usize) -> Vec<IssuedEffect> {
        self.system.effects_after(after, limit)
    }

    /// The record that was being applied when a panic struck.
    pub fn applying(&self) -> Option<Position> {
        self.applying
    }

    /// Reads rows ahead with this from now on.
    pub fn set_reader(&mut self, reader: Box<dyn ReadRows>) {
        self.reader = reader;
    }

    /// Applies a durable frame. After an error the shard must stop: its state may miss a row.
    pub fn apply_frame(&mut self, frame: &Frame) -> Result<FrameOutcome, EngineError> {
        if frame.first != self.progress.next_position {
            return Err(EngineError::Gap { expected: self.progress.next_position, found: frame.first });
        }
        let mut outcome = FrameOutcome::default();
        let effects_before = self.progress.effects;
        self.progress.log_time = self.progress.log_time.max(frame.received_at);
        self.fire_timers(frame.first)?;
        let mut records = Vec::with_capacity(frame.count as usize);
        for record in decode_records(&frame.body, frame.first, frame.received_at) {
            let position = frame.first.plus(records.len() as u64);
            records.push(record.map_err(|error| EngineError::Record { position, error })?);
        }
        let mut index = 0;
        for slice in records.chunks(SLICE_RECORDS) {
            self.prefetch_records(slice)?;
            let mut changes = Vec::new();
            for close in slice.chunks(TOUCHED_RECORDS) {
                self.touch(close);
                for record in close {
                    self.apply_record(record, index, &mut outcome, &mut changes)?;
                    index += 1;
                }
            }
            self.take_fault()?;
            self.machine.publish(&self.view, changes, self.as_of());
        }
        self.progress.next_position = frame.first.plus(u64::from(frame.count));
        outcome.effects = (self.progress.effects - effects_before) as u32;
        if let Some(feed) = &mut self.feed {
            feed.end_frame(self.progress.next_position, self.progress.log_time);
        }
        Ok(outcome)
    }

    /// Answers a query from the state as it is now.
    pub fn query(&mut self, query: M::Query) -> Result<M::Answer, EngineError> {
        for _ in 0..PREFETCH_ROUNDS_MAX {
            let mut wanted = Wanted::default();
            self.machine.wanted_by_query(&self.state, &query, &mut wanted);
            if !self.fetch(wanted)? {
                break;
            }
        }
        let as_of = self.as_of();
        let answer = self.machine.query(&mut self.state, query, as_of);
        self.take_fault()?;
        Ok(answer)
    }

    /// Brings what the records will touch into the processor's cache.
    fn touch(&self, records: &[Record<'_>]) {
        let keys = records.iter().filter_map(|record| self.machine.dedup_key(record));
        std::hint::black_box((self.dedup.touch(keys), self.machine.touch(&self.state, records)));
    }

    fn apply_record(
        &mut self,
        record: &Record<'_>,
        index: u32,
        frame: &mut FrameOutcome,
        changes: &mut Vec<M::Change>,
    ) -> Result<(), EngineError> {
        self.begin(record.position);
        if self.skips.contains(&record.position) {
            self.progress.skipped += 1;
            self.progress.next_position = record.position.plus(1);
            return Ok(());
        }
        if record.kind < RecordKind::EVENT {
            self.apply_own(record)?;
        } else {
            if let Some(key) = self.machine.dedup_key(record)
                && self.dedup.check_and_insert(key, self.progress.log_time)?
            {
                self.progress.duplicates += 1;
                frame.duplicates += 1;
                self.progress.next_position = record.position.plus(1);
                return Ok(());
            }
            let mut outcome = Outcome::default();
            self.machine.apply(&mut self.state, record, &mut outcome);
            if let Some(reply) = outcome.reply.take() {
                frame.replies.push((index, reply));
            }
            let subject = outcome.subject;
            self.absorb(outcome, changes);
            if let (Some(subject), Some(feed)) = (subject, &mut self.feed) {
                feed.event(record.position, subject);
            }
        }
        self.progress.applied += 1;
        self.progress.next_position = record.position.plus(1);
        Ok(())
    }

    /// The engine's own records. The shell writes them; a malformed one is a log of another version.
    fn apply_own(&mut self, record: &Record<'_>) -> Result<(), EngineError> {
        let unreadable = |error| EngineError::Record { position: record.position, error };
        let mut body = Decoder::new(record.body);
        match record.kind {
            RecordKind::RULES_CHANGED => {
                let version = body.u32().map_err(unreadable)?;
                if version > M::RULES_VERSION {
                    return Err(EngineError::RulesFromTheFuture { log: version, program: M::RULES_VERSION });
                }
                self.progress.rules_version = version;
            }
            RecordKind::ACKNOWLEDGED => {
                let consumer = body.text().map_err(unreadable)?.to_owned();
                let position = Position(body.u64().map_err(unreadable)?);
                if self.progress.consumers.len() < CONSUMERS_MAX
                    || self.progress.consumers.contains_key(&consumer)
                {
                    let delivered = self.progress.consumers.entry(consumer).or_default();
                    *delivered = position.max(*delivered);
                }
                self.system.acknowledged(&self.progress.consumers);
            }
            // Skips were read before anything was applied; a tick has done its work by moving log time.
            _ => {}
        }
        Ok(())
    }

    fn fire_timers(&mut self, at: Position) -> Result<(), EngineError> {
        let now = self.progress.log_time;
        if self.system.next_due().is_none_or(|due| due > now) {
            return Ok(());
        }
        self.prefetch_timers(now)?;
        self.begin(at);
        let mut changes = Vec::new();
        for _ in 0..TIMERS_PER_FRAME_MAX {
            let Some((due, subject)) = self.system.take_due(now) else { break };
            let mut outcome = Outcome::default();
            self.machine.timer(&mut self.state, subject, due, at, &mut outcome);
            self.absorb(outcome, &mut changes);
        }
        self.take_fault()?;
        self.machine.publish(&self.view, changes, self.as_of());
        Ok(())
    }

    /// Effects of the timers that fire before a record and of the record itself share one count.
    fn begin(&mut self, position: Position) {
        if self.applying != Some(position) {
            self.applying = Some(position);
            self.ordinal = 0;
        }
    }

    fn absorb(&mut self, outcome: Outcome<M::Change>, changes: &mut Vec<M::Change>) {
        for effect in outcome.effects {
            self.issue(effect);
        }
        for (subject, due) in outcome.timers {
            self.system.set_timer(subject, due);
        }
        changes.extend(outcome.changes);
    }

    fn issue(&mut self, effect: Effect) {
        let position = self.applying.unwrap_or_default();
        let erases = M::ERASING_KIND == Some(effect.kind);
        if erases {
            self.ordinal = self.ordinal.max(ERASING_ORDINAL);
            self.progress.effects_digest = 0;
            self.system.forget_before_erasure(effect.kind);
        }
        let id = EffectId { position, ordinal: self.ordinal };
        self.ordinal += 1;
        self.progress.effects += 1;
        self.progress.effects_digest = chain(self.progress.effects_digest, id, &effect);
        let consumed = !self.progress.consumers.is_empty();
        let issued = IssuedEffect { id, issued_at: self.progress.log_time, effect };
        if let Some(feed) = &mut self.feed {
            feed.effect(&issued);
        }
        self.system.issue(issued, consumed);
        if erases {
            self.system.erased_at(id);
        }
    }

    fn prefetch_records(&mut self, slice: &[Record<'_>]) -> Result<(), EngineError> {
        if self.everything_is_in_memory() {
            return Ok(());
        }
        let mut asking: Vec<&Record<'_>> =
            slice.iter().filter(|record| record.kind >= RecordKind::EVENT).collect();
        for _ in 0..PREFETCH_ROUNDS_MAX {
            let mut wanted = Wanted::default();
            // Only a record whose rows were not all there can want more once they are.
            asking.retain(|record| {
                let before = wanted.len();
                self.machine.wanted(&self.state, record, &mut wanted);
                wanted.len() > before
            });
            if !self.fetch(wanted)? {
                break;
            }
        }
        Ok(())
    }

    /// Windows of many people end at the same instant, and of most of them nothing else happened lately.
    fn prefetch_timers(&mut self, now: Timestamp) -> Result<(), EngineError> {
        if self.everything_is_in_memory() {
            return Ok(());
        }
        let subjects = self.system.due(now, TIMERS_PER_FRAME_MAX);
        for _ in 0..PREFETCH_ROUNDS_MAX {
            let mut wanted = Wanted::default();
            for subject in &subjects {
                self.machine.wanted_by_timer(&self.state, *subject, &mut wanted);
            }
            if !self.fetch(wanted)? {
                break;
            }
        }
        Ok(())
    }

    /// Reads what is wanted and not known. `false` if there was nothing to read.
    fn fetch(&mut self, mut wanted: Wanted) -> Result<bool, EngineError> {
        if wanted.is_empty() {
            return Ok(false);
        }
        let rows = wanted.take();
        let mut answers = Vec::with_capacity(rows.len());
        for answer in self.reader.read_rows(&self.source, &rows) {
            answers.push(answer?);
        }
        let mut failed = None;
        visit_all(&mut self.state, &mut self.system, &mut |table| {
            // Rows are sorted by table.
            let start = rows.partition_point(|(id, _)| *id < table.id());
            let end = rows.partition_point(|(id, _)| *id <= table.id());
            let own = rows
                .get(start..end)
                .unwrap_or_default()
                .iter()
                .zip(answers.get(start..end).unwrap_or_default());
            for ((_, key), bytes) in own {
                if let Err(error) = table.fill(*key, bytes.as_deref()) {
                    failed.get_or_insert(error);
                }
            }
        });
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(true),
        }
    }

    fn everything_is_in_memory(&mut self) -> bool {
        let mut complete = true;
        self.state.visit(&mut |table| complete &= table.is_complete());
        complete
    }

    fn take_fault(&mut self) -> Result<(), EngineError> {
        let mut fault = None;
        visit_all(&mut self.state, &mut self.system, &mut |table| {
            if let Some(error) = table.take_fault() {
                fault.get_or_insert(error);
            }
        });
        fault.map_or(Ok(()), |error| Err(error.into()))
    }
}

/// Visits the machine's tables, then the engine's.
pub(crate) fn visit_all<S: Tables>(
    state: &mut S,
    system: &mut System,
    visitor: &mut dyn FnMut(&mut dyn AnyTable),
) {
    state.visit(visitor);
    system.visit(visitor);
}

/// Continues the chain over all effects.
fn chain(before: u128, id: EffectId, effect: &Effect) -> u128 {
    let mut bytes = Vec::with_capacity(48 + effect.body.len());
    bytes.extend_from_slice(&before.to_le_bytes());
    bytes.extend_from_slice(&id.position.0.to_le_bytes());
    bytes.extend_from_slice(&id.ordinal.to_le_bytes());
    bytes.extend_from_slice(&effect.kind.to_le_bytes());
    bytes.extend_from_slice(&effect.subject.0.to_le_bytes());
    bytes.extend_from_slice(&effect.body);
    xxhash_rust::xxh3::xxh3_128(&bytes)
}
