//! Parts people who were joined, and erases them.

use crate::command::{CommandError, Parting, Reply, WhoToErase};
use crate::define::takes_features;
use crate::effect::{Body, Cause};
use crate::redact::{ErasedNode, Extent};
use crate::resolve::Step;
use crate::state::{Node, ProfileRow};
use model::id::Key;
use model::identity::{Component, profile_key};
use model::line::Ledger;

impl Step<'_> {
    /// Takes edges out and gives every part that the others leave its own profile, as if those edges had never been:
    /// what browsers claimed of two who were one because of them goes too. What each node gathered stays with it.
    pub(crate) fn unmerge(&mut self, parting: Parting) -> Result<Reply, CommandError> {
        let node = match parting {
            Parting::Pair(a, _) | Parting::Record(a, _) => a,
        };
        let profile = self.profile_of(node).ok_or_else(|| CommandError::Unknown("identifier".to_owned()))?;
        let mut component = self.state.component(profile).cloned().ok_or(CommandError::NotJoined)?;
        let pairs = match parting {
            Parting::Pair(a, b) => vec![(a, b)],
            Parting::Record(_, position) => component.joined_at(position),
        };
        let mut parted = !pairs.is_empty();
        for (a, b) in pairs {
            parted &= component.part(a, b);
        }
        if !parted {
            return Err(CommandError::NotJoined);
        }
        let mut restated = Ledger::default();
        restated.merge(&self.line_of(profile), -1);
        let chosen = self.chosen(profile);
        let parts = component.split();
        let keys: Vec<Key> =
            parts.iter().filter_map(Component::root).map(|root| profile_key(root.node)).collect();
        self.count(keys.len() as i64 - 1, 0);
        if keys.len() > 1 {
            self.emit(profile, &Body::Unmerged(keys.clone()));
        }
        for (key, part) in keys.iter().zip(parts) {
            self.give_profile(*key, part);
        }
        keys.iter().for_each(|key| restated.merge(&self.line_of(*key), 1));
        self.post(restated);
        for key in &keys {
            self.recompute_suppression(*key);
            self.tell_choice(*key, &chosen);
            self.enter_anew(*key, Cause::Unmerge);
        }
        Ok(Reply::Unmerged(keys))
    }

    fn give_profile(&mut self, key: Key, part: Component) {
        for member in &part.members {
            if let Some(row) = self.state.nodes.get_mut(member.node) {
                row.profile = key;
            }
            // A member that was a root once left a pointer behind, which must not lead to another part.
            let own = profile_key(member.node);
            if own != key && self.state.profiles.get(own).is_some() {
                self.state.profiles.insert(own, ProfileRow::Merged { into: key });
            }
        }
        // The part that keeps the root keeps what it was in; that is looked at next.
        let membership = self.state.membership(key).cloned().map(Box::new);
        self.state.profiles.insert(key, ProfileRow::Live(part, membership));
    }

    /// Removes every row of a person. Asks for the log and the checkpoints to be rewritten.
    pub(crate) fn erase(&mut self, who: WhoToErase) -> Result<Reply, CommandError> {
        let profile = match who {
            WhoToErase::Profile(key) => Some(self.state.follow(key)),
            WhoToErase::Identifier(key) => {
                let node = self.state.current_node(key);
                self.profile_of(node)
            }
        };
        let profile = profile.ok_or_else(|| CommandError::Unknown("identifier".to_owned()))?;
        let component = self.state.component(profile).cloned();
        let component = component.ok_or_else(|| CommandError::Unknown("profile".to_owned()))?;
        let nodes: Vec<Key> = component.members.iter().map(|member| member.node).collect();
        let left = self.leave_all(profile, Cause::Erased);
        self.untell(&left);
        if self.state.suppressions.get(profile).is_some() {
            self.forget_suppression(profile);
        } else {
            self.wake(profile);
        }
        let mut erased = Vec::with_capacity(nodes.len());
        for node in &nodes {
            let Some(row) = self.state.nodes.get(*node).cloned() else { continue };
            let alone = row.device.as_ref().is_none_or(|device| !device.handed_over);
            erased.push((*node, if alone { Extent::Whole } else { Extent::Node }));
            if row.session_of != Key(0) && !nodes.contains(&row.session_of) {
                erased.push((row.session_of, Extent::Session));
            }
            self.forget_orders(*node, &row);
            self.forget_device(*node, &row, &nodes);
            self.forget_refusals(*node, &row);
            self.state.nodes.remove(*node);
            self.state.trails.remove(*node);
            self.state.profiles.remove(profile_key(*node));
        }
        let position = self.position;
        for (node, extent) in &mut erased {
            // What was not all of it once cannot become all of it: the log from before is still there.
            if *extent == Extent::Whole
                && self.state.erased(*node).is_some_and(|row| row.extent != Extent::Whole)
            {
                *extent = Extent::Node;
            }
            let row = match self.state.erased(*node) {
                // What the device had gathered went before, and a session of it takes no more: that is kept in mind.
                Some(before) if *extent == Extent::Session && takes_features(before.extent) => {
                    ErasedNode { extent: Extent::Node, ..before }
                }
                _ => ErasedNode { position, extent: *extent },
            };
            self.state.erased.insert(*node, row);
        }
        self.forget_quarantined(&erased);
        self.count(-1, 0);
        let count = nodes.len() as u32;
        self.emit(profile, &Body::Erased { nodes: erased, position });
        Ok(Reply::Erased(count))
    }

    /// Somebody else who reported the order too keeps that it is known, so that it is not counted again.
    fn forget_orders(&mut self, node: Key, row: &Node) {
        let orders = row.aggregate.iter().flat_map(|aggregate| &aggregate.orders);
        for key in orders {
            let Some(order) = self.state.orders.get_mut(*key) else { continue };
            order.0.reporters.retain(|reporter| reporter.node != node);
            if order.0.owner == node {
                order.0.owner = Key(0);
            }
            if order.0.reporters.is_empty() {
                self.state.orders.remove(*key);
            }
        }
    }

    /// A device of somebody else forgets that this person used it. A device of this person that carries somebody
    /// else's session is no longer found by it: it starts anew.
    fn forget_device(&mut self, node: Key, row: &Node, erased: &[Key]) {
        if row.session_of != Key(0) {
            let Some(device) = self.state.nodes.get_mut(row.session_of) else { return };
            let Some(state) = device.device.as_mut() else { return };
            state.takers.retain(|taker| !erased.contains(&taker.anchor));
            if state.current == node {
                state.current = row.session_of;
                self.mark_current(row.session_of, true);
            }
        } else if row.is_session() && row.current(node) != node && !erased.contains(&row.current(node)) {
            self.mark_current(row.current(node), false);
        }
    }

    fn mark_current(&mut self, node: Key, current: bool) {
        let Some(profile) = self.profile_of(node) else { return };
        if let Some(component) = self.state.component_mut(profile) {
            component.set_current(node, current);
            self.suppress(profile, |_| {});
        }
    }

    fn forget_refusals(&mut self, node: Key, row: &Node) {
        for refusal in row.refusals.iter().flat_map(|refusals| &refusals.latest) {
            let Some(other) = self.state.nodes.get_mut(refusal.other) else { continue };
            if let Some(refusals) = other.refusals.as_mut() {
                refusals.latest.retain(|one| one.other != node);
            }
        }
    }
}
