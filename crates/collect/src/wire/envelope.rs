//! A request body as it was sent: one event, or a batch of them in an envelope.

use crate::json::{JsonError, Reader};
use crate::settings::{FamilyLimits, Limits};
use crate::wire::facts::{Text, loose_text, object_or_nothing};
use crate::wire::item::{Item, instant_of, integrations_of};
use crate::wire::problem::{Problem, WireError};
use model::event::EventKind;
use model::id::Timestamp;
use std::collections::BTreeMap;

/// What most events are larger than.
const USUAL_EVENT_BYTES: usize = 300;

/// Which call a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// One event of this kind.
    One(EventKind),
    /// A batch; each event says what it is.
    Batch,
}

/// A body that has been read, and not judged yet: whose it is decides about the rest.
#[derive(Debug)]
pub struct Envelope<'a> {
    pub(crate) call: Call,
    pub(crate) items: Vec<Item<'a>>,
    pub(crate) write_key: Option<Text<'a>>,
    pub(crate) sent_at: Option<Timestamp>,
    /// Members that every event's context gets, unless it has its own.
    pub(crate) context: Vec<Member<'a>>,
    pub(crate) integrations: Option<&'a str>,
    bytes: usize,
}

/// One member of a JSON object.
#[derive(Debug)]
pub(crate) struct Member<'a> {
    /// As it is meant, escapes resolved.
    pub(crate) key: String,
    /// As it is spelled.
    pub(crate) value: &'a str,
}

impl<'a> Envelope<'a> {
    /// Reads a body in one pass. What can be judged without knowing the sender is: text, grammar, nesting, types.
    pub fn read(body: &'a [u8], call: Call, limits: &Limits) -> Result<Self, WireError> {
        let text = std::str::from_utf8(body).map_err(|_| Problem::NotText.of(""))?;
        let mut reader = Reader::new(text, limits.depth_max);
        if reader.peek() != b'{' {
            reader.skip()?;
            return Err(Problem::WrongType { expected: "an object" }.of("body"));
        }
        let mut envelope = Self {
            call,
            items: Vec::new(),
            write_key: None,
            sent_at: None,
            context: Vec::new(),
            integrations: None,
            bytes: body.len(),
        };
        match call {
            Call::One(_) => envelope.read_one(&mut reader)?,
            Call::Batch => envelope.read_batch(&mut reader, limits)?,
        }
        reader.finish()?;
        Ok(envelope)
    }

    /// The write key that the body names.
    pub fn write_key(&self) -> Option<&str> {
        self.write_key.as_deref()
    }

    /// How many bytes the body has.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many events there are.
    pub fn events_count(&self) -> usize {
        self.items.len()
    }

    /// Checks the limits of the SDK family that the body's shape shows.
    pub(crate) fn check_sizes(&self, limits: &Limits) -> Result<(), WireError> {
        let FamilyLimits { event_bytes_max, body_bytes_max, events_max } =
            if self.write_key.is_some() { limits.segment } else { limits.rudder };
        if self.call == Call::Batch {
            if self.bytes > body_bytes_max {
                return Err(Problem::BodyTooLarge { max: body_bytes_max }.of(""));
            }
            if self.items.len() > events_max {
                return Err(Problem::TooMany { max: events_max }.of("batch"));
            }
        }
        for (index, item) in self.items.iter().enumerate() {
            if item.bytes > event_bytes_max {
                let problem = Problem::EventTooLarge { bytes: item.bytes, max: event_bytes_max };
                return Err(self.name_item(problem.of(""), index));
            }
        }
        Ok(())
    }

    /// Says which event an error is about.
    pub(crate) fn name_item(&self, error: WireError, index: usize) -> WireError {
        if self.call == Call::Batch { error.in_batch(index) } else { error }
    }

    fn read_one(&mut self, reader: &mut Reader<'a>) -> Result<(), WireError> {
        let mut item = Item::default();
        let raw = reader.object(|reader, key| {
            if key == "writeKey" {
                self.write_key = loose_text(reader)?;
                return Ok(());
            }
            item.take(reader, key)
        })?;
        item.bytes = raw.len();
        self.items.push(item);
        Ok(())
    }

    fn read_batch(&mut self, reader: &mut Reader<'a>, limits: &Limits) -> Result<(), WireError> {
        let events_max = limits.segment.events_max.max(limits.rudder.events_max);
        let mut has_batch = false;
        reader.object(|reader, key| {
            match key {
                "batch" => {
                    has_batch = true;
                    self.items.clear();
                    self.read_items(reader, events_max)?;
                }
                "writeKey" => self.write_key = loose_text(reader)?,
                "sentAt" => self.sent_at = instant_of(reader)?,
                "context" => self.read_context(reader, limits.envelope_context_bytes_max)?,
                "integrations" => self.integrations = integrations_of(reader)?,
                _ => {
                    reader.skip()?;
                }
            }
            Ok::<(), WireError>(())
        })?;
        if !has_batch {
            return Err(Problem::Missing { advice: "send the events as an array" }.of("batch"));
        }
        if self.items.is_empty() {
            return Err(Problem::EmptyBatch.of("batch"));
        }
        Ok(())
    }

    fn read_items(&mut self, reader: &mut Reader<'a>, events_max: usize) -> Result<(), WireError> {
        if reader.peek() != b'[' {
            reader.skip()?;
            return Err(Problem::WrongType { expected: "an array" }.of("batch"));
        }
        // A guess that is never far too large: an event has at least some hundred bytes.
        self.items.reserve((self.bytes / USUAL_EVENT_BYTES).min(events_max));
        reader.array(|reader| {
            let index = self.items.len();
            if index == events_max {
                return Err(Problem::TooMany { max: events_max }.of("batch"));
            }
            self.items.push(Item::default());
            match self.items.last_mut() {
                Some(item) => item.read(reader).map_err(|error| error.in_batch(index)),
                None => Ok(()),
            }
        })?;
        Ok(())
    }

    fn read_context(&mut self, reader: &mut Reader<'a>, bytes_max: usize) -> Result<(), WireError> {
        if reader.peek() != b'{' {
            object_or_nothing(reader, "context", |_, _| Ok(()))?;
            return Ok(());
        }
        let raw = reader.skip()?;
        if raw.len() > bytes_max {
            return Err(Problem::EventTooLarge { bytes: raw.len(), max: bytes_max }.of("context"));
        }
        self.context = members_of(raw)?;
        Ok(())
    }
}

/// The members of an object that has been read before, each key once, the last one winning.
pub(crate) fn members_of(raw: &str) -> Result<Vec<Member<'_>>, JsonError> {
    let mut members: Vec<Member<'_>> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    Reader::new(raw, u32::MAX).object(|reader, key| {
        let value = reader.skip()?;
        match places.get(key).and_then(|place| members.get_mut(*place)) {
            Some(member) => member.value = value,
            None => {
                places.insert(key.to_owned(), members.len());
                members.push(Member { key: key.to_owned(), value });
            }
        }
        Ok::<(), JsonError>(())
    })?;
    Ok(members)
}
