//! Takes the records of erased people out of one segment of the log.

use super::Pending;
use engage::{ErasedNode, Extent, redact};
use eventlog::{Frame, LogError, LogHandle, SegmentSummary};
use model::id::{Key, Position};
use model::identity::profile_key;
use model::record::{decode_records, encode_record};
use std::collections::{BTreeMap, BTreeSet};

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
pub(super) fn rewrite(log: &LogHandle, segment: &SegmentSummary, erased: &Index) -> Result<u64, LogError> {
    let mut reader = log.read_from(segment.first)?;
    let mut concerned = false;
    while let Some(frame) = reader.next()? {
        if frame.first >= segment.next {
            break;
        }
        if emptied(&frame, erased).1 > 0 {
            concerned = true;
            break;
        }
    }
    if !concerned {
        return Ok(0);
    }
    let mut count = 0;
    log.rewrite_segment(segment.first, &mut |frame| {
        let (body, changed) = emptied(&frame, erased);
        count += changed;
        if changed == 0 { frame } else { Frame { body, ..frame } }
    })?;
    Ok(count)
}

/// The body of a frame without the erased, and how many records changed. A frame that cannot be read stays as it is:
/// recovery will refuse it with a better message.
fn emptied(frame: &Frame, erased: &Index) -> (Vec<u8>, u64) {
    let mut body = Vec::with_capacity(frame.body.len());
    let mut changed = 0;
    for record in decode_records(&frame.body, frame.first, frame.received_at) {
        let Ok(record) = record else { return (Vec::new(), 0) };
        let find = |key: Key| {
            let before = erased.get(&key)?.iter().filter(|node| record.position < node.position);
            // The widest holds: its number is the smallest.
            before.copied().min_by_key(|node| node.extent as u8)
        };
        match redact(&record, find) {
            Some(empty) => {
                encode_record(&mut body, record.kind, &empty);
                changed += 1;
            }
            None => encode_record(&mut body, record.kind, record.body),
        }
    }
    (body, changed)
}
