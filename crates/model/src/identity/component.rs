//! The nodes of one person, and the edges that make them one.
//!
//! Everything here is kept in a canonical order (members by first sight, edges by position), so that a component that
//! was united and parted again is equal, byte for byte, to what it was before.

mod part;

use super::{IdentitySettings, Reason};
use crate::codec::{DecodeError, Decoder, Encoder};
use crate::event::IdentifierKind;
use crate::id::{Key, Position, Timestamp};

/// The most nodes of one profile.
pub const MAX_MEMBERS: usize = 1_000;
/// The most edges that a profile keeps. Further ones between nodes that are joined anyway are counted, not kept.
pub const MAX_EDGES: usize = 4_000;
/// The most parted pairs that a profile keeps.
pub const MAX_TOMBSTONES: usize = 256;
/// Beside the stored number of an edge's kind: nobody but browsers has said so.
const CLAIMED: u8 = 0x80;

/// When a node was first seen. Orders nodes: no two are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FirstSeen {
    /// The record.
    pub position: Position,
    /// Its place among the nodes of that record.
    pub ordinal: u8,
    /// Log time of the record.
    pub at: Timestamp,
}

/// A node of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its key.
    pub node: Key,
    /// The identifier that finds it: itself, or the device of a session.
    pub lookup: Key,
    /// Its type.
    pub kind: u8,
    /// The identifier finds this node now. Only a session can lose that, to a later session on its device.
    pub current: bool,
    /// When it was first seen.
    pub first_seen: FirstSeen,
}

impl Member {
    fn is_person(&self) -> bool {
        !IdentifierKind(self.kind).is_session()
    }
}

/// Why two nodes are joined. Numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EdgeKind {
    /// They were named by one event.
    Together = 1,
    /// A server said by `alias` that they are one.
    Alias = 2,
    /// A session and the person who took it.
    Session = 3,
}

impl EdgeKind {
    fn from_u8(value: u8) -> Result<Self, DecodeError> {
        Ok(match value {
            1 => Self::Together,
            2 => Self::Alias,
            3 => Self::Session,
            other => return Err(DecodeError::Unknown(u64::from(other))),
        })
    }
}

/// Two nodes that were found to be one person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The more important end.
    pub a: Key,
    /// The other end.
    pub b: Key,
    /// The record that joined them first.
    pub position: Position,
    /// That record's message.
    pub message: Key,
    /// Why.
    pub kind: EdgeKind,
    /// Nobody but browsers has said so.
    pub claimed: bool,
    /// The version of the rules that decided.
    pub rules_version: u32,
}

impl Edge {
    fn joins(&self, a: Key, b: Key) -> bool {
        (self.a == a && self.b == b) || (self.a == b && self.b == a)
    }
}

/// Who asks for two components to be united.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// A server key (a browser's word is a claim).
    pub from_server: bool,
    /// By `alias`.
    pub alias: bool,
    /// The record that asks.
    pub position: Position,
    /// Log time.
    pub now: Timestamp,
}

/// The nodes of one person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Component {
    /// By first sight; the first is the root. Never empty.
    pub members: Vec<Member>,
    /// By position; each pair once.
    pub edges: Vec<Edge>,
    /// Pairs that an operator parted, smaller key first, sorted.
    pub tombstones: Vec<(Key, Key)>,
    /// Edges that found no room.
    pub edges_unkept: u32,
}

impl Component {
    /// A node alone.
    pub fn single(member: Member) -> Self {
        Self { members: vec![member], ..Self::default() }
    }

    /// The node seen first.
    pub fn root(&self) -> Option<&Member> {
        self.members.first()
    }

    /// Whether the node belongs to it.
    pub fn contains(&self, node: Key) -> bool {
        self.members.iter().any(|member| member.node == node)
    }

    /// Whether somebody is known behind it, from before the record at `position`.
    pub fn is_known_person(&self, position: Position) -> bool {
        self.members.iter().any(|member| member.is_person() && member.first_seen.position < position)
    }

    /// Whether it has any person identifier.
    pub fn has_person(&self) -> bool {
        self.members.iter().any(Member::is_person)
    }

    /// Whether this component and another may become one.
    pub fn may_unite(&self, other: &Self, claim: Claim, settings: &IdentitySettings) -> Result<(), Reason> {
        if self.is_parted_from(other) || other.is_parted_from(self) {
            return Err(Reason::Unmerged);
        }
        if !claim.from_server && self.is_known_person(claim.position) && other.is_known_person(claim.position)
        {
            return Err(Reason::BrowserClaim);
        }
        if self.members.len() + other.members.len() > MAX_MEMBERS {
            return Err(Reason::Full);
        }
        let mut over_cap = false;
        for (index, member) in other.members.iter().enumerate() {
            let first_of_kind = other
                .members
                .get(..index)
                .unwrap_or_default()
                .iter()
                .all(|earlier| earlier.kind != member.kind);
            if !first_of_kind {
                continue;
            }
            let rule = settings.rule(member.kind);
            let both = self.members.iter().any(|own| own.kind == member.kind);
            if rule.unique && both && !claim.alias {
                return Err(Reason::UniqueConflict);
            }
            let since = rule.window.length_us().map(|length| claim.now.plus_us(length.saturating_neg()));
            let (own, others) = (self.count(member.kind, since), other.count(member.kind, since));
            let cap = if rule.unique && claim.alias { settings.alias_cap } else { rule.cap };
            over_cap |= own > 0 && others > 0 && own + others > usize::from(cap);
        }
        if over_cap { Err(Reason::Cap) } else { Ok(()) }
    }

    fn count(&self, kind: u8, since: Option<Timestamp>) -> usize {
        let recent =
            |member: &&Member| member.kind == kind && since.is_none_or(|since| member.first_seen.at > since);
        self.members.iter().filter(recent).count()
    }

    fn is_parted_from(&self, other: &Self) -> bool {
        let apart = |(a, b): &(Key, Key)| {
            (self.contains(*a) && other.contains(*b)) || (self.contains(*b) && other.contains(*a))
        };
        self.tombstones.iter().any(apart)
    }

    /// Takes over everything of another component.
    pub fn absorb(&mut self, other: Self) {
        // Most profiles stay small: room is made for what comes, not for twice as much.
        self.members.reserve_exact(other.members.len());
        self.edges.reserve_exact(other.edges.len() + 1);
        self.members.extend(other.members);
        self.members.sort_by_key(|member| member.first_seen);
        self.edges.extend(other.edges);
        self.edges.sort_by_key(|edge| edge.position);
        self.tombstones.extend(other.tombstones);
        self.tombstones.sort_unstable();
        self.tombstones.dedup();
        self.edges_unkept = self.edges_unkept.saturating_add(other.edges_unkept);
    }

    /// Whether the two nodes are joined directly.
    pub fn has_edge(&self, a: Key, b: Key) -> bool {
        self.edges.iter().any(|edge| edge.joins(a, b))
    }

    /// Whether an operator parted the two nodes.
    pub fn is_parted(&self, a: Key, b: Key) -> bool {
        self.tombstones.binary_search(&pair(a, b)).is_ok()
    }

    /// Whether a word about two nodes that are one person already tells nothing new: an edge that weighs as much joins
    /// them, or an operator parted them.
    pub fn is_settled(&self, a: Key, b: Key, claimed: bool) -> bool {
        self.edges.iter().any(|edge| edge.joins(a, b) && (claimed || !edge.claimed)) || self.is_parted(a, b)
    }

    /// Takes in a word about two nodes that are one person already: a new edge, or a server's word for what browsers
    /// have claimed.
    pub fn confirm(&mut self, edge: Edge) {
        match self.edges.iter_mut().find(|own| own.joins(edge.a, edge.b)) {
            Some(own) => own.claimed &= edge.claimed,
            None => self.add_edge(edge, false),
        }
    }

    /// Adds an edge, which must be the newest. `needed` says that nothing else joins the two ends yet.
    pub fn add_edge(&mut self, edge: Edge, needed: bool) {
        if self.edges.len() >= MAX_EDGES && !needed {
            self.edges_unkept = self.edges_unkept.saturating_add(1);
            return;
        }
        self.edges.push(edge);
    }

    /// Says whether the identifier of a session finds it.
    pub fn set_current(&mut self, node: Key, current: bool) {
        if let Some(member) = self.members.iter_mut().find(|member| member.node == node) {
            member.current = current;
        }
    }

    /// The identifiers that find this person now, sorted.
    pub fn lookup_keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> =
            self.members.iter().filter(|member| member.current).map(|member| member.lookup).collect();
        keys.sort_unstable();
        keys
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.members.capacity() * size_of::<Member>()
            + self.edges.capacity() * size_of::<Edge>()
            + self.tombstones.capacity() * size_of::<(Key, Key)>()
    }

    /// Appends the stored form.
    pub fn encode(&self, encoder: &mut Encoder<'_>) {
        encoder.varint(self.members.len() as u64);
        for member in &self.members {
            encoder.u128(member.node.0);
            encoder.u8(member.kind);
            let elsewhere = member.lookup != member.node;
            encoder.u8(u8::from(member.current) | (u8::from(elsewhere) << 1));
            if elsewhere {
                encoder.u128(member.lookup.0);
            }
            encode_first_seen(encoder, member.first_seen);
        }
        encoder.varint(self.edges.len() as u64);
        for edge in &self.edges {
            encoder.u128(edge.a.0);
            encoder.u128(edge.b.0);
            encoder.varint(edge.position.0);
            encoder.u128(edge.message.0);
            encoder.u8(edge.kind as u8 | if edge.claimed { CLAIMED } else { 0 });
            encoder.varint(u64::from(edge.rules_version));
        }
        encoder.varint(self.tombstones.len() as u64);
        for (a, b) in &self.tombstones {
            encoder.u128(a.0);
            encoder.u128(b.0);
        }
        encoder.varint(u64::from(self.edges_unkept));
    }

    /// Reads the stored form.
    pub fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let mut component = Self::default();
        let count = decoder.count()?;
        component.members.reserve_exact(count.min(MAX_MEMBERS));
        for _ in 0..count {
            component.members.push(decode_member(decoder)?);
        }
        let count = decoder.count()?;
        component.edges.reserve_exact(count.min(MAX_EDGES));
        for _ in 0..count {
            component.edges.push(decode_edge(decoder)?);
        }
        for _ in 0..decoder.count()? {
            component.tombstones.push((Key(decoder.u128()?), Key(decoder.u128()?)));
        }
        component.edges_unkept = small(decoder.varint()?)?;
        Ok(component)
    }
}

fn decode_member(decoder: &mut Decoder<'_>) -> Result<Member, DecodeError> {
    let node = Key(decoder.u128()?);
    let kind = decoder.u8()?;
    let flags = decoder.u8()?;
    let lookup = if flags & 2 != 0 { Key(decoder.u128()?) } else { node };
    Ok(Member { node, lookup, kind, current: flags & 1 != 0, first_seen: decode_first_seen(decoder)? })
}

fn decode_edge(decoder: &mut Decoder<'_>) -> Result<Edge, DecodeError> {
    let (a, b) = (Key(decoder.u128()?), Key(decoder.u128()?));
    let (position, message) = (Position(decoder.varint()?), Key(decoder.u128()?));
    let kind = decoder.u8()?;
    let (kind, claimed) = (EdgeKind::from_u8(kind & !CLAIMED)?, kind & CLAIMED != 0);
    Ok(Edge { a, b, position, message, kind, claimed, rules_version: small(decoder.varint()?)? })
}

fn encode_first_seen(encoder: &mut Encoder<'_>, first_seen: FirstSeen) {
    encoder.varint(first_seen.position.0);
    encoder.u8(first_seen.ordinal);
    encoder.signed(first_seen.at.0);
}

fn decode_first_seen(decoder: &mut Decoder<'_>) -> Result<FirstSeen, DecodeError> {
    Ok(FirstSeen {
        position: Position(decoder.varint()?),
        ordinal: decoder.u8()?,
        at: Timestamp(decoder.signed()?),
    })
}

impl FirstSeen {
    /// Appends the stored form.
    pub fn encode(self, encoder: &mut Encoder<'_>) {
        encode_first_seen(encoder, self);
    }

    /// Reads the stored form.
    pub fn decode(decoder: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        decode_first_seen(decoder)
    }
}

fn pair(a: Key, b: Key) -> (Key, Key) {
    (a.min(b), a.max(b))
}

fn small(value: u64) -> Result<u32, DecodeError> {
    u32::try_from(value).map_err(|_| DecodeError::Overlong)
}

#[cfg(test)]
mod tests;
