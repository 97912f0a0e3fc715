//! Reads that need the whole state: a profile with everything in it, and why somebody is suppressed or not.

use crate::membership::Member;
use crate::state::State;
use crate::view::{Cause, Held, cause, scopes};
use engine::{AsOf, Peek, Wanted};
use model::audience::{DefinitionId, Explained};
use model::event::IdentifierKind;
use model::id::{Key, Timestamp};
use model::identity::{Edge, FirstSeen, Refusal};
use model::profile::Aggregate;
use model::suppression::{ActiveSet, Scope};

/// A question to the loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// The profile with this key, or the one it became part of.
    Profile(Key),
    /// The profile that an identifier finds.
    Identifier(Key),
    /// Whether and why the people whom these identifiers find are suppressed for a product.
    Explain {
        /// The identifiers.
        identifiers: Vec<Key>,
        /// The product; empty for none.
        product: String,
        /// Its category; empty for none.
        category: String,
    },
    /// Why a person is in an audience, or is not.
    Audience {
        /// The profile, or one that became part of it.
        profile: Key,
        /// The audience.
        audience: DefinitionId,
    },
}

/// An answer of the loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The profile, if there is one, and the point of the log that it reflects.
    Profile(Option<Box<ProfileRead>>, AsOf),
    /// Why, and the point of the log that it reflects.
    Explanation(Explanation, AsOf),
    /// Why somebody is in an audience or not, if there are such a person and such an audience.
    Audience(Option<Box<AudienceRead>>, AsOf),
}

/// Why somebody is suppressed, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Explanation {
    /// Suppressed.
    Suppressed(Cause),
    /// In an audience that is not to be reached.
    Held(Held),
    /// No identifier is known.
    UnknownPerson,
    /// Known, but bought nothing that suppresses this.
    NothingBought,
    /// Bought, but the window ended.
    WindowOver(Timestamp),
    /// Bought, but cancelled or refunded.
    Undone,
}

/// An identifier or session of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentifierRead {
    /// The node.
    pub node: Key,
    /// Its type.
    pub kind: IdentifierKind,
    /// Its value; sealed where [`IdentifierKind::is_sealed`]. Empty for a later session.
    pub value: Vec<u8>,
    /// The device, if this is a later session on it.
    pub session_of: Option<Key>,
    /// The device carries this session now; true for everything but sessions.
    pub current: bool,
    /// Enough people took the device: it unites nobody.
    pub shared: bool,
    /// When it was first seen.
    pub first_seen: FirstSeen,
    /// Edges that were refused here lately.
    pub refusals: Vec<Refusal>,
    /// All that were ever refused here.
    pub refusal_count: u32,
}

/// Everything about one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileRead {
    /// The profile's key; not the one asked for if that became part of another.
    pub profile: Key,
    /// By first sight; the first is the root.
    pub identifiers: Vec<IdentifierRead>,
    /// What joins them, by position.
    pub edges: Vec<Edge>,
    /// Pairs that an operator parted.
    pub parted: Vec<(Key, Key)>,
    /// The aggregates of all of them, combined.
    pub aggregate: Aggregate,
    /// What the person is suppressed for: of every scope the cause that lasts longest.
    pub suppressed: ActiveSet,
    /// What audiences keep away from the person, sorted.
    pub held: Vec<(Scope, DefinitionId)>,
    /// The audiences that the person is in, sorted.
    pub audiences: Vec<Member>,
}

/// Why somebody is in an audience, or is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudienceRead {
    /// Who.
    pub profile: Key,
    /// Since when the person is in it; `None`: not in it.
    pub member: Option<Member>,
    /// The audience is still being found for everybody.
    pub pending: bool,
    /// The rule, part by part.
    pub parts: Vec<Explained>,
}

impl State {
    pub(crate) fn answer(&mut self, query: Query, as_of: AsOf) -> Answer {
        match query {
            Query::Profile(key) => Answer::Profile(self.read_profile(key), as_of),
            Query::Identifier(key) => {
                let node = self.current_node(key);
                let profile = self.nodes.get(node).map(|node| node.profile);
                Answer::Profile(profile.and_then(|profile| self.read_profile(profile)), as_of)
            }
            Query::Audience { profile, audience } => {
                Answer::Audience(self.explain_audience(profile, audience, as_of.log_time), as_of)
            }
            Query::Explain { identifiers, product, category } => {
                Answer::Explanation(self.explain(&identifiers, &product, &category, as_of.log_time), as_of)
            }
        }
    }

    fn read_profile(&mut self, key: Key) -> Option<Box<ProfileRead>> {
        let profile = self.follow(key);
        let component = self.component(profile)?.clone();
        let mut aggregate = Aggregate::default();
        let mut identifiers = Vec::with_capacity(component.members.len());
        for member in &component.members {
            let Some(node) = self.nodes.get(member.node) else { continue };
            node.aggregate.iter().for_each(|own| aggregate.combine(own));
            let refusals = node.refusals.as_deref();
            identifiers.push(IdentifierRead {
                node: member.node,
                kind: IdentifierKind(member.kind),
                value: node.value.to_vec(),
                session_of: Some(node.session_of).filter(|device| *device != Key(0)),
                current: member.current,
                shared: node.device.as_ref().is_some_and(|device| device.shared),
                first_seen: member.first_seen,
                refusals: refusals.map(|own| own.latest.clone()).unwrap_or_default(),
                refusal_count: refusals.map_or(0, |own| own.count),
            });
        }
        let suppression = self.suppressions.get(profile);
        let suppressed = suppression.map(|row| row.active.longest()).unwrap_or_default();
        let held = suppression.map(|row| row.held.clone()).unwrap_or_default();
        let audiences = self.membership(profile).map(|own| own.audiences.clone()).unwrap_or_default();
        Some(Box::new(ProfileRead {
            profile,
            identifiers,
            edges: component.edges,
            parted: component.tombstones,
            aggregate,
            suppressed,
            held,
            audiences,
        }))
    }

    fn explain(&mut self, identifiers: &[Key], product: &str, category: &str, now: Timestamp) -> Explanation {
        let scopes = scopes(product, category);
        let mut explanation = Explanation::UnknownPerson;
        for identifier in identifiers {
            let node = self.current_node(*identifier);
            let Some(pointer) = self.nodes.get(node).map(|node| node.profile) else { continue };
            let Some(read) = self.read_profile(pointer) else { continue };
            if let Some((scope, audience)) = read.held.iter().find(|(scope, _)| scopes.contains(scope)) {
                let held = Held { profile: read.profile, scope: *scope, audience: *audience };
                return Explanation::Held(held);
            }
            if let Some(active) = read.suppressed.find(&scopes, now) {
                return Explanation::Suppressed(cause(read.profile, active));
            }
            let bought = |purchase: &&model::suppression::Purchase| {
                scopes.iter().any(|scope| purchase.scopes.binary_search(scope).is_ok())
            };
            let latest =
                read.aggregate.purchases.0.iter().filter(bought).max_by_key(|purchase| purchase.until);
            match latest {
                Some(purchase) if purchase.lifted => explanation = Explanation::Undone,
                Some(purchase) => explanation = Explanation::WindowOver(purchase.until),
                None if explanation == Explanation::UnknownPerson => explanation = Explanation::NothingBought,
                None => {}
            }
        }
        explanation
    }

    pub(crate) fn wanted_by_query(&self, query: &Query, wanted: &mut Wanted) {
        match query {
            Query::Profile(key) => self.want_profile(*key, wanted),
            Query::Identifier(key) => self.want_person(*key, wanted),
            Query::Audience { profile, .. } => self.want_profile(*profile, wanted),
            Query::Explain { identifiers, .. } => {
                identifiers.iter().for_each(|key| self.want_person(*key, wanted));
            }
        }
    }

    /// Asks for the profile that an identifier finds, and all of its nodes.
    pub(crate) fn want_person(&self, identifier: Key, wanted: &mut Wanted) {
        let Some(node) = wanted.or_ask(&self.nodes, identifier) else { return };
        if let Some(node) = wanted.or_ask(&self.nodes, node.current(identifier)) {
            self.want_profile(node.profile, wanted);
        }
    }

    /// Asks for a profile and all of its nodes.
    pub(crate) fn want_profile(&self, profile: Key, wanted: &mut Wanted) {
        let profile = self.want_row(profile, wanted);
        wanted.unless_known(&self.suppressions, profile);
        if let Peek::Present(crate::state::ProfileRow::Live(component, _)) = self.profiles.peek(profile) {
            component.members.iter().for_each(|member| wanted.unless_known(&self.nodes, member.node));
            if self.line_is_on() {
                component.members.iter().for_each(|member| wanted.unless_known(&self.trails, member.node));
            }
        }
    }

    /// Asks for the row of a profile. Returns where the pointers lead as far as memory knows.
    pub(crate) fn want_row(&self, mut profile: Key, wanted: &mut Wanted) -> Key {
        for _ in 0..crate::state::MAX_HOPS {
            match wanted.or_ask(&self.profiles, profile) {
                Some(crate::state::ProfileRow::Merged { into }) => profile = *into,
                _ => break,
            }
        }
        profile
    }
}
