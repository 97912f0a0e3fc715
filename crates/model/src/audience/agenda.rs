//! Which audiences are to be evaluated, and in which order.

use crate::audience::definition::DefinitionId;
use crate::audience::rulebook::Rulebook;
use crate::feature::Changed;

/// The audiences that may have changed for one person. Note what happened, then take audiences one by one; if one
/// changed, note that too: what depends on it comes later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agenda {
    /// A bit per rank.
    words: Vec<u64>,
}

impl Agenda {
    /// An event of this name (see [`crate::feature::event_name`]) was recorded, and changed these of its features.
    pub fn event(&mut self, book: &Rulebook, name: &str, changed: Changed) {
        let Some(entry) = book.index.event(name).filter(|_| !changed.is_empty()) else { return };
        for (index, ranks) in entry.ranks.iter().enumerate() {
            if changed.has(index) {
                self.add(ranks);
            }
        }
    }

    /// A trait was stated.
    pub fn stated(&mut self, book: &Rulebook, name: &str) {
        self.add(book.index.of_trait(name));
    }

    /// Consent to a category was given or withdrawn.
    pub fn consent(&mut self, book: &Rulebook, category: &str) {
        self.add(book.index.of_consent(category));
    }

    /// The person entered or left an audience.
    pub fn changed(&mut self, book: &Rulebook, audience: DefinitionId) {
        self.add(book.index.of_audience(audience));
    }

    /// Time passed: a next change is due.
    pub fn time(&mut self, book: &Rulebook) {
        self.add(&book.index.timed);
    }

    /// Everything: the person's nodes changed, e.g. by a merge.
    pub fn everything(&mut self, book: &Rulebook) {
        for rank in 0..book.index.order.len() as u32 {
            self.add(&[rank]);
        }
    }

    /// One audience.
    pub fn audience(&mut self, book: &Rulebook, audience: DefinitionId) {
        if let Some(rank) = book.index.ranks.get(&audience) {
            self.add(&[*rank]);
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Takes the next audience, one that no other on the agenda can change.
    pub fn next(&mut self, book: &Rulebook) -> Option<DefinitionId> {
        for (index, word) in self.words.iter_mut().enumerate() {
            if *word != 0 {
                let rank = index * 64 + word.trailing_zeros() as usize;
                *word &= *word - 1;
                return book.index.order.get(rank).copied();
            }
        }
        None
    }

    fn add(&mut self, ranks: &[u32]) {
        for rank in ranks {
            let index = (rank / 64) as usize;
            if index >= self.words.len() {
                self.words.resize(index + 1, 0);
            }
            if let Some(word) = self.words.get_mut(index) {
                *word |= 1 << (rank % 64);
            }
        }
    }
}
