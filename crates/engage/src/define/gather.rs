//! The records of a back-fill: what nodes gathered in older events, and who is to be looked at again.
//!
//! Definitions that stand at the same place share their records: one reading of the older events, one walk through the
//! people. A record names them all; either all of them stand where it begins and it is taken in, or nothing happens and
//! the answer says where the first one stands that is elsewhere.
//!
//! # Erasures
//!
//! What a node gathered before it was erased must not come back. The rule has two halves, one for each side of the
//! place up to which older events were read, [`Stretch::to`]:
//!
//! - An erasure before `to` is met by whoever reads, in the feed: [`Gathering::effect`] drops what the node gathered up
//!   to there. What comes after is somebody's new beginning and stays.
//! - An erasure at `to` or behind it cannot have been read. Everything that was gathered for the node is from before
//!   it, and is left out when the record is applied.
//!
//! There is no third case, so whoever reads must take in *every* item of the feed from [`Stretch::from`] up to
//! `to`, in order.

use crate::command::{CommandError, Reply};
use crate::effect::{Body, Cause, ERASED};
use crate::membership::Backfill;
use crate::redact::{ErasedNode, Extent};
use crate::resolve::Step;
use model::audience::{Agenda, DefinitionId, Rulebook};
use model::codec::{DecodeError, Decoder, Encoder};
use model::event::{Event, MAX_AGE_US};
use model::feature::{FeatureStates, Slot};
use model::id::{Key, Position, Timestamp};
use std::collections::BTreeMap;

/// What the nodes of one stretch of events gathered is handed in by parts: the upper ten bits of the node's key.
pub const PARTS: u32 = 1 << PART_BITS;
const PART_BITS: u32 = 10;

/// The part that a node belongs to.
pub fn part_of(node: Key) -> u32 {
    (node.0 >> (u128::BITS - PART_BITS)) as u32
}

/// The most people or nodes that one chunk names.
pub const MAX_CHUNK: usize = 1_024;
/// The most definitions that share a record.
pub const MAX_TOGETHER: usize = 64;

/// What nodes gathered in the events of `[from, to)`, for the parts `[parts.0, parts.1)` of all nodes. A definition that
/// was made before `to` takes part up to where it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The first event.
    pub from: Position,
    /// Behind the last one.
    pub to: Position,
    /// See [`PARTS`]. With the last part, the stretch is done.
    pub parts: (u32, u32),
    /// At most [`MAX_CHUNK`].
    pub nodes: Vec<Gathered>,
}

/// What one node gathered in older events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gathered {
    /// The node.
    pub node: Key,
    /// What it gathered.
    pub features: FeatureStates,
}

impl Stretch {
    pub(crate) fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.u64(self.from.0);
        encoder.u64(self.to.0);
        encoder.u32(self.parts.0);
        encoder.u32(self.parts.1);
        encoder.varint(self.nodes.len() as u64);
        for one in &self.nodes {
            encoder.u128(one.node.0);
            one.features.encode(encoder);
        }
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            from: Position(decoder.u64()?),
            to: Position(decoder.u64()?),
            parts: (decoder.u32()?, decoder.u32()?),
            nodes: bounded(decoder, MAX_CHUNK, |decoder| {
                let node = Key(decoder.u128()?);
                Ok(Gathered { node, features: FeatureStates::decode(decoder)? })
            })?,
        })
    }
}

pub(crate) fn encode_ids(ids: &[DefinitionId], encoder: &mut Encoder<'_>) {
    encoder.varint(ids.len() as u64);
    ids.iter().for_each(|id| encoder.u32(id.0));
}

pub(crate) fn decode_ids(decoder: &mut Decoder<'_>) -> Result<Vec<DefinitionId>, DecodeError> {
    bounded(decoder, MAX_TOGETHER, |decoder| decoder.u32().map(DefinitionId))
}

pub(crate) fn decode_people(decoder: &mut Decoder<'_>) -> Result<Vec<Key>, DecodeError> {
    bounded(decoder, MAX_CHUNK, |decoder| decoder.u128().map(Key))
}

fn bounded<'a, T>(
    decoder: &mut Decoder<'a>,
    most: usize,
    read: impl Fn(&mut Decoder<'a>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = decoder.count()?;
    if count > most {
        return Err(DecodeError::Overlong);
    }
    (0..count).map(|_| read(decoder)).collect()
}

/// What nodes gather while a stretch of older events is read, for whoever reads it.
#[derive(Debug, Default)]
pub struct Gathering {
    states: BTreeMap<Key, FeatureStates>,
}

impl Gathering {
    /// Counts an accepted event into features of the node that it was aggregated under. The slots are those that look
    /// at the event, in the order of [`Rulebook::features_of`].
    pub fn event<'s>(
        &mut self,
        slots: impl Iterator<Item = &'s Slot>,
        event: &Event<'_>,
        received_at: Timestamp,
        node: Key,
    ) {
        let mut slots = slots.peekable();
        if slots.peek().is_none() {
            return;
        }
        let at = event.clamped_at(received_at, MAX_AGE_US);
        self.states.entry(node).or_default().record(slots, event, at, received_at);
    }

    /// Takes in an effect: whoever was erased has gathered nothing before. See the rule at the top of this file.
    pub fn effect(&mut self, kind: u16, body: &[u8]) {
        for node in erased_by(kind, body) {
            self.states.remove(&node);
        }
    }

    /// As many parts from `begin` on as hold at most so many nodes, at least one, and what their nodes gathered. Gives
    /// the part behind them.
    ///
    /// A part may hold more than [`MAX_CHUNK`] nodes only where a stretch touches a million of them; whoever reads
    /// keeps stretches shorter.
    pub fn parts(&self, begin: u32, nodes_most: usize) -> (u32, Vec<Gathered>) {
        let mut nodes: Vec<Gathered> = Vec::new();
        let mut end = begin;
        // Nodes are sorted by key, and so by part.
        let first = Key(u128::from(begin) << (u128::BITS - PART_BITS));
        let mut rest = self.states.range(first..).peekable();
        while end < PARTS {
            let before = nodes.len();
            while let Some((node, features)) = rest.next_if(|(node, _)| part_of(**node) == end) {
                nodes.push(Gathered { node: *node, features: features.clone() });
            }
            if nodes.len() > nodes_most && end > begin {
                nodes.truncate(before);
                break;
            }
            end += 1;
        }
        (end, nodes)
    }
}

/// The nodes that an effect says were erased.
pub fn erased_by(kind: u16, body: &[u8]) -> Vec<Key> {
    let nodes = match Body::decode(kind, body) {
        Ok(Body::Erased { nodes, .. }) if kind == ERASED => nodes,
        _ => return Vec::new(),
    };
    nodes.into_iter().filter(|(_, extent)| takes_features(*extent)).map(|(node, _)| node).collect()
}

/// Whether features go with somebody who was erased to this extent: a session on a device leaves the device's alone.
pub(crate) fn takes_features(extent: Extent) -> bool {
    extent != Extent::Session
}

/// Whether what a node gathered before `to` was erased since. See the rule at the top of this file.
fn was_erased_since(erased: Option<&ErasedNode>, to: Position) -> bool {
    erased.is_some_and(|erased| takes_features(erased.extent) && erased.position >= to)
}

impl Step<'_> {
    /// Takes in what nodes gathered in a stretch of events.
    pub(crate) fn gather(&mut self, ids: &[DefinitionId], stretch: Stretch) -> Result<Reply, CommandError> {
        let Stretch { from, to, parts, nodes: gathered } = stretch;
        let rows = self.backfill_rows(ids)?;
        let end = rows.iter().map(|row| row.defined_at).max().unwrap_or_default();
        let sane = from < to && to <= end && parts.0 < parts.1 && parts.1 <= PARTS;
        let ready = |row: &Backfill| {
            row.is_gathering() && row.read_to == from && row.chunks == u64::from(parts.0) && sane
        };
        if let Some(reply) = elsewhere(&rows, ready) {
            return Ok(reply);
        }
        let book = self.state.book();
        for one in &gathered {
            if was_erased_since(self.state.erased(one.node).as_ref(), to) {
                continue;
            }
            let Some(node) = self.state.nodes.get_mut(one.node) else { continue };
            book.merge(&mut node.aggregate_mut().features, &one.features, self.now);
        }
        let advanced = |mut row: Backfill| {
            row.chunks = u64::from(parts.1);
            if parts.1 == PARTS {
                row.read_to = to.min(row.defined_at);
                row.chunks = 0;
            }
            row
        };
        Ok(self.advance(rows, advanced))
    }

    /// Finds the audiences of definitions for some people, and moves the definitions on.
    pub(crate) fn reckon_chunk(
        &mut self,
        ids: &[DefinitionId],
        (from, to): (u64, u64),
        people: &[Key],
    ) -> Result<Reply, CommandError> {
        let rows = self.backfill_rows(ids)?;
        let ready = |row: &Backfill| !row.is_gathering() && row.chunks == from && from < to;
        if let Some(reply) = elsewhere(&rows, ready) {
            return Ok(reply);
        }
        let book = self.state.book();
        let sweep = rows.iter().any(|row| row.sweep);
        for profile in people {
            let profile = self.state.follow(*profile);
            if sweep {
                self.sweep(&book, profile);
            }
            self.catch_up(profile);
            let mut agenda = Agenda::default();
            for audience in rows.iter().flat_map(|row| &row.audiences) {
                agenda.audience(&book, *audience);
            }
            self.reckon(profile, agenda, Cause::Definition, self.now, None);
        }
        Ok(self.advance(rows, |row| Backfill { chunks: to, ..row }))
    }

    /// Forgets what the nodes of a profile keep of features that are no more. No value changes.
    fn sweep(&mut self, book: &Rulebook, profile: Key) {
        let members = self.state.component(profile).map(|component| component.members.clone());
        for member in members.unwrap_or_default() {
            let row = self.state.nodes.get_mut(member.node);
            if let Some(aggregate) = row.and_then(|row| row.aggregate.as_mut()) {
                book.sweep(&mut aggregate.features, self.now);
            }
        }
    }

    /// Everybody has been gone through.
    pub(crate) fn backfilled(&mut self, id: DefinitionId, chunks: u64) -> Result<Reply, CommandError> {
        let rows = self.backfill_rows(&[id])?;
        if let Some(reply) = elsewhere(&rows, |row| !row.is_gathering() && row.chunks == chunks) {
            return Ok(reply);
        }
        let reply = progress(rows.first());
        self.put_backfill(id, None);
        Ok(reply)
    }

    fn backfill_rows(&mut self, ids: &[DefinitionId]) -> Result<Vec<Backfill>, CommandError> {
        let unknown = || CommandError::Unknown("back-fill".to_owned());
        if ids.is_empty() {
            return Err(unknown());
        }
        ids.iter().map(|id| self.backfill_row(*id).ok_or_else(unknown)).collect()
    }

    /// Moves the rows of a record on.
    fn advance(&mut self, rows: Vec<Backfill>, advanced: impl Fn(Backfill) -> Backfill) -> Reply {
        let rows: Vec<Backfill> = rows.into_iter().map(advanced).collect();
        let reply = progress(rows.first());
        for row in rows {
            self.put_backfill(row.definition, Some(row));
        }
        reply
    }
}

/// The answer where not every row stands where a record begins.
fn elsewhere(rows: &[Backfill], ready: impl Fn(&Backfill) -> bool) -> Option<Reply> {
    rows.iter().find(|row| !ready(row)).map(|row| progress(Some(row)))
}

fn progress(row: Option<&Backfill>) -> Reply {
    row.map_or(Reply::Backfill(Position(0), 0), |row| Reply::Backfill(row.read_to, row.chunks))
}
