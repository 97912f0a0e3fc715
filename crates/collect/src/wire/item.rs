//! One event as it was sent: the fields of the common part, and the facts inside its objects.

use crate::instant;
use crate::json::{JsonError, RawText, Reader, Value};
use crate::wire::facts::{Context, Properties, Text, Traits, clear_id, is_blank, loose_text};
use crate::wire::problem::{Problem, WireError};
use model::event::EventKind;
use model::id::Timestamp;
use std::borrow::Cow;

/// The longest `messageId`, in characters (Segment's limit).
const MAX_MESSAGE_ID_CHARACTERS: usize = 100;
/// The longest event, page and group name, in bytes. They become keys and labels.
const MAX_NAME_BYTES: usize = 1_024;

/// An event as it was sent.
#[derive(Debug, Default)]
pub(crate) struct Item<'a> {
    /// The bytes that spell it.
    pub(crate) bytes: usize,
    pub(crate) kind: Option<EventKind>,
    /// Not blank, and no kind that we know.
    pub(crate) unknown_kind: bool,
    pub(crate) message_id: Option<Text<'a>>,
    pub(crate) user_id: Option<Text<'a>>,
    pub(crate) anonymous_id: Option<Text<'a>>,
    pub(crate) previous_id: Option<Text<'a>>,
    pub(crate) group_id: Option<Text<'a>>,
    pub(crate) event: Option<Text<'a>>,
    pub(crate) name: Option<Text<'a>>,
    pub(crate) original_timestamp: Option<Timestamp>,
    pub(crate) timestamp: Option<Timestamp>,
    pub(crate) sent_at: Option<Timestamp>,
    pub(crate) properties: Properties<'a>,
    pub(crate) traits: Traits<'a>,
    pub(crate) context: Context<'a>,
    /// Raw JSON object, if it says anything beside "yes".
    pub(crate) integrations: Option<&'a str>,
}

impl<'a> Item<'a> {
    /// Consumes one value of a batch, which must be an object.
    pub(crate) fn read(&mut self, reader: &mut Reader<'a>) -> Result<(), WireError> {
        if reader.peek() != b'{' {
            reader.skip()?;
            return Err(Problem::WrongType { expected: "an object" }.of(""));
        }
        let raw = reader.object(|reader, key| self.take(reader, key))?;
        self.bytes = raw.len();
        Ok(())
    }

    /// Consumes the value of one member of an event.
    pub(crate) fn take(&mut self, reader: &mut Reader<'a>, key: &str) -> Result<(), WireError> {
        match key {
            "type" => {
                let text = text_of(reader, "type", RawText::decode)?;
                self.kind = text.as_deref().and_then(kind_of);
                self.unknown_kind = text.is_some() && self.kind.is_none();
            }
            "messageId" => self.message_id = id_text(reader, "messageId")?,
            "userId" => self.user_id = id_text(reader, "userId")?,
            "anonymousId" => self.anonymous_id = id_text(reader, "anonymousId")?,
            "previousId" => self.previous_id = id_text(reader, "previousId")?,
            "groupId" => self.group_id = id_text(reader, "groupId")?,
            "event" => self.event = text_of(reader, "event", RawText::decode)?,
            "name" => self.name = loose_text(reader)?,
            "originalTimestamp" => self.original_timestamp = instant_of(reader)?,
            "timestamp" => self.timestamp = instant_of(reader)?,
            "sentAt" => self.sent_at = instant_of(reader)?,
            "properties" => self.properties.read(reader)?,
            "traits" => self.traits = Traits::read(reader, "traits")?,
            "context" => self.context.read(reader)?,
            "integrations" => self.integrations = integrations_of(reader)?,
            _ => {
                reader.skip()?;
            }
        }
        Ok(())
    }

    /// Checks what every event must have and returns its kind. `path_kind` is the kind that the path names.
    pub(crate) fn check(&self, path_kind: Option<EventKind>) -> Result<EventKind, WireError> {
        let Some(kind) = path_kind.or(self.kind) else {
            let missing = Problem::Missing { advice: "name the call, e.g. \"track\"" };
            return Err(if self.unknown_kind { Problem::UnknownType } else { missing }.of("type"));
        };
        if let Some(message_id) = &self.message_id {
            // A character has at least one byte.
            let long = message_id.len() > MAX_MESSAGE_ID_CHARACTERS;
            if long && message_id.chars().nth(MAX_MESSAGE_ID_CHARACTERS).is_some() {
                return Err(Problem::TooLong { max: MAX_MESSAGE_ID_CHARACTERS }.of("messageId"));
            }
            clear_id(message_id, usize::MAX, "messageId")?;
        }
        let (field, needed, advice) = match kind {
            EventKind::Track => ("event", &self.event, "name what happened"),
            EventKind::Group => ("groupId", &self.group_id, "name the group"),
            EventKind::Alias => ("previousId", &self.previous_id, "name the id that userId replaces"),
            EventKind::Identify | EventKind::Page | EventKind::Screen => ("name", &self.name, ""),
        };
        // Who was not known before is aliased without a previous id by Segment's SDK for Swift: it is the anonymous one.
        let stands_in = kind == EventKind::Alias && self.anonymous_id.is_some();
        if needed.is_none() && !advice.is_empty() && !stands_in {
            return Err(Problem::Missing { advice }.of(field));
        }
        if needed.as_ref().is_some_and(|text| text.len() > MAX_NAME_BYTES) {
            return Err(Problem::TooLong { max: MAX_NAME_BYTES }.of(field));
        }
        if let (EventKind::Group, Some(group_id)) = (kind, &self.group_id) {
            clear_id(group_id, MAX_NAME_BYTES, field)?;
        }
        if self.user_id.is_none() && self.anonymous_id.is_none() {
            return Err(Problem::NoIdentity.of(""));
        }
        Ok(kind)
    }

    /// What the event is called, by its kind.
    pub(crate) fn called(&self, kind: EventKind) -> &str {
        let name = match kind {
            EventKind::Track => &self.event,
            EventKind::Group => &self.group_id,
            EventKind::Page | EventKind::Screen if self.name.is_none() => &self.properties.name,
            EventKind::Page | EventKind::Screen => &self.name,
            EventKind::Identify | EventKind::Alias => &None,
        };
        name.as_deref().filter(|name| name.len() <= MAX_NAME_BYTES).unwrap_or_default()
    }
}

fn kind_of(text: &str) -> Option<EventKind> {
    Some(match text {
        "identify" => EventKind::Identify,
        "track" => EventKind::Track,
        "page" => EventKind::Page,
        "screen" => EventKind::Screen,
        "group" => EventKind::Group,
        "alias" => EventKind::Alias,
        _ => return None,
    })
}

/// Reads an id or a name: text, or a number as text. Null and blanks are none. Anything else would be an id by
/// accident, so it is refused.
fn text_of<'a>(
    reader: &mut Reader<'a>,
    field: &str,
    decode: impl Fn(RawText<'a>) -> Text<'a>,
) -> Result<Option<Text<'a>>, WireError> {
    match reader.value()? {
        Value::Text(raw) => Ok(Some(decode(raw)).filter(|text| !is_blank(text))),
        Value::Number(spelled) => Ok(Some(Cow::Borrowed(spelled))),
        Value::Null => Ok(None),
        _ => Err(Problem::WrongType { expected: "a text" }.of(field)),
    }
}

/// Reads an id. What makes it unclear is left in it, to be refused by [`clear_id`].
fn id_text<'a>(reader: &mut Reader<'a>, field: &str) -> Result<Option<Text<'a>>, WireError> {
    text_of(reader, field, RawText::decode_id)
}

/// Reads a time; what is none is as good as missing.
pub(crate) fn instant_of(reader: &mut Reader<'_>) -> Result<Option<Timestamp>, JsonError> {
    Ok(match reader.value()? {
        Value::Text(raw) => instant::parse(&raw.decode()),
        Value::Number(spelled) => instant::parse_number(spelled),
        _ => None,
    })
}

/// Reads `integrations`. Objects that only say `true` allow what is allowed anyway and are left out.
pub(crate) fn integrations_of<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a str>, JsonError> {
    if reader.peek() != b'{' {
        reader.skip()?;
        return Ok(None);
    }
    let mut says_something = false;
    let raw = reader.object(|reader, _| {
        says_something |= reader.value()? != Value::Bool(true);
        Ok::<(), JsonError>(())
    })?;
    Ok(says_something.then_some(raw))
}
