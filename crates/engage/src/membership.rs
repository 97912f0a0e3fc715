//! The rows behind audiences: who is in which, how many there are, what is defined, and how far back-fills are.

use engine::Value;
use model::audience::{DefinitionId, Rulebook};
use model::codec::{DecodeError, Decoder, Encoder};
use model::feature::{FeatureId, NEVER};
use model::id::{Key, Position, Timestamp};
use std::sync::Arc;

/// The audiences that a profile is in, beside the profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Before this instant time alone changes nothing; [`NEVER`] if it never does.
    pub next_change: Timestamp,
    /// Sorted by audience.
    pub audiences: Vec<Member>,
    /// How often the profile, or one that became part of it, left which audience, sorted by audience. What it was counted
    /// for in [`Tally`] is this and the audiences that it is in, and goes with it.
    pub left: Vec<(DefinitionId, u32)>,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Which.
    pub audience: DefinitionId,
    /// The record that the person entered it with.
    pub since: Position,
    /// The log time of the entry.
    pub since_at: Timestamp,
}

impl Default for Membership {
    fn default() -> Self {
        Self { next_change: NEVER, audiences: Vec::new(), left: Vec::new() }
    }
}

impl Membership {
    pub(crate) fn heap_bytes(&self) -> usize {
        self.audiences.capacity() * size_of::<Member>() + self.left.capacity() * 8
    }

    /// Whether there is nothing to keep.
    pub(crate) fn is_empty(&self) -> bool {
        self.audiences.is_empty() && self.left.is_empty() && self.next_change == NEVER
    }

    /// Counts exits.
    pub(crate) fn leave(&mut self, audience: DefinitionId, times: u32) {
        match self.left.binary_search_by_key(&audience, |(own, _)| *own) {
            Ok(at) => {
                self.left.iter_mut().skip(at).take(1).for_each(|own| own.1 = own.1.saturating_add(times))
            }
            Err(at) => {
                self.left.reserve_exact(1);
                self.left.insert(at, (audience, times));
            }
        }
    }

    /// Puts some audiences in and takes others out, each named once, without room to spare.
    pub(crate) fn turn(&mut self, turns: impl Iterator<Item = (DefinitionId, Option<Member>)> + Clone) {
        let (mut more, mut fewer) = (0, 0);
        turns
            .clone()
            .for_each(|(_, entered)| *if entered.is_some() { &mut more } else { &mut fewer } += 1_usize);
        if more + fewer == 0 {
            return;
        }
        let mut audiences = Vec::with_capacity((self.audiences.len() + more).saturating_sub(fewer));
        let stays = |own: &&Member| turns.clone().all(|(turned, _)| turned != own.audience);
        audiences.extend(self.audiences.iter().filter(stays).copied());
        audiences.extend(turns.clone().filter_map(|(_, entered)| entered));
        audiences.sort_unstable_by_key(|member| member.audience);
        self.audiences = audiences;
        turns.filter(|(_, entered)| entered.is_none()).for_each(|(audience, _)| self.leave(audience, 1));
    }

    pub(crate) fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.signed(self.next_change.0);
        encoder.varint(self.audiences.len() as u64);
        for member in &self.audiences {
            encoder.varint(u64::from(member.audience.0));
            encoder.varint(member.since.0);
            encoder.signed(member.since_at.0);
        }
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let next_change = Timestamp(decoder.signed()?);
        let mut audiences = Vec::new();
        for _ in 0..decoder.count()? {
            audiences.push(Member {
                audience: DefinitionId(small(decoder)?),
                since: Position(decoder.varint()?),
                since_at: Timestamp(decoder.signed()?),
            });
        }
        Ok(Self { next_change, audiences, left: Vec::new() })
    }

    pub(crate) fn encode_left(&self, encoder: &mut Encoder<'_>) {
        encoder.varint(self.left.len() as u64);
        for (audience, times) in &self.left {
            encoder.varint(u64::from(audience.0));
            encoder.varint(u64::from(*times));
        }
    }

    pub(crate) fn decode_left(&mut self, decoder: &mut Decoder<'_>) -> Result<(), DecodeError> {
        for _ in 0..decoder.count()? {
            self.left.push((DefinitionId(small(decoder)?), small(decoder)?));
        }
        self.left.shrink_to_fit();
        Ok(())
    }
}

/// Everything that is defined.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book(pub(crate) Arc<Rulebook>);

impl Value for Book {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(&mut Encoder(out));
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let decoder = &mut Decoder::new(bytes);
        let book = Rulebook::decode(decoder)?;
        decoder.finish()?;
        Ok(Self(Arc::new(book)))
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}

/// How many people are in an audience, and how often that changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// People in it now.
    pub members: u64,
    /// Entries since it was defined. Those of people who were erased since are not counted any more, and those of two who
    /// were parted neither: nobody can say whose they were.
    pub entries: u64,
    /// Exits since it was defined, of the same people.
    pub exits: u64,
}

impl Value for Tally {
    fn encode(&self, out: &mut Vec<u8>) {
        let encoder = &mut Encoder(out);
        encoder.varint(self.members);
        encoder.varint(self.entries);
        encoder.varint(self.exits);
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let decoder = &mut Decoder::new(bytes);
        let row = Self { members: decoder.varint()?, entries: decoder.varint()?, exits: decoder.varint()? };
        decoder.finish()?;
        Ok(row)
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}

/// Work that a definition left behind: its audiences are not found for everybody yet. Under the key of the definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backfill {
    /// The definition.
    pub definition: DefinitionId,
    /// The record that defined it: events before it are to be read for the new features.
    pub defined_at: Position,
    /// Features that nothing was kept of before, sorted.
    pub features: Vec<FeatureId>,
    /// Audiences to be found for everybody.
    pub audiences: Vec<DefinitionId>,
    /// Features were dropped: what nodes keep of them goes.
    pub sweep: bool,
    /// Events before this position have been read for the features.
    pub read_to: Position,
    /// Parts of the present stretch of events that have been taken in, see [`crate::PARTS`]; or, once all events have
    /// been read, chunks of people that have been gone through.
    pub chunks: u64,
}

impl Backfill {
    /// Whether older events are still being read.
    pub fn is_gathering(&self) -> bool {
        !self.features.is_empty() && self.read_to < self.defined_at
    }
}

/// The row of a definition.
pub(crate) fn key_of(definition: DefinitionId) -> Key {
    Key(u128::from(definition.0))
}

impl Value for Backfill {
    fn encode(&self, out: &mut Vec<u8>) {
        let encoder = &mut Encoder(out);
        encoder.u32(self.definition.0);
        encoder.varint(self.defined_at.0);
        encoder.varint(self.features.len() as u64);
        self.features.iter().for_each(|feature| encoder.u32(feature.0));
        encoder.varint(self.audiences.len() as u64);
        self.audiences.iter().for_each(|audience| encoder.u32(audience.0));
        encoder.bool(self.sweep);
        encoder.varint(self.read_to.0);
        encoder.varint(self.chunks);
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let decoder = &mut Decoder::new(bytes);
        let definition = DefinitionId(decoder.u32()?);
        let defined_at = Position(decoder.varint()?);
        let mut features = Vec::new();
        for _ in 0..decoder.count()? {
            features.push(FeatureId(decoder.u32()?));
        }
        let mut audiences = Vec::new();
        for _ in 0..decoder.count()? {
            audiences.push(DefinitionId(decoder.u32()?));
        }
        let row = Self {
            definition,
            defined_at,
            features,
            audiences,
            sweep: decoder.bool()?,
            read_to: Position(decoder.varint()?),
            chunks: decoder.varint()?,
        };
        decoder.finish()?;
        Ok(row)
    }

    fn heap_bytes(&self) -> usize {
        (self.features.capacity() + self.audiences.capacity()) * 4
    }
}

fn small(decoder: &mut Decoder<'_>) -> Result<u32, DecodeError> {
    u32::try_from(decoder.varint()?).map_err(|_| DecodeError::Overlong)
}
