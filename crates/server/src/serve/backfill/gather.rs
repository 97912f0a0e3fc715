//! Reads older events for features that were never kept.
//!
//! The history of the change feed says which events were accepted and under which node each was counted, as far back as
//! the log reaches; the events themselves are in the log. A stretch of events is read into memory for all definitions that stand where it begins, and handed in by
//! parts. Where a definition's stretches end follows from the definition alone, so a thread that begins again after a
//! crash goes on with the same stretch, with or without the company of before.

use super::line::Line;
use super::pace::{NODES_AT_ONCE, Pacer};
use crate::api::Context;
use engage::{Backfill, Gathering, MAX_CHUNK, Operation, PARTS, Stretch, erased_by};
use engine::feed::{Kept, Part, Place};
use eventlog::LogReader;
use model::audience::{DefinitionId, Rulebook};
use model::event::Event;
use model::feature::{FeatureId, Slot};
use model::id::{Key, Position, Timestamp};
use model::order::Reported;
use model::record::decode_records;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// Records of one stretch. What its nodes gathered is held in memory, a few hundred bytes for each node at most.
const STRETCH_RECORDS: u64 = 1 << 18;
/// Nodes in a part of a stretch, were each record about another one; there are never many more.
const _: () = assert!(STRETCH_RECORDS / (PARTS as u64) * 2 <= MAX_CHUNK as u64);

/// Reads what is not read yet, for all of these rows, and brings them up to date.
pub(super) fn gather<'c>(
    context: &'c Context,
    pacer: &mut Pacer<'c>,
    rows: &mut [Backfill],
) -> Result<(), String> {
    let mut events: Option<Events> = None;
    let mut warned = false;
    while let Some(group) = Group::next(rows) {
        let start = super::known_from(context);
        if group.from < start {
            if !warned {
                tracing::warn!(
                    from = start.0,
                    "events before this position are not counted for a new audience: the log does not reach further back, \
                     or the feed began anew"
                );
                warned = true;
            }
            let to = group.to.min(start);
            hand_in(context, pacer, rows, &Group { to, ..group }, &Gathering::default())?;
            continue;
        }
        let mut reader = match events.take().filter(|events| events.place <= Place::at(group.from)) {
            Some(reader) => reader,
            // From the very first: a report of an order is an event unless there was one before.
            None => Events::new(context, pacer, start)?,
        };
        let gathered = reader.read(context, pacer, rows, &group)?;
        hand_in(context, pacer, rows, &group, &gathered)?;
        events = Some(reader);
    }
    Ok(())
}

/// Definitions that stand at the same place, and the stretch that is read for them.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    /// Their places among the rows.
    members: Vec<usize>,
    from: Position,
    to: Position,
    /// The first part that is not handed in.
    begin: u32,
}

impl Group {
    /// Those who are furthest behind; they catch up with the others, and then are one group with them. `None` if
    /// nothing has to be read.
    ///
    /// A stretch ends at the next multiple of its length, wherever it begins, and for each definition at the latest
    /// where that was made.
    fn next(rows: &[Backfill]) -> Option<Self> {
        let stands = |row: &Backfill| (row.read_to, row.chunks);
        let (read_to, chunks) = rows.iter().filter(|row| row.is_gathering()).map(stands).min()?;
        let own = |row: &Backfill| row.is_gathering() && stands(row) == (read_to, chunks);
        let members: Vec<usize> =
            rows.iter().enumerate().filter(|(_, row)| own(row)).map(|(index, _)| index).collect();
        let end = (read_to.0 / STRETCH_RECORDS + 1) * STRETCH_RECORDS;
        let last = members.iter().filter_map(|index| rows.get(*index)).map(|row| row.defined_at).max();
        let to = last.unwrap_or_default().min(Position(end));
        Some(Self {
            members,
            from: read_to,
            to,
            begin: u32::try_from(chunks).unwrap_or(PARTS).min(PARTS - 1),
        })
    }

    fn rows<'r>(&'r self, rows: &'r [Backfill]) -> impl Iterator<Item = &'r Backfill> {
        self.members.iter().filter_map(|index| rows.get(*index))
    }
}

fn hand_in<'c>(
    context: &'c Context,
    pacer: &mut Pacer<'c>,
    rows: &mut [Backfill],
    group: &Group,
    gathered: &Gathering,
) -> Result<(), String> {
    let definitions: Vec<DefinitionId> = group.rows(rows).map(|row| row.definition).collect();
    let first_end = group.rows(rows).next().map_or(group.to, |row| row.defined_at.min(group.to));
    let mut begin = group.begin;
    let mut line = Line::new(context, pacer);
    while begin < PARTS {
        let (end, nodes) = gathered.parts(begin, NODES_AT_ONCE);
        let stretch = Stretch { from: group.from, to: group.to, parts: (begin, end), nodes };
        let expected = if end == PARTS { (first_end, 0) } else { (group.from, u64::from(end)) };
        let operation = Operation::Gather { definitions: definitions.clone(), stretch };
        line.push(operation, expected)?;
        begin = end;
    }
    line.finish()?;
    for index in &group.members {
        if let Some(row) = rows.get_mut(*index) {
            (row.read_to, row.chunks) = (group.to.min(row.defined_at), 0);
        }
    }
    Ok(())
}

/// The features of a group, by number, and where the reading for each ends.
struct WantedFeatures(Vec<(FeatureId, Position)>);

impl WantedFeatures {
    fn of<'r>(rows: impl Iterator<Item = &'r Backfill>) -> Self {
        let mut all: Vec<(FeatureId, Position)> =
            rows.flat_map(|row| row.features.iter().map(|feature| (*feature, row.defined_at))).collect();
        all.sort_unstable();
        Self(all)
    }

    fn has(&self, feature: FeatureId, at: Position) -> bool {
        let found = self.0.binary_search_by_key(&feature, |(own, _)| *own);
        found.ok().and_then(|index| self.0.get(index)).is_some_and(|(_, end)| at < *end)
    }
}

/// The accepted events, read forward once.
struct Events {
    place: Place,
    log: Box<dyn LogReader>,
    /// The events of the last frame that were not asked for yet.
    frame: VecDeque<(Position, Timestamp, Vec<u8>)>,
    /// Behind that frame.
    read_to: Position,
    book: Arc<Rulebook>,
    reported: Reported,
}

impl Events {
    fn new(context: &Context, pacer: &mut Pacer<'_>, from: Position) -> Result<Self, String> {
        let log = context.engine.log().read_from(from).map_err(|error| error.to_string())?;
        Ok(Self {
            place: Place::at(from),
            log,
            frame: VecDeque::new(),
            read_to: from,
            book: context.engine.view().book(),
            reported: Reported::new(erased_later(context, pacer, from)?),
        })
    }

    /// What nodes gathered in a stretch. What comes before is read only for the orders in it.
    fn read(
        &mut self,
        context: &Context,
        pacer: &mut Pacer<'_>,
        rows: &[Backfill],
        group: &Group,
    ) -> Result<Gathering, String> {
        let wanted = WantedFeatures::of(group.rows(rows));
        let end = Place::at(group.to);
        let mut gathering = Gathering::default();
        while self.place < end {
            let begun = Instant::now();
            let batch = context.engine.feed().history(self.place).map_err(|error| error.to_string())?;
            let mut next = batch.next;
            for item in batch.items {
                if item.id.position >= group.to {
                    next = end;
                    break;
                }
                match item.what {
                    Kept::Event(part) => {
                        let counts = item.id.position >= group.from;
                        self.event(counts.then_some((&wanted, &mut gathering)), item.id.position, part)?;
                    }
                    Kept::Effect { kind, body } => {
                        gathering.effect(kind, &body);
                        erased_by(kind, &body).into_iter().for_each(|node| self.reported.erase(node));
                    }
                }
            }
            self.place = next.min(end).max(self.place);
            if batch.at_end && self.place < end {
                return Err("the feed ends before the definition".to_owned());
            }
            pacer.read_since(begun)?;
        }
        Ok(gathering)
    }

    fn event(
        &mut self,
        counting: Option<(&WantedFeatures, &mut Gathering)>,
        position: Position,
        part: Part,
    ) -> Result<(), String> {
        let Some((body, received_at)) = self.record(position)? else { return Ok(()) };
        let Ok(event) = Event::decode(&body) else { return Ok(()) };
        let node = match part {
            Part::Key(key) => Some(key),
            Part::Named(number) => event.identifiers.as_slice().get(usize::from(number)).map(|one| one.key),
        };
        let Some(node) = node else { return Ok(()) };
        let (by_server, counts) = (event.from_server, event.value_counts);
        let is_counted = self.reported.take(node, event.order.as_ref(), by_server, counts);
        if let Some((wanted, gathering)) = counting.filter(|_| is_counted) {
            let own = |slot: &&Slot| wanted.has(slot.id, position);
            gathering.event(self.book.features_of(&event).filter(own), &event, received_at, node);
        }
        Ok(())
    }

    /// The event at a position, which is never before the last one asked for.
    fn record(&mut self, position: Position) -> Result<Option<(Vec<u8>, Timestamp)>, String> {
        while self.read_to <= position {
            let Some(frame) = self.log.next().map_err(|error| error.to_string())? else { return Ok(None) };
            self.frame.clear();
            self.read_to = frame.first.plus(u64::from(frame.count));
            for record in decode_records(&frame.body, frame.first, frame.received_at) {
                let record = record.map_err(|error| error.to_string())?;
                if record.kind.is_event() {
                    self.frame.push_back((record.position, record.received_at, record.body.to_vec()));
                }
            }
        }
        while let Some((at, received_at, body)) = self.frame.pop_front() {
            if at == position {
                return Ok(Some((body, received_at)));
            }
        }
        Ok(None)
    }
}

/// Who is erased somewhere from a place on.
fn erased_later(context: &Context, pacer: &mut Pacer<'_>, from: Position) -> Result<BTreeSet<Key>, String> {
    let (mut place, mut erased) = (Place::at(from), BTreeSet::new());
    loop {
        let begun = Instant::now();
        let batch = context.engine.feed().history(place).map_err(|error| error.to_string())?;
        for item in batch.items {
            if let Kept::Effect { kind, body } = item.what {
                erased.extend(erased_by(kind, &body));
            }
        }
        place = batch.next.max(place);
        pacer.read_since(begun)?;
        if batch.at_end {
            return Ok(erased);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u32, defined_at: u64, read_to: u64, part: u64) -> Backfill {
        Backfill {
            definition: DefinitionId(number),
            defined_at: Position(defined_at),
            features: vec![FeatureId(number)],
            audiences: vec![DefinitionId(number)],
            sweep: false,
            read_to: Position(read_to),
            chunks: part,
        }
    }

    #[test]
    fn those_behind_catch_up_and_then_all_read_together() {
        const S: u64 = STRETCH_RECORDS;
        // Defined in the third stretch; one had the first stretch behind it before a crash, one half of its parts.
        let mut rows = vec![
            row(0, 2 * S + 10, S, 0),
            row(1, 2 * S + 20, 0, 0),
            row(2, 2 * S + 30, 0, 300),
            row(3, 5, 5, 77),
        ];
        let mut said = Vec::new();
        while let Some(group) = Group::next(&rows) {
            said.push((group.members.clone(), group.from.0, group.to.0, group.begin));
            for index in group.members {
                rows[index].read_to = group.to.min(rows[index].defined_at);
                rows[index].chunks = 0;
            }
        }
        let expected = [
            (vec![1], 0, S, 0),
            (vec![2], 0, S, 300),
            (vec![0, 1, 2], S, 2 * S, 0),
            (vec![0, 1, 2], 2 * S, 2 * S + 30, 0),
        ];
        assert_eq!(said, expected);
        assert_eq!(rows[3].chunks, 77, "who reads nothing is left alone");
    }

    #[test]
    fn each_feature_is_gathered_up_to_its_definition() {
        let rows = [row(4, 20, 0, 0), row(2, 10, 0, 0)];
        let wanted = WantedFeatures::of(rows.iter());
        let cases = [(2, 9, true), (2, 10, false), (4, 19, true), (4, 20, false), (3, 0, false)];
        for (feature, at, expected) in cases {
            assert_eq!(wanted.has(FeatureId(feature), Position(at)), expected, "{feature} at {at}");
        }
    }
}
