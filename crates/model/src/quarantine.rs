//! An event that a tracking plan sets aside with its content: a record of the log beside events.
//!
//! It is written where the event would have been written, so it is durable, sealed, copied and replayed like one. The
//! machine counts nothing for it and keeps a small row, by which an operator finds it, mends it and sends it again.

use crate::codec::{DecodeError, Decoder, Encoder};
use crate::event::{Event, Identifier, IdentifierKind, Identifiers};
use crate::id::{Key, Timestamp};

/// The longest place and the longest reason, in bytes; longer ones are cut.
pub const MAX_REASON_BYTES: usize = 256;
/// The longest name in a row, in bytes; longer ones are cut. The record has the whole name.
pub const MAX_ROW_NAME_BYTES: usize = 128;
/// The most events that a shard can be told to keep in quarantine.
pub const MAX_ROWS: u32 = 1_000_000;

const FORMAT_VERSION: u8 = 1;

/// The body of a record of kind [`RecordKind::QUARANTINED`].
///
/// [`RecordKind::QUARANTINED`]: crate::record::RecordKind::QUARANTINED
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quarantined<'a> {
    /// When it came, by the door's clock.
    pub received_at: Timestamp,
    /// How many events the shard keeps in quarantine from here on. The bound stands in the record, because a replay
    /// knows no configuration.
    pub rows_max: u32,
    /// How long, in seconds.
    pub kept_s: u32,
    /// A stable word for what the plan does not like.
    pub code: &'a str,
    /// Where in the event, such as `properties.order_id`; empty if it is the event itself.
    pub place: &'a str,
    /// A sentence for people. It repeats no value.
    pub reason: &'a str,
    /// The stored form of an [`Event`].
    pub event: &'a [u8],
}

impl<'a> Quarantined<'a> {
    /// Appends the stored form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let encoder = &mut Encoder(out);
        encoder.u8(FORMAT_VERSION);
        encoder.i64(self.received_at.0);
        encoder.u32(self.rows_max);
        encoder.u32(self.kept_s);
        encoder.text(self.code);
        encoder.text(cut(self.place, MAX_REASON_BYTES));
        encoder.text(cut(self.reason, MAX_REASON_BYTES));
        encoder.bytes(self.event);
    }

    /// Reads the stored form, borrowing from it.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let decoder = &mut Decoder::new(bytes);
        let version = decoder.u8()?;
        if version != FORMAT_VERSION {
            return Err(DecodeError::Unknown(u64::from(version)));
        }
        let read = Self {
            received_at: Timestamp(decoder.i64()?),
            rows_max: decoder.u32()?,
            kept_s: decoder.u32()?,
            code: decoder.text()?,
            place: decoder.text()?,
            reason: decoder.text()?,
            event: decoder.bytes()?,
        };
        decoder.finish()?;
        Ok(read)
    }

    /// What is left when somebody whom the event names was erased: the keys by which a replay finds the row again, and
    /// nothing that was said. Doing it twice is the same as once.
    pub fn emptied(&self) -> Result<Vec<u8>, DecodeError> {
        let event = Event::decode(self.event)?;
        let mut identifiers = Identifiers::default();
        for identifier in event.identifiers.as_slice() {
            identifiers.push(Identifier { value: b"", ..*identifier });
        }
        let empty = Event {
            message_id: "",
            name: "",
            identifiers,
            order: None,
            products: Vec::new(),
            consent: Vec::new(),
            traits: b"",
            properties: b"",
            context: b"",
            ..event
        };
        let mut bytes = Vec::new();
        empty.encode(&mut bytes);
        let mut body = Vec::new();
        Quarantined { place: "", reason: "", event: &bytes, ..*self }.encode(&mut body);
        Ok(body)
    }
}

/// Whether an event in quarantine is about somebody who was erased. Nobody has resolved it, so what it names decides: the
/// people; and where it names none, the devices, also one of which only a session went. The state and the log go by this one
/// function, so a row goes if, and only if, its record is emptied.
pub fn concerns(
    identifiers: impl Iterator<Item = (IdentifierKind, Key)> + Clone,
    mut is_erased: impl FnMut(Key) -> bool,
) -> bool {
    let names_person = identifiers.clone().any(|(kind, _)| !kind.is_session());
    identifiers.into_iter().any(|(kind, key)| (!names_person || !kind.is_session()) && is_erased(key))
}

/// The beginning of a text that is no longer than `bytes_max`.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventKind;
    use proptest::prelude::*;

    fn event<'a>(name: &'a str, value: &'a [u8], properties: &'a [u8]) -> Event<'a> {
        let mut identifiers = Identifiers::default();
        identifiers.push(Identifier { kind: 1, key: Key(7), value });
        Event {
            kind: EventKind::Track,
            source: 3,
            from_server: false,
            value_counts: true,
            dedup_key: Key(9),
            message_id: name,
            occurred_at: Timestamp(5),
            name,
            identifiers,
            order: None,
            products: Vec::new(),
            consent: Vec::new(),
            traits: properties,
            properties,
            context: properties,
        }
    }

    proptest! {
        #[test]
        fn it_reads_back_and_empties_once(place in ".{0,300}", reason in ".{0,300}", value: Vec<u8>) {
            let mut stored = Vec::new();
            event("secret", &value, b"{\"a\":\"secret\"}").encode(&mut stored);
            let held = Quarantined {
                received_at: Timestamp(4), rows_max: 5, kept_s: 6, code: "off_plan", place: &place,
                reason: &reason, event: &stored,
            };
            let mut body = Vec::new();
            held.encode(&mut body);
            let read = Quarantined::decode(&body).unwrap();
            prop_assert_eq!(read.reason, cut(&reason, MAX_REASON_BYTES));
            prop_assert_eq!(read.event, stored.as_slice());
            let empty = read.emptied().unwrap();
            prop_assert!(!empty.windows(6).any(|part| part == b"secret"));
            let again = Quarantined::decode(&empty).unwrap();
            prop_assert_eq!(again.emptied().unwrap(), empty.clone());
            let left = Event::decode(again.event).unwrap();
            prop_assert_eq!((left.dedup_key, left.identifiers.as_slice()[0].key, left.source), (Key(9), Key(7), 3));
        }

        #[test]
        fn what_is_no_record_is_an_error(bytes: Vec<u8>) {
            if let Ok(read) = Quarantined::decode(&bytes) {
                let _ = read.emptied();
            }
        }
    }

    #[test]
    fn people_decide_and_devices_only_where_nobody_is_named() {
        let (person, device) = (IdentifierKind::USER_ID, IdentifierKind::ANONYMOUS_ID);
        type Named<'a> = &'a [(IdentifierKind, Key)];
        let table: [(Named<'_>, bool, bool); 3] = [
            (&[(person, Key(1)), (device, Key(2))], true, false),
            (&[(device, Key(2))], false, true),
            (&[], false, false),
        ];
        for (named, by_person, by_device) in table {
            assert_eq!(concerns(named.iter().copied(), |key| key == Key(1)), by_person, "{named:?}");
            assert_eq!(concerns(named.iter().copied(), |key| key == Key(2)), by_device, "{named:?}");
        }
    }
}
