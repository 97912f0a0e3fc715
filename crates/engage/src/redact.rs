//! What remains of a record when a person in it was erased.
//!
//! The state of an erased person went when the erasing record was applied. What the log still holds is rewritten so
//! that nothing can be read about the person, while a replay from the first record passes through the same joins and
//! ends in the same state with the same effects: keys (keyed hashes), times, order and product ids stay, and
//! everything that names or describes somebody goes; of properties that is all but what the line counts by
//! ([`kept_properties`]). Redacting twice is the same as once.

use model::codec::DecodeError;
use model::event::{Event, EventKind, Identifier, IdentifierKind, Identifiers};
use model::id::{Key, Position};
use model::line::kept_properties;
use model::record::{Record, RecordKind};

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

/// The new body of a record, if it concerns an erased node and was not redacted yet.
pub fn redact(record: &Record<'_>, mut erased: impl FnMut(Key) -> Option<ErasedNode>) -> Option<Vec<u8>> {
    if record.kind != RecordKind::EVENT {
        return None;
    }
    let event = Event::decode(record.body).ok()?;
    let identifiers = event.identifiers.as_slice();
    let mut find = |one: &Identifier<'_>| erased(one.key).filter(|node| record.position < node.position);
    let found: Vec<Option<ErasedNode>> = identifiers.iter().map(&mut find).collect();
    if found.iter().all(Option::is_none) {
        return None;
    }
    // Traits belong to the node that the event is aggregated under: a person if one is named, else a session; of a
    // browser's alias the first identifier.
    let is_person = |one: &Identifier<'_>| !IdentifierKind(one.kind).is_session();
    let counted = if event.kind == EventKind::Alias && !event.from_server { 1 } else { identifiers.len() };
    let names_person = identifiers.iter().take(counted).any(is_person);
    let mut kept = Identifiers::default();
    let mut bearers_gone = true;
    for (index, (identifier, found)) in identifiers.iter().zip(found).enumerate() {
        let extent = found.map(|node| node.extent);
        let node_gone = matches!(extent, Some(Extent::Whole | Extent::Node));
        kept.push(Identifier { value: if node_gone { b"" } else { identifier.value }, ..*identifier });
        let bears = index < counted && (is_person(identifier) || !names_person);
        bearers_gone &= !bears || extent == Some(Extent::Whole);
    }
    let traits: &[u8] = if bearers_gone { b"" } else { event.traits };
    let properties = kept_properties(&event);
    let properties = properties.as_bytes();
    let redacted = Event { identifiers: kept, message_id: "", traits, properties, context: b"", ..event };
    let mut body = Vec::with_capacity(record.body.len());
    redacted.encode(&mut body);
    if body == record.body { None } else { Some(body) }
}
