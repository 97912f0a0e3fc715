//! Filters that several neighbouring buckets share: the fewer there are to ask, the cheaper a new id is.

use super::DedupOptions;
use crate::filter::{Probe, SharedFilter};
use std::sync::Arc;

/// Filter bits per id.
const BITS_PER_ID: u64 = 16;
/// The smallest filter is made for so many ids.
pub(super) const FILTER_IDS_MIN: u64 = 1 << 16;
/// A filter that is full is followed by one for so many times as many ids as there are.
const GROWTH: u64 = 3;

impl DedupOptions {
    /// The group of a bucket. Groups of half a window: three cover the live buckets, and the ids of expired buckets
    /// that a group still holds are at most half a window's. What they let through is confirmed, as anything is.
    pub(super) fn group_of(&self, bucket: i64) -> i64 {
        bucket.div_euclid((self.window_us / self.bucket_us / 2).max(1))
    }
}

/// The filters of neighbouring buckets: one if their number of ids was foreseen, else a chain.
pub(super) struct Group {
    number: i64,
    /// Newest last.
    filters: Vec<Arc<SharedFilter>>,
    ids: u64,
    capacity: u64,
}

impl Group {
    pub(super) fn new(number: i64, ids: u64) -> Self {
        let capacity = ids.max(FILTER_IDS_MIN);
        let filters = vec![Arc::new(SharedFilter::new(capacity, BITS_PER_ID))];
        Self { number, filters, ids: 0, capacity }
    }

    pub(super) fn number(&self) -> i64 {
        self.number
    }

    /// A quarter more ids than there are, so that steady growth does not need a second filter.
    pub(super) fn ids_foreseen(&self) -> u64 {
        self.ids.saturating_add(self.ids / 4)
    }

    /// Newest last.
    pub(super) fn filters(&self) -> &[Arc<SharedFilter>] {
        &self.filters
    }

    pub(super) fn into_filters(self) -> Vec<Arc<SharedFilter>> {
        self.filters
    }

    pub(super) fn may_contain(&self, probe: Probe) -> bool {
        self.filters.iter().any(|filter| filter.may_contain(probe))
    }

    /// Adds an id. `true`: the chain got longer.
    pub(super) fn insert(&mut self, probe: Probe) -> bool {
        let full = self.ids >= self.capacity;
        if full {
            let more = self.ids.saturating_mul(GROWTH);
            self.filters.push(Arc::new(SharedFilter::new(more, BITS_PER_ID)));
            self.capacity = self.capacity.saturating_add(more);
        }
        if let Some(filter) = self.filters.last() {
            filter.insert(probe);
        }
        self.ids += 1;
        full
    }
}
