//! Lines of a file, and what they need to become messages.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::io::{self, BufRead};

/// The longest line. RudderStack takes events of up to 4 MiB, Segment of 32 KB.
pub(super) const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The six calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum MessageType {
    /// Who somebody is.
    Identify,
    /// What somebody did.
    Track,
    /// A page seen.
    Page,
    /// An app screen seen.
    Screen,
    /// A membership in an account.
    Group,
    /// Two ids of the same person.
    Alias,
}

impl MessageType {
    const ALL: [Self; 6] = [Self::Identify, Self::Track, Self::Page, Self::Screen, Self::Group, Self::Alias];

    fn name(self) -> &'static str {
        match self {
            Self::Identify => "identify",
            Self::Track => "track",
            Self::Page => "page",
            Self::Screen => "screen",
            Self::Group => "group",
            Self::Alias => "alias",
        }
    }
}

/// A line of input.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    /// The first is 1.
    pub(crate) number: u64,
    /// Without its end; `None` if it was longer than [`LINE_BYTES_MAX`].
    pub(crate) text: Option<&'a [u8]>,
}

/// Reads lines with a limit on each.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    number: u64,
    bytes_read: u64,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, buffer: Vec::new(), number: 0, bytes_read: 0 }
    }

    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// The next line; `None` at the end.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        self.buffer.clear();
        let mut too_long = false;
        let mut any = false;
        loop {
            let block = match self.reader.fill_buf() {
                Ok(block) => block,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if block.is_empty() {
                break;
            }
            any = true;
            let end = block.iter().position(|byte| *byte == b'\n');
            let piece = block.get(..end.unwrap_or(block.len())).unwrap_or_default();
            too_long |= self.buffer.len() + piece.len() > LINE_BYTES_MAX;
            if !too_long {
                self.buffer.extend_from_slice(piece);
            }
            let used = piece.len() + usize::from(end.is_some());
            self.reader.consume(used);
            self.bytes_read += used as u64;
            if end.is_some() {
                break;
            }
        }
        if !any {
            return Ok(None);
        }
        self.number += 1;
        Ok(Some(Line { number: self.number, text: (!too_long).then_some(self.buffer.as_slice()) }))
    }
}

/// What is said of a line that is too long.
pub(crate) fn too_long() -> String {
    format!("it is longer than {} MiB", LINE_BYTES_MAX / (1024 * 1024))
}

/// Where a line comes from, and what it is if it does not say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named<'a> {
    pub(super) source: &'a str,
    pub(super) line: u64,
    pub(super) default_type: Option<MessageType>,
}

/// The members that are looked at. A member that is there and null is there.
#[derive(Deserialize)]
struct Seen<'a> {
    #[serde(rename = "type", borrow, default, deserialize_with = "there")]
    kind: Option<&'a RawValue>,
    #[serde(rename = "messageId", borrow, default, deserialize_with = "there")]
    message_id: Option<&'a RawValue>,
    #[serde(default)]
    event: Option<IgnoredAny>,
    #[serde(default)]
    traits: Option<IgnoredAny>,
    #[serde(rename = "groupId", default)]
    group_id: Option<IgnoredAny>,
    #[serde(rename = "previousId", default)]
    previous_id: Option<IgnoredAny>,
    #[serde(default)]
    batch: Option<IgnoredAny>,
}

fn there<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Makes a message of a line: adds `type` and `messageId` where they are missing, and leaves the rest as it is
/// spelled. Nothing for an empty line; else what is wrong with it.
pub(super) fn complete(text: &[u8], named: &Named<'_>) -> Result<Option<Vec<u8>>, String> {
    const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text).trim_ascii();
    if text.is_empty() {
        return Ok(None);
    }
    let Some(members) = text.strip_prefix(b"{") else {
        return Err("it is no JSON object: each line is one message in braces".to_owned());
    };
    let seen: Seen<'_> = serde_json::from_slice(text).map_err(|error| format!("it is not JSON: {error}"))?;
    if seen.batch.is_some() {
        return Err("it is a whole batch: each line is one message".to_owned());
    }
    let mut message = Vec::with_capacity(text.len() + 96);
    message.push(b'{');
    let mut add = |name: &str, value: &str| {
        message.extend_from_slice(format!("\"{name}\":\"{value}\",").as_bytes());
    };
    match seen.kind {
        Some(kind) => check_type(kind)?,
        None => add("type", shown_type(&seen).or(named.default_type).ok_or_else(untyped)?.name()),
    }
    if seen.message_id.is_none() {
        add("messageId", &made_id(text, named));
    }
    if members.trim_ascii_start().starts_with(b"}") {
        return Err("it is an empty object".to_owned());
    }
    message.extend_from_slice(members);
    Ok(Some(message))
}

fn check_type(kind: &RawValue) -> Result<(), String> {
    let name: Result<String, _> = serde_json::from_str(kind.get());
    let known = name.is_ok_and(|name| MessageType::ALL.iter().any(|one| one.name() == name));
    if known { Ok(()) } else { Err(format!("its type is {}: use {}", shortened(kind.get()), type_names())) }
}

fn shortened(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    text.chars().take(CHARACTERS_MAX).collect()
}

fn type_names() -> String {
    MessageType::ALL.map(MessageType::name).join(", ")
}

fn shown_type(seen: &Seen<'_>) -> Option<MessageType> {
    if seen.event.is_some() {
        return Some(MessageType::Track);
    }
    if seen.previous_id.is_some() {
        return Some(MessageType::Alias);
    }
    if seen.group_id.is_some() {
        return Some(MessageType::Group);
    }
    seen.traits.as_ref().map(|_| MessageType::Identify)
}

fn untyped() -> String {
    format!("it does not show its type: add \"type\" ({}), or use --default-type", type_names())
}

/// The same line of the same file has the same id, whenever it is sent.
fn made_id(text: &[u8], named: &Named<'_>) -> String {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    hasher.update(named.source.as_bytes());
    hasher.update(&named.line.to_le_bytes());
    hasher.update(text);
    format!("send-{:032x}", hasher.digest128())
}
