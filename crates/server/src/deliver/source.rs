//! Reads the change feed for one destination.

use crate::api::{Context, shown_identifiers};
use crate::feed::{KINDS, detail};
use delivery::{Class, Later, Parcel, Source, SourceError, Supply};
use engage::effect::Body;
use engage::{Answer, AsOf, Destination, Query, SendingClass};
use engine::EngineError;
use engine::feed::{FeedError, Item, Place, What};
use model::id::{EffectId, Key, Position, public_id};
use outbound::render::{Message, render};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Items looked at for one answer, so that a destination that wants few of them does not hold its lane up for long.
const LOOKED_AT_MAX: usize = 20_000;

/// People asked for at once: the loop's queue is everybody's.
const ASKED_AT_ONCE: usize = 64;

/// The loop's answer about a person, once it is there.
type Person = oneshot::Receiver<Result<(Answer, AsOf), EngineError>>;

/// An item on its way to become a message.
struct Draft<'i> {
    item: &'i Item,
    kind: u16,
    name: &'static str,
    about: Option<u32>,
    said: Value,
    person: Option<Person>,
}

pub(super) struct FeedSource {
    context: Arc<Context>,
    destination: Destination,
}

impl FeedSource {
    pub(super) fn new(context: Arc<Context>, destination: Destination) -> Self {
        Self { context, destination }
    }

    async fn read(&self, after: Option<EffectId>, limit: usize) -> Result<Supply, SourceError> {
        let since = Place::at(self.destination.since);
        let mut place = after.map_or(since, Place::after).max(since);
        let mut supply = Supply::default();
        let mut looked_at = 0;
        while looked_at < LOOKED_AT_MAX && supply.parcels.len() < limit {
            let batch = match self.context.engine.feed().read(place) {
                Ok(batch) => batch,
                Err(FeedError::Gone { start, .. }) if start > place => {
                    self.skip_to(start);
                    supply.through = before(start);
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

    /// What was to be read is gone: said loudly, and counted.
    fn skip_to(&self, start: Place) {
        tracing::error!(
            destination = self.destination.name,
            position = start.position.0,
            "effects before this position are lost to a destination: the feed begins there"
        );
        self.context.deliveries.note_lost();
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
        let What::Effect { kind, body } = &item.what else { return Ok(None) };
        let Some(named) = KINDS.iter().find(|known| known.is_effect(*kind)) else { return Ok(None) };
        let wanted = &self.destination.kinds;
        if !wanted.is_empty() && !wanted.iter().any(|one| one == named.name) {
            return Ok(None);
        }
        let Ok(body) = Body::decode(*kind, body) else { return Ok(None) };
        let book = self.context.engine.view().book();
        if let Body::Audience { audience, .. } = &body
            && !self.destination.audiences.is_empty()
        {
            let name = book.definition(*audience).map(|one| &*one.name);
            if !name.is_some_and(|name| self.destination.audiences.iter().any(|own| own == name)) {
                return Ok(None);
            }
        }
        let about = match &body {
            Body::Audience { audience, .. } => Some(audience.0),
            _ => None,
        };
        let has_identifiers = !self.destination.identifiers.is_empty();
        let person = has_identifiers.then(|| self.ask(item.subject)).transpose()?;
        Ok(Some(Draft { item, kind: *kind, name: named.name, about, said: detail(&body, &book), person }))
    }

    async fn parcel(&self, draft: Draft<'_>) -> Result<Parcel, SourceError> {
        let Draft { item, kind, name, about, mut said, person } = draft;
        let identifiers = match person {
            Some(person) => Some(self.identifiers(person).await?),
            None => None,
        };
        if let Some(map) = said.as_object_mut() {
            map.insert("profile".to_owned(), Value::from(public_id("prf", item.subject)));
            map.extend(identifiers.map(|all| ("identifiers".to_owned(), all)));
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
    fn ask(&self, profile: Key) -> Result<Person, SourceError> {
        let (word, answer) = oneshot::channel();
        let asked = self.context.engine.query(Query::Profile(profile), move |result| {
            let _ = word.send(result);
        });
        asked.map_err(|error| SourceError(error.to_string()))?;
        Ok(answer)
    }

    /// The identifiers of the asked types that find the person now.
    async fn identifiers(&self, person: Person) -> Result<Value, SourceError> {
        let answer = person.await.map_err(|_| SourceError("the shard does not answer".to_owned()))?;
        let (answer, _) = answer.map_err(|error| SourceError(error.to_string()))?;
        let Answer::Profile(Some(read), _) = answer else { return Ok(json!([])) };
        let settings = self.context.engine.view().settings();
        let all = shown_identifiers(&read, &self.context.secrets.keys, &settings, true);
        let wanted = all
            .into_iter()
            .filter(|one| !one.former_session && self.destination.identifiers.contains(&one.r#type));
        let shown = wanted.filter_map(|one| Some(json!({ "type": one.r#type, "value": one.value? })));
        Ok(shown.collect())
    }
}

/// The last effect that stands before a place.
fn before(place: Place) -> Option<EffectId> {
    let position = Position(place.position.0.checked_sub(1)?);
    Some(EffectId { position, ordinal: u32::MAX })
}

impl Source for FeedSource {
    fn after(&self, after: Option<EffectId>, limit: usize) -> Later<'_, Result<Supply, SourceError>> {
        Box::pin(self.read(after, limit))
    }
}
