//! The tables, and their rows.

use crate::line::{Campaigns, LineRow, TrailRow};
use crate::membership::{Backfill, Book, Membership, Tally};
use crate::quarantine::{HELD, HELD_BY, HELD_COUNTS, HeldBy, HeldCounts, HeldRow};
use crate::redact::{ErasedNode, Extent};
use crate::settings::Settings;
use engine::{AnyTable, Table, TableId, Tables, Value};
use model::audience::{DefinitionId, Rulebook};
use model::codec::{DecodeError, Decoder, Encoder};
use model::event::IdentifierKind;
use model::id::{Key, Position, Timestamp};
use model::identity::{Component, Device, FirstSeen, Member, Refusals};
use model::order::Order;
use model::profile::Aggregate;
use model::suppression::{ActiveSet, Scope};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The table of profiles.
pub const PROFILES: TableId = TableId(17);
/// What profiles are suppressed for, by profile.
pub const SUPPRESSIONS: TableId = TableId(19);
pub(crate) const SETTINGS: TableId = TableId(22);
pub(crate) const COUNTS: TableId = TableId(23);
pub(crate) const RULEBOOK: TableId = TableId(24);
pub(crate) const TALLIES: TableId = TableId(25);
pub(crate) const BACKFILLS: TableId = TableId(26);
pub(crate) const LINE: TableId = TableId(28);
pub(crate) const CAMPAIGNS: TableId = TableId(29);
/// The one row of the table of counts.
pub(crate) const THE_COUNTS: Key = Key(0);
/// The one row of the campaigns' names.
pub(crate) const THE_CAMPAIGNS: Key = Key(0);
/// The one row of the table of rulebooks.
pub(crate) const THE_RULEBOOK: Key = Key(0);
/// The one row of the table of settings.
pub(crate) const THE_SETTINGS: Key = Key(0);
/// The most hops from a node to its profile. Every hop leads to an older root, and a profile has at most
/// `MAX_MEMBERS` of them.
pub(crate) const MAX_HOPS: usize = model::identity::MAX_MEMBERS + 1;

/// The state of a shard of people.
pub struct State {
    pub(crate) nodes: Table<Node>,
    pub(crate) profiles: Table<ProfileRow>,
    pub(crate) orders: Table<OrderRow>,
    pub(crate) suppressions: Table<Suppressed>,
    pub(crate) erased: Table<ErasedNode>,
    pub(crate) commands: Table<Answered>,
    pub(crate) settings: Table<Settings>,
    pub(crate) counts: Table<Counts>,
    pub(crate) rulebook: Table<Book>,
    pub(crate) tallies: Table<Tally>,
    pub(crate) backfills: Table<Backfill>,
    pub(crate) trails: Table<TrailRow>,
    pub(crate) line: Table<LineRow>,
    pub(crate) campaigns: Table<Campaigns>,
    pub(crate) held: Table<HeldRow>,
    pub(crate) held_by: Table<HeldBy>,
    pub(crate) held_counts: Table<HeldCounts>,
    /// The row of settings, decoded once.
    current: Option<Arc<Settings>>,
    /// The rulebook, compiled once.
    book: Option<Arc<Rulebook>>,
    /// Audiences that wait, found once.
    pub(crate) pending: Option<Arc<BTreeSet<DefinitionId>>>,
    pub(crate) scratch: crate::reckon::Scratch,
}

impl State {
    /// Empty tables.
    pub fn empty() -> Self {
        Self {
            nodes: Table::new(TableId(16), "nodes"),
            profiles: Table::new(PROFILES, "profiles"),
            orders: Table::new(TableId(18), "orders"),
            suppressions: Table::new(SUPPRESSIONS, "suppressions"),
            erased: Table::new(TableId(20), "erased"),
            commands: Table::new(TableId(21), "commands"),
            settings: Table::new(SETTINGS, "settings"),
            counts: Table::new(COUNTS, "counts"),
            rulebook: Table::new(RULEBOOK, "rulebook"),
            tallies: Table::new(TALLIES, "tallies"),
            backfills: Table::new(BACKFILLS, "backfills"),
            trails: Table::new(TableId(27), "trails"),
            line: Table::new(LINE, "line"),
            campaigns: Table::new(CAMPAIGNS, "campaigns"),
            held: Table::new(HELD, "quarantine"),
            held_by: Table::new(HELD_BY, "quarantine_index"),
            held_counts: Table::new(HELD_COUNTS, "quarantine_counts"),
            current: None,
            book: None,
            pending: None,
            scratch: crate::reckon::Scratch::default(),
        }
    }

    /// What operators have set.
    pub(crate) fn settings(&mut self) -> Arc<Settings> {
        if let Some(current) = &self.current {
            return Arc::clone(current);
        }
        let current = Arc::new(self.settings.get(THE_SETTINGS).cloned().unwrap_or_default());
        self.current = Some(Arc::clone(&current));
        current
    }

    /// The same where they were asked for before; what prefetching goes by.
    pub(crate) fn known_settings(&self) -> Option<&Settings> {
        self.current.as_deref()
    }

    pub(crate) fn set_settings(&mut self, settings: Settings) -> Arc<Settings> {
        let current = Arc::new(settings.clone());
        self.settings.insert(THE_SETTINGS, settings);
        self.current = Some(Arc::clone(&current));
        current
    }

    /// Everything that is defined.
    pub(crate) fn book(&mut self) -> Arc<Rulebook> {
        if let Some(book) = &self.book {
            return Arc::clone(book);
        }
        let row = self.rulebook.get(THE_RULEBOOK);
        let book = row.map(|row| Arc::clone(&row.0)).unwrap_or_default();
        self.book = Some(Arc::clone(&book));
        book
    }

    /// The same where it was asked for before; what prefetching goes by.
    pub(crate) fn known_book(&self) -> Option<&Rulebook> {
        self.book.as_deref()
    }

    pub(crate) fn set_book(&mut self, book: Rulebook) -> Arc<Rulebook> {
        let book = Arc::new(book);
        self.rulebook.insert(THE_RULEBOOK, Book(Arc::clone(&book)));
        self.book = Some(Arc::clone(&book));
        book
    }

    /// The profile that a pointer leads to now; itself where there is no such row.
    pub(crate) fn follow(&mut self, mut profile: Key) -> Key {
        for _ in 0..MAX_HOPS {
            match self.profiles.get(profile) {
                Some(ProfileRow::Merged { into }) => profile = *into,
                _ => break,
            }
        }
        profile
    }

    /// The nodes of a profile, if it is one.
    pub(crate) fn component(&mut self, profile: Key) -> Option<&Component> {
        match self.profiles.get(profile) {
            Some(ProfileRow::Live(component, _)) => Some(component),
            _ => None,
        }
    }

    /// The audiences that a profile is in.
    pub(crate) fn membership(&mut self, profile: Key) -> Option<&Membership> {
        match self.profiles.get(profile) {
            Some(ProfileRow::Live(_, membership)) => membership.as_deref(),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub(crate) fn component_mut(&mut self, profile: Key) -> Option<&mut Component> {
        match self.profiles.get_mut(profile) {
            Some(ProfileRow::Live(component, _)) => Some(component),
            _ => None,
        }
    }

    /// The node that an identifier stands for now: itself, or the current session of a device.
    pub(crate) fn current_node(&mut self, identifier: Key) -> Key {
        self.nodes.get(identifier).map_or(identifier, |node| node.current(identifier))
    }

    /// How far a node was erased, if it was: what the log is redacted by.
    pub fn erased(&mut self, node: Key) -> Option<ErasedNode> {
        self.erased.get(node).copied()
    }

    /// Of every table: name, rows in memory, and what the rows hold with the table's own overhead left out.
    pub fn sizes(&self) -> Vec<(&'static str, usize, usize)> {
        fn size<V: Value>(name: &'static str, table: &Table<V>) -> (&'static str, usize, usize) {
            let rows = table.resident().map(|(_, row)| size_of::<V>() + row.heap_bytes());
            rows.fold((name, 0, 0), |(name, count, sum), bytes| (name, count + 1, sum + bytes))
        }
        vec![
            size("nodes", &self.nodes),
            size("profiles", &self.profiles),
            size("orders", &self.orders),
            size("suppressions", &self.suppressions),
            size("trails", &self.trails),
            size("line", &self.line),
        ]
    }

    /// Every row of every table that is in memory, encoded and sorted: for tests that compare states.
    pub fn dump(&mut self) -> Vec<(u8, Key, Vec<u8>)> {
        fn rows<V: Value>(table: &Table<V>, out: &mut Vec<(u8, Key, Vec<u8>)>) {
            for (key, row) in table.resident() {
                let mut bytes = Vec::new();
                row.encode(&mut bytes);
                out.push((table.id().0, key, bytes));
            }
        }
        let mut out = Vec::new();
        rows(&self.nodes, &mut out);
        rows(&self.profiles, &mut out);
        rows(&self.orders, &mut out);
        rows(&self.suppressions, &mut out);
        rows(&self.erased, &mut out);
        rows(&self.commands, &mut out);
        rows(&self.settings, &mut out);
        rows(&self.rulebook, &mut out);
        rows(&self.tallies, &mut out);
        rows(&self.backfills, &mut out);
        rows(&self.trails, &mut out);
        rows(&self.line, &mut out);
        rows(&self.campaigns, &mut out);
        rows(&self.held, &mut out);
        rows(&self.held_by, &mut out);
        rows(&self.held_counts, &mut out);
        out.sort();
        out
    }
}

impl Tables for State {
    fn visit(&mut self, visitor: &mut dyn FnMut(&mut dyn AnyTable)) {
        visitor(&mut self.nodes);
        visitor(&mut self.profiles);
        visitor(&mut self.orders);
        visitor(&mut self.suppressions);
        visitor(&mut self.erased);
        visitor(&mut self.commands);
        visitor(&mut self.settings);
        visitor(&mut self.counts);
        visitor(&mut self.rulebook);
        visitor(&mut self.tallies);
        visitor(&mut self.backfills);
        visitor(&mut self.trails);
        visitor(&mut self.line);
        visitor(&mut self.campaigns);
        visitor(&mut self.held);
        visitor(&mut self.held_by);
        visitor(&mut self.held_counts);
    }
}

/// How many people there are. Counted, because rows that are not in memory cannot be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Profiles that are somebody.
    pub profiles: u64,
    /// Profiles that ever became part of another.
    pub merges: u64,
}

impl Value for Counts {
    fn encode(&self, out: &mut Vec<u8>) {
        let encoder = &mut Encoder(out);
        encoder.varint(self.profiles);
        encoder.varint(self.merges);
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let decoder = &mut Decoder::new(bytes);
        let row = Self { profiles: decoder.varint()?, merges: decoder.varint()? };
        decoder.finish()?;
        Ok(row)
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}

/// An identifier, or a session on a device, and all that it gathered itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its type; of a session that of its device.
    pub kind: u8,
    /// The device of a later session; zero for everything else.
    pub session_of: Key,
    /// When it was first seen.
    pub first_seen: FirstSeen,
    /// Leads to its profile.
    pub profile: Key,
    /// The value; sealed where its type is personal. Empty for a later session.
    pub value: Box<[u8]>,
    /// What a device knows beyond its first session.
    pub device: Option<Box<Device>>,
    /// What was aggregated here.
    pub aggregate: Option<Box<Aggregate>>,
    /// Edges that were refused here.
    pub refusals: Option<Box<Refusals>>,
}

impl Node {
    /// The session that a device carries; itself for everything else.
    pub(crate) fn current(&self, own: Key) -> Key {
        self.device.as_ref().map_or(own, |device| device.current)
    }

    pub(crate) fn aggregate_mut(&mut self) -> &mut Aggregate {
        self.aggregate.get_or_insert_with(Box::default)
    }

    /// Itself as the first member of a profile.
    pub(crate) fn member(&self, own: Key) -> Member {
        let lookup = if self.session_of == Key(0) { own } else { self.session_of };
        Member { node: own, lookup, kind: self.kind, current: true, first_seen: self.first_seen }
    }

    pub(crate) fn is_session(&self) -> bool {
        IdentifierKind(self.kind).is_session()
    }
}

impl Value for Node {
    fn encode(&self, out: &mut Vec<u8>) {
        let encoder = &mut Encoder(out);
        encoder.u8(self.kind);
        let session = self.session_of != Key(0);
        let flags = u8::from(session)
            | u8::from(self.device.is_some()) << 1
            | u8::from(self.aggregate.is_some()) << 2
            | u8::from(self.refusals.is_some()) << 3;
        encoder.u8(flags);
        if session {
            encoder.u128(self.session_of.0);
        }
        self.first_seen.encode(encoder);
        encoder.u128(self.profile.0);
        encoder.bytes(&self.value);
        if let Some(device) = &self.device {
            device.encode(encoder);
        }
        if let Some(aggregate) = &self.aggregate {
            aggregate.encode(encoder);
        }
        if let Some(refusals) = &self.refusals {
            refusals.encode(encoder);
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let decoder = &mut Decoder::new(bytes);
        let kind = decoder.u8()?;
        let flags = decoder.u8()?;
        let session_of = if flags & 1 != 0 { Key(decoder.u128()?) } else { Key(0) };
        let first_seen = FirstSeen::decode(decoder)?;
        let profile = Key(decoder.u128()?);
        let value = decoder.bytes()?.into();
        let device = if flags & 2 != 0 { Some(Box::new(Device::decode(decoder)?)) } else { None };
        let aggregate = if flags & 4 != 0 { Some(Box::new(Aggregate::decode(decoder)?)) } else { None };
        let refusals = if flags & 8 != 0 { Some(Box::new(Refusals::decode(decoder)?)) } else { None };
        decoder.finish()?;
        Ok(Self { kind, session_of, first_seen, profile, value, device, aggregate, refusals })
    }

    fn heap_bytes(&self) -> usize {
        let device =
            self.device.as_ref().map_or(0, |device| size_of::<Device>() + device.takers.capacity() * 32);
        let aggregate =
            self.aggregate.as_ref().map_or(0, |aggregate| size_of::<Aggregate>() + aggregate.heap_bytes());
        let refusals = self.refusals.as_ref().map_or(0, |refusals| 32 + refusals.latest.capacity() * 32);
        self.value.len() + device + aggregate + refusals
    }

    fn touch(&self) -> u64 {
        let value = self.value.first().copied().map_or(0, u64::from);
        value ^ self.aggregate.as_ref().map_or(0, |aggregate| aggregate.touch())
    }
}

/// A profile, under the key of its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProfileRow {
    /// A person, and the audiences that the person is in.
    Live(Component, Option<Box<Membership>>),
    /// Became part of another profile.
    Merged {
        /// Which may have been merged itself since.
        into: Key,
    },
}

impl ProfileRow {
    /// Whether stored bytes are the row of a person, not of one who became part of another.
    pub fn is_live(bytes: &[u8]) -> bool {
        matches!(bytes.first(), Some(1 | 3 | 4))
    }
}

impl Value for ProfileRow {
    fn encode(&self, out: &mut Vec<u8>) {
        let encoder = &mut Encoder(out);
        match self {
            Self::Live(component, None) => {
                encoder.u8(1);
                component.encode(encoder);
            }
            Self::Live(component, Some(membership)) => {
                encoder.u8(if membership.left.is_empty() { 3 } else { 4 });
                component.encode(encoder);
                membership.encode(encoder);
                if !membership.left.is_empty() {
                    membership.encode_left(encoder);
                }
            }
            Self::Merged { into } => {
                encoder.u8(2);
                encoder.u128(into.0);
            }
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let decoder = &mut Decoder::new(bytes);
        let row = match decoder.u8()? {
            1 => Self::Live(Component::decode(decoder)?, None),
            3 => Self::Live(Component::decode(decoder)?, Some(Box::new(Membership::decode(decoder)?))),
            4 => {
                let component = Component::decode(decoder)?;
                let mut membership = Membership::decode(decoder)?;
                membership.decode_left(decoder)?;
                Self::Live(component, Some(Box::new(membership)))
            }
            2 => Self::Merged { into: Key(decoder.u128()?) },
            other => return Err(DecodeError::Unknown(u64::from(other))),
        };
        decoder.finish()?;
        Ok(row)
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Self::Live(component, membership) => {
                component.heap_bytes()
                    + membership.as_ref().map_or(0, |own| size_of::<Membership>() + own.heap_bytes())
            }
            Self::Merged { .. } => 0,
        }
    }
}

/// An order, under its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OrderRow(pub(crate) Order);

impl Value for OrderRow {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(&mut Encoder(out));
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let decoder = &mut Decoder::new(bytes);
        let order = Order::decode(decoder)?;
        decoder.finish()?;
        Ok(Self(order))
    }

    fn heap_bytes(&self) -> usize {
        self.0.reporters.capacity() * size_of::<model::order::Reporter>()
            + self.0.refunds.capacity() * size_of::<model::order::Refund>()
    }
}

/// What a profile is suppressed for now, under the profile's key; no row where it is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suppressed {
    /// The identifiers that find the profile, sorted.
    pub keys: Vec<Key>,
    /// For what, until when, and why.
    pub active: ActiveSet,
    /// By which audiences, as long as the person is in them; sorted.
    pub held: Vec<(Scope, DefinitionId)>,
}

impl Value for Suppressed {
    fn encode(&self, out: &mut Vec<u8>) {
        let encoder = &mut Encoder(out);
        encoder.varint(self.keys.len() as u64);
        for key in &self.keys {
            encoder.u128(key.0);
        }
        self.active.encode(encoder);
        encoder.varint(self.held.len() as u64);
        for (scope, audience) in &self.held {
            encoder.u64(scope.0);
            encoder.u32(audience.0);
        }
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let decoder = &mut Decoder::new(bytes);
        let mut keys = Vec::new();
        for _ in 0..decoder.count()? {
            keys.push(Key(decoder.u128()?));
        }
        let active = ActiveSet::decode(decoder)?;
        let mut held = Vec::new();
        for _ in 0..decoder.count()? {
            held.push((Scope(decoder.u64()?), DefinitionId(decoder.u32()?)));
        }
        decoder.finish()?;
        Ok(Self { keys, active, held })
    }

    fn heap_bytes(&self) -> usize {
        self.keys.capacity() * 16 + self.active.heap_bytes() + self.held.capacity() * 16
    }
}

impl Value for ErasedNode {
    fn encode(&self, out: &mut Vec<u8>) {
        let encoder = &mut Encoder(out);
        encoder.varint(self.position.0);
        encoder.u8(self.extent as u8);
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let decoder = &mut Decoder::new(bytes);
        let node = Self { position: Position(decoder.varint()?), extent: Extent::from_u8(decoder.u8()?)? };
        decoder.finish()?;
        Ok(node)
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}

/// A command that was answered, under its idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) body: Key,
    pub(crate) at: Timestamp,
    pub(crate) reply: Box<[u8]>,
}

impl Value for Answered {
    fn encode(&self, out: &mut Vec<u8>) {
        let encoder = &mut Encoder(out);
        encoder.u128(self.body.0);
        encoder.signed(self.at.0);
        encoder.bytes(&self.reply);
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let decoder = &mut Decoder::new(bytes);
        let row = Self {
            body: Key(decoder.u128()?),
            at: Timestamp(decoder.signed()?),
            reply: decoder.bytes()?.into(),
        };
        decoder.finish()?;
        Ok(row)
    }

    fn heap_bytes(&self) -> usize {
        self.reply.len()
    }
}
