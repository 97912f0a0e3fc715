//! Reads the change feed for one destination.

use crate::api::{Context, shown_identifiers};
use crate::feed::{KINDS, detail};
use delivery::{Class, Later, Parcel, Source, SourceError, Supply};
use engage::effect::Body;
use engage::{Answer, Destination, Query, SendingClass};
use engine::feed::{FeedError, Item, Place, What};
use model::id::{EffectId, Key, Position, public_id};
use outbound::render::{Message, render};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Items looked at for one answer, so that a destination that wants few of them does not hold its lane up for long.
const LOOKED_AT_MAX: usize = 20_000;

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
            for item in batch.items {
                if supply.parcels.len() >= limit {
                    return Ok(supply);
                }
                looked_at += 1;
                (supply.through, supply.through_at) = (Some(item.id), Some(item.at));
                supply.parcels.extend(self.parcel(&item).await?);
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

    /// An item as a message, if the destination wants it.
    async fn parcel(&self, item: &Item) -> Result<Option<Parcel>, SourceError> {
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
        let mut data = detail(&body, &book);
        if let Some(map) = data.as_object_mut() {
            map.insert("profile".to_owned(), Value::from(public_id("prf", item.subject)));
            if !self.destination.identifiers.is_empty() {
                map.insert("identifiers".to_owned(), self.identifiers(item.subject).await?);
            }
        }
        let data = data.to_string();
        let message = Message { kind: named.name, id: item.id, issued_at: item.at, data: data.as_bytes() };
        let body = render(&message).map_err(|error| SourceError(error.to_string()))?;
        Ok(Some(Parcel {
            id: item.id,
            issued_at: item.at,
            kind: *kind,
            about,
            subject: item.subject,
            class: match self.destination.class {
                SendingClass::Marketing => Class::Marketing,
                SendingClass::Transactional => Class::Transactional,
            },
            idempotency_key: item.id.to_string(),
            body: body.into(),
        }))
    }

    /// The identifiers of the asked types that find the person now.
    async fn identifiers(&self, profile: Key) -> Result<Value, SourceError> {
        let (word, answer) = oneshot::channel();
        let asked = self.context.engine.query(Query::Profile(profile), move |result| {
            let _ = word.send(result);
        });
        asked.map_err(|error| SourceError(error.to_string()))?;
        let answer = answer.await.map_err(|_| SourceError("the shard does not answer".to_owned()))?;
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
