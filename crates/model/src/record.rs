//! The items of the log.
//!
//! A frame's body is a sequence of records: kind (1 byte), length (varint), body. The engine knows three kinds of its
//! own; every other kind belongs to the machine that runs on the shard.

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::id::{Position, Timestamp};

/// What a record is. Kinds below 16 belong to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKind(pub u8);

impl RecordKind {
    /// Time passed and nothing else happened. Empty body.
    pub const TICK: Self = Self(1);
    /// From here on other rules hold. Body: the version, `u32`.
    pub const RULES_CHANGED: Self = Self(2);
    /// The record at a position made `apply` panic twice: it is treated as absent. Body: the position, `u64`.
    pub const SKIP: Self = Self(3);
    /// Effects up to a position have been delivered. Body: consumer (text), position (`u64`).
    pub const ACKNOWLEDGED: Self = Self(4);
    /// Something that happened: a [`crate::event::Event`].
    pub const EVENT: Self = Self(16);
    /// A request to change definitions or state; its body belongs to the machine.
    pub const COMMAND: Self = Self(17);
    /// An event that a tracking plan keeps out with its content: a [`crate::quarantine::Quarantined`].
    pub const QUARANTINED: Self = Self(18);
    /// An event that comes out of quarantine: an [`crate::event::Event`] like any other. It counts as long as its row is in
    /// quarantine, and the row goes with it: that, and not its `messageId`, is what makes it count once.
    pub const RELEASED: Self = Self(19);

    /// Whether the body is the stored form of an event that counts.
    pub fn is_event(self) -> bool {
        self == Self::EVENT || self == Self::RELEASED
    }
}

/// One item of the log, borrowed from its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its place.
    pub position: Position,
    /// Log time: when it was appended. Never earlier than the record before it.
    pub received_at: Timestamp,
    /// What it is.
    pub kind: RecordKind,
    /// Its encoded content.
    pub body: &'a [u8],
}

/// Appends one record to a frame body.
pub fn encode_record(out: &mut Vec<u8>, kind: RecordKind, body: &[u8]) {
    let mut encoder = Encoder(out);
    encoder.u8(kind.0);
    encoder.bytes(body);
}

/// Reads the records of a frame body. `first` is the position of the first one; all share `received_at`.
pub fn decode_records(
    body: &[u8],
    first: Position,
    received_at: Timestamp,
) -> impl Iterator<Item = Result<Record<'_>, DecodeError>> {
    let mut decoder = Decoder::new(body);
    let mut position = first;
    std::iter::from_fn(move || {
        if decoder.is_empty() {
            return None;
        }
        let record = decode_one(&mut decoder, position, received_at);
        if record.is_err() {
            decoder = Decoder::new(&[]);
        }
        position = position.plus(1);
        Some(record)
    })
}

fn decode_one<'a>(
    decoder: &mut Decoder<'a>,
    position: Position,
    received_at: Timestamp,
) -> Result<Record<'a>, DecodeError> {
    let kind = RecordKind(decoder.u8()?);
    let body = decoder.bytes()?;
    Ok(Record { position, received_at, kind, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_read_back(bodies in prop::collection::vec((any::<u8>(), any::<Vec<u8>>()), 0..20)) {
            let mut frame = Vec::new();
            for (kind, body) in &bodies {
                encode_record(&mut frame, RecordKind(*kind), body);
            }
            let read: Vec<_> =
                decode_records(&frame, Position(7), Timestamp(9)).map(|record| record.unwrap()).collect();
            prop_assert_eq!(read.len(), bodies.len());
            for (index, (record, (kind, body))) in read.iter().zip(&bodies).enumerate() {
                prop_assert_eq!(record.position, Position(7 + index as u64));
                prop_assert_eq!(record.kind, RecordKind(*kind));
                prop_assert_eq!(record.body, body.as_slice());
            }
        }

        #[test]
        fn damaged_frames_end_with_an_error(bytes: Vec<u8>) {
            let errors = decode_records(&bytes, Position(0), Timestamp(0)).filter(|record| record.is_err()).count();
            prop_assert!(errors <= 1);
        }
    }
}
