//! An event of the quarantine, mended and judged as if it came now.
//!
//! It keeps its `messageId`, its time and what its key made of it; name and properties are the mapping's. What it says of
//! orders, products and people is read anew from them. It goes through the rules that its key has now, and no rule is
//! passed by because an operator sends it: what was a browser's claim stays one.

use crate::json::Reader;
use crate::mend::Mapping;
use crate::plan::Fate;
use crate::settings::{WriteKey, WriteKeyKind};
use crate::wire::encode::{EVENT_NOT_LISTED, Encoding};
use crate::wire::facts::{Context, Properties, Traits, is_blank};
use crate::wire::goods;
use crate::wire::identify;
use crate::wire::item::Item;
use crate::wire::problem::WireError;
use model::event::{Consent, Event, EventKind, IdentifierKind, MAX_AGE_US};
use model::id::Timestamp;
use std::borrow::Cow;

/// What an event became under a mapping, and whether it can be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Again {
    /// What it is called now.
    pub name: String,
    /// Its properties now, JSON text.
    pub properties: String,
    /// The stored form of the event, or why it stays.
    pub event: Result<Vec<u8>, Stays>,
}

/// Why an event stays in quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stays {
    /// A stable word: those of plans and rules, `mapping_failed`, `not_readable` or `source_disabled`.
    pub code: &'static str,
    /// Where in the event; empty if it is the event itself.
    pub place: String,
    /// A sentence for people. It repeats no value.
    pub reason: String,
}

impl Stays {
    fn new(code: &'static str, place: &str, reason: &str) -> Self {
        Self { code, place: place.to_owned(), reason: reason.to_owned() }
    }

    fn unreadable(error: &WireError) -> Self {
        Self { code: "not_readable", place: error.field.clone(), reason: error.to_string() }
    }
}

impl Encoding<'_> {
    /// Mends a stored event of the quarantine, which came at `received_at`, and judges it by the present rules.
    pub fn again(&self, stored: &Event<'_>, received_at: Timestamp, mapping: &Mapping) -> Again {
        let before = std::str::from_utf8(stored.properties).unwrap_or_default();
        match mapping.apply(stored.name, before) {
            Ok(mended) => {
                let event = self.judged(stored, received_at, &mended.name, &mended.properties);
                Again { name: mended.name, properties: mended.properties, event }
            }
            Err(failure) => {
                let reason = format!("{} {}", failure.place, failure.reason);
                let stays = Stays { code: "mapping_failed", place: failure.place, reason };
                Again { name: stored.name.to_owned(), properties: before.to_owned(), event: Err(stays) }
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a number belongs to one key, whichever comes first")]
    fn judged(
        &self,
        stored: &Event<'_>,
        received_at: Timestamp,
        name: &str,
        properties: &str,
    ) -> Result<Vec<u8>, Stays> {
        let key = self.settings.write_keys.values().find(|key| key.number == stored.source);
        let key = *key.filter(|key| key.enabled).ok_or_else(|| {
            Stays::new("source_disabled", "", "the write key is disabled; enable it and send the event again")
        })?;
        if stored.kind != EventKind::Track || is_blank(name) {
            return Err(Stays::new("not_readable", "", "only track events are mended"));
        }
        let event = self
            .reread(stored, received_at, &key, name, properties)
            .map_err(|error| Stays::unreadable(&error))?;
        let Some(rules) = self.settings.rules.get(&key.number) else { return Ok(event) };
        if !rules.events.is_empty() && !rules.events.contains(name) {
            return Err(Stays::new(
                EVENT_NOT_LISTED,
                "",
                "the rules of the write key do not list this event",
            ));
        }
        let judgement = rules.plan.as_ref().and_then(|plan| plan.judge(name, properties));
        match judgement.filter(|judgement| judgement.fate != Fate::Allow) {
            Some(judgement) => Err(Stays::new(judgement.code, &judgement.place, &judgement.reason)),
            None => Ok(event),
        }
    }

    /// The stored form with everything that follows from name and properties found anew.
    fn reread(
        &self,
        stored: &Event<'_>,
        received_at: Timestamp,
        key: &WriteKey,
        name: &str,
        properties: &str,
    ) -> Result<Vec<u8>, WireError> {
        let item = self.item_of(stored, properties)?;
        let found = identify::find(&item, &item.context, EventKind::Track, self.keys, self.settings)?;
        let identifiers = found.borrowed();
        let currency = goods::currency(&item.properties, self.settings.default_currency.0);
        let from_server = stored.from_server && key.kind == WriteKeyKind::Server;
        // A replay knows this record's log time only. So the client's time is held against the time that it came at.
        let occurred_at = stored.clamped_at(received_at, MAX_AGE_US);
        let event = Event {
            from_server,
            value_counts: stored.value_counts && (from_server || key.value_counts),
            occurred_at,
            name,
            identifiers: if identifiers.as_slice().is_empty() { stored.identifiers } else { identifiers },
            order: goods::order(name, &item.properties, stored.message_id, currency)?,
            products: goods::products(name, &item.properties, currency)?,
            consent: stored.consent.iter().map(|one| Consent { ..*one }).collect(),
            properties: item.properties.raw.as_bytes(),
            ..stored.clone()
        };
        let mut bytes =
            Vec::with_capacity(properties.len() + stored.context.len() + stored.traits.len() + 512);
        event.encode(&mut bytes);
        Ok(bytes)
    }

    /// The event as an item of a batch, so far as it matters for who it is about and what was bought.
    fn item_of<'a>(&self, stored: &'a Event<'_>, properties: &'a str) -> Result<Item<'a>, WireError> {
        let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).unwrap_or_default();
        let depth_max = self.settings.limits.depth_max;
        let named = |kind: IdentifierKind| {
            let own =
                stored.identifiers.as_slice().iter().find(|one| one.kind == kind.0 && !one.value.is_empty());
            own.and_then(|one| std::str::from_utf8(one.value).ok()).map(Cow::Borrowed)
        };
        let mut item = Item {
            kind: Some(EventKind::Track),
            user_id: named(IdentifierKind::USER_ID),
            anonymous_id: named(IdentifierKind::ANONYMOUS_ID),
            ..Item::default()
        };
        if !stored.traits.is_empty() {
            item.traits = Traits::read(&mut Reader::new(text(stored.traits), depth_max), "traits")?;
        }
        let mut context = Context::default();
        if !stored.context.is_empty() {
            context.read(&mut Reader::new(text(stored.context), depth_max))?;
        }
        item.context = context;
        let mut read = Properties::default();
        if !properties.is_empty() {
            read.read(&mut Reader::new(properties, depth_max))?;
        }
        item.properties = read;
        Ok(item)
    }
}
