//! What a platform took in and has not done yet: some answer with the number of a request, and say later what became of
//! it. Until then nothing of it counts as acknowledged. It is in memory only: after a restart nobody is awaited, so what
//! is not acknowledged is said again, which is as good as asking.

use super::super::shadow::{Heard, Told};
use model::id::Key;
use std::collections::BTreeMap;

/// People who are awaited at once. Of those beyond, outcomes are not heard, and they are said again.
const PEOPLE_MAX: usize = 1_000_000;

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Its number at the platform.
    pub request: String,
    /// Whether all of it was done. Otherwise nobody knows which part was.
    pub done: bool,
}

#[derive(Default)]
pub(super) struct Awaited {
    requests: BTreeMap<String, Request>,
    /// Of whom an outcome is awaited: which word of ours, and how many requests carry it.
    people: BTreeMap<(String, Key), (u64, u32)>,
    words: u64,
}

struct Request {
    list: String,
    /// Who was named, whether to be added, and by which word.
    named: Vec<(Key, bool, u64)>,
}

impl Awaited {
    /// A new word is about to be said of a person: what is heard of an older one means nothing any more.
    pub(super) fn begin(&mut self, list: &str, person: Key) {
        self.people.remove(&(list.to_owned(), person));
    }

    /// A request that names a person was taken in.
    pub(super) fn note(&mut self, request: &str, list: &str, person: Key, add: bool) {
        let of = (list.to_owned(), person);
        if self.people.len() >= PEOPLE_MAX && !self.people.contains_key(&of) {
            return;
        }
        self.words += 1;
        let (word, open) = self.people.entry(of).or_insert((self.words, 0));
        *open += 1;
        let known = self.requests.entry(request.to_owned());
        let known = known.or_insert_with(|| Request { list: list.to_owned(), named: Vec::new() });
        known.named.push((person, add, *word));
    }

    pub(super) fn contains(&self, list: &str, person: Key) -> bool {
        self.people.contains_key(&(list.to_owned(), person))
    }

    pub(super) fn len(&self) -> usize {
        self.people.len()
    }

    /// The outcome of a request is known: what the shadow is to write down of it.
    pub(super) fn settle(&mut self, settled: &Settled) -> Vec<Told> {
        let Some(Request { list, named }) = self.requests.remove(&settled.request) else { return Vec::new() };
        let mut told = Vec::new();
        for (person, add, word) in named {
            let of = (list.clone(), person);
            let Some((current, open)) = self.people.get_mut(&of) else { continue };
            if *current != word {
                continue;
            }
            *open = open.saturating_sub(1);
            if !settled.done || *open == 0 {
                self.people.remove(&of);
            }
            if settled.done {
                let (removed, added) =
                    if add { (Heard::Nothing, Heard::Done) } else { (Heard::Done, Heard::Nothing) };
                told.push(Told { list: list.clone(), person, removed, added });
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(request: &str, done: bool) -> Settled {
        Settled { request: request.to_owned(), done }
    }

    #[test]
    fn only_the_outcome_of_the_last_word_counts() {
        let mut awaited = Awaited::default();
        awaited.note("r1", "l", Key(1), true);
        awaited.note("r1", "l", Key(2), true);
        awaited.begin("l", Key(1));
        awaited.note("r2", "l", Key(1), false);
        assert_eq!(awaited.len(), 2);
        let told = awaited.settle(&settled("r1", true));
        assert_eq!(
            told.iter().map(|one| (one.person, one.added)).collect::<Vec<_>>(),
            [(Key(2), Heard::Done)]
        );
        assert!(awaited.contains("l", Key(1)) && !awaited.contains("l", Key(2)));
        let told = awaited.settle(&settled("r2", true));
        assert_eq!(told[0].removed, Heard::Done);
        assert_eq!(
            (awaited.len(), awaited.settle(&settled("r2", true)).len()),
            (0, 0),
            "an outcome counts once"
        );
    }

    #[test]
    fn what_failed_is_not_awaited_any_more_and_nothing_is_acknowledged() {
        let mut awaited = Awaited::default();
        awaited.note("removal", "l", Key(1), false);
        awaited.note("addition", "l", Key(1), true);
        assert_eq!(awaited.settle(&settled("removal", false)), []);
        assert!(!awaited.contains("l", Key(1)));
        assert_eq!(awaited.settle(&settled("addition", true)), [], "both halves are said again");
    }
}
