//! Reads the change feed for one destination.

use super::said::{self, EVENT_ACCEPTED, EVENT_KIND};
use super::shard::{Shard, Told};
use crate::api::shown_identifiers;
use crate::feed::{BodyError, EventBodies, KINDS, detail};
use delivery::{Class, Later, Parcel, Source, SourceError, Supply};
use engage::effect::{Body, CONSENT_CHANGED};
use engage::{Answer, ConsentNeed, Destination, DestinationKind, ProfileRead, Query, SendingClass};
use engine::feed::{FeedError, Item, Place, What};
use model::event::Event;
use model::feature::event_name;
use model::id::{EffectId, Key, Position, public_id};
use outbound::render::{Message, render};
use serde_json::{Map, Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Items looked at for one answer, so that a destination that wants few of them does not hold its lane up for long.
const LOOKED_AT_MAX: usize = 20_000;

/// People asked for at once: the loop's queue is everybody's.
const ASKED_AT_ONCE: usize = 64;

/// An item on its way to become a message.
struct Draft<'i> {
    item: &'i Item,
    kind: u16,
    name: &'static str,
    about: Option<u32>,
    said: Value,
    person: Option<Told>,
}

/// What an item is to a destination that wants it.
struct Wanted {
    kind: u16,
    name: &'static str,
    about: Option<u32>,
    said: Value,
}

/// The change feed of a shard, as one destination gets it.
pub struct FeedSource<S> {
    shard: Arc<S>,
    destination: Destination,
    /// It keeps lists of people, which go by what people choose of advertising.
    keeps_lists: bool,
    /// One supply is read at a time: the lock is never waited for.
    bodies: Mutex<EventBodies>,
    /// Up to where losses were told of: a lane that waits before one asks more than once.
    lost_before: AtomicU64,
}

impl<S: Shard> FeedSource<S> {
    /// What a destination gets of a shard.
    pub fn new(shard: Arc<S>, destination: Destination) -> Self {
        let keeps_lists = said::keeps_lists(&destination);
        Self { shard, destination, keeps_lists, bodies: Mutex::default(), lost_before: AtomicU64::new(0) }
    }

    async fn read(&self, after: Option<EffectId>, limit: usize) -> Result<Supply, SourceError> {
        let since = Place::at(self.destination.since);
        let mut place = after.map_or(since, Place::after).max(since);
        let mut supply = Supply::default();
        let mut looked_at = 0;
        while looked_at < LOOKED_AT_MAX && supply.parcels.len() < limit {
            let batch = match self.shard.feed().read(place) {
                Ok(batch) => batch,
                // What was read before the loss goes by itself, so that the lane knows on which side a message lies.
                Err(FeedError::Gone { start, .. }) if start > place && !supply.parcels.is_empty() => break,
                Err(FeedError::Gone { start, .. }) if start > place => {
                    if self.lost_before.fetch_max(start.position.0, Ordering::Relaxed) < start.position.0 {
                        self.shard.note_lost(&self.destination.name, start.position);
                    }
                    supply.through = before(start);
                    supply.lost_through = supply.through;
                    place = start;
                    continue;
                }
                Err(error) => return Err(SourceError(error.to_string())),
            };
            let mut items = batch.items.as_slice();
            while !items.is_empty() {
                let room = limit.saturating_sub(supply.parcels.len());
                if room == 0 {
                    return Ok(supply);
                }
                let (these, others) = items.split_at(items.len().min(room).min(ASKED_AT_ONCE));
                supply.parcels.extend(self.parcels(these).await?);
                if let Some(last) = these.last() {
                    (supply.through, supply.through_at) = (Some(last.id), Some(last.at));
                }
                looked_at += these.len();
                items = others;
            }
            if batch.at_end {
                // Records that say nothing to anybody lie behind the last item: they are passed too.
                supply.through = supply.through.max(before(batch.next));
                break;
            }
            place = batch.next;
        }
        Ok(supply)
    }

    /// Items as messages, those that the destination wants. All people are asked for before the first answer is waited
    /// for: each answer takes a turn of the loop, and one turn answers many.
    async fn parcels(&self, items: &[Item]) -> Result<Vec<Parcel>, SourceError> {
        let drafts = items.iter().filter_map(|item| self.draft(item).transpose());
        let drafts = drafts.collect::<Result<Vec<Draft<'_>>, SourceError>>()?;
        let mut parcels = Vec::with_capacity(drafts.len());
        for draft in drafts {
            parcels.push(self.parcel(draft).await?);
        }
        Ok(parcels)
    }

    /// What an item says, if the destination wants it; whom it is about is asked for.
    fn draft<'i>(&self, item: &'i Item) -> Result<Option<Draft<'i>>, SourceError> {
        let wanted = match &item.what {
            What::Effect { kind, body } => self.effect(*kind, body),
            What::Event { .. } => self.event(item)?,
        };
        let Some(Wanted { kind, name, about, said }) = wanted else { return Ok(None) };
        let Destination { kind: own, identifiers, .. } = &self.destination;
        let is_platform = matches!(own, DestinationKind::Platform { .. });
        let wants_person = is_platform || !identifiers.is_empty() || !own.person().is_empty();
        let person = wants_person.then(|| self.ask(item.subject)).transpose()?;
        Ok(Some(Draft { item, kind, name, about, said, person }))
    }

    fn effect(&self, kind: u16, body: &[u8]) -> Option<Wanted> {
        let named = KINDS.iter().find(|known| known.is_effect(kind))?;
        let Destination { kinds, audiences, events, .. } = &self.destination;
        // Who names events and no kinds wants events alone.
        let all = kinds.is_empty() && events.is_empty();
        let is_chosen = all || kinds.iter().any(|one| one == named.name);
        let is_needed = self.keeps_lists && kind == CONSENT_CHANGED;
        if !is_chosen && !is_needed {
            return None;
        }
        let body = Body::decode(kind, body).ok()?;
        let book = self.shard.view().book();
        let mut about = None;
        if let Body::Audience { audience, .. } = &body {
            let name = || book.definition(*audience).map(|one| &*one.name);
            if !audiences.is_empty() && !name().is_some_and(|name| audiences.iter().any(|own| own == name)) {
                return None;
            }
            about = Some(audience.0);
        }
        if let Body::Consent { category, .. } = &body {
            // Who goes by a category is not told of what people choose of others.
            let settings = self.shard.view().settings();
            let is_other = **category != *self.destination.consent_category(&settings);
            if is_other && self.destination.consent != ConsentNeed::NotNeeded {
                return None;
            }
        }
        Some(Wanted { kind, name: named.name, about, said: detail(&body, &book) })
    }

    /// An accepted event, if the destination names its name; nothing where the person was erased meanwhile.
    fn event(&self, item: &Item) -> Result<Option<Wanted>, SourceError> {
        if self.destination.events.is_empty() {
            return Ok(None);
        }
        let mut bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        let body = match bodies.read(self.shard.log(), item.id.position) {
            Ok(body) => body,
            Err(BodyError::Trimmed) => return Ok(None),
            Err(BodyError::Log(error)) => return Err(SourceError(error.to_string())),
        };
        let Some(event) = body.as_deref().and_then(|body| Event::decode(body).ok()) else { return Ok(None) };
        let name = event_name(&event);
        if !self.destination.events.iter().any(|own| own == name) {
            return Ok(None);
        }
        Ok(Some(Wanted { kind: EVENT_ACCEPTED, name: EVENT_KIND, about: None, said: said::of(&event) }))
    }

    async fn parcel(&self, draft: Draft<'_>) -> Result<Parcel, SourceError> {
        let Draft { item, kind, name, about, mut said, person } = draft;
        if let Some(map) = said.as_object_mut() {
            map.insert("profile".to_owned(), Value::from(public_id("prf", item.subject)));
            if let Some(person) = person {
                self.tell_person(map, kind, person).await?;
            }
        }
        let data = said.to_string();
        let message = Message { kind: name, id: item.id, issued_at: item.at, data: data.as_bytes() };
        let body = render(&message).map_err(|error| SourceError(error.to_string()))?;
        Ok(Parcel {
            id: item.id,
            issued_at: item.at,
            kind,
            about,
            subject: item.subject,
            class: match self.destination.class {
                SendingClass::Marketing => Class::Marketing,
                SendingClass::Transactional => Class::Transactional,
            },
            idempotency_key: item.id.to_string(),
            body: body.into(),
        })
    }

    /// Asks the loop for a person.
    fn ask(&self, profile: Key) -> Result<Told, SourceError> {
        self.shard.ask(Query::Profile(profile)).map_err(SourceError)
    }

    /// Says what the destination is told of a person, as they are now.
    async fn tell_person(
        &self,
        said: &mut Map<String, Value>,
        kind: u16,
        person: Told,
    ) -> Result<(), SourceError> {
        let answer = person.await.map_err(|_| SourceError("the shard does not answer".to_owned()))?;
        let (answer, _) = answer.map_err(|error| SourceError(error.to_string()))?;
        let read = match answer {
            Answer::Profile(read, _) => read,
            _ => None,
        };
        if !self.destination.identifiers.is_empty() {
            let identifiers = read.as_deref().map_or(json!([]), |read| self.identifiers(read));
            said.insert("identifiers".to_owned(), identifiers);
        }
        let Some(read) = read else { return Ok(()) };
        if kind == CONSENT_CHANGED {
            said.insert("audiences".to_owned(), self.audiences(&read));
        }
        let fields = self.destination.kind.person();
        said.extend(said::person(fields, &read.aggregate.traits).map(|one| ("person".to_owned(), one)));
        if let DestinationKind::Platform { .. } = &self.destination.kind {
            let settings = self.shard.view().settings();
            let choice = read.aggregate.consent.choice(self.destination.consent_category(&settings));
            said.extend(
                said::consent(&self.destination, choice).map(|consent| ("consent".to_owned(), consent)),
            );
        }
        Ok(())
    }

    /// The audiences that a person is in, of those that the destination is told of.
    fn audiences(&self, read: &ProfileRead) -> Value {
        let (book, wanted) = (self.shard.view().book(), &self.destination.audiences);
        let all = read.audiences.iter().filter_map(|member| book.definition(member.audience));
        let told = all.filter(|one| wanted.is_empty() || wanted.iter().any(|own| **own == *one.name));
        told.map(|one| Value::from(&*one.name)).collect()
    }

    /// The identifiers of the asked types that find a person.
    fn identifiers(&self, read: &ProfileRead) -> Value {
        let settings = self.shard.view().settings();
        let all = shown_identifiers(read, self.shard.keys(), &settings, true);
        said::identifiers(all, &self.destination.identifiers)
    }
}

/// The last effect that stands before a place.
fn before(place: Place) -> Option<EffectId> {
    let position = Position(place.position.0.checked_sub(1)?);
    Some(EffectId { position, ordinal: u32::MAX })
}

impl<S: Shard> Source for FeedSource<S> {
    fn after(&self, after: Option<EffectId>, limit: usize) -> Later<'_, Result<Supply, SourceError>> {
        Box::pin(self.read(after, limit))
    }
}
