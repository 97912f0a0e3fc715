//! Plans of documents that were seen before.

use super::plan::Plan;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The most plans that are kept.
const MAX_PLANS: usize = 1_024;
/// The most memory that they take, roughly.
const MAX_BYTES: usize = 64 << 20;

/// Plans by the text of their document, the ones used last. A shop's storefront has a few dozen documents, so nearly every
/// request finds its plan.
pub(crate) struct Plans {
    seed: u64,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_hash: BTreeMap<u64, Entry>,
    /// Hashes by when they were used.
    by_use: BTreeMap<u64, u64>,
    uses: u64,
    bytes: usize,
}

struct Entry {
    text: Box<str>,
    plan: Arc<Plan>,
    used: u64,
}

impl Plans {
    /// None yet. The seed keeps others from making documents that take each other's place.
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, kept: Mutex::default() }
    }

    /// The plan of a document.
    pub(crate) fn find(&self, text: &str) -> Option<Arc<Plan>> {
        let hash = xxh3_64_with_seed(text.as_bytes(), self.seed);
        let mut guard = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &mut *guard;
        let entry = kept.by_hash.get_mut(&hash).filter(|entry| *entry.text == *text)?;
        kept.uses += 1;
        kept.by_use.remove(&entry.used);
        entry.used = kept.uses;
        kept.by_use.insert(entry.used, hash);
        Some(Arc::clone(&entry.plan))
    }

    /// Keeps a plan, in place of those that were not used for the longest time.
    pub(crate) fn keep(&self, text: &str, plan: &Arc<Plan>) {
        let hash = xxh3_64_with_seed(text.as_bytes(), self.seed);
        let mut guard = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &mut *guard;
        kept.remove(hash);
        kept.uses += 1;
        let used = kept.uses;
        kept.bytes += plan.weight_bytes;
        kept.by_use.insert(used, hash);
        kept.by_hash.insert(hash, Entry { text: text.into(), plan: Arc::clone(plan), used });
        while kept.by_hash.len() > MAX_PLANS || (kept.bytes > MAX_BYTES && kept.by_hash.len() > 1) {
            let Some((_, oldest)) = kept.by_use.pop_first() else { break };
            kept.remove(oldest);
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).by_hash.len()
    }
}

impl Kept {
    fn remove(&mut self, hash: u64) {
        if let Some(entry) = self.by_hash.remove(&hash) {
            self.by_use.remove(&entry.used);
            self.bytes -= entry.plan.weight_bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ones_used_last_stay() {
        let plans = Plans::new(7);
        let plan = |weight_bytes| Arc::new(Plan { operations: Vec::new(), weight_bytes });
        for number in 0..MAX_PLANS + 10 {
            plans.keep(&format!("{{ a{number} }}"), &plan(1));
            assert!(plans.find("{ a0 }").is_some(), "it is used all the time");
        }
        assert_eq!(plans.len(), MAX_PLANS);
        assert!(plans.find("{ a1 }").is_none(), "it was not used for the longest time");
        plans.keep("heavy", &plan(MAX_BYTES));
        assert_eq!(plans.len(), 1, "memory is bounded too");
        assert!(plans.find("heavy").is_some());
    }
}
