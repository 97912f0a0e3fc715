//! Who is in which audience: evaluates what may have changed, and says who came and went.

use crate::effect::{Body, Cause};
use crate::membership::{Member, Membership, key_of};
use crate::query::AudienceRead;
use crate::resolve::Step;
use crate::state::{ProfileRow, State};
use crate::view::Change;
use model::audience::{Agenda, DefinitionId, Person, Rulebook, Terms};
use model::consent::ConsentState;
use model::event::{Event, OrderChange, OrderFact};
use model::feature::{FeatureStates, NEVER, event_name};
use model::id::{Key, Timestamp};
use model::order::order_key;
use model::profile::{Aggregate, Traits, stated_names};
use std::sync::Arc;

/// How many instants at which time alone changed something are made up for at once. Each is at least a granule after
/// the one before; what is left over is looked at as of now.
const CATCH_UP_MAX: usize = 64;

/// What a record changed of one node, as it was before: what tells which condition of a rule flipped.
pub(crate) struct Before {
    node: Key,
    features: FeatureStates,
    traits: Option<Traits>,
    consent: Option<ConsentState>,
}

impl Before {
    /// What the event is about to change.
    pub(crate) fn of(node: Key, aggregate: &Aggregate, event: &Event<'_>) -> Self {
        Self {
            node,
            features: aggregate.features.clone(),
            traits: (!event.traits.is_empty()).then(|| aggregate.traits.clone()),
            consent: (!event.consent.is_empty()).then(|| aggregate.consent.clone()),
        }
    }
}

/// A person as rules see them.
struct Reading<'a> {
    nodes: &'a [(Key, &'a Aggregate)],
    members: &'a [Member],
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
        self.members.binary_search_by_key(&audience, |member| member.audience).is_ok()
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
        let reading = Reading { nodes: &aggregates, members: &members, before: None };
        let parts = book.explain(audience, &reading, now, None)?;
        let member = members.iter().find(|member| member.audience == audience).copied();
        Some(Box::new(AudienceRead { profile, member, pending, parts }))
    }
}

/// What audiences an event may change.
pub(crate) fn agenda_of(book: &Rulebook, event: &Event<'_>, counts: bool) -> Agenda {
    let mut agenda = Agenda::default();
    if counts {
        agenda.event(book, event_name(event));
    }
    if !event.traits.is_empty() {
        stated_names(event.traits).for_each(|name| agenda.stated(book, name));
    }
    event.consent.iter().for_each(|consent| agenda.consent(book, consent.category));
    agenda
}

impl Step<'_> {
    /// Whether features count the event: each order once, by the first report whose value counts, and each refund.
    pub(crate) fn is_counted(&mut self, event: &Event<'_>) -> bool {
        let Some(OrderFact { change, order_id, refund_id, .. }) = event.order else { return true };
        if order_id.is_empty() {
            return event.value_counts;
        }
        let order = self.state.orders.get(order_key(order_id)).map(|row| &row.0);
        let known = match change {
            OrderChange::Completed => {
                order.is_some_and(|order| order.stated.is_some_and(|stated| stated.counts))
            }
            OrderChange::Refunded => order.is_some_and(|order| order.has_counted_refund(refund_id)),
            OrderChange::Updated | OrderChange::Cancelled => false,
        };
        event.value_counts && !known
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
        mut agenda: Agenda,
        cause: Cause,
        at: Timestamp,
        before: Option<&Before>,
    ) {
        let book = self.state.book();
        let Some(component) = self.state.component(profile) else { return };
        let nodes: Vec<Key> = component.members.iter().map(|member| member.node).collect();
        let former = self.state.membership(profile).cloned().unwrap_or_default();
        for node in &nodes {
            self.state.nodes.get(*node);
        }
        self.state.pending();
        let rows = nodes.iter().filter_map(|node| {
            let row = self.state.nodes.peek(*node).present()?;
            Some((*node, row.aggregate.as_deref()?))
        });
        let aggregates: Vec<(Key, &Aggregate)> = rows.collect();
        let mut members = former.audiences.clone();
        let mut next_change = if former.next_change > at { former.next_change } else { NEVER };
        let mut turned = Vec::new();
        members.retain(|member| {
            let there = book.definition(member.audience).is_some();
            if !there {
                turned.push((member.audience, false, Terms::default(), Terms::default()));
            }
            there
        });
        let pending = self.state.pending.clone().unwrap_or_default();
        while let Some(audience) = agenda.next(&book) {
            if pending.contains(&audience) {
                continue;
            }
            let reading = Reading { nodes: &aggregates, members: &members, before: None };
            let Some(verdict) = book.evaluate(audience, &reading, at) else { continue };
            next_change = next_change.min(verdict.next_change);
            let place = members.binary_search_by_key(&audience, |member| member.audience);
            if verdict.member == place.is_ok() {
                continue;
            }
            let terms = book.terms(audience, &reading, at).unwrap_or_default();
            let (then, earlier) = match cause {
                Cause::Event => (Reading { before, ..reading }, at),
                Cause::Time => (reading, Timestamp(at.0.saturating_sub(1))),
                _ => (reading, at),
            };
            let terms_before = book.terms(audience, &then, earlier).unwrap_or_default();
            match place {
                Ok(index) => drop(members.remove(index)),
                Err(index) => {
                    members.insert(index, Member { audience, since: self.position, since_at: at });
                }
            }
            turned.push((audience, verdict.member, terms_before, terms));
            agenda.changed(&book, audience);
        }
        let after = Membership { next_change, audiences: members };
        self.settle_membership(&book, profile, &former, after, turned, cause, at);
    }

    #[expect(clippy::too_many_arguments, reason = "the last step of one function, cut for its length")]
    fn settle_membership(
        &mut self,
        book: &Arc<Rulebook>,
        profile: Key,
        former: &Membership,
        after: Membership,
        turned: Vec<(DefinitionId, bool, Terms, Terms)>,
        cause: Cause,
        at: Timestamp,
    ) {
        let holds =
            |one: &Membership| one.audiences.iter().any(|own| book.suppresses(own.audience).is_some());
        let held = cause == Cause::Definition || (!turned.is_empty() && (holds(former) || holds(&after)));
        for (audience, entered, before, after) in &turned {
            let version = book.definition(*audience).map_or(0, |definition| definition.version);
            self.tally(*audience, *entered);
            let body = Body::Audience {
                entered: *entered,
                audience: *audience,
                version,
                cause,
                at,
                before: *before,
                after: *after,
            };
            self.emit(profile, &body);
        }
        if *former != after {
            let empty = after.audiences.is_empty() && after.next_change == NEVER;
            let next = after.next_change;
            if let Some(ProfileRow::Live(_, membership)) = self.state.profiles.get_mut(profile) {
                *membership = if empty { None } else { Some(Box::new(after)) };
            }
            if next != former.next_change {
                self.wake(profile);
            }
        }
        if held {
            self.hold(profile);
        }
    }

    /// A profile that is no more is in nothing any more.
    pub(crate) fn leave_all(&mut self, profile: Key, cause: Cause) {
        let Some(former) = self.state.membership(profile).cloned() else { return };
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
        let Some(tally) = self.state.tallies.get_or_insert_with(key_of(audience), Default::default) else {
            return;
        };
        if entered {
            tally.members = tally.members.saturating_add(1);
            tally.entries = tally.entries.saturating_add(1);
        } else {
            tally.members = tally.members.saturating_sub(1);
            tally.exits = tally.exits.saturating_add(1);
        }
        let tally = *tally;
        self.outcome.changes.push(Change::Tally { audience, tally });
    }

    /// Sets the one timer of a profile to the next instant at which anything about it changes.
    pub(crate) fn wake(&mut self, profile: Key) {
        let over = self.state.suppressions.get(profile).and_then(|row| row.active.next_end());
        let changes = self.state.membership(profile).map(|own| own.next_change).filter(|at| *at != NEVER);
        self.outcome.timer(profile, over.into_iter().chain(changes).min());
    }
}
