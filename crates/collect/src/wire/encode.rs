//! From a body that has been read to records of the log.

use crate::instant;
use crate::json::{Reader, write_text};
use crate::plan::{Fate, Judgement};
use crate::rules::KeyRules;
use crate::settings::{DoorSettings, WriteKey, WriteKeyKind};
use crate::wire::envelope::{Call, Envelope, members_of};
use crate::wire::facts::Context;
use crate::wire::goods;
use crate::wire::identify;
use crate::wire::item::Item;
use crate::wire::problem::{Problem, WireError};
use model::event::{Event, EventKind};
use model::id::Timestamp;
use model::normalise::trimmed;
use model::quarantine::Quarantined;
use model::record::{RecordKind, encode_record};
use model::seal::Keys;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;

/// What a record may be longer than the bytes it was read from, without its buffer growing.
const ROOM_BYTES: usize = 256;
/// The longest `User-Agent` header that is kept, in bytes.
const MAX_USER_AGENT_BYTES: usize = 512;

/// The word for an event that the rules of its key do not list.
pub(crate) const EVENT_NOT_LISTED: &str = "event_not_listed";

/// Who sent a request, and when it came.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// The write key it presented.
    pub key: WriteKey,
    /// When it came, by the server's clock.
    pub received_at: Timestamp,
    /// Where it came from; added to the context of a browser's events.
    pub ip: Option<IpAddr>,
    /// The `User-Agent` header; added to the context of a browser's events.
    pub user_agent: Option<&'a str>,
}

/// What encoding needs beside the request.
pub struct Encoding<'a> {
    /// The secrets that identifiers are hashed and sealed with.
    pub keys: &'a Keys,
    /// The settings that the request is judged by.
    pub settings: &'a DoorSettings,
    /// Gives 16 fresh random bytes, for events that come without a `messageId`.
    pub fresh: &'a dyn Fn() -> [u8; 16],
}

/// Records, ready for the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// A sequence written by [`encode_record`].
    pub records: Vec<u8>,
    /// How many there are.
    pub count: u32,
    /// Events that the rules of the key keep out: they are none of the records.
    pub set_aside: Vec<SetAside>,
    /// Events among the records that are not as the key's plan says, and count all the same.
    pub off_plan: u32,
    /// Records that are events in quarantine.
    pub quarantined: u32,
}

/// An event that a rule of its key keeps out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// What the event is called.
    pub name: String,
    /// Its id, if it had one.
    pub message_id: String,
    /// A stable word: `event_not_listed`, `unplanned` or `off_plan`.
    pub code: &'static str,
    /// What the rule does not like; no value of the event is repeated.
    pub reason: String,
}

impl Encoding<'_> {
    /// Turns a body into records: all of its events, or none and the reason.
    pub fn encode(&self, envelope: &Envelope<'_>, sender: &Sender<'_>) -> Result<Encoded, WireError> {
        envelope.check_sizes(&self.settings.limits)?;
        let seen = Seen::by(sender);
        // Records are about as long as what they were read from.
        let room_bytes = envelope.bytes() + ROOM_BYTES;
        let records = Vec::with_capacity(room_bytes.min(self.settings.limits.records_bytes_max));
        let mut encoded = Encoded { records, ..Encoded::default() };
        let rules =
            if self.settings.rules.is_empty() { None } else { self.settings.rules.get(&sender.key.number) };
        // One event of a batch is about as long as another; growing a buffer costs more than reading does.
        let mean_bytes = encoded.records.capacity() / envelope.items.len().max(1);
        let mut scratch = Vec::with_capacity(mean_bytes + ROOM_BYTES);
        for (index, item) in envelope.items.iter().enumerate() {
            scratch.clear();
            self.encode_item(envelope, item, sender, &seen, &mut scratch)
                .map_err(|error| envelope.name_item(error, index))?;
            // Judged last: what is wrong with an event is said whether or not it is wanted.
            let verdict = match rules {
                Some(rules) => encoded.judge(rules, item, path_kind(envelope).or(item.kind)),
                None => Verdict::Count,
            };
            match verdict {
                Verdict::Count => encode_record(&mut encoded.records, RecordKind::EVENT, &scratch),
                Verdict::Drop => continue,
                Verdict::Quarantine(judgement) => {
                    self.quarantine(&judgement, sender, &scratch, &mut encoded.records);
                    encoded.quarantined += 1;
                }
            }
            encoded.count += 1;
            let max = self.settings.limits.records_bytes_max;
            if encoded.records.len() > max {
                return Err(Problem::BodyTooLarge { max }.of(""));
            }
        }
        Ok(encoded)
    }

    /// The event goes into the log where it would have gone, as a record that counts for nobody.
    fn quarantine(&self, judgement: &Judgement, sender: &Sender<'_>, event: &[u8], records: &mut Vec<u8>) {
        let bounds = self.settings.quarantine;
        let quarantined = Quarantined {
            received_at: sender.received_at,
            rows_max: bounds.rows_max,
            kept_s: bounds.kept_s,
            code: judgement.code,
            place: &judgement.place,
            reason: &judgement.reason,
            event,
        };
        let mut body = Vec::with_capacity(event.len() + ROOM_BYTES);
        quarantined.encode(&mut body);
        encode_record(records, RecordKind::QUARANTINED, &body);
    }

    fn encode_item(
        &self,
        envelope: &Envelope<'_>,
        item: &Item<'_>,
        sender: &Sender<'_>,
        seen: &Seen,
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        let kind = item.check(path_kind(envelope))?;
        let merged = merged_context(envelope, item)?;
        let mut reread = Context::default();
        let context = match &merged {
            Some(merged) => {
                reread.read(&mut Reader::new(merged, u32::MAX))?;
                &reread
            }
            None => &item.context,
        };
        let message_id = match &item.message_id {
            Some(message_id) => Cow::Borrowed(trimmed(message_id)),
            None => Cow::Owned(made_message_id((self.fresh)())),
        };
        let stored_context = completed_context(envelope, item, context, seen);
        self.write(kind, item, context, &stored_context, &message_id, envelope, sender, out)
    }

    #[expect(clippy::too_many_arguments, reason = "the last step of one function, cut for its length")]
    fn write(
        &self,
        kind: EventKind,
        item: &Item<'_>,
        context: &Context<'_>,
        stored_context: &str,
        message_id: &str,
        envelope: &Envelope<'_>,
        sender: &Sender<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), WireError> {
        let name = item.called(kind);
        let found = identify::find(item, context, kind, self.keys, self.settings)?;
        let is_track = kind == EventKind::Track;
        let currency = goods::currency(&item.properties, self.settings.default_currency.0);
        let order = if is_track { goods::order(name, &item.properties, message_id, currency)? } else { None };
        let products = if is_track { goods::products(name, &item.properties, currency)? } else { Vec::new() };
        // RudderStack's SDKs put the traits of an identify into its context.
        let traits = match (kind, item.traits.raw) {
            (EventKind::Identify, "") => context.traits.raw,
            (_, raw) => raw,
        };
        let from_server = sender.key.kind == WriteKeyKind::Server;
        let occurred_at = instant::occurred_at(
            sender.received_at,
            item.sent_at.or(envelope.sent_at),
            item.original_timestamp.or(item.timestamp),
        );
        let event = Event {
            kind,
            source: sender.key.number,
            from_server,
            value_counts: from_server || sender.key.value_counts,
            dedup_key: self.keys.message(sender.key.number, message_id),
            message_id,
            occurred_at,
            name,
            identifiers: found.borrowed(),
            order,
            products,
            consent: context.consents(),
            traits: traits.as_bytes(),
            properties: item.properties.raw.as_bytes(),
            context: stored_context.as_bytes(),
        };
        event.encode(out);
        Ok(())
    }
}

/// What becomes of an event.
enum Verdict {
    Count,
    Drop,
    Quarantine(Judgement),
}

impl Encoded {
    /// What the rules of the key make of an event. What they do not like is written down.
    fn judge(&mut self, rules: &KeyRules, item: &Item<'_>, kind: Option<EventKind>) -> Verdict {
        if kind != Some(EventKind::Track) {
            return Verdict::Count;
        }
        let name = item.called(EventKind::Track);
        let set_aside = |code, reason| SetAside {
            name: name.to_owned(),
            message_id: item.message_id.as_deref().unwrap_or_default().to_owned(),
            code,
            reason,
        };
        if !rules.events.is_empty() && !rules.events.contains(name) {
            let reason = "the rules of the write key do not list this event".to_owned();
            self.set_aside.push(set_aside(EVENT_NOT_LISTED, reason));
            return Verdict::Drop;
        }
        let judgement = rules.plan.as_ref().and_then(|plan| plan.judge(name, item.properties.raw));
        match judgement {
            None => Verdict::Count,
            Some(Judgement { fate: Fate::Allow, .. }) => {
                self.off_plan += 1;
                Verdict::Count
            }
            Some(Judgement { fate: Fate::Block, code, reason, .. }) => {
                self.set_aside.push(set_aside(code, reason));
                Verdict::Drop
            }
            Some(judgement) => Verdict::Quarantine(judgement),
        }
    }
}

/// The kind that the path names.
fn path_kind(envelope: &Envelope<'_>) -> Option<EventKind> {
    match envelope.call {
        Call::One(kind) => Some(kind),
        Call::Batch => None,
    }
}

/// What the server saw of a browser, spelled in JSON once for all events of a request. Nothing, for a server's.
#[derive(Default)]
struct Seen {
    ip: Option<String>,
    user_agent: Option<String>,
}

impl Seen {
    fn by(sender: &Sender<'_>) -> Self {
        if sender.key.kind == WriteKeyKind::Server {
            return Self::default();
        }
        let spelled = |text: &str| {
            let mut spelled = String::new();
            write_text(&mut spelled, text);
            spelled
        };
        let user_agent =
            sender.user_agent.filter(|text| !text.is_empty() && text.len() <= MAX_USER_AGENT_BYTES);
        Self { ip: sender.ip.map(|ip| spelled(&ip.to_string())), user_agent: user_agent.map(spelled) }
    }
}

/// The event's context with the envelope's members added where it has none of that name. `None` if the envelope adds
/// nothing.
fn merged_context(envelope: &Envelope<'_>, item: &Item<'_>) -> Result<Option<String>, WireError> {
    if envelope.context.is_empty() {
        return Ok(None);
    }
    let own = if item.context.raw.is_empty() { Vec::new() } else { members_of(item.context.raw)? };
    let own_keys: BTreeSet<&str> = own.iter().map(|member| member.key.as_str()).collect();
    let mut merged = item.context.raw.to_owned();
    for member in &envelope.context {
        if !own_keys.contains(member.key.as_str()) {
            add_member(&mut merged, &member.key, member.value);
        }
    }
    Ok(Some(merged))
}

/// The context as it is stored: with the address and browser that the server saw, for a browser's events, and with
/// `integrations`, which the log has no other place for.
fn completed_context<'a>(
    envelope: &Envelope<'_>,
    item: &Item<'_>,
    context: &Context<'a>,
    seen: &Seen,
) -> Cow<'a, str> {
    let ip = seen.ip.as_deref().filter(|_| !context.has_ip);
    let user_agent = seen.user_agent.as_deref().filter(|_| !context.has_user_agent);
    let integrations = item.integrations.or(envelope.integrations).filter(|_| !context.has_integrations);
    let added = [("ip", ip), ("userAgent", user_agent), ("integrations", integrations)];
    // Each member takes two quotes, a colon and a comma besides.
    let added_bytes: usize =
        added.iter().filter_map(|(key, value)| Some(key.len() + value.as_ref()?.len() + 4)).sum();
    if added_bytes == 0 {
        return Cow::Borrowed(context.raw);
    }
    let mut completed = String::with_capacity(context.raw.len() + added_bytes + 2);
    completed.push_str(context.raw);
    for (key, value) in added {
        if let Some(value) = value {
            add_member(&mut completed, key, value);
        }
    }
    Cow::Owned(completed)
}

/// Adds a member to a JSON object that lacks it; an empty text becomes an object.
fn add_member(object: &mut String, key: &str, value: &str) {
    match object.pop() {
        None => object.push('{'),
        Some(_) => object.push(','),
    }
    write_text(object, key);
    object.push(':');
    object.push_str(value);
    object.push('}');
}

fn made_message_id(fresh: [u8; 16]) -> String {
    let mut text = String::with_capacity(37);
    text.push_str("door-");
    for byte in fresh {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
