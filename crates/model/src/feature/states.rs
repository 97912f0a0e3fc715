//! The features of one node, packed into one piece of memory.
//!
//! The bytes are a list of entries, sorted by feature: the distance to the feature before it, the length, the cells.
//! Over all time there is one cell; in a window one cell per granule in which something happened, newest first, each
//! behind its distance to the granule after it: nearly every event changes the newest, and whether there was any is
//! known from it alone.

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::feature::cell::{Gathered, single, skip};
use crate::feature::times::{Latest, push_time};
use crate::feature::value::Value;
use crate::feature::{Aggregation, FeatureId, Slot};
use crate::id::Timestamp;
use std::ops::Range;

const FORMAT_VERSION: u8 = 1;
/// What a growing state may take more than it needs, in bytes.
const SLACK_BYTES: usize = 24;

/// What one node has gathered for every feature that ever saw an event of it.
///
/// Nothing here depends on the order of events; only granules that no window reaches any more are dropped, which
/// changes no value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeatureStates {
    bytes: Vec<u8>,
}

/// Where an entry begins, and the feature before it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cursor {
    offset: usize,
    before: u32,
}

/// When an event was, and log time.
#[derive(Debug)]
pub(crate) struct Occurred<'s> {
    pub(crate) at: Timestamp,
    pub(crate) now: Timestamp,
    pub(crate) scratch: &'s mut Scratch,
}

/// Memory that the features of one event share.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// The granule, where there is one, and the cell of the event alone.
    cell: Vec<u8>,
    /// Where in it the cell begins.
    head: usize,
    merged: Vec<u8>,
    fresh: Vec<u8>,
}

/// An entry.
#[derive(Clone, Debug)]
struct Entry {
    id: u32,
    cells: Range<usize>,
}

impl FeatureStates {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Becomes a copy of another, in the memory that it has.
    pub fn copy_from(&mut self, other: &Self) {
        self.bytes.clear();
        self.bytes.extend_from_slice(&other.bytes);
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    fn entry(&self, cursor: Cursor) -> Option<Entry> {
        let rest = self.bytes.get(cursor.offset..)?;
        // Nearly every distance and length takes one byte.
        if let [distance, length, ..] = rest
            && *distance < 0x80
            && *length < 0x80
        {
            let from = cursor.offset + 2;
            return Some(Entry {
                id: cursor.before.wrapping_add(u32::from(*distance)),
                cells: from..from + usize::from(*length),
            });
        }
        let mut decoder = Decoder::new(rest);
        let distance = u32::try_from(decoder.varint().ok()?).ok()?;
        let length = decoder.count().ok()?;
        let from = self.bytes.len() - decoder.rest().len();
        Some(Entry { id: cursor.before.wrapping_add(distance), cells: from..from + length })
    }

    /// The cells of a feature.
    pub(crate) fn cells(&self, id: FeatureId) -> Option<&[u8]> {
        let (_, found) = self.locate(Cursor::default(), id);
        self.bytes.get(found?.cells)
    }

    /// Where the entry of a feature is, or where it would have to be.
    fn locate(&self, mut cursor: Cursor, id: FeatureId) -> (Cursor, Option<Entry>) {
        while let Some(entry) = self.entry(cursor) {
            if entry.id >= id.0 {
                return (cursor, (entry.id == id.0).then_some(entry));
            }
            cursor = Cursor { offset: entry.cells.end, before: entry.id };
        }
        (cursor, None)
    }

    /// Takes one event into a feature; `cursor` is where the search begins and where the next one may. `false` if
    /// nothing is different now.
    pub(crate) fn add(
        &mut self,
        cursor: &mut Cursor,
        slot: &Slot,
        occurred: &mut Occurred<'_>,
        value: &Value<'_>,
    ) -> bool {
        let (at, now) = (occurred.at, occurred.now);
        let (aggregation, window) = (slot.feature.aggregation, slot.feature.window);
        if window.is_some_and(|window| window.is_over(at, now)) {
            return false;
        }
        let (place, found) = self.locate(*cursor, slot.id);
        *cursor = place;
        let own = found.as_ref().and_then(|entry| self.cell_of(entry, slot, at));
        if let Some(own) = &own
            && aggregation == Aggregation::Count
            && self.bytes.get_mut(own.clone()).is_some_and(count_one)
        {
            return true;
        }
        let Occurred { scratch, .. } = occurred;
        if aggregation == Aggregation::Times
            && window.is_none()
            && let Some(cells) = own.as_ref().and_then(|own| self.bytes.get(own.clone()))
        {
            scratch.merged.clear();
            if push_time(cells, at, &mut scratch.merged) {
                self.put_merged(place, found, slot, &scratch.merged, &mut scratch.fresh);
                return true;
            }
        }
        scratch.cell.clear();
        if let Some(window) = window {
            Encoder(&mut scratch.cell).signed(window.granule(at));
        }
        scratch.head = scratch.cell.len();
        if !single(aggregation, at, value, &mut scratch.cell) {
            return false;
        }
        if let Some(changed) = own.and_then(|own| self.replace(own, aggregation, scratch)) {
            return changed;
        }
        self.put(place, found, slot, &scratch.cell, now, (&mut scratch.merged, &mut scratch.fresh));
        true
    }

    /// Where the cell that an event belongs to is, if there is one.
    fn cell_of(&self, entry: &Entry, slot: &Slot, at: Timestamp) -> Option<Range<usize>> {
        let Some(window) = slot.feature.window else { return Some(entry.cells.clone()) };
        let cells = self.bytes.get(entry.cells.clone())?;
        let wanted = window.granule(at);
        let mut start = 0;
        let mut granule = zigzag(varint(cells, &mut start)?);
        loop {
            if granule < wanted {
                return None;
            }
            let mut end = start;
            if slot.feature.aggregation == Aggregation::Count {
                varint(cells, &mut end)?;
            } else {
                let mut decoder = Decoder::new(cells.get(start..)?);
                skip(slot.feature.aggregation, &mut decoder).ok()?;
                end = cells.len() - decoder.rest().len();
            }
            if granule == wanted {
                return Some(entry.cells.start + start..entry.cells.start + end);
            }
            granule = granule.saturating_sub_unsigned(varint(cells, &mut end)?);
            start = end;
        }
    }

    /// Merges into a cell in place, and says whether it is another now. `None` if its length would change, and then
    /// nothing was changed.
    fn replace(
        &mut self,
        own: Range<usize>,
        aggregation: Aggregation,
        scratch: &mut Scratch,
    ) -> Option<bool> {
        let cell = scratch.cell.get(scratch.head..).unwrap_or_default();
        let bytes = self.bytes.get(own.clone())?;
        let mut gathered = Gathered::new(aggregation);
        let added =
            gathered.add(&mut Decoder::new(bytes)).and_then(|()| gathered.add(&mut Decoder::new(cell)));
        scratch.merged.clear();
        gathered.encode(&mut scratch.merged);
        match self.bytes.get_mut(own) {
            Some(bytes) if added.is_ok() && bytes.len() == scratch.merged.len() => {
                let changed = bytes != &*scratch.merged;
                bytes.copy_from_slice(&scratch.merged);
                Some(changed)
            }
            _ => None,
        }
    }

    /// Merges cells into the entry at a place, in memory that is used again.
    fn put(
        &mut self,
        place: Cursor,
        found: Option<Entry>,
        slot: &Slot,
        cells: &[u8],
        now: Timestamp,
        (merged, fresh): (&mut Vec<u8>, &mut Vec<u8>),
    ) {
        let own = found.as_ref().and_then(|entry| self.bytes.get(entry.cells.clone())).unwrap_or_default();
        merged.clear();
        merge_cells(slot, own, cells, now, merged);
        self.put_merged(place, found, slot, merged, fresh);
    }

    /// Makes these the cells of the entry at a place.
    fn put_merged(
        &mut self,
        place: Cursor,
        found: Option<Entry>,
        slot: &Slot,
        merged: &[u8],
        fresh: &mut Vec<u8>,
    ) {
        fresh.clear();
        let mut encoder = Encoder(fresh);
        encoder.varint(u64::from(slot.id.0.wrapping_sub(place.before)));
        encoder.bytes(merged);
        let mut end = found.as_ref().map_or(place.offset, |entry| entry.cells.end);
        if found.is_none()
            && let Some(next) = self.entry(place)
        {
            // The distance of the one behind it is now counted from here.
            let mut decoder = Decoder::new(self.bytes.get(place.offset..).unwrap_or_default());
            if decoder.varint().is_ok() {
                end = self.bytes.len() - decoder.rest().len();
                encoder.varint(u64::from(next.id.wrapping_sub(slot.id.0)));
            }
        }
        self.replace_bytes(place.offset..end, fresh);
    }

    /// What [`Vec::splice`] does, without memory of its own.
    fn replace_bytes(&mut self, range: Range<usize>, fresh: &[u8]) {
        let (before, after) = (self.bytes.len(), self.bytes.len() + fresh.len() - range.len());
        if after > self.bytes.capacity() {
            self.bytes.reserve_exact(after + SLACK_BYTES - before);
        }
        let end = range.start + fresh.len();
        if after > before {
            self.bytes.resize(after, 0);
        }
        self.bytes.copy_within(range.end..before, end);
        self.bytes.truncate(after);
        if let Some(place) = self.bytes.get_mut(range.start..end) {
            place.copy_from_slice(fresh);
        }
    }

    /// Takes in another state of the same node: what the older part of a log gave and what the newer part gave come
    /// to what all of it would have given. `slots` are the features to take, sorted by id.
    pub(crate) fn merge(&mut self, other: &Self, slots: &[&Slot], now: Timestamp) {
        let mut cursor = Cursor::default();
        let (mut merged, mut fresh) = (Vec::new(), Vec::new());
        for slot in slots {
            let Some(cells) = other.cells(slot.id) else { continue };
            let (place, found) = self.locate(cursor, slot.id);
            cursor = place;
            self.put(place, found, slot, cells, now, (&mut merged, &mut fresh));
        }
    }

    /// Drops every feature that `keep` does not want, and what windows no longer reach.
    pub(crate) fn sweep<'s>(&mut self, now: Timestamp, keep: impl Fn(FeatureId) -> Option<&'s Slot>) {
        let mut swept = Self::default();
        let mut cursor = Cursor::default();
        let mut end = Cursor::default();
        while let Some(entry) = self.entry(cursor) {
            cursor = Cursor { offset: entry.cells.end, before: entry.id };
            let Some(slot) = keep(FeatureId(entry.id)) else { continue };
            let cells = self.bytes.get(entry.cells).unwrap_or_default();
            let mut live = Vec::new();
            merge_cells(slot, cells, &[], now, &mut live);
            if live.is_empty() {
                continue;
            }
            let mut encoder = Encoder(&mut swept.bytes);
            encoder.varint(u64::from(entry.id.wrapping_sub(end.before)));
            encoder.bytes(&live);
            end.before = entry.id;
        }
        swept.bytes.shrink_to_fit();
        *self = swept;
    }

    /// Appends the stored form.
    pub fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.u8(FORMAT_VERSION);
        encoder.bytes(&self.bytes);
    }

    /// Reads the stored form. The frame of every entry is checked; a cell that is damaged counts as nothing when it
    /// is read.
    pub fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let version = decoder.u8()?;
        if version != FORMAT_VERSION {
            return Err(DecodeError::Unknown(u64::from(version)));
        }
        let bytes = decoder.bytes()?;
        let mut entries = Decoder::new(bytes);
        let mut before = None;
        while !entries.is_empty() {
            let distance = u32::try_from(entries.varint()?).map_err(|_| DecodeError::Overlong)?;
            let id = before.unwrap_or(0_u32).checked_add(distance).ok_or(DecodeError::Overlong)?;
            if before.is_some_and(|before| before >= id) {
                return Err(DecodeError::Unknown(u64::from(id)));
            }
            entries.bytes()?;
            before = Some(id);
        }
        Ok(Self { bytes: bytes.to_vec() })
    }
}

/// What [`Decoder::varint`] reads, for the places where every nanosecond counts.
#[inline]
fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[inline]
fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Counts one more in place. `false` if the count has no room for it, and then nothing was changed.
fn count_one(cell: &mut [u8]) -> bool {
    if cell.iter().all(|byte| byte & 0x7F == 0x7F) {
        return false;
    }
    for byte in cell {
        if *byte & 0x7F != 0x7F {
            *byte += 1;
            break;
        }
        *byte &= 0x80;
    }
    true
}

/// The granules of a windowed feature, newest first, each with its cell.
struct Granules<'a> {
    decoder: Decoder<'a>,
    after: Option<i64>,
}

impl<'a> Granules<'a> {
    fn of(cells: &'a [u8]) -> Self {
        Self { decoder: Decoder::new(cells), after: None }
    }

    /// The next granule, if there is one; its cell is to be read from the decoder.
    fn next(&mut self) -> Option<i64> {
        let granule = match self.after {
            None => self.decoder.signed().ok()?,
            Some(after) => after.saturating_sub_unsigned(self.decoder.varint().ok()?),
        };
        self.after = Some(granule);
        Some(granule)
    }
}

/// Appends the union of two lists of cells, without granules that are over at `now`.
fn merge_cells(slot: &Slot, one: &[u8], two: &[u8], now: Timestamp, out: &mut Vec<u8>) {
    let aggregation = slot.feature.aggregation;
    let Some(window) = slot.feature.window else {
        let mut gathered = Gathered::new(aggregation);
        let mut any = false;
        for cells in [one, two] {
            any |= !cells.is_empty() && gathered.add(&mut Decoder::new(cells)).is_ok();
        }
        if any {
            gathered.encode(out);
        }
        return;
    };
    let oldest = window.oldest(now);
    let (mut left, mut right) = (Granules::of(one), Granules::of(two));
    let (mut at_left, mut at_right) = (left.next(), right.next());
    let mut written = None;
    loop {
        let granule = match (at_left, at_right) {
            (Some(one), Some(two)) => one.max(two),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return,
        };
        let mut gathered = Gathered::new(aggregation);
        for (side, at) in [(&mut left, &mut at_left), (&mut right, &mut at_right)] {
            if *at == Some(granule) {
                if gathered.add(&mut side.decoder).is_err() {
                    return;
                }
                *at = side.next();
            }
        }
        if granule < oldest {
            return;
        }
        match written {
            None => Encoder(out).signed(granule),
            Some(after) => Encoder(out).varint(granule.abs_diff(after)),
        }
        gathered.encode(out);
        written = Some(granule);
    }
}

/// The value of a feature over nodes at `now`, and the next instant at which time alone can change it
/// ([`crate::feature::NEVER`] if none).
pub(crate) fn read<'a>(
    slot: &Slot,
    nodes: impl Iterator<Item = &'a FeatureStates>,
    now: Timestamp,
) -> (Gathered<'a>, Timestamp) {
    let mut gathered = Gathered::new(slot.feature.aggregation);
    let mut oldest_live = None;
    let oldest = slot.feature.window.map(|window| window.oldest(now));
    for cells in nodes.filter_map(|node| node.cells(slot.id)) {
        let Some(oldest) = oldest else {
            let _ = gathered.add(&mut Decoder::new(cells));
            continue;
        };
        let mut granules = Granules::of(cells);
        while let Some(granule) = granules.next() {
            if granule < oldest || gathered.add(&mut granules.decoder).is_err() {
                break;
            }
            oldest_live = Some(oldest_live.map_or(granule, |own: i64| own.min(granule)));
        }
    }
    let next = match (slot.feature.window, oldest_live) {
        (Some(window), Some(granule)) => window.end_of(granule),
        _ => crate::feature::NEVER,
    };
    (gathered, next)
}

/// The latest times of a step over all nodes, newest first, each once.
pub(crate) fn times<'a>(slot: &Slot, nodes: impl Iterator<Item = &'a FeatureStates>) -> Latest<'a> {
    Latest::of(nodes.filter_map(|node| node.cells(slot.id)))
}

/// Whether a count is above zero at `now`, and the next instant at which time alone changes that.
pub(crate) fn any<'a>(
    slot: &Slot,
    nodes: impl Iterator<Item = &'a FeatureStates>,
    now: Timestamp,
) -> (bool, Timestamp) {
    let mut newest = None;
    for cells in nodes.filter_map(|node| node.cells(slot.id)) {
        if slot.feature.window.is_none() {
            return (true, crate::feature::NEVER);
        }
        newest = newest.max(varint(cells, &mut 0).map(zigzag));
    }
    match (slot.feature.window, newest) {
        (Some(window), Some(granule)) if granule >= window.oldest(now) => (true, window.end_of(granule)),
        _ => (false, crate::feature::NEVER),
    }
}
