//! A shard without disk and threads: fires timers, applies records, publishes, and keeps the log for a replay.

use engage::{
    Answer, AsOf, Command, Decision, Engage, Explanation, Machine, Operation, Outcome, ProfileRead, Query,
    Reply, State, View,
};
use engine::{Effect, Subject};
use model::event::{
    Consent, Event, EventKind, Identifier, IdentifierKind, Identifiers, OrderChange, OrderFact, Product,
};
use model::id::{Key, Position, Timestamp};
use model::record::{Record, RecordKind};
use std::collections::BTreeMap;

/// An identifier by type and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub IdentifierKind, pub u8);

impl Id {
    pub fn key(self) -> Key {
        Key::of_text("test identifier", &format!("{}/{}", self.0.0, self.1))
    }
}

pub fn user(number: u8) -> Id {
    Id(IdentifierKind::USER_ID, number)
}
pub fn email(number: u8) -> Id {
    Id(IdentifierKind::EMAIL, number)
}
pub fn browser(number: u8) -> Id {
    Id(IdentifierKind::ANONYMOUS_ID, number)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bought {
    pub change: OrderChange,
    pub order: u8,
    pub refund: u8,
    pub value: i64,
    pub product: Option<u8>,
}

/// What happens, in the words of a test.
#[derive(Clone, PartialEq, Eq)]
pub struct Happening {
    pub ids: Vec<Id>,
    pub server: bool,
    pub alias: bool,
    pub bought: Option<Bought>,
    pub consent: Option<bool>,
    /// What the consent is about.
    pub category: &'static str,
    pub traits: String,
    /// Log time since the happening before.
    pub after_us: i64,
    /// How long before log time it happened.
    pub late_us: i64,
    pub name: &'static str,
    pub properties: String,
    pub context: String,
}

/// On one line: a stream of them is to be read as a whole.
impl std::fmt::Debug for Happening {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids: Vec<_> = self.ids.iter().map(|id| format!("{}/{}", id.0.0, id.1)).collect();
        let Self { server, alias, bought, consent, after_us, late_us, .. } = self;
        write!(
            formatter,
            "{} {ids:?} server {server} alias {alias} after {after_us} late {late_us} ",
            self.name
        )?;
        write!(formatter, "{consent:?} {bought:?} {} {} {}", self.traits, self.properties, self.context)
    }
}

impl Happening {
    pub fn of(ids: &[Id], server: bool) -> Self {
        Self {
            ids: ids.to_vec(),
            server,
            alias: false,
            bought: None,
            consent: None,
            category: "Advertising",
            traits: String::new(),
            after_us: 1,
            late_us: 0,
            name: "Happened",
            properties: "{\"secret\":1}".to_owned(),
            context: "{}".to_owned(),
        }
    }

    pub fn order(mut self, change: OrderChange, order: u8, value: i64) -> Self {
        self.bought = Some(Bought { change, order, refund: 0, value, product: Some(order) });
        self
    }

    pub fn encode(&self, now: Timestamp, message: u64) -> Vec<u8> {
        let mut identifiers = Identifiers::default();
        for id in &self.ids {
            identifiers.push(Identifier { kind: id.0.0, key: id.key(), value: b"value" });
        }
        let texts = self.bought.as_ref().map(|bought| {
            let product = bought.product.map(|number| format!("product {number}")).unwrap_or_default();
            (format!("order {}", bought.order), format!("refund {}", bought.refund), product)
        });
        let order =
            self.bought.as_ref().zip(texts.as_ref()).map(|(bought, (order_id, refund_id, _))| OrderFact {
                change: bought.change,
                order_id,
                refund_id,
                value_minor: bought.value,
                currency: *b"EUR",
            });
        let product = texts.as_ref().map_or("", |texts| texts.2.as_str());
        let products = if product.is_empty() {
            Vec::new()
        } else {
            vec![Product { product_id: product, category: "", quantity: 1, price_minor: 1 }]
        };
        let consent = self.consent.map(|granted| Consent { category: self.category, granted });
        let event = Event {
            kind: if self.alias { EventKind::Alias } else { EventKind::Track },
            source: 1,
            from_server: self.server,
            value_counts: self.server,
            dedup_key: Key(u128::from(message) + 1),
            message_id: "message",
            occurred_at: now.plus_us(-self.late_us),
            name: self.name,
            identifiers,
            order,
            products,
            consent: consent.into_iter().collect(),
            traits: self.traits.as_bytes(),
            properties: self.properties.as_bytes(),
            context: self.context.as_bytes(),
        };
        let mut body = Vec::new();
        event.encode(&mut body);
        body
    }
}

pub struct Shard {
    pub machine: Engage,
    pub state: State,
    pub view: View,
    pub timers: BTreeMap<Key, Timestamp>,
    pub position: u64,
    pub now: Timestamp,
    pub effects: Vec<(u64, Effect)>,
    pub log: Vec<(RecordKind, Timestamp, Vec<u8>)>,
    /// By position.
    pub subjects: Vec<Option<Subject>>,
}

pub const START: i64 = 1_700_000_000_000_000;

impl Shard {
    pub fn new() -> Self {
        let machine = Engage;
        Self {
            state: machine.empty_state(),
            view: machine.empty_view(),
            machine,
            timers: BTreeMap::new(),
            position: 0,
            now: Timestamp(START),
            effects: Vec::new(),
            log: Vec::new(),
            subjects: Vec::new(),
        }
    }

    fn conclude(&mut self, outcome: Outcome<engage::Change>) -> Option<Vec<u8>> {
        for (subject, due) in outcome.timers {
            match due {
                Some(due) => self.timers.insert(subject, due),
                None => self.timers.remove(&subject),
            };
        }
        let position = self.position;
        self.effects.extend(outcome.effects.into_iter().map(|effect| (position, effect)));
        let as_of = AsOf { next_position: Position(position), log_time: self.now };
        self.machine.publish(&self.view, outcome.changes, as_of);
        outcome.reply
    }

    pub fn advance(&mut self, to: Timestamp) {
        loop {
            let due = self.timers.iter().map(|(subject, due)| (*due, *subject)).min();
            let Some((due, subject)) = due.filter(|(due, _)| *due <= to) else { break };
            self.timers.remove(&subject);
            self.now = self.now.max(due);
            let mut outcome = Outcome::default();
            self.machine.timer(&mut self.state, subject, due, Position(self.position), &mut outcome);
            self.conclude(outcome);
        }
        self.now = to;
    }

    pub fn apply(&mut self, kind: RecordKind, body: Vec<u8>, at: Timestamp) -> Option<Vec<u8>> {
        self.advance(at);
        let record = Record { position: Position(self.position), received_at: at, kind, body: &body };
        let mut outcome = Outcome::default();
        self.machine.apply(&mut self.state, &record, &mut outcome);
        self.position += 1;
        if let Some(Subject { part, named, .. }) = outcome.subject {
            // The number tells a reader of the event as much as the key.
            let event = Event::decode(&body).unwrap();
            let keys: Vec<Key> = event.identifiers.as_slice().iter().map(|one| one.key).collect();
            match named {
                Some(number) => assert_eq!(keys[usize::from(number)], part),
                None => assert!(!keys.contains(&part), "{part} is one of {keys:?}"),
            }
        }
        self.subjects.push(outcome.subject);
        let reply = self.conclude(outcome);
        self.log.push((kind, at, body));
        reply
    }

    pub fn happen(&mut self, happening: &Happening) {
        let at = self.now.plus_us(happening.after_us);
        let body = happening.encode(at, self.position);
        self.apply(RecordKind::EVENT, body, at);
    }

    pub fn command(&mut self, operation: Operation) -> Reply {
        self.command_with(Key(0), operation)
    }

    pub fn command_with(&mut self, idempotency: Key, operation: Operation) -> Reply {
        let mut body = Vec::new();
        Command { idempotency, operation }.encode(&mut body);
        let reply = self.apply(RecordKind::COMMAND, body, self.now.plus_us(1));
        Reply::decode(&reply.unwrap()).unwrap()
    }

    fn as_of(&self) -> AsOf {
        AsOf { next_position: Position(self.position), log_time: self.now }
    }

    pub fn profile(&mut self, id: Id) -> Option<Box<ProfileRead>> {
        self.read(Query::Identifier(id.key()))
    }

    pub fn read(&mut self, query: Query) -> Option<Box<ProfileRead>> {
        let as_of = self.as_of();
        match self.machine.query(&mut self.state, query, as_of) {
            Answer::Profile(profile, _) => profile,
            other => panic!("{other:?}"),
        }
    }

    pub fn explain(&mut self, id: Id, product: u8) -> Explanation {
        let product = format!("product {product}");
        let query = Query::Explain { identifiers: vec![id.key()], product, category: String::new() };
        let as_of = self.as_of();
        match self.machine.query(&mut self.state, query, as_of) {
            Answer::Explanation(explanation, _) => explanation,
            other => panic!("{other:?}"),
        }
    }

    pub fn decide(&self, id: Id, product: u8) -> Decision {
        self.view.decide(&[id.key()], &format!("product {product}"), "", self.now)
    }

    pub fn is_suppressed(&mut self, id: Id, product: u8) -> bool {
        let decision = matches!(self.decide(id, product), Decision::Suppressed(_));
        let explained = matches!(self.explain(id, product), Explanation::Suppressed(_));
        assert_eq!(decision, explained, "the view and the state agree on {id:?}");
        decision
    }
}
