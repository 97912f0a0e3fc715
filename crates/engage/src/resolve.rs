//! Who an event is about: finds or makes its nodes, joins them as far as the rules allow, and says under which one
//! node it is aggregated: the most important person identifier, or else the session that the device carries now.

use crate::effect::{Body, Cause};
use crate::settings::Settings;
use crate::state::{Node, ProfileRow, State, THE_COUNTS};
use crate::view::Change;
use engine::Outcome;
use model::event::{Event, EventKind, Identifier, IdentifierKind, MAX_IDENTIFIERS};
use model::id::{Key, Position, Timestamp};
use model::identity::{
    Claim, Component, Device, Edge, EdgeKind, FirstSeen, Member, Reason, Refusal, in_order, profile_key,
    session_key,
};

/// Sessions come behind identifiers in the order of first sight within one record.
const SESSION_ORDINAL: u8 = 128;

/// The application of one record: everything that its parts share.
pub(crate) struct Step<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) settings: &'a Settings,
    pub(crate) outcome: &'a mut Outcome<Change>,
    pub(crate) position: Position,
    pub(crate) now: Timestamp,
    /// Whose word it is.
    pub(crate) from_server: bool,
    pub(crate) alias: bool,
    pub(crate) message: Key,
    /// Nodes that this record made and that may have no profile yet.
    pub(crate) fresh: Vec<Key>,
    /// Refusals to report once every node has its profile.
    pub(crate) refused: Vec<(Key, Key, Reason)>,
    /// Profiles that became somebody else: whose audiences are all to be found anew.
    pub(crate) changed: Vec<(Key, Cause)>,
}

/// A node's profile; `unborn` is the node itself while that profile is not there yet.
struct Side {
    profile: Key,
    unborn: Option<Member>,
}

impl Step<'_> {
    /// Joins the nodes of the event. Returns the one under which it is aggregated.
    pub(crate) fn resolve(&mut self, event: &Event<'_>) -> Option<Key> {
        let mut identifiers = in_order(event.identifiers.as_slice(), &self.settings.identity);
        self.alias = event.kind == EventKind::Alias;
        if !self.alias
            && let Some(node) = self.settled(&identifiers)
        {
            return Some(node);
        }
        if self.alias && !event.from_server {
            // A browser does not say who is who: its alias is counted for the surviving id and joins nothing.
            identifiers = event.identifiers.as_slice().iter().take(1).copied().collect();
        }
        for (ordinal, identifier) in identifiers.iter().enumerate() {
            self.ensure_identifier(identifier, ordinal as u8);
        }
        let persons = identifiers.iter().filter(|one| !IdentifierKind(one.kind).is_session()).count();
        let (persons, devices) = identifiers.split_at_checked(persons)?;
        let node = match (persons.split_first(), devices.split_first()) {
            (Some((anchor, others)), _) => {
                let kind = if self.alias { EdgeKind::Alias } else { EdgeKind::Together };
                for other in others {
                    self.join(anchor.key, other.key, kind);
                }
                for (index, device) in devices.iter().enumerate() {
                    self.identify_on_device(anchor.key, device, index as u8);
                }
                anchor.key
            }
            (None, Some((first, others))) => self.join_sessions(first.key, others),
            (None, None) => return None,
        };
        let mut next = 0;
        while let Some(fresh) = self.fresh.get(next).copied() {
            self.settle(fresh);
            next += 1;
        }
        self.fresh.clear();
        for (anchor, other, reason) in std::mem::take(&mut self.refused) {
            self.report_refusal(anchor, other, reason);
        }
        Some(node)
    }

    /// Most events tell nothing new of who is who: every identifier is known, all lead to one profile, and the edges
    /// that they would make are there. Then nothing is changed. `None` where there is something to do.
    fn settled(&mut self, identifiers: &[Identifier<'_>]) -> Option<Key> {
        let (first, others) = identifiers.split_first()?;
        let row = self.state.nodes.get(first.key)?;
        let profile = row.profile;
        if row.is_session() {
            return others.is_empty().then(|| row.current(first.key));
        }
        let mut carried = [Key(0); MAX_IDENTIFIERS];
        for (other, carried) in others.iter().zip(&mut carried) {
            let row = self.state.nodes.get(other.key)?;
            *carried = row.current(other.key);
            let leads_to =
                if *carried == other.key { row.profile } else { self.state.nodes.get(*carried)?.profile };
            if leads_to != profile {
                return None;
            }
        }
        let component = self.state.component(profile)?;
        let stands = |end: &Key| component.is_settled(first.key, *end, !self.from_server);
        carried.iter().take(others.len()).all(stands).then_some(first.key)
    }

    fn ensure_identifier(&mut self, identifier: &Identifier<'_>, ordinal: u8) {
        if self.state.nodes.get(identifier.key).is_none() {
            self.insert_node(identifier.key, identifier.kind, Key(0), identifier.value, ordinal);
        }
    }

    fn insert_node(&mut self, key: Key, kind: u8, session_of: Key, value: &[u8], ordinal: u8) {
        let node = Node {
            kind,
            session_of,
            first_seen: FirstSeen { position: self.position, ordinal, at: self.now },
            profile: profile_key(key),
            value: value.into(),
            device: None,
            aggregate: None,
            refusals: None,
        };
        self.state.nodes.insert(key, node);
        self.fresh.push(key);
    }

    /// Gives a node that nothing was joined to a profile of its own.
    fn settle(&mut self, node: Key) {
        if let Some(Side { profile, unborn: Some(member) }) = self.side(node) {
            self.state.profiles.insert(profile, ProfileRow::Live(Component::single(member), None));
            self.changed.push((profile, Cause::Event));
            self.count(1, 0);
        }
    }

    fn side(&mut self, node: Key) -> Option<Side> {
        let row = self.state.nodes.get(node)?;
        let pointer = row.profile;
        if self.fresh.contains(&node) {
            let member = row.member(node);
            if self.state.profiles.get(pointer).is_none() {
                return Some(Side { profile: pointer, unborn: Some(member) });
            }
        }
        let profile = self.state.follow(pointer);
        if profile != pointer
            && let Some(row) = self.state.nodes.get_mut(node)
        {
            row.profile = profile;
        }
        Some(Side { profile, unborn: None })
    }

    /// The profile that both nodes belong to, if it is one.
    fn common(&mut self, a: Key, b: Key) -> Option<Key> {
        match (self.side(a)?, self.side(b)?) {
            (Side { profile: one, unborn: None }, Side { profile: two, unborn: None }) if one == two => {
                Some(one)
            }
            _ => None,
        }
    }

    fn edge(&self, a: Key, b: Key, kind: EdgeKind) -> Edge {
        let rules_version = crate::RULES_VERSION;
        let (position, message, claimed) = (self.position, self.message, !self.from_server);
        Edge { a, b, position, message, kind, claimed, rules_version }
    }

    /// Joins two nodes, or remembers to report why not.
    fn join(&mut self, a: Key, b: Key, kind: EdgeKind) {
        if let Err(reason) = self.unite(a, b, kind) {
            self.refused.push((a, b, reason));
        }
    }

    fn unite(&mut self, a: Key, b: Key, kind: EdgeKind) -> Result<(), Reason> {
        let (Some(side_a), Some(side_b)) = (self.side(a), self.side(b)) else { return Ok(()) };
        let edge = self.edge(a, b, kind);
        let claim = Claim {
            from_server: self.from_server,
            alias: self.alias,
            position: self.position,
            now: self.now,
        };
        match (side_a.unborn, side_b.unborn) {
            (None, None) if side_a.profile == side_b.profile => self.confirm(side_a.profile, edge),
            (None, None) => return self.merge(side_a.profile, side_b.profile, edge, claim),
            (Some(one), Some(two)) => {
                let (mut left, right) = (Component::single(one), Component::single(two));
                left.may_unite(&right, claim, &self.settings.identity)?;
                left.absorb(right);
                left.add_edge(edge, true);
                let root = left.root().map_or(one.node, |root| root.node);
                self.state.profiles.insert(profile_key(root), ProfileRow::Live(left, None));
                self.changed.push((profile_key(root), Cause::Event));
                self.count(1, 0);
                self.point(one.node, profile_key(root));
                self.point(two.node, profile_key(root));
            }
            (Some(member), None) => self.attach(side_b.profile, member, edge, claim)?,
            (None, Some(member)) => self.attach(side_a.profile, member, edge, claim)?,
        }
        Ok(())
    }

    fn point(&mut self, node: Key, profile: Key) {
        if let Some(row) = self.state.nodes.get_mut(node) {
            row.profile = profile;
        }
    }

    /// Both ends are one person already: the edge only makes sure that they stay it.
    fn confirm(&mut self, profile: Key, edge: Edge) {
        let Some(component) = self.state.component(profile) else { return };
        if component.is_settled(edge.a, edge.b, edge.claimed) {
            return;
        }
        if let Some(component) = self.state.component_mut(profile) {
            component.confirm(edge);
        }
    }

    fn attach(&mut self, profile: Key, member: Member, edge: Edge, claim: Claim) -> Result<(), Reason> {
        let single = Component::single(member);
        let Some(component) = self.state.component(profile) else { return Ok(()) };
        component.may_unite(&single, claim, &self.settings.identity)?;
        let before = component.members.len();
        if let Some(component) = self.state.component_mut(profile) {
            component.absorb(single);
            component.add_edge(edge, true);
        }
        self.point(member.node, profile);
        self.grown(profile, before);
        self.suppress(profile, |_| {});
        Ok(())
    }

    /// Makes two profiles one: the one whose root was seen first remains, the other's row points to it, and no node's
    /// row is touched.
    fn merge(&mut self, one: Key, two: Key, edge: Edge, claim: Claim) -> Result<(), Reason> {
        let Some(left) = self.state.component(one).cloned() else { return Ok(()) };
        let Some(right) = self.state.component(two) else { return Ok(()) };
        left.may_unite(right, claim, &self.settings.identity)?;
        let right_line = self.line_of(two);
        let mut difference = self.line_of(one);
        let Some(right) = self.state.component(two) else { return Ok(()) };
        let left_first = left.root().map(|root| root.first_seen) < right.root().map(|root| root.first_seen);
        let right = right.clone();
        let chosen = self.chosen(if left_first { one } else { two });
        let (kept, gone, lost) = if left_first { (one, two, right) } else { (two, one, left) };
        let mut before = 0;
        if let Some(component) = self.state.component_mut(kept) {
            before = component.members.len();
            component.absorb(lost);
            component.add_edge(edge, true);
        }
        difference.merge(&right_line, 1);
        let mut restated = self.line_of(kept);
        restated.merge(&difference, -1);
        self.post(restated);
        let left = self.leave_all(gone, Cause::Merge);
        self.inherit(kept, &left);
        self.changed.retain(|(profile, _)| *profile != gone && *profile != kept);
        self.changed.push((kept, Cause::Merge));
        self.state.profiles.insert(gone, ProfileRow::Merged { into: kept });
        self.emit(kept, &Body::Merged { from: gone });
        self.tell_choice(kept, &chosen);
        self.count(-1, 1);
        let inherited = self.state.suppressions.get(gone).map(|row| row.active.clone());
        self.suppress(kept, |active| inherited.iter().for_each(|set| active.union(set)));
        if inherited.is_some() {
            self.forget_suppression(gone);
        }
        self.grown(kept, before);
        Ok(())
    }

    fn grown(&mut self, profile: Key, before: usize) {
        let soft_cap = usize::from(self.settings.identity.soft_cap);
        let after = self.state.component(profile).map_or(0, |component| component.members.len());
        if before <= soft_cap && after > soft_cap {
            self.emit(profile, &Body::ManyIdentifiers(after as u32));
        }
    }

    /// Somebody identified on a device: the session that it carries becomes theirs if the rules allow, or it carries
    /// a session of theirs from here on.
    fn identify_on_device(&mut self, anchor: Key, device: &Identifier<'_>, index: u8) {
        let current = self.state.current_node(device.key);
        if let Some(profile) = self.common(anchor, current) {
            self.confirm(profile, self.edge(anchor, current, EdgeKind::Session));
            return;
        }
        let own = session_key(device.key, anchor);
        let returning = [device.key, own]
            .into_iter()
            .find(|node| *node != current && self.common(anchor, *node).is_some());
        let shared = self.take_device(device.key, anchor, current);
        if let Some(session) = returning {
            self.switch(device.key, current, session);
            self.join(anchor, session, EdgeKind::Session);
            return;
        }
        if !shared {
            match self.unite(anchor, current, EdgeKind::Session) {
                Ok(()) => return,
                Err(reason) if !self.is_somebodys(current) => {
                    self.refused.push((anchor, current, reason));
                    return;
                }
                Err(_) => {}
            }
        }
        if self.state.nodes.get(own).is_none() {
            self.insert_node(own, device.kind, device.key, b"", SESSION_ORDINAL + index);
        }
        self.switch(device.key, current, own);
        self.join(anchor, own, EdgeKind::Session);
    }

    fn is_somebodys(&mut self, node: Key) -> bool {
        let Some(side) = self.side(node) else { return false };
        self.state.component(side.profile).is_some_and(Component::has_person)
    }

    /// Notes the taker. Returns whether the device is shared.
    fn take_device(&mut self, device: Key, anchor: Key, current: Key) -> bool {
        let Some(node) = self.state.nodes.get_mut(device) else { return false };
        let state = node.device.get_or_insert_with(|| Box::new(Device::new(current)));
        state.taken_by(anchor, self.now, &self.settings.identity);
        state.shared
    }

    fn switch(&mut self, device: Key, from: Key, to: Key) {
        self.settle(from);
        if let Some(row) = self.state.nodes.get_mut(device) {
            let state = row.device.get_or_insert_with(|| Box::new(Device::new(to)));
            state.current = to;
            state.handed_over |= to != device;
        }
        for (node, current) in [(to, true), (from, false)] {
            let Some(Side { profile, unborn: None }) = self.side(node) else { continue };
            if let Some(component) = self.state.component_mut(profile) {
                component.set_current(node, current);
            }
            self.suppress(profile, |_| {});
        }
    }

    /// Nobody is named: the sessions that the devices carry were seen together.
    fn join_sessions(&mut self, first: Key, others: &[Identifier<'_>]) -> Key {
        let session = self.state.current_node(first);
        for other in others {
            let theirs = self.state.current_node(other.key);
            if !self.is_shared(first) && !self.is_shared(other.key) {
                self.join(session, theirs, EdgeKind::Together);
            }
        }
        session
    }

    fn is_shared(&mut self, device: Key) -> bool {
        self.state
            .nodes
            .get(device)
            .is_some_and(|node| node.device.as_ref().is_some_and(|state| state.shared))
    }

    /// Remembers a refusal at both ends. One that was refused before for the same reason is counted, not repeated.
    fn report_refusal(&mut self, anchor: Key, other: Key, reason: Reason) {
        let Some(row) = self.state.nodes.get_mut(anchor) else { return };
        let refusals = row.refusals.get_or_insert_with(Box::default);
        if refusals.latest.iter().any(|one| one.other == other && one.reason == reason) {
            refusals.count = refusals.count.saturating_add(1);
            return;
        }
        refusals.push(Refusal { other, position: self.position, reason });
        let mut other_kind = IdentifierKind(0);
        if let Some(row) = self.state.nodes.get_mut(other) {
            other_kind = IdentifierKind(row.kind);
            let refusal = Refusal { other: anchor, position: self.position, reason };
            row.refusals.get_or_insert_with(Box::default).push(refusal);
        }
        let Some(side) = self.side(anchor) else { return };
        self.emit(side.profile, &Body::EdgeRefused { anchor, other, other_kind, reason });
    }

    /// Counts profiles that came or went.
    pub(crate) fn count(&mut self, profiles: i64, merges: u64) {
        let mut counts = self.state.counts.get(THE_COUNTS).copied().unwrap_or_default();
        counts.profiles = counts.profiles.saturating_add_signed(profiles);
        counts.merges = counts.merges.saturating_add(merges);
        self.state.counts.insert(THE_COUNTS, counts);
        self.outcome.changes.push(Change::Counts(counts));
    }

    pub(crate) fn emit(&mut self, subject: Key, body: &Body) {
        self.outcome.effect(body.kind(), subject, body.encode());
    }
}
