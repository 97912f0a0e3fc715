//! What remains of a record when a person in it was erased.
//!
//! The state of an erased person went when the erasing record was applied. What the log still holds is rewritten so
//! that nothing can be read about the person, while a replay from the first record passes through the same joins and
//! ends in the same state: keys (keyed hashes), times, consent, order and product ids stay, and everything that names or
//! describes somebody goes; of properties that is all but what the line counts by ([`kept_properties`]). Redacting twice
//! is the same as once.
//!
//! **What others did stays as it was**, also on a device that the person used: it is in their state. Whose an event is
//! follows from the node that it was counted under ([`Counted`]). Of an event that is somebody else's and names a person
//! who was erased (the two were parted by an operator, or never joined), the name goes, and with it addresses and phone
//! numbers wherever they stand in the event.
//!
//! **What the log does not hold any more is in no state either.** Until they are erased in a replay, the erased enter and
//! leave other audiences than they did, because less is known of them. So with the erasing record everything goes that
//! such a history left: what audiences counted of them, and effects ([`engine::Machine::ERASING_KIND`]); and when two
//! people are parted, nothing remains of what they were in together.

use crate::command::{Command, Operation};
use crate::define::takes_features;
use model::codec::DecodeError;
use model::event::{Event, EventKind, Identifier, IdentifierKind, Identifiers};
use model::id::{Key, Position};
use model::line::kept_properties;
use model::profile::without_contacts;
use model::quarantine::{Quarantined, concerns};
use model::record::{Record, RecordKind};
use std::borrow::Cow;

/// How deep properties and context are searched for addresses.
const CONTACTS_DEPTH: usize = 16;

/// How much of what the log says under a key went with somebody who was erased. Numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Extent {
    /// All of it.
    Whole = 1,
    /// The node, but not what somebody else did on the same device without being named.
    Node = 2,
    /// A session on the device. The device is somebody else's and stays.
    Session = 3,
}

impl Extent {
    /// Reads the stored number.
    pub fn from_u8(value: u8) -> Result<Self, DecodeError> {
        Ok(match value {
            1 => Self::Whole,
            2 => Self::Node,
            3 => Self::Session,
            other => return Err(DecodeError::Unknown(u64::from(other))),
        })
    }
}

/// A node that was erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErasedNode {
    /// The record that erased it: what comes after it is somebody's new beginning.
    pub position: Position,
    /// How much of it.
    pub extent: Extent,
}

/// The node that an event was counted under: whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// This one.
    Under(Key),
    /// None that is somebody: the record was dropped as a duplicate or refused, or its node was erased before.
    Nowhere,
    /// Nobody knows any more. Then what names who did it decides, and where that does not, only traits stay: they may be
    /// in the state of somebody else.
    Unknown,
}

/// Whose an event is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Erased,
    SomebodyElses,
    Unclear,
}

/// The new body of a record, if it concerns an erased node and was not redacted yet. `counted` is asked for events that
/// name such a node.
pub fn redact(
    record: &Record<'_>,
    counted: impl FnOnce() -> Counted,
    mut erased: impl FnMut(Key) -> Option<ErasedNode>,
) -> Option<Vec<u8>> {
    let erased = |node: Key| erased(node).filter(|erased| record.position < erased.position);
    match record.kind {
        RecordKind::EVENT | RecordKind::RELEASED => redact_event(record.body, counted, erased),
        RecordKind::QUARANTINED => redact_quarantined(record.body, erased),
        RecordKind::COMMAND => redact_command(record.body, erased),
        _ => None,
    }
}

fn redact_event(
    bytes: &[u8],
    counted: impl FnOnce() -> Counted,
    mut erased: impl FnMut(Key) -> Option<ErasedNode>,
) -> Option<Vec<u8>> {
    let event = Event::decode(bytes).ok()?;
    let identifiers = event.identifiers.as_slice();
    let found: Vec<Option<ErasedNode>> = identifiers.iter().map(|one| erased(one.key)).collect();
    if found.iter().all(Option::is_none) {
        return None;
    }
    let is_gone = |node: Option<ErasedNode>| node.is_some_and(|node| node.extent != Extent::Session);
    let whose = match counted() {
        Counted::Under(node) if is_gone(erased(node)) => Whose::Erased,
        Counted::Under(_) => Whose::SomebodyElses,
        Counted::Nowhere => Whose::Erased,
        Counted::Unknown => whose_by_names(&event, &found),
    };
    let mut kept = Identifiers::default();
    let mut names_erased = false;
    for (identifier, found) in identifiers.iter().zip(&found) {
        let gone = is_gone(*found);
        names_erased |= gone && is_person(identifier);
        kept.push(Identifier { value: if gone { b"" } else { identifier.value }, ..*identifier });
    }
    let no_contacts = |object, depth| Cow::Owned(if_any(object, |object| without_contacts(object, depth)));
    let (traits, properties, context) = match whose {
        Whose::SomebodyElses if !names_erased => {
            (event.traits.into(), event.properties.into(), event.context.into())
        }
        Whose::SomebodyElses => (
            no_contacts(event.traits, 0),
            no_contacts(event.properties, CONTACTS_DEPTH),
            no_contacts(event.context, CONTACTS_DEPTH),
        ),
        Whose::Erased | Whose::Unclear => {
            let traits: &[u8] = if whose == Whose::Erased { b"" } else { event.traits };
            (traits.into(), Cow::Owned(kept_properties(&event).into_bytes()), Cow::default())
        }
    };
    let message_id = if whose == Whose::SomebodyElses { event.message_id } else { "" };
    let (traits, properties, context) = (&*traits, &*properties, &*context);
    let redacted = Event { identifiers: kept, message_id, traits, properties, context, ..event };
    let mut body = Vec::with_capacity(bytes.len());
    redacted.encode(&mut body);
    if body == bytes { None } else { Some(body) }
}

/// Nobody has resolved the event, and its row went with whoever was erased if it concerns them ([`concerns`]). Of one that is
/// about somebody else, only the ids of a device that went are taken out.
fn redact_quarantined(bytes: &[u8], mut erased: impl FnMut(Key) -> Option<ErasedNode>) -> Option<Vec<u8>> {
    let quarantined = Quarantined::decode(bytes).ok()?;
    let event = Event::decode(quarantined.event).ok()?;
    let named = event.identifiers.as_slice().iter();
    let body = if concerns(named.clone().map(|one| (IdentifierKind(one.kind), one.key)), |key| {
        erased(key).is_some()
    }) {
        quarantined.emptied().ok()?
    } else {
        let mut kept = Identifiers::default();
        for one in named {
            let gone = erased(one.key).is_some_and(|node| node.extent != Extent::Session);
            kept.push(Identifier { value: if gone { b"" } else { one.value }, ..*one });
        }
        let mut without = Vec::with_capacity(quarantined.event.len());
        Event { identifiers: kept, ..event }.encode(&mut without);
        let mut body = Vec::with_capacity(bytes.len());
        Quarantined { event: &without, ..quarantined }.encode(&mut body);
        body
    };
    if body == bytes { None } else { Some(body) }
}

fn if_any(object: &[u8], change: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    if object.is_empty() { Vec::new() } else { change(object) }
}

fn is_person(identifier: &Identifier<'_>) -> bool {
    !IdentifierKind(identifier.kind).is_session()
}

/// An event is counted under a person if one is named, else under a session; of a browser's alias only the first
/// identifier counts.
fn whose_by_names(event: &Event<'_>, found: &[Option<ErasedNode>]) -> Whose {
    let identifiers = event.identifiers.as_slice();
    let counted = if event.kind == EventKind::Alias && !event.from_server { 1 } else { identifiers.len() };
    let names_person = identifiers.iter().take(counted).any(is_person);
    let all = identifiers.iter().zip(found).take(counted);
    let bearers = all.filter(|(one, _)| is_person(one) || !names_person);
    let (mut gone, mut stays) = (true, true);
    for (_, found) in bearers {
        gone &= found.is_some_and(|node| node.extent == Extent::Whole);
        stays &= found.is_none();
    }
    match (gone, stays) {
        (true, _) => Whose::Erased,
        (false, true) => Whose::SomebodyElses,
        (false, false) => Whose::Unclear,
    }
}

/// What nodes gathered in older events stands in records of its own.
fn redact_command(bytes: &[u8], mut erased: impl FnMut(Key) -> Option<ErasedNode>) -> Option<Vec<u8>> {
    let Command { idempotency, operation } = Command::decode(bytes).ok()?;
    let Operation::Gather { definitions, mut stretch } = operation else { return None };
    let before = stretch.nodes.len();
    stretch.nodes.retain(|one| !erased(one.node).is_some_and(|node| takes_features(node.extent)));
    if stretch.nodes.len() == before {
        return None;
    }
    let mut body = Vec::with_capacity(bytes.len());
    Command { idempotency, operation: Operation::Gather { definitions, stretch } }.encode(&mut body);
    Some(body)
}
