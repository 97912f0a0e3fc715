//! Exact de-duplication of 128-bit ids over a window of log time.
//!
//! **What "seen" means.** Log time is cut into buckets of equal length. An id is a duplicate at log time `at` if it
//! was *accepted* (answered "not seen") in a bucket of which any part lies in `(at - window, at]`. So the guarantee is
//! at least the window and less than the window plus one bucket; a dropped duplicate does not prolong it. Log time
//! never goes back: an earlier `at` counts as the latest one seen. The answers are a function of the sequence of
//! `(id, at)` alone: when files are written, merged or dropped never changes one.
//!
//! **How.** A few Bloom filters, each for half a window, say of most new ids that they are new (a cache miss for each, all at once).
//! A hit is confirmed: against the exact sets of ids that no file holds yet, and against the bucket's sorted id files.
//! [`DedupReader::confirm`] does both for many ids at once outside the writer, which is then left with its own newest
//! filter and the ids in memory.

mod files;
mod groups;
mod ids;
mod merging;
mod shared;

use crate::StoreError;
use crate::filter::{Probe, SharedFilter};
use crate::manifest::{BucketState, CURRENT, DedupManifest};
use crate::objects::Objects;
use groups::Group;
use ids::IdSet;
use model::id::{Key, Timestamp};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_128;

pub(crate) use files::IdFile;
pub(crate) use merging::IdMergeJob;
use shared::ShownFilters;
pub use shared::{DedupReader, Hint};
pub(crate) use shared::{DedupShared, FileSet};

/// Bytes an id takes in its file.
pub const ID_BYTES: u64 = 16;
const HOUR_US: i64 = 3_600_000_000;

/// How long ids are remembered and how much they may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DedupOptions {
    /// An id accepted within this much log time is a duplicate.
    pub window_us: i64,
    /// Length of a bucket. Fixed for the life of a data directory.
    pub bucket_us: i64,
    /// Bytes of id files that live ids may take, at [`ID_BYTES`] each. The filters take up to a quarter of it in memory.
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

/// The window. One writer owns it.
pub struct DedupWindow {
    shared: Arc<DedupShared>,
    options: DedupOptions,
    at: Timestamp,
    turn_at: i64,
    /// Live buckets, oldest first; the last one may be the current one.
    buckets: Vec<BucketState>,
    /// The filters of the live buckets, oldest first.
    groups: Vec<Group>,
    /// The same filters in a row, newest first.
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
            groups: Vec::new(),
            filters: Vec::new(),
            open: Vec::new(),
            pending: Vec::new(),
            memory_from: i64::MAX,
            interval: 1,
            retired_through: 0,
            live: 0,
            last_interval_ids: 0,
        };
        for state in &manifest.buckets {
            let ids = window.load_bucket(objects, manifest, *state)?;
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
    ) -> Result<Vec<Arc<IdFile>>, StoreError> {
        let number = self.options.group_of(state.bucket);
        if self.groups.last().is_none_or(|group| group.number() < number) {
            let same = manifest.buckets.iter().filter(|same| self.options.group_of(same.bucket) == number);
            let foreseen = self.groups.last().map_or(0, Group::ids_foreseen);
            self.groups.push(Group::new(number, same.map(|same| same.count).sum::<u64>().max(foreseen)));
        }
        let mut found = BucketState { bucket: state.bucket, count: 0, digest: 0 };
        let mut files = Vec::new();
        for entry in manifest.files.iter().filter(|entry| entry.bucket == state.bucket) {
            let mut group = self.groups.last_mut();
            let file = IdFile::open(objects, entry, &mut |id| {
                if let Some(group) = &mut group {
                    group.insert(Probe::of_id(id));
                }
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
        self.buckets.push(state);
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

    /// Reads where the ids stand in the filters, and where new ones will be put, and changes nothing: the look-ups do
    /// not depend on each other, so their cache misses overlap. What is returned only depends on what was read.
    pub fn touch(&self, ids: impl Iterator<Item = Key>) -> u64 {
        let open = self.open.last().map(|(_, ids)| ids);
        ids.fold(0, |read, id| {
            let probe = Probe::of_id(id);
            let maybe = self.filters.iter().fold(0, |read, filter| read ^ filter.touch(probe));
            read ^ maybe ^ open.map_or(0, |ids| ids.touch(id))
        })
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
        self.buckets.clone()
    }

    /// One number for [`DedupWindow::buckets`].
    pub fn digest(&self) -> u128 {
        self.buckets.iter().fold(0, |sum, bucket| {
            let number = u128::from(bucket.bucket as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            sum.wrapping_add(bucket.digest ^ number).wrapping_mul(0x0000_0001_0000_01B3)
                ^ u128::from(bucket.count)
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
            oldest_live: self.buckets.first().map_or(i64::MIN, |bucket| bucket.bucket),
            bucket_us: self.options.bucket_us,
            buckets: self.buckets(),
        }
    }

    /// Forgets the ids in memory that committed files hold.
    fn retire(&mut self) {
        let filed_through = self.shared.files().filed_through;
        let retired = self.pending.extract_if(.., |part| part.interval <= filed_through).collect();
        self.retired_through = filed_through;
        let in_memory =
            self.pending.iter().map(|part| part.bucket).chain(self.open.iter().map(|(bucket, _)| *bucket));
        self.memory_from = in_memory.min().unwrap_or(i64::MAX);
        // Freeing a large set takes its time, which is the checkpoint thread's to spend.
        self.shared.bury_parts(retired);
    }

    /// A bucket begins or leaves the window.
    fn turn(&mut self) {
        let oldest = self.options.oldest_live(self.at);
        for bucket in self.buckets.extract_if(.., |bucket| bucket.bucket < oldest) {
            self.live -= bucket.count;
        }
        let oldest_group = self.options.group_of(oldest);
        for group in self.groups.extract_if(.., |group| group.number() < oldest_group) {
            self.shared.bury_filters(group.into_filters());
        }
        let number = self.at.0.div_euclid(self.options.bucket_us);
        if self.buckets.last().is_none_or(|bucket| bucket.bucket < number) {
            self.buckets.push(BucketState { bucket: number, count: 0, digest: 0 });
        }
        let group = self.options.group_of(number);
        if self.groups.last().is_none_or(|last| last.number() < group) {
            self.groups.push(Group::new(group, self.groups.last().map_or(0, Group::ids_foreseen)));
        }
        self.turn_at = self.options.next_turn(self.at);
        self.show_filters();
    }

    fn show_filters(&mut self) {
        let newest_first = self.groups.iter().rev();
        self.filters = newest_first.clone().flat_map(|group| group.filters().iter().rev().cloned()).collect();
        let shown = newest_first.map(|group| ShownFilters {
            buckets: self.buckets_of(group).map(|bucket| bucket.bucket).collect(),
            filters: group.filters().to_vec(),
        });
        self.shared.show_filters(shown.collect());
    }

    /// The live buckets of a group, newest first.
    fn buckets_of(&self, group: &Group) -> impl Iterator<Item = &BucketState> {
        let number = group.number();
        self.buckets.iter().rev().filter(move |bucket| self.options.group_of(bucket.bucket) == number)
    }

    fn confirm(&self, id: Key, probe: Probe) -> Result<bool, StoreError> {
        // No early end: the look-ups do not depend on each other, so their cache misses overlap.
        let maybe = self.filters.iter().fold(false, |maybe, filter| maybe | filter.may_contain(probe));
        if !maybe {
            return Ok(false);
        }
        let groups = self.groups.iter().rev().filter(|group| group.may_contain(probe));
        for bucket in groups.flat_map(|group| self.buckets_of(group)) {
            let number = bucket.bucket;
            if self.memory_holds(number, id) || self.shared.files().contains(number, id, &mut Vec::new())? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the id is among those that files need not hold yet.
    fn in_memory(&self, id: Key, probe: Probe) -> bool {
        let from = self.options.group_of(self.memory_from);
        let newest = self.groups.iter().rev().take_while(|group| group.number() >= from);
        let maybe = newest.filter(|group| group.may_contain(probe));
        maybe.flat_map(|group| self.buckets_of(group)).any(|bucket| self.memory_holds(bucket.bucket, id))
    }

    fn memory_holds(&self, bucket: i64, id: Key) -> bool {
        self.open.iter().any(|(open, ids)| *open == bucket && ids.contains(id))
            || self.pending.iter().any(|part| part.bucket == bucket && part.ids.contains(id))
    }

    fn is_live(&self, number: i64) -> bool {
        self.buckets.iter().any(|bucket| bucket.bucket == number)
    }

    fn insert(&mut self, id: Key, probe: Probe) -> Result<(), StoreError> {
        self.room()?;
        let (Some(bucket), Some(group)) = (self.buckets.last_mut(), self.groups.last_mut()) else {
            return Ok(());
        };
        if self.open.last().is_none_or(|(open, _)| *open != bucket.bucket) {
            self.open.push((bucket.bucket, IdSet::with_capacity(self.last_interval_ids)));
            self.memory_from = self.memory_from.min(bucket.bucket);
        }
        if !self.open.last_mut().is_some_and(|(_, ids)| ids.insert(id)) {
            let what = "the number of ids between two checkpoints";
            return Err(StoreError::TooLarge { what, limit: ids::IDS_MAX });
        }
        bucket.count += 1;
        bucket.digest = bucket.digest.wrapping_add(digest_of(id));
        self.live += 1;
        if group.insert(probe) {
            self.show_filters();
        }
        Ok(())
    }
}

fn digest_of(id: Key) -> u128 {
    xxh3_128(&id.0.to_le_bytes())
}

#[cfg(test)]
mod tests;
