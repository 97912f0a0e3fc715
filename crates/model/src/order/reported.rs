//! What was reported of orders so far, for whoever reads the log again.

use super::{decides, is_counted, order_key, refund_key};
use crate::event::{OrderChange, OrderFact};
use crate::id::Key;
use std::collections::{BTreeMap, BTreeSet};

/// What a report said, as far as it matters to what features count.
#[derive(Clone, Copy, Debug)]
struct Word {
    from_server: bool,
    counts: bool,
}

/// An order that somebody reported who is erased later.
#[derive(Clone, Debug, Default)]
struct Passing {
    /// Who of them did.
    reporters: BTreeSet<Key>,
    /// Somebody else did too, so it stays known.
    stays: bool,
    refunds: Vec<Key>,
}

/// What was reported of orders so far, for whoever reads all reports in the order of the log and has no
/// [`Order`](super::Order)s: a few bytes an order or refund. It answers [`is_counted`] as the orders would, save that an
/// order forgets refunds beyond [`MAX_REFUNDS`](super::MAX_REFUNDS) and reporters beyond
/// [`MAX_REPORTERS`](super::MAX_REPORTERS).
///
/// An order that nobody who is left reported is no more: reported again, it is an event again. Only for those who are
/// erased somewhere in what is read it is kept in mind who reported what, so whoever reads says beforehand who they are.
#[derive(Clone, Debug, Default)]
pub struct Reported {
    words: BTreeMap<Key, Word>,
    erased_later: BTreeSet<Key>,
    passing: BTreeMap<Key, Passing>,
    orders_of: BTreeMap<Key, Vec<Key>>,
}

impl Reported {
    /// Nothing yet. These nodes are erased in what is going to be read.
    pub fn new(erased_later: BTreeSet<Key>) -> Self {
        Self { erased_later, ..Self::default() }
    }

    /// Takes in the order part of the next event, if it has one, that was counted under this node. Gives whether features
    /// count the event.
    pub fn take(
        &mut self,
        node: Key,
        fact: Option<&OrderFact<'_>>,
        from_server: bool,
        value_counts: bool,
    ) -> bool {
        let counted = is_counted(fact, value_counts, |fact| self.has_counted(fact));
        if let Some(fact) = fact.filter(|fact| !fact.order_id.is_empty()) {
            let word = Word { from_server, counts: value_counts };
            let order = order_key(fact.order_id);
            match fact.change {
                OrderChange::Completed | OrderChange::Updated => {
                    self.note_reporter(order, node);
                    self.say(order, word, matches!(fact.change, OrderChange::Updated));
                }
                OrderChange::Refunded => {
                    let refund = refund_key(fact.order_id, fact.refund_id);
                    if let Some(passing) = self.passing.get_mut(&order) {
                        passing.refunds.push(refund);
                    }
                    self.say(refund, word, false);
                }
                OrderChange::Cancelled => {}
            }
        }
        counted
    }

    /// A node is erased.
    pub fn erase(&mut self, node: Key) {
        for order in self.orders_of.remove(&node).unwrap_or_default() {
            let Some(passing) = self.passing.get_mut(&order) else { continue };
            passing.reporters.remove(&node);
            if !passing.reporters.is_empty() || passing.stays {
                continue;
            }
            self.words.remove(&order);
            for refund in self.passing.remove(&order).unwrap_or_default().refunds {
                self.words.remove(&refund);
            }
        }
    }

    fn note_reporter(&mut self, order: Key, node: Key) {
        if !self.erased_later.contains(&node) {
            if let Some(passing) = self.passing.get_mut(&order) {
                passing.stays = true;
            }
            return;
        }
        let known = self.words.contains_key(&order);
        let fresh = || Passing { stays: known, ..Passing::default() };
        if self.passing.entry(order).or_insert_with(fresh).reporters.insert(node) {
            self.orders_of.entry(node).or_default().push(order);
        }
    }

    fn has_counted(&self, fact: &OrderFact<'_>) -> bool {
        let key = match fact.change {
            OrderChange::Completed => order_key(fact.order_id),
            OrderChange::Refunded => refund_key(fact.order_id, fact.refund_id),
            OrderChange::Updated | OrderChange::Cancelled => return false,
        };
        self.words.get(&key).is_some_and(|word| word.counts)
    }

    fn say(&mut self, key: Key, word: Word, again: bool) {
        let before = self.words.get(&key).map(|before| before.from_server);
        if decides(before, word.from_server, again) {
            self.words.insert(key, word);
        }
    }
}
