//! Who is in which audience: evaluates what may have changed, and says who came and went.

use crate::effect::{Body, Cause};
use crate::membership::{Member, Membership, Tally, key_of};
use crate::query::AudienceRead;
use crate::resolve::Step;
use crate::state::{ProfileRow, State};
use crate::view::Change;
use model::audience::{Agenda, DefinitionId, Person, Rulebook, Terms};
use model::consent::ConsentState;
use model::event::Event;
use model::feature::{Changed, FeatureStates, NEVER, event_name};
use model::id::{Key, Timestamp};
use model::order::{is_counted, order_key};
use model::profile::{Aggregate, Traits, stated_names};
use smallvec::SmallVec;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How many instants at which time alone changed something are made up for at once. Each is at least a granule after
/// the one before; what is left over is looked at as of now.
const CATCH_UP_MAX: usize = 64;
/// So many nodes of a person are listed without asking for memory.
const USUAL_NODES: usize = 8;

/// What a record changed of one node, as it was before: what tells which condition of a rule flipped.
#[derive(Debug, Default)]
pub(crate) struct Before {
    node: Key,
    features: FeatureStates,
    traits: Option<Traits>,
    consent: Option<ConsentState>,
}

impl Before {
    /// Is about no node until something is kept.
    pub(crate) fn forget(&mut self) {
        self.node = Key(0);
    }

    /// Keeps what the event is about to change, in the memory of what was kept last.
    pub(crate) fn keep(&mut self, node: Key, aggregate: &Aggregate, event: &Event<'_>) {
        self.node = node;
        self.features.copy_from(&aggregate.features);
        self.traits = (!event.traits.is_empty()).then(|| aggregate.traits.clone());
        self.consent = (!event.consent.is_empty()).then(|| aggregate.consent.clone());
    }
}

/// Memory that is used again for every event. It is no part of the state: nothing in it outlives a record.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) before: Before,
    nodes: Vec<Key>,
}

/// A change that was found: who is in or out of what, and which conditions held before and after.
struct Turn {
    audience: DefinitionId,
    entered: bool,
    before: Terms,
    after: Terms,
}

/// All that was found for a profile.
struct Found {
    next_change: Timestamp,
    turns: Vec<Turn>,
}

/// What an evaluation goes by, beside the person.
#[derive(Clone, Copy)]
struct Occasion<'a> {
    cause: Cause,
    at: Timestamp,
    before: Option<&'a Before>,
}

/// A person as rules see them.
#[derive(Clone, Copy)]
struct Reading<'a> {
    nodes: &'a [(Key, &'a Aggregate)],
    members: &'a [Member],
    /// What changed of the members just now.
    turns: &'a [Turn],
    before: Option<&'a Before>,
}

impl<'a> Reading<'a> {
    fn traits(&self) -> impl Iterator<Item = &'a Traits> {
        let before = self.before;
        self.nodes.iter().map(move |(node, aggregate)| {
            let replaced = before.filter(|before| before.node == *node);
            replaced.and_then(|before| before.traits.as_ref()).unwrap_or(&aggregate.traits)
        })
    }
}

impl Person for Reading<'_> {
    fn features(&self, index: usize) -> Option<&FeatureStates> {
        let (node, aggregate) = self.nodes.get(index)?;
        let replaced = self.before.filter(|before| before.node == *node);
        Some(replaced.map_or(&aggregate.features, |before| &before.features))
    }

    fn stated(&self, name: &str) -> Option<&[u8]> {
        let latest = self.traits().filter_map(|traits| traits.get(name)).max_by_key(|one| one.said);
        latest.map(|one| &*one.value)
    }

    fn consents(&self, category: &str) -> bool {
        let before = self.before;
        let states = self.nodes.iter().map(|(node, aggregate)| {
            let replaced = before.filter(|before| before.node == *node);
            replaced.and_then(|before| before.consent.as_ref()).unwrap_or(&aggregate.consent)
        });
        ConsentState::stands(states, category)
    }

    fn is_member(&self, audience: DefinitionId) -> bool {
        match self.turns.iter().rev().find(|turn| turn.audience == audience) {
            Some(turn) => turn.entered,
            None => self.members.binary_search_by_key(&audience, |member| member.audience).is_ok(),
        }
    }
}

impl State {
    /// Why somebody is in an audience at log time `now`, or is not.
    pub(crate) fn explain_audience(
        &mut self,
        profile: Key,
        audience: DefinitionId,
        now: Timestamp,
    ) -> Option<Box<AudienceRead>> {
        let profile = self.follow(profile);
        let nodes: Vec<Key> = self.component(profile)?.members.iter().map(|member| member.node).collect();
        let members = self.membership(profile).map(|own| own.audiences.clone()).unwrap_or_default();
        let (book, pending) = (self.book(), self.pending().contains(&audience));
        for node in &nodes {
            self.nodes.get(*node);
        }
        let rows = nodes.iter().filter_map(|node| {
            let row = self.nodes.peek(*node).present()?;
            Some((*node, row.aggregate.as_deref()?))
        });
        let aggregates: Vec<(Key, &Aggregate)> = rows.collect();
        let reading = Reading { nodes: &aggregates, members: &members, turns: &[], before: None };
        let parts = book.explain(audience, &reading, now, None)?;
        let member = members.iter().find(|member| member.audience == audience).copied();
        Some(Box::new(AudienceRead { profile, member, pending, parts }))
    }
}

impl State {
    /// Evaluates; changes nothing. The rows of the profile and of its nodes are in memory. `None` if it is none.
    fn find(
        &self,
        book: &Rulebook,
        pending: &BTreeSet<DefinitionId>,
        profile: Key,
        nodes: &[Key],
        mut agenda: Agenda,
        occasion: Occasion<'_>,
    ) -> Option<Found> {
        let Occasion { cause, at, before } = occasion;
        let ProfileRow::Live(_, membership) = self.profiles.peek(profile).present()? else { return None };
        let (former, members) =
            membership.as_ref().map_or((NEVER, &[][..]), |own| (own.next_change, &own.audiences));
        let rows = nodes.iter().filter_map(|node| {
            let row = self.nodes.peek(*node).present()?;
            Some((*node, row.aggregate.as_deref()?))
        });
        let aggregates: SmallVec<[(Key, &Aggregate); USUAL_NODES]> = rows.collect();
        let mut next_change = if former > at { former } else { NEVER };
        let gone = members.iter().filter(|member| !book.is_audience(member.audience));
        let (before_it, after) = (Terms::default(), Terms::default());
        let mut turns: Vec<Turn> = gone
            .map(|member| Turn { audience: member.audience, entered: false, before: before_it, after })
            .collect();
        while let Some(audience) = agenda.next(book) {
            if pending.contains(&audience) {
                continue;
            }
            let reading = Reading { nodes: &aggregates, members, turns: &turns, before: None };
            let Some(verdict) = book.evaluate(audience, &reading, at) else { continue };
            next_change = next_change.min(verdict.next_change);
            if verdict.member == reading.is_member(audience) {
                continue;
            }
            let (then, earlier) = match cause {
                Cause::Event => (Reading { before, ..reading }, at),
                Cause::Time => (reading, Timestamp(at.0.saturating_sub(1))),
                _ => (reading, at),
            };
            let after = book.terms(audience, &reading, at).unwrap_or_default();
            let before = book.terms(audience, &then, earlier).unwrap_or_default();
            turns.push(Turn { audience, entered: verdict.member, before, after });
            agenda.changed(book, audience);
        }
        Some(Found { next_change, turns })
    }
}

/// What audiences an event may change that changed these features.
pub(crate) fn agenda_of(book: &Rulebook, event: &Event<'_>, changed: Changed) -> Agenda {
    let mut agenda = Agenda::default();
    agenda.event(book, event_name(event), changed);
    if !event.traits.is_empty() {
        stated_names(event.traits).for_each(|name| agenda.stated(book, name));
    }
    event.consent.iter().for_each(|consent| agenda.consent(book, consent.category));
    agenda
}

impl Step<'_> {
    /// Whether features count the event: each order once, by the first report whose value counts, and each refund.
    pub(crate) fn is_counted(&mut self, event: &Event<'_>) -> bool {
        is_counted(event.order.as_ref(), event.value_counts, |fact| {
            self.state.orders.get(order_key(fact.order_id)).is_some_and(|row| row.0.has_counted(fact))
        })
    }

    /// Makes up for what time alone changed until now, each change at its own instant.
    pub(crate) fn catch_up(&mut self, profile: Key) {
        let now = self.now;
        for round in 0..=CATCH_UP_MAX {
            let Some(due) = self.state.membership(profile).map(|own| own.next_change) else { return };
            if due > now {
                return;
            }
            let book = self.state.book();
            let mut agenda = Agenda::default();
            agenda.time(&book);
            let at = if round == CATCH_UP_MAX { now } else { due };
            self.reckon(profile, agenda, Cause::Time, at, None);
        }
    }

    /// Finds anew everything that a profile is in.
    pub(crate) fn reckon_all(&mut self, profile: Key, cause: Cause, before: Option<&Before>) {
        let book = self.state.book();
        let mut agenda = Agenda::default();
        agenda.everything(&book);
        self.reckon(profile, agenda, cause, self.now, before);
    }

    /// Evaluates the audiences on the agenda for a profile, and those that depend on what changes.
    pub(crate) fn reckon(
        &mut self,
        profile: Key,
        agenda: Agenda,
        cause: Cause,
        at: Timestamp,
        before: Option<&Before>,
    ) {
        let (book, pending) = (self.state.book(), self.state.pending());
        let mut nodes = std::mem::take(&mut self.state.scratch.nodes);
        nodes.clear();
        nodes.extend(
            self.state.component(profile).into_iter().flat_map(|own| &own.members).map(|own| own.node),
        );
        for node in &nodes {
            self.state.nodes.get(*node);
        }
        let occasion = Occasion { cause, at, before };
        let found = self.state.find(&book, &pending, profile, &nodes, agenda, occasion);
        self.state.scratch.nodes = nodes;
        if let Some(found) = found {
            self.settle_membership(&book, profile, &found, cause, at);
        }
    }

    /// Takes in what was found. Mostly that is nothing, and then nothing is touched.
    fn settle_membership(
        &mut self,
        book: &Arc<Rulebook>,
        profile: Key,
        found: &Found,
        cause: Cause,
        at: Timestamp,
    ) {
        let holds = |own: Option<&Membership>| {
            own.is_some_and(|own| own.audiences.iter().any(|own| book.suppresses(own.audience).is_some()))
        };
        let held_before = !found.turns.is_empty() && holds(self.state.membership(profile));
        for turn in &found.turns {
            let audience = turn.audience;
            let version = book.definition(audience).map_or(0, |definition| definition.version);
            self.tally(audience, turn.entered);
            let (entered, before, after) = (turn.entered, turn.before, turn.after);
            self.emit(profile, &Body::Audience { entered, audience, version, cause, at, before, after });
        }
        let next_change = self.state.membership(profile).map_or(NEVER, |own| own.next_change);
        if !found.turns.is_empty() || next_change != found.next_change {
            let since = self.position;
            if let Some(ProfileRow::Live(_, membership)) = self.state.profiles.get_mut(profile) {
                let own = membership.get_or_insert_default();
                own.next_change = found.next_change;
                own.turn(found.turns.iter().map(|turn| {
                    (
                        turn.audience,
                        turn.entered.then_some(Member { audience: turn.audience, since, since_at: at }),
                    )
                }));
                if own.is_empty() {
                    *membership = None;
                }
            }
            if next_change != found.next_change {
                self.wake(profile);
            }
        }
        let held_after = !found.turns.is_empty() && holds(self.state.membership(profile));
        if cause == Cause::Definition || held_before || held_after {
            self.hold(profile);
        }
    }

    /// A profile that is no more is in nothing any more. Gives how often it left what.
    pub(crate) fn leave_all(&mut self, profile: Key, cause: Cause) -> Vec<(DefinitionId, u32)> {
        let Some(mut former) = self.state.membership(profile).cloned() else { return Vec::new() };
        let book = self.state.book();
        for member in &former.audiences {
            let version = book.definition(member.audience).map_or(0, |definition| definition.version);
            self.tally(member.audience, false);
            let terms = Terms::default();
            let body = Body::Audience {
                entered: false,
                audience: member.audience,
                version,
                cause,
                at: self.now,
                before: terms,
                after: terms,
            };
            self.emit(profile, &body);
        }
        if let Some(ProfileRow::Live(_, membership)) = self.state.profiles.get_mut(profile) {
            *membership = None;
        }
        self.wake(profile);
        let members: Vec<DefinitionId> = former.audiences.iter().map(|member| member.audience).collect();
        members.into_iter().for_each(|audience| former.leave(audience, 1));
        former.left
    }

    /// What a profile that became part of another was counted for is now the other's.
    pub(crate) fn inherit(&mut self, profile: Key, left: &[(DefinitionId, u32)]) {
        if left.is_empty() {
            return;
        }
        if let Some(ProfileRow::Live(_, membership)) = self.state.profiles.get_mut(profile) {
            let own = membership.get_or_insert_default();
            left.iter().for_each(|(audience, times)| own.leave(*audience, *times));
        }
    }

    /// Nobody is counted any more for having entered and left so often.
    pub(crate) fn untell(&mut self, left: &[(DefinitionId, u32)]) {
        for (audience, times) in left {
            self.change_tally(*audience, |tally| {
                tally.entries = tally.entries.saturating_sub(u64::from(*times));
                tally.exits = tally.exits.saturating_sub(u64::from(*times));
            });
        }
    }

    /// Finds what a profile is in as if it had entered it now and never anything before: so nothing that it was together
    /// with somebody else can be read from it.
    pub(crate) fn enter_anew(&mut self, profile: Key, cause: Cause) {
        if let Some(ProfileRow::Live(_, Some(own))) = self.state.profiles.get_mut(profile) {
            own.next_change = NEVER;
        }
        self.reckon_all(profile, cause, None);
        let (since, since_at) = (self.position, self.now);
        let Some(ProfileRow::Live(_, membership)) = self.state.profiles.get_mut(profile) else { return };
        let Some(own) = membership else { return };
        let left = std::mem::take(&mut own.left);
        for member in &mut own.audiences {
            (member.since, member.since_at) = (since, since_at);
        }
        if own.is_empty() {
            *membership = None;
        }
        self.untell(&left);
        self.wake(profile);
    }

    /// Brings what audiences keep away from a profile up to date.
    fn hold(&mut self, profile: Key) {
        let held = self.held(profile);
        if self.state.suppressions.get(profile).map_or(&[][..], |row| &row.held) != held {
            self.suppress(profile, |_| {});
        }
    }

    /// What audiences keep away from a profile.
    pub(crate) fn held(&mut self, profile: Key) -> Vec<(model::suppression::Scope, DefinitionId)> {
        let book = self.state.book();
        let members = self.state.membership(profile).map_or(&[][..], |own| &own.audiences);
        let mut held: Vec<_> = members
            .iter()
            .filter_map(|own| Some((book.suppresses(own.audience)?.scope(), own.audience)))
            .collect();
        held.sort_unstable();
        held
    }

    fn tally(&mut self, audience: DefinitionId, entered: bool) {
        self.change_tally(audience, |tally| {
            if entered {
                tally.members = tally.members.saturating_add(1);
                tally.entries = tally.entries.saturating_add(1);
            } else {
                tally.members = tally.members.saturating_sub(1);
                tally.exits = tally.exits.saturating_add(1);
            }
        });
    }

    fn change_tally(&mut self, audience: DefinitionId, change: impl FnOnce(&mut Tally)) {
        let Some(tally) = self.state.tallies.get_or_insert_with(key_of(audience), Default::default) else {
            return;
        };
        change(tally);
        let tally = *tally;
        // Of an audience that nobody was ever in there is no row, also where somebody was and is forgotten.
        if tally == Tally::default() {
            self.state.tallies.remove(key_of(audience));
        }
        self.outcome.changes.push(Change::Tally { audience, tally });
    }

    /// Sets the one timer of a profile to the next instant at which anything about it changes.
    pub(crate) fn wake(&mut self, profile: Key) {
        let over = self.state.suppressions.get(profile).and_then(|row| row.active.next_end());
        let changes = self.state.membership(profile).map(|own| own.next_change).filter(|at| *at != NEVER);
        self.outcome.timer(profile, over.into_iter().chain(changes).min());
    }
}
