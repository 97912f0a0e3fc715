//! Items as lines of JSON. An item of an event is filled in from the event log, where the event is.

use super::bodies::{BodyError, EventBodies};
use super::kinds::Chosen;
use crate::calendar::{HOUR_US, iso, now_us};
use engage::Engage;
use engage::effect::Body;
use engine::Engine;
use engine::feed::{Bounds, Item, Place, What};
use model::audience::Rulebook;
use model::event::{Event, OrderChange};
use model::id::{Position, public_id};
use model::line::Measure;
use serde_json::{Map, Value, json};

/// How lines are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A line each.
    Lines,
    /// Server-sent events.
    Events,
}

impl Form {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
        }
    }

    /// Appends one object.
    pub(crate) fn put(self, cursor: &str, kind: &str, object: &Value, out: &mut String) {
        match self {
            Self::Lines => {
                out.push_str(&object.to_string());
                out.push('\n');
            }
            Self::Events => {
                for part in ["id: ", cursor, "\nevent: ", kind, "\ndata: ", &object.to_string(), "\n\n"] {
                    out.push_str(part);
                }
            }
        }
    }
}

/// Turns items into lines.
pub(crate) struct Renderer {
    pub(crate) engine: Engine<Engage>,
    pub(crate) chosen: Chosen,
    pub(crate) form: Form,
    bodies: EventBodies,
}

impl Renderer {
    pub(crate) fn new(engine: Engine<Engage>, chosen: Chosen, form: Form) -> Self {
        Self { engine, chosen, form, bodies: EventBodies::default() }
    }

    /// Appends an item, if its kind was chosen. Returns whether it was.
    pub(crate) fn item(&mut self, item: &Item, out: &mut String) -> Result<bool, BodyError> {
        let Some(kind) = self.chosen.kind(item) else { return Ok(false) };
        let cursor = self.engine.feed().cursor(Place::after(item.id)).text();
        let (id, name, content) = match &item.what {
            What::Event { .. } => {
                let event = self.event(item.id.position)?;
                (format!("evt_{}", item.id.position), "event", event)
            }
            What::Effect { kind, body } => {
                let Ok(body) = Body::decode(*kind, body) else { return Ok(false) };
                let view = self.engine.view();
                let mut said = detail(&body, &view.book());
                if let (Body::Line { place, .. }, Some(said)) = (&body, said.as_object_mut()) {
                    let name = view.campaigns().names.get(&place.campaign).cloned().unwrap_or_default();
                    said.insert("campaign".to_owned(), Value::from(&*name));
                }
                (item.id.to_string(), "detail", said)
            }
        };
        // The line is about nobody.
        let profile =
            if kind.name == "line" { Value::Null } else { Value::from(public_id("prf", item.subject)) };
        let object = json!({
            "kind": kind.name,
            "id": id,
            "at": iso(item.at.0),
            "position": item.id.position.0,
            "profile": profile,
            name: content,
            "cursor": cursor,
        });
        self.form.put(&cursor, kind.name, &object, out);
        Ok(true)
    }

    /// Appends a sign of life: how far the reader and the server are, and the cursor to go on from.
    pub(crate) fn heartbeat(&self, bounds: &Bounds, next: Place, out: &mut String) {
        let cursor = self.engine.feed().cursor(next).text();
        let object = json!({
            "kind": "heartbeat",
            "at": iso(bounds.log_time.0),
            "sent_at": iso(now_us()),
            "position": next.position.0,
            "server_position": bounds.complete.0,
            "cursor": cursor,
        });
        self.form.put(&cursor, "heartbeat", &object, out);
    }

    /// Appends the end of a stream that cannot go on.
    pub(crate) fn gone(&self, message: &str, out: &mut String) {
        let object = json!({
            "kind": "gone",
            "code": "cursor_gone",
            "message": message,
            "snapshot": "/feed/v1/snapshot",
        });
        // Without an id: a client that reconnects must not take it for a place.
        match self.form {
            Form::Lines => self.form.put("", "gone", &object, out),
            Form::Events => {
                for part in ["event: gone\ndata: ", &object.to_string(), "\n\n"] {
                    out.push_str(part);
                }
            }
        }
    }

    /// The event at a position, as the feed shows it.
    fn event(&mut self, position: Position) -> Result<Value, BodyError> {
        let body = self.bodies.read(self.engine.log(), position)?;
        Ok(body.as_deref().map_or(Value::Null, shown_event))
    }
}

/// An event without what may be personal: no identifiers, traits, properties or context. Null where the person was
/// erased.
fn shown_event(body: &[u8]) -> Value {
    let Ok(event) = Event::decode(body) else { return Value::Null };
    let mut shown = Map::new();
    shown.insert("type".to_owned(), Value::from(event.kind.name()));
    shown.insert("message_id".to_owned(), Value::from(event.message_id));
    shown.insert("occurred_at".to_owned(), Value::from(iso(event.occurred_at.0)));
    shown.insert("from_server".to_owned(), Value::from(event.from_server));
    if !event.name.is_empty() {
        shown.insert("name".to_owned(), Value::from(event.name));
    }
    if let Some(order) = &event.order {
        let change = match order.change {
            OrderChange::Completed => "completed",
            OrderChange::Updated => "updated",
            OrderChange::Refunded => "refunded",
            OrderChange::Cancelled => "cancelled",
        };
        let order = json!({
            "change": change,
            "order_id": order.order_id,
            "refund_id": order.refund_id,
            "value_minor": order.value_minor,
            "currency": String::from_utf8_lossy(&order.currency),
        });
        shown.insert("order".to_owned(), order);
    }
    if !event.products.is_empty() {
        let product = |product: &model::event::Product<'_>| {
            json!({
                "product_id": product.product_id,
                "category": product.category,
                "quantity": product.quantity,
                "price_minor": product.price_minor,
            })
        };
        shown.insert("products".to_owned(), event.products.iter().map(product).collect());
    }
    Value::Object(shown)
}

/// A scope as the feed shows it: opaque, 16 hexadecimal digits; 0 is everything.
pub(crate) fn scope_text(scope: model::suppression::Scope) -> String {
    format!("{:016x}", scope.0)
}

/// The name of an audience; of one that was removed, its number.
pub(crate) fn audience_name(book: &Rulebook, audience: model::audience::DefinitionId) -> Value {
    book.definition(audience).map_or(Value::Null, |found| Value::from(found.name.to_string()))
}

/// What an effect says, as JSON.
pub(crate) fn detail(body: &Body, book: &Rulebook) -> Value {
    match body {
        Body::SuppressionStarted(scopes) => {
            let shown = |(scope, until): &(_, model::id::Timestamp)| json!({ "scope": scope_text(*scope), "until": iso(until.0) });
            json!({ "scopes": scopes.iter().map(shown).collect::<Vec<_>>() })
        }
        Body::SuppressionEnded(scopes) => {
            json!({ "scopes": scopes.iter().map(|scope| scope_text(*scope)).collect::<Vec<_>>() })
        }
        Body::Merged { from } => json!({ "from": public_id("prf", *from) }),
        Body::Unmerged(parts) => {
            json!({ "profiles": parts.iter().map(|part| public_id("prf", *part)).collect::<Vec<_>>() })
        }
        Body::EdgeRefused { reason, .. } => json!({ "reason": format!("{reason:?}").to_ascii_lowercase() }),
        Body::Erased { nodes, .. } => json!({ "identifiers": nodes.len() }),
        Body::ManyIdentifiers(count) => json!({ "identifiers": count }),
        Body::Consent { category, before, after } => {
            json!({ "category": category, "agreed_before": before, "agrees": after })
        }
        Body::Line { place, correction, figures } => {
            let filled = Measure::ALL.iter().filter(|measure| figures.get(**measure) != 0);
            let counts: Map<String, Value> = filled
                .map(|measure| (measure.name().to_owned(), Value::from(figures.get(*measure))))
                .collect();
            json!({
                "hour": iso(i64::from(place.hour).saturating_mul(HOUR_US)),
                "correction": correction,
                "counts": counts,
            })
        }
        Body::Audience { audience, version, cause, at, before, after, .. } => {
            let flipped = book.flipped(*audience, *before, *after);
            let flipped: Vec<Value> =
                flipped.iter().map(|(text, holds)| json!({ "term": text, "holds": holds })).collect();
            json!({
                "audience": audience_name(book, *audience),
                "audience_number": audience.0,
                "version": version,
                "cause": cause.name(),
                "since": iso(at.0),
                "flipped": flipped,
            })
        }
    }
}
