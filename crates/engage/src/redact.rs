//! What remains of a record when a person in it was erased.
//!
//! The state of an erased person went when the erasing record was applied. What the log still holds is rewritten so
//! that nothing can be read about the person, while a replay from the first record passes through the same joins and
//! ends in the same state with the same effects: keys (keyed hashes), times, order and product ids stay, and
//! everything that names or describes somebody goes. Redacting twice is the same as once.

use model::event::{Event, Identifier, IdentifierKind, Identifiers};
use model::id::{Key, Position};
use model::record::{Record, RecordKind};

/// How far a node was erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErasedNode {
    /// The record that erased it: what comes after it is somebody's new beginning.
    pub position: Position,
    /// All that was ever under this key. `false` for a device on which somebody was erased and somebody else was not:
    /// what the log says of it without naming a person loses only what no rule looks at.
    pub whole: bool,
}

/// The new body of a record, if it concerns an erased node and was not redacted yet.
pub fn redact(record: &Record<'_>, erased: impl Fn(Key) -> Option<ErasedNode>) -> Option<Vec<u8>> {
    if record.kind != RecordKind::EVENT {
        return None;
    }
    let event = Event::decode(record.body).ok()?;
    let find = |key: Key| erased(key).filter(|node| record.position < node.position);
    let identifiers = event.identifiers.as_slice();
    if identifiers.iter().all(|one| find(one.key).is_none()) {
        return None;
    }
    let mut kept = Identifiers::default();
    for identifier in identifiers {
        let gone = find(identifier.key).is_some_and(|node| node.whole);
        kept.push(Identifier { value: if gone { b"" } else { identifier.value }, ..*identifier });
    }
    // Traits belong to the node that the event is aggregated under: a person if one is named, else a session.
    let is_person = |one: &&Identifier<'_>| !IdentifierKind(one.kind).is_session();
    let names_person = identifiers.iter().any(|one| is_person(&one));
    let mut bearers = identifiers.iter().filter(|one| !names_person || is_person(one));
    let all_gone = bearers.all(|one| find(one.key).is_some_and(|node| node.whole));
    let traits: &[u8] = if all_gone { b"" } else { event.traits };
    let redacted =
        Event { identifiers: kept, message_id: "", traits, properties: b"", context: b"", ..event };
    let mut body = Vec::with_capacity(record.body.len());
    redacted.encode(&mut body);
    if body == record.body { None } else { Some(body) }
}
