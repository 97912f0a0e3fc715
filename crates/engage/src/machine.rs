//! The machine that the loop runs: records in, state, effects and view differences out.

use crate::command::{Command, CommandError, Operation, Parting, Reply, WhoToErase};
use crate::effect::Cause;
use crate::line::{Campaigns, LineRow};
use crate::membership::{Backfill, Book, Tally};
use crate::quarantine::{self, HELD, HELD_COUNTS, HeldCounts, HeldRow};
use crate::query::{Answer, Query};
use crate::reckon::{Before, agenda_of};
use crate::resolve::Step;
use crate::settings::Settings;
use crate::state::{
    BACKFILLS, CAMPAIGNS, COUNTS, Counts, LINE, ProfileRow, RULEBOOK, SETTINGS, SUPPRESSIONS, State,
    Suppressed, TALLIES, THE_COUNTS, THE_RULEBOOK, THE_SETTINGS,
};
use crate::view::{Change, View};
use engine::{AsOf, Machine, Outcome, Subject, TableId, Value, Wanted};
use model::audience::{DefinitionId, Rulebook};
use model::event::{Event, Identifier, IdentifierKind, MAX_AGE_US, OrderChange, OrderFact};
use model::feature::Changed;
use model::id::{Key, Position, Timestamp};
use model::identity::session_key;
use model::order::order_key;
use model::quarantine::Quarantined;
use model::record::{Record, RecordKind};
use std::sync::Arc;

/// The customer machine. It has no state of its own: everything is in [`State`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Engage;

impl Engage {
    fn event(self, state: &mut State, record: &Record<'_>, outcome: &mut Outcome<Change>) {
        let Ok(event) = Event::decode(record.body) else {
            outcome.reply = Some(Reply::Refused(CommandError::Malformed).encode());
            return;
        };
        let settings = state.settings();
        let mut step = step(state, &settings, record.position, record.received_at, outcome);
        step.from_server = event.from_server;
        step.message = event.dedup_key;
        let Some(node) = step.resolve(&event) else { return };
        let named = event.identifiers.as_slice().iter().position(|one| one.key == node);
        let named = named.and_then(|index| u8::try_from(index).ok());
        step.outcome.subject = step.profile_of(node).map(|whole| Subject { whole, part: node, named });
        let at = event.clamped_at(record.received_at, MAX_AGE_US);
        step.take(&event, node, at);
    }

    /// An event that was in quarantine is like any other, if it still is.
    fn released(self, state: &mut State, record: &Record<'_>, outcome: &mut Outcome<Change>) {
        let Ok(event) = Event::decode(record.body) else {
            outcome.reply = Some(Reply::Refused(CommandError::Malformed).encode());
            return;
        };
        let settings = state.settings();
        let is_out = step(state, &settings, record.position, record.received_at, outcome).release(&event);
        outcome.reply = Some(Reply::Quarantine(u32::from(is_out)).encode());
        if is_out {
            self.event(state, record, outcome);
        }
    }

    fn quarantined(self, state: &mut State, record: &Record<'_>, outcome: &mut Outcome<Change>) {
        let settings = state.settings();
        let taken =
            step(state, &settings, record.position, record.received_at, outcome).quarantine(record.body);
        if taken.is_err() {
            outcome.reply = Some(Reply::Refused(CommandError::Malformed).encode());
        }
    }
}

fn step<'a>(
    state: &'a mut State,
    settings: &'a Settings,
    position: Position,
    now: Timestamp,
    outcome: &'a mut Outcome<Change>,
) -> Step<'a> {
    Step {
        state,
        settings,
        outcome,
        position,
        now,
        from_server: false,
        alias: false,
        message: Key(0),
        fresh: Vec::new(),
        refused: Vec::new(),
        changed: Vec::new(),
    }
}

impl Step<'_> {
    /// Aggregates the event under its node, takes in its order, and finds the audiences that it changed.
    fn take(&mut self, event: &Event<'_>, node: Key, at: Timestamp) {
        let book = self.state.book();
        let audiences = book.audiences().next().is_some();
        let counted = self.is_counted(event);
        let profile = self.profile_of(node);
        if audiences && let Some(profile) = profile {
            self.catch_up(profile);
        }
        let now = self.now;
        let chosen = self.chosen_before(profile, event);
        let mut before = std::mem::take(&mut self.state.scratch.before);
        before.forget();
        let mut changed = Changed::default();
        if let Some(row) = self.state.nodes.get_mut(node) {
            let aggregate = row.aggregate_mut();
            if audiences {
                before.keep(node, aggregate, event);
            }
            aggregate.record(event, self.position, at);
            if counted {
                changed = aggregate.features.record(book.features_of(event), event, at, now);
            }
        }
        if let (Some(profile), Some(chosen)) = (profile, chosen) {
            self.tell_choice(profile, &chosen);
        }
        let reporters = self.reporters(event.order.as_ref());
        if let Some(fact) = &event.order {
            self.purchase(event, fact, node, at);
        }
        self.line_event(event, node, at, reporters);
        if audiences {
            self.reckon_event(&book, event, profile, changed, &before);
        }
        self.state.scratch.before = before;
    }

    fn reckon_event(
        &mut self,
        book: &Rulebook,
        event: &Event<'_>,
        profile: Option<Key>,
        changed: Changed,
        before: &Before,
    ) {
        let others = std::mem::take(&mut self.changed);
        for (other, cause) in &others {
            self.reckon_all(*other, *cause, Some(before));
        }
        let agenda = agenda_of(book, event, changed);
        if !agenda.is_empty()
            && let Some(profile) = profile.filter(|own| !others.iter().any(|(done, _)| done == own))
        {
            self.reckon(profile, agenda, Cause::Event, self.now, Some(before));
        }
    }
}

impl Machine for Engage {
    type State = State;
    type View = View;
    type Change = Change;
    type Query = Query;
    type Answer = Answer;

    const RULES_VERSION: u32 = crate::RULES_VERSION;
    // A back-fill must not bring back what somebody did before they were erased.
    const HISTORY_KINDS: &'static [u16] = &[crate::effect::ERASED];
    const ERASING_KIND: Option<u16> = Some(crate::effect::ERASED);
    const VIEW_TABLES: &'static [TableId] =
        &[SUPPRESSIONS, SETTINGS, COUNTS, RULEBOOK, TALLIES, BACKFILLS, LINE, CAMPAIGNS, HELD, HELD_COUNTS];

    fn empty_state(&self) -> State {
        State::empty()
    }

    fn empty_view(&self) -> View {
        View::default()
    }

    fn dedup_key(&self, record: &Record<'_>) -> Option<Key> {
        match record.kind {
            RecordKind::EVENT => Event::peek_dedup_key(record.body).ok(),
            // A message counts once, in quarantine or not. What is released was seen before: its row says that it may.
            RecordKind::QUARANTINED => {
                Event::peek_dedup_key(Quarantined::decode(record.body).ok()?.event).ok()
            }
            _ => None,
        }
    }

    fn wanted(&self, state: &State, record: &Record<'_>, wanted: &mut Wanted) {
        wanted.unless_known(&state.settings, THE_SETTINGS);
        wanted.unless_known(&state.counts, THE_COUNTS);
        wanted.unless_known(&state.rulebook, THE_RULEBOOK);
        match record.kind {
            RecordKind::EVENT | RecordKind::RELEASED => {
                if let Ok((identifiers, order)) = Event::peek_who(record.body) {
                    state.want_event(identifiers.as_slice(), order.as_ref(), wanted);
                }
                if record.kind == RecordKind::RELEASED {
                    state.want_released(record.body, wanted);
                }
            }
            RecordKind::QUARANTINED => {
                if let Ok(quarantined) = Quarantined::decode(record.body) {
                    state.want_quarantined(quarantined.event, wanted);
                }
            }
            RecordKind::COMMAND => {
                if let Ok(command) = Command::decode(record.body) {
                    state.want_command(&command, wanted);
                }
            }
            _ => {}
        }
    }

    fn touch(&self, state: &State, records: &[Record<'_>]) -> u64 {
        let mut keys = Vec::with_capacity(records.len() * 2);
        for record in records.iter().filter(|record| record.kind.is_event()) {
            let Ok((identifiers, _)) = Event::peek_who(record.body) else { continue };
            keys.extend(identifiers.as_slice().iter().map(|identifier| identifier.key));
        }
        let nodes: Vec<_> = keys.iter().filter_map(|key| state.nodes.peek(*key).present()).collect();
        let mut read = 0;
        let mut profiles = Vec::with_capacity(nodes.len());
        for node in nodes {
            if profiles.last() != Some(&node.profile) {
                profiles.push(node.profile);
            }
            read ^= node.aggregate.as_ref().map_or(0, |aggregate| aggregate.touch());
        }
        for profile in profiles {
            if let Some(ProfileRow::Live(component, _)) = state.profiles.peek(profile).present() {
                read ^= component.members.len() as u64;
            }
        }
        read
    }

    fn apply(&self, state: &mut State, record: &Record<'_>, outcome: &mut Outcome<Change>) {
        match record.kind {
            RecordKind::EVENT => self.event(state, record, outcome),
            RecordKind::RELEASED => self.released(state, record, outcome),
            RecordKind::QUARANTINED => self.quarantined(state, record, outcome),
            RecordKind::COMMAND => {
                let settings = state.settings();
                let mut step = step(state, &settings, record.position, record.received_at, outcome);
                let reply = step.command(record.body);
                outcome.reply = Some(reply);
            }
            _ => {}
        }
    }

    fn timer(
        &self,
        state: &mut State,
        subject: Key,
        due: Timestamp,
        at: Position,
        outcome: &mut Outcome<Change>,
    ) {
        if subject == quarantine::expiry() {
            let settings = state.settings();
            step(state, &settings, at, due, outcome).expire();
        } else if state.component(subject).is_some() {
            let settings = state.settings();
            let mut step = step(state, &settings, at, due, outcome);
            if step.state.suppressions.get(subject).is_some() {
                // Suppressing nothing more expires what is over.
                step.suppress(subject, |_| {});
            }
            step.catch_up(subject);
            step.wake(subject);
        } else if state.line.get(subject).is_some() {
            let settings = state.settings();
            step(state, &settings, at, due, outcome).line_timer(subject);
        } else if state.commands.get(subject).is_some() {
            state.commands.remove(subject);
        }
    }

    fn wanted_by_timer(&self, state: &State, subject: Key, wanted: &mut Wanted) {
        if subject == quarantine::expiry() {
            return state.want_oldest(wanted);
        }
        wanted.unless_known(&state.commands, subject);
        wanted.unless_known(&state.line, subject);
        state.want_profile(subject, wanted);
    }

    fn wanted_by_query(&self, state: &State, query: &Query, wanted: &mut Wanted) {
        state.wanted_by_query(query, wanted);
    }

    fn query(&self, state: &mut State, query: Query, as_of: AsOf) -> Answer {
        state.answer(query, as_of)
    }

    fn load_view(&self, view: &View, table: TableId, key: Key, row: &[u8]) {
        if table == SUPPRESSIONS
            && let Ok(row) = Suppressed::decode(row)
        {
            view.put(Change::Suppressed { profile: key, row });
        }
        if table == COUNTS
            && let Ok(row) = Counts::decode(row)
        {
            view.put(Change::Counts(row));
        }
        if table == RULEBOOK
            && let Ok(row) = Book::decode(row)
        {
            view.put(Change::Book(row.0));
        }
        if table == TALLIES
            && let Ok(tally) = Tally::decode(row)
        {
            view.put(Change::Tally { audience: DefinitionId(key.0 as u32), tally });
        }
        if table == BACKFILLS
            && let Ok(row) = Backfill::decode(row)
        {
            view.put(Change::Backfill { definition: row.definition, row: Some(row) });
        }
        if table == LINE
            && let Ok(row) = LineRow::decode(row)
        {
            view.put(Change::Line { place: row.place, difference: Box::new(row.figures) });
        }
        if table == HELD
            && let Ok(row) = HeldRow::decode(row)
        {
            view.put(Change::Held { number: row.number, row: Some(Arc::new(row)) });
        }
        if table == HELD_COUNTS
            && let Ok(row) = HeldCounts::decode(row)
        {
            view.put(Change::HeldCounts(row));
        }
        if table == CAMPAIGNS
            && let Ok(names) = Campaigns::decode(row)
        {
            view.put(Change::Campaigns(Arc::new(names)));
        }
        if table == SETTINGS
            && let Ok(row) = Settings::decode(row)
        {
            view.put(Change::Settings(Arc::new(row)));
        }
    }

    fn publish(&self, view: &View, changes: Vec<Change>, as_of: AsOf) {
        view.publish(changes, as_of);
    }
}

impl State {
    /// Identifiers, then the sessions that devices carry, then profiles, then what an order touches. Where there are
    /// audiences, all nodes of the profile.
    fn want_event(&self, identifiers: &[Identifier<'_>], order: Option<&OrderFact<'_>>, wanted: &mut Wanted) {
        let line = self.line_is_on();
        let whole = line || self.known_book().is_some_and(|book| book.audiences().next().is_some());
        // Nearly always all identifiers lead to one profile, which is asked for once.
        let mut asked = None;
        for identifier in identifiers {
            if line {
                wanted.unless_known(&self.trails, identifier.key);
            }
            let Some(node) = wanted.or_ask(&self.nodes, identifier.key) else { continue };
            let profile = match asked {
                Some((pointer, profile)) if pointer == node.profile => profile,
                _ => {
                    let profile = self.want_row(node.profile, wanted);
                    if whole {
                        self.want_profile(profile, wanted);
                    } else {
                        wanted.unless_known(&self.suppressions, profile);
                    }
                    asked = Some((node.profile, profile));
                    profile
                }
            };
            if !node.is_session() {
                continue;
            }
            let current = node.current(identifier.key);
            let mut carried = profile;
            if current != identifier.key
                && let Some(session) = wanted.or_ask(&self.nodes, current)
            {
                carried = self.want_row(session.profile, wanted);
                wanted.unless_known(&self.suppressions, carried);
            }
            let persons = identifiers.iter().filter(|one| !IdentifierKind(one.kind).is_session());
            for person in persons {
                let Some(node) = wanted.or_ask(&self.nodes, person.key) else { continue };
                // Only who does not have the device already may get a session of their own on it.
                if self.want_row(node.profile, wanted) != carried {
                    wanted.unless_known(&self.nodes, session_key(identifier.key, person.key));
                }
            }
        }
        let Some(fact) = order else { return };
        let Some(row) = wanted.or_ask(&self.orders, order_key(fact.order_id)) else { return };
        for reporter in &row.0.reporters {
            let Some(node) = wanted.or_ask(&self.nodes, reporter.node) else { continue };
            if matches!(fact.change, OrderChange::Completed) {
                self.want_row(node.profile, wanted);
            } else {
                self.want_profile(node.profile, wanted);
            }
        }
    }

    fn want_command(&self, command: &Command, wanted: &mut Wanted) {
        if command.idempotency != Key(0) {
            wanted.unless_known(&self.commands, command.idempotency);
        }
        match &command.operation {
            Operation::Unmerge(Parting::Pair(node, _) | Parting::Record(node, _))
            | Operation::Erase(WhoToErase::Identifier(node)) => self.want_person(*node, wanted),
            Operation::Erase(WhoToErase::Profile(profile)) => self.want_profile(*profile, wanted),
            Operation::Quarantine(change) => self.want_change(change, wanted),
            Operation::Gather { stretch, .. } => {
                stretch.nodes.iter().for_each(|one| wanted.unless_known(&self.nodes, one.node));
            }
            Operation::Reckon { people, .. } => {
                people.iter().for_each(|profile| self.want_profile(*profile, wanted));
            }
            _ => {}
        }
    }
}
