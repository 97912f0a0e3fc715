//! Takes the records of erased people out of one segment of the log.
//!
//! A record that names a device of an erased person may be about somebody else who used it. Whose it is says the history of
//! the feed: under which node it was counted. A segment is rewritten before the feed forgets the erased, so the history
//! still knows their sessions; of those who were erased earlier it does not, and then nothing of theirs is left here.

use super::Pending;
use engage::{Counted, ErasedNode, Extent, redact};
use engine::feed::{Feed, Kept, Part, Place};
use eventlog::{Frame, LogHandle, SegmentSummary};
use model::event::Event;
use model::id::{Key, Position};
use model::identity::profile_key;
use model::record::{Record, decode_records, encode_record};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// By node. One node may have been erased several times.
pub(super) type Index = BTreeMap<Key, Vec<ErasedNode>>;

pub(super) fn index(pending: &[Pending]) -> Index {
    let mut index = Index::new();
    for one in pending {
        for (node, extent) in &one.nodes {
            if let (Ok(key), Ok(extent)) = (u128::from_str_radix(node, 16), Extent::from_u8(*extent)) {
                let erased = ErasedNode { position: Position(one.position), extent };
                index.entry(Key(key)).or_default().push(erased);
            }
        }
    }
    index
}

/// Under which keys the feed may speak of somebody erased: nodes, and the profiles that had them as their roots. A
/// device of somebody else is not theirs.
pub(super) fn keys(pending: &Pending) -> BTreeSet<Key> {
    let mut keys = BTreeSet::new();
    for (node, extent) in &pending.nodes {
        let extent = Extent::from_u8(*extent).ok().filter(|extent| *extent != Extent::Session);
        if let (Ok(node), Some(_)) = (u128::from_str_radix(node, 16), extent) {
            keys.extend([Key(node), profile_key(Key(node))]);
        }
    }
    keys
}

/// Rewrites one segment, if anybody erased stands in it. Returns how many records were emptied.
pub(super) fn rewrite(
    log: &LogHandle,
    feed: &Feed,
    segment: &SegmentSummary,
    erased: &Index,
) -> Result<u64, String> {
    let concerned = concerned(log, feed, segment, erased)?;
    if concerned.is_empty() {
        return Ok(0);
    }
    let mut count = 0;
    let rewritten = log.rewrite_segment(segment.first, &mut |frame| {
        let (body, changed) = emptied(&frame, erased, &concerned);
        count += changed;
        if changed == 0 { frame } else { Frame { body, ..frame } }
    });
    rewritten.map_err(|error| error.to_string())?;
    Ok(count)
}

/// The records that change, and under which nodes they were counted.
fn concerned(
    log: &LogHandle,
    feed: &Feed,
    segment: &SegmentSummary,
    erased: &Index,
) -> Result<BTreeMap<Position, Counted>, String> {
    let mut reader = log.read_from(segment.first).map_err(|error| error.to_string())?;
    let mut history = History::new(feed, segment.first);
    let mut concerned = BTreeMap::new();
    while let Some(frame) = reader.next().map_err(|error| error.to_string())? {
        if frame.first >= segment.next {
            break;
        }
        for record in decode_records(&frame.body, frame.first, frame.received_at) {
            // A frame that cannot be read stays as it is: recovery will refuse it with a better message.
            let Ok(record) = record else { break };
            let mut asked = Ok(Counted::Unknown);
            let counted = || {
                asked = history.counted(&record);
                asked.clone().unwrap_or(Counted::Unknown)
            };
            let changes = redact(&record, counted, |key| find(erased, key, record.position)).is_some();
            let asked = asked?;
            if changes {
                concerned.insert(record.position, asked);
            }
        }
    }
    Ok(concerned)
}

fn find(erased: &Index, key: Key, at: Position) -> Option<ErasedNode> {
    let before = erased.get(&key)?.iter().filter(|node| at < node.position);
    // The widest holds: its number is the smallest.
    before.copied().min_by_key(|node| node.extent as u8)
}

/// The body of a frame without the erased, and how many records changed.
fn emptied(frame: &Frame, erased: &Index, concerned: &BTreeMap<Position, Counted>) -> (Vec<u8>, u64) {
    let mut body = Vec::with_capacity(frame.body.len());
    let mut changed = 0;
    for record in decode_records(&frame.body, frame.first, frame.received_at) {
        let Ok(record) = record else { return (Vec::new(), 0) };
        let counted = concerned.get(&record.position).copied();
        let find = |key| find(erased, key, record.position);
        match counted.and_then(|counted| redact(&record, || counted, find)) {
            Some(empty) => {
                encode_record(&mut body, record.kind, &empty);
                changed += 1;
            }
            None => encode_record(&mut body, record.kind, record.body),
        }
    }
    (body, changed)
}

/// What the feed's history says of events, read forward once, and only as far as it is asked.
struct History<'f> {
    feed: &'f Feed,
    /// What comes before is not known.
    from: Position,
    place: Place,
    items: VecDeque<(Position, Part)>,
}

impl<'f> History<'f> {
    fn new(feed: &'f Feed, first: Position) -> Self {
        let from = feed.bounds().history.max(first);
        Self { feed, from, place: Place::at(from), items: VecDeque::new() }
    }

    /// Under which node an event was counted, that is never before the last one asked for.
    fn counted(&mut self, record: &Record<'_>) -> Result<Counted, String> {
        if record.position < self.from {
            return Ok(Counted::Unknown);
        }
        let behind = Place::at(record.position.plus(1));
        while self.place < behind {
            let batch = self.feed.history(self.place).map_err(|error| error.to_string())?;
            for item in batch.items {
                if let Kept::Event(part) = item.what
                    && item.id.position >= record.position
                {
                    self.items.push_back((item.id.position, part));
                }
            }
            if batch.next < behind && batch.at_end {
                return Err("the feed does not say yet whose events these are".to_owned());
            }
            self.place = batch.next.max(self.place);
        }
        while self.items.front().is_some_and(|(position, _)| *position < record.position) {
            self.items.pop_front();
        }
        let part = self.items.front().filter(|(position, _)| *position == record.position);
        let Some((_, part)) = part else { return Ok(Counted::Nowhere) };
        Ok(match part {
            Part::Key(node) => Counted::Under(*node),
            Part::Named(number) => Event::peek_who(record.body)
                .ok()
                .and_then(|(all, _)| all.as_slice().get(usize::from(*number)).map(|one| one.key))
                .map_or(Counted::Unknown, Counted::Under),
        })
    }
}
