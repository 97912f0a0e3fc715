//! Reads older events for features that were never kept.
//!
//! The change feed says which events were accepted and under which node each was counted; the events themselves are in
//! the log. A stretch of events is read into memory and handed in by parts. Where a stretch ends follows from where it
//! begins, so a thread that begins again after a crash makes the same parts.

use super::Line;
use crate::api::Context;
use engage::effect::Body;
use engage::{Backfill, Extent, Gathered, MAX_CHUNK, Operation, PARTS, Stretch, part_of};
use engine::feed::{Place, What};
use eventlog::LogReader;
use model::audience::Rulebook;
use model::event::{Event, MAX_AGE_US, OrderChange, OrderFact};
use model::feature::{FeatureStates, Slot};
use model::id::{Key, Position, Timestamp};
use model::order::order_key;
use model::record::{RecordKind, decode_records};
use std::collections::{BTreeMap, HashSet, VecDeque};

/// Records of one stretch.
const STRETCH_RECORDS: u64 = 1 << 19;
/// Nodes handed in at once: well below a millisecond of the applying thread.
const NODES_AT_ONCE: usize = 256;

const _: () = assert!(NODES_AT_ONCE <= MAX_CHUNK);

/// Reads what is not read yet.
pub(super) fn gather(context: &Context, row: &mut Backfill) -> Result<(), String> {
    let start = context.engine.feed().bounds().start;
    if row.read_to < start {
        tracing::warn!(
            definition = row.definition.0,
            from = start.0,
            "events before this position are not counted for a new audience: the feed does not reach further back"
        );
        skip(context, row, start.min(row.defined_at))?;
    }
    let mut events = Events::new(context, start)?;
    let mut orders = HashSet::new();
    while row.is_gathering() {
        let (from, to) = stretch_of(row);
        let states = events.read(context, row, from, to, &mut orders)?;
        hand_in(context, row, to, &states)?;
    }
    Ok(())
}

/// A stretch ends at the next multiple of its length, wherever it begins.
fn stretch_of(row: &Backfill) -> (Position, Position) {
    let end = (row.read_to.0 / STRETCH_RECORDS + 1) * STRETCH_RECORDS;
    (row.read_to, Position(end.min(row.defined_at.0)))
}

/// Leaves out what cannot be read.
fn skip(context: &Context, row: &mut Backfill, until: Position) -> Result<(), String> {
    while row.read_to < until {
        let (_, to) = stretch_of(row);
        hand_in(context, row, to.min(until), &BTreeMap::new())?;
    }
    Ok(())
}

fn hand_in(
    context: &Context,
    row: &mut Backfill,
    to: Position,
    states: &BTreeMap<Key, FeatureStates>,
) -> Result<(), String> {
    let from = row.read_to;
    let mut begin = u32::try_from(row.chunks).unwrap_or(PARTS);
    let mut line = Line::new(context);
    while begin < PARTS {
        let mut nodes = Vec::new();
        let mut end = begin;
        // Nodes are sorted by key, and so by part.
        let first = Key(u128::from(begin) << 118);
        let mut rest = states.range(first..).peekable();
        while end < PARTS {
            let before = nodes.len();
            while let Some((node, features)) = rest.next_if(|(node, _)| part_of(**node) == end) {
                nodes.push(Gathered { node: *node, features: features.clone() });
            }
            if nodes.len() > NODES_AT_ONCE && before > 0 {
                nodes.truncate(before);
                break;
            }
            end += 1;
        }
        let stretch = Stretch { from, to, parts: (begin, end), nodes };
        let expected = if end == PARTS { (to, 0) } else { (from, u64::from(end)) };
        line.push(Operation::Gather { definition: row.definition, stretch }, expected)?;
        (row.read_to, row.chunks) = expected;
        begin = end;
    }
    line.finish()
}

/// The accepted events, read forward once.
struct Events {
    place: Place,
    log: Box<dyn LogReader>,
    /// The events of the last frame that were not asked for yet.
    frame: VecDeque<(Position, Timestamp, Vec<u8>)>,
    /// Behind that frame.
    read_to: Position,
    book: std::sync::Arc<Rulebook>,
}

impl Events {
    fn new(context: &Context, from: Position) -> Result<Self, String> {
        let log = context.engine.log().read_from(from).map_err(|error| error.to_string())?;
        Ok(Self {
            place: Place::at(from),
            log,
            frame: VecDeque::new(),
            read_to: from,
            book: context.engine.view().book(),
        })
    }

    /// What nodes gathered in the events of `[from, to)`. What comes before is read only for the orders in it: a
    /// second report of an order is not another one.
    fn read(
        &mut self,
        context: &Context,
        row: &Backfill,
        from: Position,
        to: Position,
        orders: &mut HashSet<Key>,
    ) -> Result<BTreeMap<Key, FeatureStates>, String> {
        let mut states = BTreeMap::new();
        while self.place < Place::at(to) {
            if context.backfills.is_stopping() {
                return Err("the server stops".to_owned());
            }
            let batch = context.engine.feed().read(self.place).map_err(|error| error.to_string())?;
            let mut next = batch.next;
            for item in batch.items {
                if item.id.position >= to {
                    next = Place::at(to);
                    break;
                }
                match item.what {
                    What::Event { part } => {
                        let wanted = item.id.position >= from;
                        self.event(row, item.id.position, part, wanted, orders, &mut states)?;
                    }
                    What::Effect { kind, body } => forget(kind, &body, &mut states),
                }
            }
            self.place = next.min(Place::at(to)).max(self.place);
            if batch.at_end && self.place < Place::at(to) {
                return Err("the feed ends before the definition".to_owned());
            }
        }
        Ok(states)
    }

    fn event(
        &mut self,
        row: &Backfill,
        position: Position,
        node: Key,
        wanted: bool,
        orders: &mut HashSet<Key>,
        states: &mut BTreeMap<Key, FeatureStates>,
    ) -> Result<(), String> {
        let book = std::sync::Arc::clone(&self.book);
        let Some((body, received_at)) = self.record(position)? else { return Ok(()) };
        // Somebody who was erased meanwhile left an empty record.
        let Ok(event) = Event::decode(&body) else { return Ok(()) };
        if !counts(&event, orders) || !wanted {
            return Ok(());
        }
        let own = |slot: &&Slot| row.features.binary_search(&slot.id).is_ok();
        let mut slots = book.features_of(&event).filter(own).peekable();
        if slots.peek().is_none() {
            return Ok(());
        }
        let at = event.clamped_at(received_at, MAX_AGE_US);
        states.entry(node).or_default().record(slots, &event, at, received_at);
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
                if record.kind == RecordKind::EVENT {
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

/// Whether features count an event; the same rule as the loop's, see `Step::is_counted` of `engage`.
fn counts(event: &Event<'_>, orders: &mut HashSet<Key>) -> bool {
    let Some(OrderFact { change, order_id, refund_id, .. }) = event.order else { return true };
    if !event.value_counts || order_id.is_empty() {
        return event.value_counts;
    }
    match change {
        OrderChange::Completed => orders.insert(order_key(order_id)),
        OrderChange::Refunded => orders.insert(order_key(order_id).with(Key::of_text("refund", refund_id))),
        OrderChange::Updated | OrderChange::Cancelled => true,
    }
}

/// Whoever was erased has gathered nothing before.
fn forget(kind: u16, body: &[u8], states: &mut BTreeMap<Key, FeatureStates>) {
    if kind != engage::effect::ERASED {
        return;
    }
    if let Ok(Body::Erased { nodes, .. }) = Body::decode(kind, body) {
        for (node, _) in nodes.iter().filter(|(_, extent)| *extent != Extent::Session) {
            states.remove(node);
        }
    }
}
