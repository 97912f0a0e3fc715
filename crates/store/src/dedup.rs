//! Exact de-duplication of 128-bit ids over a window of log time.
//!
//! **What "seen" means.** Log time is cut into buckets of equal length. An id is a duplicate at log time `at` if it
//! was *accepted* (answered "not seen") in a bucket of which any part lies in `(at - window, at]`. So the guarantee is
//! at least the window and less than the window plus one bucket; a dropped duplicate does not prolong it. Log time
//! never goes back: an earlier `at` counts as the latest one seen. The answers are a function of the sequence of
//! `(id, at)` alone: when files are written, merged or dropped never changes one.
//!
//! **How.** One Bloom filter per bucket says of most new ids that they are new (a cache miss for each, all at once).
//! A hit is confirmed: against the exact sets of ids that no file holds yet, and against the bucket's sorted id files.
//! [`DedupReader::confirm`] does both for many ids at once outside the writer, which is then left with its own newest
//! filter and the ids in memory.

mod files;
mod ids;
mod merging;
mod shared;

use crate::StoreError;
use crate::filter::{Probe, SharedFilter};
use crate::manifest::{BucketState, CURRENT, DedupManifest};
use crate::objects::Objects;
use ids::IdSet;
use model::id::{Key, Timestamp};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128;

pub(crate) use files::IdFile;
pub(crate) use merging::IdMergeJob;
pub use shared::{DedupReader, Hint};
pub(crate) use shared::{DedupShared, FileSet};

/// Bytes an id takes in its file.
pub const ID_BYTES: u64 = 16;
/// Filter bits per id.
const BITS_PER_ID: u64 = 16;
/// The smallest filter is made for so many ids.
const FILTER_IDS_MIN: u64 = 1 << 16;
const HOUR_US: i64 = 3_600_000_000;

/// How long ids are remembered and how much they may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DedupOptions {
    /// An id accepted within this much log time is a duplicate.
    pub window_us: i64,
    /// Length of a bucket. Fixed for the life of a data directory.
    pub bucket_us: i64,
    /// Bytes of id files that live ids may take, at [`ID_BYTES`] each. Memory is an eighth of it.
    pub bytes_limit: u64,
}

impl Default for DedupOptions {
    fn default() -> Self {
        Self { window_us: 24 * HOUR_US, bucket_us: 4 * HOUR_US, bytes_limit: 16 << 30 }
    }
}

impl DedupOptions {
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.window_us > 0 && self.bucket_us > 0 {
            return Ok(());
        }
        let reason = "the de-duplication window and its buckets must be longer than nothing".to_owned();
        Err(StoreError::Options { reason })
    }

    /// The oldest bucket of which a part lies in the window that ends at `at`.
    fn oldest_live(&self, at: Timestamp) -> i64 {
        at.0.saturating_sub(self.window_us).saturating_add(1).div_euclid(self.bucket_us)
    }

    /// The first log time after `at` at which a bucket begins or leaves the window.
    fn next_turn(&self, at: Timestamp) -> i64 {
        let begins = at.0.div_euclid(self.bucket_us).saturating_add(1).saturating_mul(self.bucket_us);
        let leaves = self.oldest_live(at).saturating_add(1).saturating_mul(self.bucket_us);
        begins.min(leaves.saturating_add(self.window_us).saturating_sub(1))
    }
}

/// The ids accepted in one checkpoint interval and bucket.
pub(crate) struct Part {
    interval: u64,
    bucket: i64,
    ids: IdSet,
}

/// What a checkpoint has to write so that de-duplication survives a restart. Drop it outside the writer's thread: it
/// may be the last to hold the ids.
#[derive(Clone)]
pub struct DedupInterval {
    pub(crate) through: u64,
    pub(crate) parts: Vec<Arc<Part>>,
    pub(crate) at: Timestamp,
    pub(crate) oldest_live: i64,
    pub(crate) bucket_us: i64,
    pub(crate) buckets: Vec<BucketState>,
}

struct Bucket {
    state: BucketState,
    /// Newest last.
    filters: Vec<Arc<SharedFilter>>,
    /// Ids that the newest filter still takes.
    room: u64,
}

/// The window. One writer owns it.
pub struct DedupWindow {
    shared: Arc<DedupShared>,
    options: DedupOptions,
    at: Timestamp,
    turn_at: i64,
    /// Live buckets, oldest first; the last one may be the current one.
    buckets: Vec<Bucket>,
    /// All filters of all buckets, newest first.
    filters: Vec<Arc<SharedFilter>>,
    /// Ids of this interval, by bucket, oldest first.
    open: Vec<(i64, IdSet)>,
    /// Ids handed to checkpoints that are not known to be committed.
    pending: Vec<Arc<Part>>,
    /// No older bucket has ids in memory.
    memory_from: i64,
    interval: u64,
    /// Intervals up to this one are not in memory any more.
    retired_through: u64,
    live: u64,
    last_interval_ids: usize,
}

impl DedupWindow {
    /// The window as a manifest left it; reads the id files to build the filters.
    pub(crate) fn load(
        shared: Arc<DedupShared>,
        options: DedupOptions,
        objects: &dyn Objects,
        manifest: &DedupManifest,
    ) -> Result<Self, StoreError> {
        let mut files = FileSet::default();
        let mut window = Self {
            shared,
            options,
            at: if manifest.bucket_us == 0 { Timestamp(i64::MIN) } else { manifest.at },
            turn_at: i64::MIN,
            buckets: Vec::new(),
            filters: Vec::new(),
            open: Vec::new(),
            pending: Vec::new(),
            memory_from: i64::MAX,
            interval: 1,
            retired_through: 0,
            live: 0,
            last_interval_ids: 0,
        };
        for (number, state) in manifest.buckets.iter().enumerate() {
            let current = number + 1 == manifest.buckets.len();
            let ids = window.load_bucket(objects, manifest, *state, current)?;
            files.buckets.insert(state.bucket, ids);
        }
        window.shared.set_files(files);
        window.show_filters();
        Ok(window)
    }

    fn load_bucket(
        &mut self,
        objects: &dyn Objects,
        manifest: &DedupManifest,
        state: BucketState,
        current: bool,
    ) -> Result<Vec<Arc<IdFile>>, StoreError> {
        let before = self.buckets.last().map_or(0, |bucket| bucket.state.count);
        let capacity = if current { grown(state.count.max(before)) } else { state.count };
        let filter = SharedFilter::new(capacity.max(FILTER_IDS_MIN), BITS_PER_ID);
        let mut found = BucketState { bucket: state.bucket, count: 0, digest: 0 };
        let mut files = Vec::new();
        for entry in manifest.files.iter().filter(|entry| entry.bucket == state.bucket) {
            let file = IdFile::open(objects, entry, &mut |id| {
                filter.insert(Probe::of_id(id));
                found.count += 1;
                found.digest = found.digest.wrapping_add(digest_of(id));
            })?;
            files.push(Arc::new(file));
        }
        if found != state {
            let reason = "the id files of its de-duplication window do not hold the ids it says";
            return Err(StoreError::Damaged { object: CURRENT.to_owned(), offset: 0, reason });
        }
        self.live += state.count;
        let room = filter.capacity().saturating_sub(state.count);
        self.buckets.push(Bucket { state, room, filters: vec![Arc::new(filter)] });
        Ok(files)
    }

    /// Whether the id was seen within the window; remembers it if not.
    pub fn check_and_insert(&mut self, id: Key, at: Timestamp) -> Result<bool, StoreError> {
        self.check_and_insert_hinted(id, at, Hint::Unknown)
    }

    /// The same with what [`DedupReader::confirm`] found out about the id before, which changes the cost only.
    pub fn check_and_insert_hinted(
        &mut self,
        id: Key,
        at: Timestamp,
        hint: Hint,
    ) -> Result<bool, StoreError> {
        if at > self.at {
            self.at = at;
        }
        if self.at.0 >= self.turn_at {
            self.turn();
        }
        let probe = Probe::of_id(id);
        let seen = match hint {
            // What left memory up to then is in the files that were searched: only memory is left to ask.
            Hint::NotFiled { through } if through >= self.retired_through => self.in_memory(id, probe),
            // A live bucket's ids stay.
            Hint::Filed { bucket } if self.is_live(bucket) => true,
            _ => self.confirm(id, probe)?,
        };
        if !seen {
            self.insert(id, probe)?;
        }
        Ok(seen)
    }

    /// A handle that confirms filter hits outside the writer.
    pub fn reader(&self) -> DedupReader {
        DedupReader::new(self.shared.clone())
    }

    /// Whether new ids fit; the door asks before it accepts events. The window never shrinks to make room.
    pub fn room(&self) -> Result<(), StoreError> {
        let (used_bytes, limit_bytes) = (self.live.saturating_mul(ID_BYTES), self.options.bytes_limit);
        if used_bytes.saturating_add(ID_BYTES) > limit_bytes {
            return Err(StoreError::DedupFull { used_bytes, limit_bytes });
        }
        Ok(())
    }

    /// Ids in live buckets.
    pub fn live_ids(&self) -> u64 {
        self.live
    }

    /// Bytes that the filters take once they are full.
    pub fn filter_bytes(&self) -> u64 {
        self.filters.iter().map(|filter| filter.bytes()).sum()
    }

    /// What the live buckets hold, oldest first: the same for the same sequence of ids and times, on every machine.
    pub fn buckets(&self) -> Vec<BucketState> {
        self.buckets.iter().map(|bucket| bucket.state).collect()
    }

    /// One number for [`DedupWindow::buckets`].
    pub fn digest(&self) -> u128 {
        self.buckets.iter().fold(0, |sum, bucket| {
            let number = u128::from(bucket.state.bucket as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            sum.wrapping_add(bucket.state.digest ^ number).wrapping_mul(0x0000_0001_0000_01B3)
                ^ u128::from(bucket.state.count)
        })
    }

    /// Hands the ids of the interval that ends here to a checkpoint of the same log position. The writer keeps them
    /// until they are in committed files; a checkpoint that fails is made up for by the next.
    pub fn begin_checkpoint(&mut self) -> DedupInterval {
        self.retire();
        let interval = self.interval;
        self.interval += 1;
        self.last_interval_ids = self.open.iter().map(|(_, ids)| ids.len()).sum();
        let frozen = self.open.drain(..).map(|(bucket, ids)| Arc::new(Part { interval, bucket, ids }));
        self.pending.extend(frozen);
        DedupInterval {
            through: interval,
            parts: self.pending.clone(),
            at: self.at,
            oldest_live: self.buckets.first().map_or(i64::MIN, |bucket| bucket.state.bucket),
            bucket_us: self.options.bucket_us,
            buckets: self.buckets(),
        }
    }

    /// Forgets the ids in memory that committed files hold, and takes over filters that merges have rebuilt.
    fn retire(&mut self) {
        let filed_through = self.shared.files().filed_through;
        let retired = self.pending.extract_if(.., |part| part.interval <= filed_through).collect();
        self.retired_through = filed_through;
        let in_memory =
            self.pending.iter().map(|part| part.bucket).chain(self.open.iter().map(|(bucket, _)| *bucket));
        self.memory_from = in_memory.min().unwrap_or(i64::MAX);
        // Freeing a large set takes its time, which is the checkpoint thread's to spend.
        self.shared.bury_parts(retired);
        let mut changed = false;
        for (number, filter) in self.shared.take_rebuilt() {
            let Some(bucket) = self.buckets.iter_mut().rev().skip(1).find(|live| live.state.bucket == number)
            else {
                continue;
            };
            let old = std::mem::replace(&mut bucket.filters, vec![filter]);
            self.shared.bury_filters(old);
            changed = true;
        }
        if changed {
            self.show_filters();
        }
    }

    /// A bucket begins or leaves the window.
    fn turn(&mut self) {
        let oldest = self.options.oldest_live(self.at);
        for bucket in self.buckets.extract_if(.., |bucket| bucket.state.bucket < oldest) {
            self.live -= bucket.state.count;
            self.shared.bury_filters(bucket.filters);
        }
        let number = self.at.0.div_euclid(self.options.bucket_us);
        if self.buckets.last().is_none_or(|bucket| bucket.state.bucket < number) {
            let before = self.buckets.last().map_or(0, |bucket| bucket.state.count);
            let capacity = grown(before).max(FILTER_IDS_MIN);
            self.buckets.push(Bucket {
                state: BucketState { bucket: number, count: 0, digest: 0 },
                filters: vec![Arc::new(SharedFilter::new(capacity, BITS_PER_ID))],
                room: capacity,
            });
        }
        self.turn_at = self.options.next_turn(self.at);
        self.show_filters();
    }

    fn show_filters(&mut self) {
        let newest_first = self.buckets.iter().rev();
        self.filters = newest_first.clone().flat_map(|bucket| bucket.filters.iter().rev().cloned()).collect();
        self.shared
            .show_filters(newest_first.map(|bucket| (bucket.state.bucket, bucket.filters.clone())).collect());
    }

    fn confirm(&self, id: Key, probe: Probe) -> Result<bool, StoreError> {
        // No early end: the look-ups do not depend on each other, so their cache misses overlap.
        let maybe = self.filters.iter().fold(false, |maybe, filter| maybe | filter.first_bit(probe));
        if !maybe {
            return Ok(false);
        }
        for bucket in self.buckets.iter().rev() {
            if !bucket.filters.iter().any(|filter| filter.may_contain(probe)) {
                continue;
            }
            let number = bucket.state.bucket;
            if self.memory_holds(number, id) || self.shared.files().contains(number, id, &mut Vec::new())? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the id is among those that files need not hold yet.
    fn in_memory(&self, id: Key, probe: Probe) -> bool {
        let newest = self.buckets.iter().rev().take_while(|bucket| bucket.state.bucket >= self.memory_from);
        let mut maybe = newest.filter(|bucket| bucket.filters.iter().any(|filter| filter.may_contain(probe)));
        maybe.any(|bucket| self.memory_holds(bucket.state.bucket, id))
    }

    fn memory_holds(&self, bucket: i64, id: Key) -> bool {
        self.open.iter().any(|(open, ids)| *open == bucket && ids.contains(id))
            || self.pending.iter().any(|part| part.bucket == bucket && part.ids.contains(id))
    }

    fn is_live(&self, number: i64) -> bool {
        self.buckets.iter().any(|bucket| bucket.state.bucket == number)
    }

    fn insert(&mut self, id: Key, probe: Probe) -> Result<(), StoreError> {
        self.room()?;
        let Some(bucket) = self.buckets.last_mut() else { return Ok(()) };
        let number = bucket.state.bucket;
        let full = bucket.room == 0;
        if full {
            let capacity: u64 = bucket.filters.iter().map(|filter| filter.capacity()).sum();
            bucket.filters.push(Arc::new(SharedFilter::new(capacity, BITS_PER_ID)));
            bucket.room = capacity;
        }
        if let Some(filter) = bucket.filters.last() {
            filter.insert(probe);
        }
        bucket.room -= 1;
        bucket.state.count += 1;
        bucket.state.digest = bucket.state.digest.wrapping_add(digest_of(id));
        self.live += 1;
        if full {
            self.show_filters();
        }
        match self.open.last_mut() {
            Some((open, ids)) if *open == number => ids.insert(id),
            _ => {
                let mut ids = IdSet::with_capacity(self.last_interval_ids);
                ids.insert(id);
                self.open.push((number, ids));
                self.memory_from = self.memory_from.min(number);
            }
        }
        Ok(())
    }
}

fn digest_of(id: Key) -> u128 {
    xxh3_128(&id.0.to_le_bytes())
}

/// A quarter more, so that steady growth does not need a second filter.
fn grown(count: u64) -> u64 {
    count.saturating_add(count / 4)
}

#[cfg(test)]
mod tests;
