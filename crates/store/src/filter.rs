//! Blocked Bloom filters: one 64-byte line answers "surely not" with one cache miss.
//!
//! A key belongs to one line of eight words and sets one bit in each word. At 16 bits a key about one absent key in a
//! thousand is let through; at 10 bits it is one in eighty, which with a dozen runs to ask is one read in seven.

use crate::TableId;
use model::id::Key;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// 64-bit words in a line.
pub(crate) const LINE_WORDS: usize = 8;
/// Bits in a line.
const LINE_BITS: u64 = 512;
/// Lines in a page of a [`SharedFilter`]: 1 MiB, so that the first touch of a page never costs the writer more than a
/// fraction of a millisecond.
const PAGE_LINES: u64 = 1 << 14;

/// Where a key stands in a filter: its line, and its bit in each word of the line.
#[derive(Clone, Copy)]
pub(crate) struct Probe {
    place: u64,
    lanes: u64,
}

impl Probe {
    /// For ids, which are uniform: the line grows with the id, so sorted ids fill a filter from front to back.
    pub(crate) fn of_id(key: Key) -> Self {
        Self { place: (key.0 >> 64) as u64, lanes: key.0 as u64 }
    }

    /// For rows, whose keys may be anything and which share a filter with their neighbours: mixed first.
    pub(crate) fn of_row(table: TableId, key: Key) -> Self {
        let low = (key.0 as u64) ^ 0xA076_1D64_78BD_642F ^ (u64::from(table.0) << 56);
        let high = ((key.0 >> 64) as u64) ^ 0xE703_7ED1_A0B4_28DB;
        let product = u128::from(low) * u128::from(high);
        let mixed = ((product >> 64) as u64 ^ product as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = mixed ^ (mixed >> 32);
        Self { place: mixed, lanes: mixed }
    }

    fn line(self, lines: u64) -> u64 {
        ((u128::from(self.place) * u128::from(lines)) >> 64) as u64
    }

    fn bits(self) -> [u64; LINE_WORDS] {
        let mut lanes = self.lanes;
        [(); LINE_WORDS].map(|()| {
            let bit = 1_u64 << (lanes & 63);
            lanes >>= 6;
            bit
        })
    }
}

/// Lines for a number of keys.
pub(crate) fn lines_for(keys: u64, bits_per_key: u64) -> u64 {
    keys.saturating_mul(bits_per_key).div_ceil(LINE_BITS).max(1)
}

/// Adds a key to the filter that the words are.
pub(crate) fn insert(words: &mut [u64], probe: Probe) {
    let start = probe.line((words.len() / LINE_WORDS) as u64) as usize * LINE_WORDS;
    for (word, bit) in words.iter_mut().skip(start).zip(probe.bits()) {
        *word |= bit;
    }
}

/// Whether a key may be in the filter that the words are. No branch depends on the line, so look-ups in several
/// filters overlap.
pub(crate) fn may_contain(words: &[u64], probe: Probe) -> bool {
    let start = probe.line((words.len() / LINE_WORDS) as u64) as usize * LINE_WORDS;
    let Some(line) = words.get(start..start + LINE_WORDS) else { return false };
    line.iter().zip(probe.bits()).fold(0, |missing, (word, bit)| missing | (bit & !word)) == 0
}

type Page = Box<[[AtomicU64; LINE_WORDS]]>;

/// A filter that one thread fills while others look: a bit once seen stays. Pages come into being when first touched.
pub(crate) struct SharedFilter {
    pages: Box<[OnceLock<Page>]>,
    lines: u64,
}

impl SharedFilter {
    /// A filter for up to `capacity` keys.
    pub(crate) fn new(capacity: u64, bits_per_key: u64) -> Self {
        let lines = lines_for(capacity, bits_per_key);
        let pages = (0..lines.div_ceil(PAGE_LINES)).map(|_| OnceLock::new()).collect();
        Self { pages, lines }
    }

    /// Bytes it takes once all pages are touched.
    pub(crate) fn bytes(&self) -> u64 {
        self.lines * LINE_BITS / 8
    }

    fn page_lines(&self) -> u64 {
        self.lines.min(PAGE_LINES)
    }

    /// Adds a key.
    pub(crate) fn insert(&self, probe: Probe) {
        let line = probe.line(self.lines);
        let Some(page) = self.pages.get((line / PAGE_LINES) as usize) else { return };
        let page = page.get_or_init(|| {
            (0..self.page_lines()).map(|_| [const { AtomicU64::new(0) }; LINE_WORDS]).collect()
        });
        let Some(words) = page.get((line % PAGE_LINES) as usize) else { return };
        for (word, bit) in words.iter().zip(probe.bits()) {
            // One writer: a plain load and store lose nothing, and cost less than a locked "or".
            word.store(word.load(Ordering::Relaxed) | bit, Ordering::Relaxed);
        }
    }

    /// Reads a word of the key's line.
    #[inline]
    pub(crate) fn touch(&self, probe: Probe) -> u64 {
        self.words(probe).and_then(|line| line.first()).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    #[inline]
    fn words(&self, probe: Probe) -> Option<&[AtomicU64; LINE_WORDS]> {
        let line = probe.line(self.lines);
        let page = self.pages.get((line / PAGE_LINES) as usize).and_then(OnceLock::get)?;
        page.get((line % PAGE_LINES) as usize)
    }

    /// The first of eight questions: `false` is final. One load and nothing that waits for it, so that the cache
    /// misses of many keys and filters overlap; what [`SharedFilter::may_contain`] asks then is in the cache.
    #[inline]
    pub(crate) fn first_bit(&self, probe: Probe) -> bool {
        let first = self.words(probe).and_then(|words| words.first());
        first.is_some_and(|word| word.load(Ordering::Relaxed) >> (probe.lanes & 63) & 1 != 0)
    }

    /// Whether a key may have been added. No branch depends on the line: what a key's eight bits say is as good as
    /// random, and a wrong guess would cost more than asking them all.
    #[inline]
    pub(crate) fn may_contain(&self, probe: Probe) -> bool {
        let Some(words) = self.words(probe) else { return false };
        let ask = |missing, (word, bit): (&AtomicU64, u64)| missing | (bit & !word.load(Ordering::Relaxed));
        words.iter().zip(probe.bits()).fold(0, ask) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use env::seeded::Seed;

    fn keys(seed: u64, count: usize) -> Vec<Key> {
        let mut seed = Seed::new(seed);
        (0..count).map(|_| Key(u128::from(seed.next_u64()) << 64 | u128::from(seed.next_u64()))).collect()
    }

    #[test]
    fn what_was_added_is_found_and_little_else() {
        let (added, absent) = (keys(1, 50_000), keys(2, 50_000));
        let mut words = vec![0; lines_for(50_000, 16) as usize * LINE_WORDS];
        let shared = SharedFilter::new(50_000, 16);
        for key in &added {
            insert(&mut words, Probe::of_row(TableId(3), *key));
            shared.insert(Probe::of_id(*key));
        }
        for key in &added {
            assert!(may_contain(&words, Probe::of_row(TableId(3), *key)));
            assert!(shared.may_contain(Probe::of_id(*key)));
        }
        let rows = absent.iter().filter(|key| may_contain(&words, Probe::of_row(TableId(3), **key))).count();
        let ids = absent.iter().filter(|key| shared.may_contain(Probe::of_id(**key))).count();
        assert!(rows < 100, "16 bits a key let {rows} of 50,000 rows through");
        assert!(ids < 100, "16 bits a key let {ids} of 50,000 ids through");
    }

    #[test]
    fn small_keys_and_tables_spread_over_a_row_filter() {
        let mut words = vec![0; lines_for(20_000, 16) as usize * LINE_WORDS];
        for number in 0..10_000 {
            insert(&mut words, Probe::of_row(TableId(1), Key(number)));
            insert(&mut words, Probe::of_row(TableId(2), Key(number << 64)));
        }
        let wrong =
            (10_000..30_000).filter(|number| may_contain(&words, Probe::of_row(TableId(1), Key(*number))));
        assert!(wrong.count() < 50);
    }
}
