//! Parting: taking edges out, and what the others still connect.

use super::{Component, Edge, MAX_TOMBSTONES, Member, pair};
use crate::id::{Key, Position};
use std::collections::BTreeMap;

impl Component {
    /// Parts two nodes: removes their edge and remembers that they are not to be joined. `false`, and nothing
    /// changes, if no edge joins them or there is no room to remember it.
    pub fn part(&mut self, a: Key, b: Key) -> bool {
        if !self.has_edge(a, b) || self.tombstones.len() >= MAX_TOMBSTONES {
            return false;
        }
        self.edges.retain(|edge| !edge.joins(a, b));
        if let Err(at) = self.tombstones.binary_search(&pair(a, b)) {
            self.tombstones.insert(at, pair(a, b));
        }
        true
    }

    /// The pairs joined by the record at a position.
    pub fn joined_at(&self, position: Position) -> Vec<(Key, Key)> {
        self.edges.iter().filter(|edge| edge.position == position).map(|edge| (edge.a, edge.b)).collect()
    }

    /// What the edges still connect, each part a component of its own, by root.
    pub fn split(mut self) -> Vec<Self> {
        self.drop_claims();
        let mut rest = self.members;
        let mut parts = Vec::new();
        while !rest.is_empty() {
            let mut part = Self { members: vec![rest.remove(0)], ..Self::default() };
            let mut next = 0;
            while let Some(member) = part.members.get(next) {
                let node = member.node;
                for edge in self.edges.iter().filter(|edge| edge.a == node || edge.b == node) {
                    let far = if edge.a == node { edge.b } else { edge.a };
                    if let Some(at) = rest.iter().position(|member| member.node == far) {
                        part.members.push(rest.remove(at));
                    }
                }
                next += 1;
            }
            part.members.sort_by_key(|member| member.first_seen);
            part.edges = self.edges.iter().filter(|edge| part.contains(edge.a)).copied().collect();
            let touches = |pair: &&(Key, Key)| part.contains(pair.0) || part.contains(pair.1);
            part.tombstones = self.tombstones.iter().filter(touches).copied().collect();
            parts.push(part);
        }
        if let Some(first) = parts.first_mut() {
            first.edges_unkept = self.edges_unkept;
        }
        parts
    }

    /// Takes out what browsers claimed of two who were one person at the time, and would not be without the edges that
    /// were parted since: a browser unites no two known persons, also not by keeping them together.
    fn drop_claims(&mut self) {
        let mut groups = Groups::of(&self.members);
        self.edges.retain(|edge| groups.join(edge));
    }
}

/// Who is one person, found edge by edge.
struct Groups(BTreeMap<Key, Group>);

/// To which group a node belongs.
#[derive(Clone, Copy)]
struct Group {
    /// One of its nodes.
    name: Key,
    /// Since which record somebody is known behind it.
    known_since: Option<Position>,
}

impl Groups {
    fn of(members: &[Member]) -> Self {
        let alone = |member: &Member| {
            let known_since = member.is_person().then_some(member.first_seen.position);
            (member.node, Group { name: member.node, known_since })
        };
        Self(members.iter().map(alone).collect())
    }

    /// Joins the ends of an edge, if it may join them.
    fn join(&mut self, edge: &Edge) -> bool {
        let (Some(a), Some(b)) = (self.0.get(&edge.a).copied(), self.0.get(&edge.b).copied()) else {
            return false;
        };
        if a.name == b.name {
            return true;
        }
        let is_known = |group: Group| group.known_since.is_some_and(|since| since < edge.position);
        if edge.claimed && is_known(a) && is_known(b) {
            return false;
        }
        let known_since = [a.known_since, b.known_since].into_iter().flatten().min();
        for group in self.0.values_mut().filter(|group| group.name == a.name || group.name == b.name) {
            *group = Group { name: a.name, known_since };
        }
        true
    }
}
