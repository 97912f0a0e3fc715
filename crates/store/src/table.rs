//! Keyed tables: memory first, checkpointed a slice at a time.
//!
//! A [`Table`] keeps typed rows in memory and is changed by one writer. A checkpoint does not stop that writer:
//! [`AnyTable::freeze`] only starts a new generation; the rows that changed in the frozen generation are encoded a few
//! at a time by [`AnyTable::encode_some`], and a row that the writer wants to change before its turn is encoded first.
//! So a checkpoint holds exactly the state at the freeze, and no single pause is longer than one slice.
//!
//! Rows that a committed checkpoint holds can be evicted and are read back when wanted. The engine asks for them ahead
//! ([`Wanted`], [`AnyTable::fill`]); a row that nobody asked for is read on the spot, so a forgotten prefetch costs
//! time and never an answer.
//!
//! Every row has a digest, and the table's digest is their sum: it is the same for the same rows in any order, and a
//! checkpoint keeps it up to date at the cost of the changed rows alone.

mod shards;

use crate::{Chunk, RowChange, RowSource, StoreError, TableId};
use model::codec::DecodeError;
use model::id::Key;
use shards::{Shards, Slot};
use std::sync::Arc;

/// Rows that are read together before they are encoded.
const TOUCHED_ROWS: usize = 64;

/// A row: how it is stored and how much memory it holds.
pub trait Value: Sized + Send + 'static {
    /// Appends the stored form. Equal values must give equal bytes: digests depend on it.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads the stored form.
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError>;
    /// Bytes on the heap that belong to this row, beyond its own size; an estimate.
    fn heap_bytes(&self) -> usize;
    /// Reads a word of each part that encoding will read, so that the parts of many rows come into the processor's
    /// cache together. What is returned only has to depend on what was read.
    fn touch(&self) -> u64 {
        0
    }
}

/// What is known about a row without touching the disk.
#[derive(Debug)]
pub enum Peek<'a, V> {
    /// In memory.
    Present(&'a V),
    /// Known not to exist.
    Absent,
    /// Not in memory; it may be on disk.
    Unknown,
}

impl<'a, V> Peek<'a, V> {
    /// The row, if it is in memory.
    pub fn present(self) -> Option<&'a V> {
        match self {
            Self::Present(row) => Some(row),
            Self::Absent | Self::Unknown => None,
        }
    }
}

/// Rows to bring into memory before an epoch is applied. Bounded by the number of rows an epoch can name.
#[derive(Debug, Default)]
pub struct Wanted {
    rows: Vec<(TableId, Key)>,
}

impl Wanted {
    /// Asks for a row. Naming it twice, or one that is there already, is harmless.
    pub fn row(&mut self, table: TableId, key: Key) {
        self.rows.push((table, key));
    }

    /// Asks for a row unless memory already knows whether it exists.
    pub fn unless_known<V: Value>(&mut self, table: &Table<V>, key: Key) {
        let _ = self.or_ask(table, key);
    }

    /// The row if it is in memory; asks for it if memory does not know whether it exists.
    pub fn or_ask<'a, V: Value>(&mut self, table: &'a Table<V>, key: Key) -> Option<&'a V> {
        match table.peek(key) {
            Peek::Present(row) => Some(row),
            Peek::Absent => None,
            Peek::Unknown => {
                self.row(table.id(), key);
                None
            }
        }
    }

    /// Takes what was asked for, each row once, sorted.
    pub fn take(&mut self) -> Vec<(TableId, Key)> {
        let mut rows = std::mem::take(&mut self.rows);
        rows.sort_unstable();
        rows.dedup();
        rows
    }

    /// How many rows were asked for, repeats included.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing was asked for.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// A table as the engine sees it: without the type of its rows.
pub trait AnyTable: Send {
    /// Its number, stored with every row.
    fn id(&self) -> TableId;
    /// Its name, for metrics.
    fn name(&self) -> &'static str;
    /// Where rows that are not in memory can be read. `complete` says that there are none.
    fn attach(&mut self, source: Arc<dyn RowSource>, complete: bool);
    /// Starts a checkpoint: everything changed up to now belongs to it. Cheap. The one before must be over.
    fn freeze(&mut self);
    /// Encodes up to `limit` frozen rows into the chunk. Returns how many are left.
    fn encode_some(&mut self, limit: usize, chunk: &mut Chunk) -> usize;
    /// The frozen rows are durable: they may be evicted from now on.
    fn committed(&mut self);
    /// Gives a row that was read ahead; `None` if the disk has none. Ignored if memory knows better.
    fn fill(&mut self, key: Key, bytes: Option<&[u8]>) -> Result<(), StoreError>;
    /// Whether memory knows whether the row exists.
    fn is_known(&self, key: Key) -> bool;
    /// Whether every row that exists is in memory.
    fn is_complete(&self) -> bool;
    /// Rows will be read in until all are there; see [`AnyTable::end_warming`].
    fn begin_warming(&mut self);
    /// Gives a row as it was stored when warming began. Ignored if memory knows better, and once something was evicted
    /// since: the row may have changed, been written and been evicted in between.
    fn warm(&mut self, key: Key, bytes: &[u8]) -> Result<(), StoreError>;
    /// Every row that was stored when warming began has been given to [`AnyTable::warm`]. The table is complete from
    /// now on, unless something was evicted meanwhile.
    fn end_warming(&mut self);
    /// Evicts durable rows that were not used lately until the table holds at most `resident_bytes_max`, looking at
    /// one shard of the table a call. Returns the bytes freed.
    fn evict(&mut self, resident_bytes_max: usize) -> usize;
    /// Memory in use, an estimate that follows the rows as they are encoded.
    fn resident_bytes(&self) -> usize;
    /// Rows in memory.
    fn resident_rows(&self) -> usize;
    /// Sum of the digests of all rows as of the last encoding: exact when a freeze has been encoded to its end.
    fn digest(&self) -> u64;
    /// Restores the digest that a checkpoint recorded.
    fn set_digest(&mut self, digest: u64);
    /// An error met while reading a row that was not asked for ahead. The machine must stop: its last answer was
    /// computed without that row.
    fn take_fault(&mut self) -> Option<StoreError>;
    /// Reads on the spot since the start: what prefetching missed.
    fn unplanned_reads(&self) -> u64;
}

/// The tables of a machine, by visitor so that each keeps its type.
pub trait Tables: Send {
    /// Calls the visitor with every table, always in the same order.
    fn visit(&mut self, visitor: &mut dyn FnMut(&mut dyn AnyTable));
}

/// Rows of one type under 128-bit keys.
pub struct Table<V> {
    id: TableId,
    name: &'static str,
    shards: Shards<V>,
    source: Option<Arc<dyn RowSource>>,
    /// Every row that exists is in memory.
    complete: bool,
    /// Rows are being read in, and none was evicted since that began.
    warming: bool,
    /// The newest generation that is durable.
    committed: u32,
    changes: Changes,
    evict_hand: usize,
    fault: Option<StoreError>,
    unplanned_reads: u64,
}

impl<V: Value> Table<V> {
    /// An empty table. `id` is stored with every row: never change it.
    pub fn new(id: TableId, name: &'static str) -> Self {
        Self {
            id,
            name,
            shards: Shards::new(),
            source: None,
            complete: true,
            warming: false,
            committed: 0,
            changes: Changes {
                generation: 1,
                dirty: Vec::new(),
                pending: Vec::new(),
                early: Chunk::default(),
                digest: 0,
                resident_bytes: 0,
            },
            evict_hand: 0,
            fault: None,
            unplanned_reads: 0,
        }
    }

    /// The table's number.
    pub fn id(&self) -> TableId {
        self.id
    }

    /// What memory knows about a row. Never touches the disk.
    pub fn peek(&self, key: Key) -> Peek<'_, V> {
        match self.shards.get(key) {
            Some(Slot { value: Some(value), .. }) => Peek::Present(value),
            Some(_) => Peek::Absent,
            None if self.complete => Peek::Absent,
            None => Peek::Unknown,
        }
    }

    /// The row, read from disk if it has to be.
    pub fn get(&mut self, key: Key) -> Option<&V> {
        self.ensure_known(key);
        let slot = self.shards.get_mut(key)?;
        slot.mark_used();
        slot.value.as_deref()
    }

    /// The row, to be changed.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut V> {
        self.ensure_known(key);
        let slot = self.shards.get_mut(key)?;
        slot.value.as_ref()?;
        self.changes.touch(self.id, key, slot);
        slot.value.as_deref_mut()
    }

    /// Puts a row in place of whatever was there.
    pub fn insert(&mut self, key: Key, value: V) {
        self.ensure_known(key);
        let slot = self.shards.entry(key);
        self.changes.touch(self.id, key, slot);
        slot.value = Some(Box::new(value));
    }

    /// Puts a row under a key that never had one: the disk is not asked.
    pub fn insert_new(&mut self, key: Key, value: V) {
        let slot = self.shards.entry(key);
        self.changes.touch(self.id, key, slot);
        slot.value = Some(Box::new(value));
    }

    /// The row to be changed, made first if there is none.
    pub fn get_or_insert_with(&mut self, key: Key, make: impl FnOnce() -> V) -> Option<&mut V> {
        self.ensure_known(key);
        let slot = self.shards.entry(key);
        self.changes.touch(self.id, key, slot);
        Some(slot.value.get_or_insert_with(|| Box::new(make())))
    }

    /// Removes a row. Nothing happens if there is none.
    pub fn remove(&mut self, key: Key) {
        self.ensure_known(key);
        let Some(slot) = self.shards.get_mut(key) else { return };
        if slot.value.is_some() {
            self.changes.touch(self.id, key, slot);
            slot.value = None;
        }
    }

    /// Every row that is in memory, in no particular order: for tests and for digests, never for a rule.
    pub fn resident(&self) -> impl Iterator<Item = (Key, &V)> {
        self.shards.iter().filter_map(|(key, slot)| slot.value.as_deref().map(|value| (key, value)))
    }

    fn ensure_known(&mut self, key: Key) {
        if self.complete || self.shards.get(key).is_some() {
            return;
        }
        self.unplanned_reads += 1;
        let Some(source) = &self.source else { return };
        let outcome = source.read(self.id, key).and_then(|bytes| self.fill(key, bytes.as_deref()));
        if let Err(error) = outcome {
            self.fault.get_or_insert(error);
        }
    }
}

/// What a checkpoint needs to know of changes; apart from the rows, so that both can be borrowed at once.
struct Changes {
    /// Changes belong to this generation; the one below it is being encoded or is durable.
    generation: u32,
    /// Rows changed in the current generation, each once.
    dirty: Vec<Key>,
    /// Rows of the frozen generation that wait for their turn.
    pending: Vec<Key>,
    /// Rows of the frozen generation that could not wait.
    early: Chunk,
    digest: u64,
    resident_bytes: usize,
}

impl Changes {
    /// Moves the row into the current generation, encoding its frozen state first if that is still owed.
    fn touch<V: Value>(&mut self, id: TableId, key: Key, slot: &mut Slot<V>) {
        slot.mark_used();
        if slot.generation == self.generation {
            return;
        }
        let owed = slot.generation + 1 == self.generation && !slot.encoded;
        if owed {
            let mut early = std::mem::take(&mut self.early);
            self.encode(id, key, slot, &mut early);
            self.early = early;
        }
        slot.generation = self.generation;
        slot.encoded = false;
        self.dirty.push(key);
    }

    fn encode<V: Value>(&mut self, id: TableId, key: Key, slot: &mut Slot<V>, chunk: &mut Chunk) {
        slot.encoded = true;
        let start = chunk.bytes.len();
        let (value, row_digest, weight) = match &slot.value {
            Some(value) => {
                value.encode(&mut chunk.bytes);
                let bytes = chunk.bytes.get(start..).unwrap_or_default();
                let span = (start as u32, bytes.len() as u32);
                (Some(span), digest_of(id, key, bytes), row_weight(value.as_ref()))
            }
            None => (None, 0, 0),
        };
        self.digest = self.digest.wrapping_sub(slot.digest).wrapping_add(row_digest);
        self.resident_bytes = self.resident_bytes.saturating_sub(slot.weight as usize).saturating_add(weight);
        slot.digest = row_digest;
        slot.weight = u32::try_from(weight).unwrap_or(u32::MAX);
        chunk.rows.push(RowChange { table: id, key, value });
    }
}

impl<V: Value> AnyTable for Table<V> {
    fn id(&self) -> TableId {
        self.id
    }

    fn name(&self) -> &'static str {
        self.name
    }

    fn attach(&mut self, source: Arc<dyn RowSource>, complete: bool) {
        self.source = Some(source);
        self.complete = complete;
    }

    fn freeze(&mut self) {
        debug_assert!(
            self.changes.pending.is_empty(),
            "a checkpoint starts before the one before it was encoded"
        );
        self.changes.pending = std::mem::take(&mut self.changes.dirty);
        self.changes.generation += 1;
    }

    fn encode_some(&mut self, limit: usize, chunk: &mut Chunk) -> usize {
        append(chunk, std::mem::take(&mut self.changes.early));
        let frozen = self.changes.generation - 1;
        let mut left = limit;
        while left > 0 && !self.changes.pending.is_empty() {
            let from = self.changes.pending.len().saturating_sub(left.min(TOUCHED_ROWS));
            let keys = self.changes.pending.split_off(from);
            left -= keys.len();
            let rows = keys.iter().filter_map(|key| self.shards.get(*key)?.value.as_deref());
            std::hint::black_box(rows.fold(0, |read, row| read ^ row.touch()));
            for key in keys {
                let Some(slot) = self.shards.get_mut(key) else { continue };
                if slot.generation == frozen && !slot.encoded {
                    self.changes.encode(self.id, key, slot, chunk);
                }
            }
        }
        self.changes.pending.len()
    }

    fn committed(&mut self) {
        self.committed = self.changes.generation - 1;
    }

    fn fill(&mut self, key: Key, bytes: Option<&[u8]>) -> Result<(), StoreError> {
        if self.shards.get(key).is_some() {
            return Ok(());
        }
        let mut slot = Slot::absent();
        if let Some(bytes) = bytes {
            let value = V::decode(bytes).map_err(|source| StoreError::Row { table: self.id, key, source })?;
            slot.digest = digest_of(self.id, key, bytes);
            let weight = row_weight(&value);
            slot.weight = u32::try_from(weight).unwrap_or(u32::MAX);
            self.changes.resident_bytes = self.changes.resident_bytes.saturating_add(weight);
            slot.value = Some(Box::new(value));
        }
        self.shards.put(key, slot);
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.complete
    }

    fn is_known(&self, key: Key) -> bool {
        self.complete || self.shards.get(key).is_some()
    }

    fn begin_warming(&mut self) {
        self.warming = !self.complete;
    }

    fn warm(&mut self, key: Key, bytes: &[u8]) -> Result<(), StoreError> {
        if self.warming { self.fill(key, Some(bytes)) } else { Ok(()) }
    }

    fn end_warming(&mut self) {
        self.complete |= self.warming;
        self.warming = false;
    }

    fn evict(&mut self, resident_bytes_max: usize) -> usize {
        if self.changes.resident_bytes <= resident_bytes_max {
            return 0;
        }
        let committed = self.committed;
        let (evicted, freed) = self.shards.evict(self.evict_hand, committed);
        self.evict_hand = self.evict_hand.wrapping_add(1);
        if evicted > 0 {
            self.complete = false;
            // What warming reads is as old as its beginning: it could bring back a row whose deletion was evicted.
            self.warming = false;
        }
        self.changes.resident_bytes = self.changes.resident_bytes.saturating_sub(freed);
        freed
    }

    fn resident_bytes(&self) -> usize {
        self.changes.resident_bytes
    }

    fn resident_rows(&self) -> usize {
        self.shards.len()
    }

    fn digest(&self) -> u64 {
        self.changes.digest
    }

    fn set_digest(&mut self, digest: u64) {
        self.changes.digest = digest;
    }

    fn take_fault(&mut self) -> Option<StoreError> {
        self.fault.take()
    }

    fn unplanned_reads(&self) -> u64 {
        self.unplanned_reads
    }
}

/// Moves the rows of one chunk behind those of another.
fn append(chunk: &mut Chunk, early: Chunk) {
    let base = chunk.bytes.len() as u32;
    chunk.bytes.extend_from_slice(&early.bytes);
    chunk.rows.extend(
        early
            .rows
            .into_iter()
            .map(|row| RowChange { value: row.value.map(|(offset, len)| (offset + base, len)), ..row }),
    );
}

fn row_weight<V: Value>(value: &V) -> usize {
    value.heap_bytes() + size_of::<V>() + shards::SLOT_BYTES
}

/// The digest of a row: XXH3 over table, key and stored form.
pub fn digest_of(table: TableId, key: Key, bytes: &[u8]) -> u64 {
    let seed = (key.0 as u64) ^ ((key.0 >> 64) as u64).rotate_left(32) ^ u64::from(table.0).rotate_left(17);
    xxhash_rust::xxh3::xxh3_64_with_seed(bytes, seed)
}

#[cfg(test)]
mod tests;
