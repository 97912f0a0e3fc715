//! What depends on what.

use crate::audience::definition::DefinitionId;
use crate::audience::program::{Leaf, Node};
use crate::audience::rulebook::{Body, Compiled};
use crate::feature::{EVENT_ALIASES, Slot};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// The rank of an audience: those that others depend on have the lower one.
pub(crate) type Rank = u32;

#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Sorted by hash of the name.
    events: Vec<OfEvent>,
    /// Audiences by rank.
    pub(crate) order: Vec<DefinitionId>,
    pub(crate) ranks: BTreeMap<DefinitionId, Rank>,
    /// Audiences by number.
    sorted: Vec<DefinitionId>,
    traits: BTreeMap<Box<str>, Vec<Rank>>,
    consents: BTreeMap<Box<str>, Vec<Rank>>,
    dependents: BTreeMap<DefinitionId, Vec<Rank>>,
    /// Those that time alone can change.
    pub(crate) timed: Vec<Rank>,
}

/// What an event of one name may change.
#[derive(Debug)]
pub(crate) struct OfEvent {
    hash: u64,
    name: Box<str>,
    /// Sorted by id.
    pub(crate) slots: Vec<Arc<Slot>>,
    /// The audiences that look at each of them.
    pub(crate) ranks: Vec<Vec<Rank>>,
}

/// An [`OfEvent`] in the making: slots by id, and who looks at each.
type Gathering = BTreeMap<u32, (Arc<Slot>, BTreeSet<Rank>)>;

impl Index {
    pub(crate) fn of(definitions: &BTreeMap<DefinitionId, Arc<Compiled>>) -> Self {
        let mut index = Self { order: in_order(definitions), ..Self::default() };
        index.ranks = index.order.iter().enumerate().map(|(rank, id)| (*id, rank as Rank)).collect();
        index.sorted = index.ranks.keys().copied().collect();
        let mut events: BTreeMap<Box<str>, Gathering> = BTreeMap::new();
        for compiled in definitions.values() {
            let rank = index.ranks.get(&compiled.definition.id).copied();
            for slot in compiled.slots() {
                for name in names_of(&slot.feature.event) {
                    let entry = events.entry(name.into()).or_default();
                    let found = entry.entry(slot.id.0);
                    found.or_insert_with(|| (Arc::clone(slot), BTreeSet::new())).1.extend(rank);
                }
            }
            if let (Some(rank), Body::Audience(rule)) = (rank, &compiled.body) {
                index.note(rank, &rule.program.nodes, &rule.program.slots);
            }
        }
        index.events = events
            .into_iter()
            .map(|(name, found)| {
                let (slots, ranks): (Vec<_>, Vec<_>) = found.into_values().unzip();
                let ranks = ranks.into_iter().map(|ranks| ranks.into_iter().collect()).collect();
                OfEvent { hash: xxh3_64(name.as_bytes()), name, slots, ranks }
            })
            .collect();
        index.events.sort_by_key(|entry| entry.hash);
        index
    }

    fn note(&mut self, rank: Rank, nodes: &[Node], slots: &[Arc<Slot>]) {
        let mut timed = slots.iter().any(|slot| slot.feature.window.is_some());
        for node in nodes {
            match node {
                Node::Leaf(Leaf::Trait(name, _)) => add(self.traits.entry(name.clone()).or_default(), rank),
                Node::Leaf(Leaf::Consent(name)) => add(self.consents.entry(name.clone()).or_default(), rank),
                Node::Leaf(Leaf::Audience(id)) => add(self.dependents.entry(*id).or_default(), rank),
                Node::Since(..) => timed = true,
                _ => {}
            }
        }
        if timed {
            self.timed.push(rank);
        }
    }

    pub(crate) fn event(&self, name: &str) -> Option<&OfEvent> {
        let hash = xxh3_64(name.as_bytes());
        let from = self.events.partition_point(|entry| entry.hash < hash);
        let same = self.events.iter().skip(from).take_while(|entry| entry.hash == hash);
        same.into_iter().find(|entry| &*entry.name == name)
    }

    pub(crate) fn is_audience(&self, id: DefinitionId) -> bool {
        self.sorted.binary_search(&id).is_ok()
    }

    pub(crate) fn of_trait(&self, name: &str) -> &[Rank] {
        self.traits.get(name).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn of_consent(&self, category: &str) -> &[Rank] {
        self.consents.get(category).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn of_audience(&self, id: DefinitionId) -> &[Rank] {
        self.dependents.get(&id).map_or(&[], Vec::as_slice)
    }
}

fn add(ranks: &mut Vec<Rank>, rank: Rank) {
    if ranks.last() != Some(&rank) {
        ranks.push(rank);
    }
}

/// The names under which an event arrives.
fn names_of(event: &str) -> Vec<&str> {
    let aliases = EVENT_ALIASES.iter().filter(|(now, before)| *now == event || *before == event);
    let mut names: Vec<&str> = aliases.flat_map(|(now, before)| [*now, *before]).collect();
    if names.is_empty() {
        names.push(event);
    }
    names
}

/// Audiences, those that others depend on first, and otherwise by number. What depends on itself is left out.
fn in_order(definitions: &BTreeMap<DefinitionId, Arc<Compiled>>) -> Vec<DefinitionId> {
    let is_audience = |id: &DefinitionId| definitions.get(id).is_some_and(|one| one.definition.is_audience());
    let mut waits: BTreeMap<DefinitionId, BTreeSet<DefinitionId>> = BTreeMap::new();
    let mut waiters: BTreeMap<DefinitionId, Vec<DefinitionId>> = BTreeMap::new();
    for (id, compiled) in definitions.iter().filter(|(id, _)| is_audience(id)) {
        let needs: BTreeSet<DefinitionId> = compiled.uses().filter(is_audience).collect();
        for need in &needs {
            waiters.entry(*need).or_default().push(*id);
        }
        waits.insert(*id, needs);
    }
    let mut ready: BTreeSet<DefinitionId> =
        waits.iter().filter(|(_, needs)| needs.is_empty()).map(|(id, _)| *id).collect();
    let mut order = Vec::with_capacity(waits.len());
    while let Some(id) = ready.pop_first() {
        order.push(id);
        for waiter in waiters.get(&id).into_iter().flatten() {
            let Some(needs) = waits.get_mut(waiter) else { continue };
            needs.remove(&id);
            if needs.is_empty() {
                ready.insert(*waiter);
            }
        }
    }
    order
}
