//! The customer machine on a simulated shard: identifies, orders, refunds, aliases, settings and unmerges, through
//! crashes.
//!
//! What the rules should say is proven elsewhere, against an independent re-implementation. Here the question is
//! whether faults, crashes, checkpoints and evictions can change it: after every start the state must answer every
//! question as a second shard does that applied the same log in one go, in memory, without a checkpoint.

use crate::classes::{Class, Classes};
use crate::subject::{Explained, Subject};
use crate::truth::{BUCKET_US, WINDOW_US};
use anyhow::{Result, ensure};
use engage::{Command, Engage, Operation, Parting, Query};
use engine::DedupOptions;
use engine::core::{Core, FrameOutcome};
use engine::feed::{self, Feed, FeedOptions, Item, Place};
use env::seeded::{Seed, World};
use eventlog::Frame;
use model::event::{
    Event, EventKind, Identifier, IdentifierKind, Identifiers, OrderChange, OrderFact, Product,
};
use model::id::{Key, Position, Timestamp};
use model::record::{RecordKind, decode_records, encode_record};
use model::suppression::SuppressionSettings;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use store::{LocalObjects, Store, StoreOptions};

const START_US: i64 = 1_700_000_000_000_000;
const PEOPLE: u64 = 7;

/// Clients of a customer shard.
pub struct Shoppers {
    sent: Vec<Vec<u8>>,
    acknowledged: BTreeSet<Key>,
    without: Classes,
}

fn key(kind: IdentifierKind, number: u64) -> Key {
    Key(u128::from(kind.0)).with(Key(u128::from(number)))
}

fn identifiers(seed: &mut Seed) -> Identifiers<'static> {
    let mut all = Identifiers::default();
    let choices = [
        (IdentifierKind::USER_ID, 3),
        (IdentifierKind::EMAIL, 3),
        (IdentifierKind::ANONYMOUS_ID, 2),
        (IdentifierKind::DEVICE_ID, 6),
    ];
    for (kind, one_in) in choices {
        if seed.one_in(one_in) {
            all.push(Identifier { kind: kind.0, key: key(kind, seed.below(PEOPLE)), value: b"sealed" });
        }
    }
    if all.as_slice().is_empty() {
        let kind = IdentifierKind::ANONYMOUS_ID;
        all.push(Identifier { kind: kind.0, key: key(kind, seed.below(PEOPLE)), value: b"anonymous" });
    }
    all
}

const ORDERS: [&str; 6] = ["o1", "o2", "o3", "o4", "o5", "o6"];
const PRODUCTS: [&str; 4] = ["boots", "scarf", "tent", "lamp"];

fn pick(seed: &mut Seed, from: &[&'static str]) -> &'static str {
    from.get(seed.below(from.len() as u64) as usize).copied().unwrap_or_default()
}

fn order(seed: &mut Seed) -> Option<OrderFact<'static>> {
    if !seed.one_in(3) {
        return None;
    }
    let change = match seed.below(6) {
        0 => OrderChange::Refunded,
        1 => OrderChange::Cancelled,
        2 => OrderChange::Updated,
        _ => OrderChange::Completed,
    };
    Some(OrderFact {
        change,
        order_id: pick(seed, &ORDERS),
        refund_id: pick(seed, &["", "r1", "r2"]),
        value_minor: seed.below(10_000) as i64,
        currency: *b"EUR",
    })
}

impl Shoppers {
    fn event(&self, seed: &mut Seed) -> Vec<u8> {
        let kinds =
            [EventKind::Track, EventKind::Track, EventKind::Identify, EventKind::Page, EventKind::Alias];
        let from_server = seed.one_in(2);
        let event = Event {
            kind: kinds.get(seed.below(5) as usize).copied().unwrap_or(EventKind::Track),
            source: 1,
            from_server,
            value_counts: from_server,
            dedup_key: Key(3).with(Key(self.sent.len() as u128)),
            message_id: "m",
            occurred_at: Timestamp(START_US + seed.below(100_000_000) as i64),
            name: "Order Completed",
            identifiers: identifiers(seed),
            order: order(seed),
            products: vec![Product {
                product_id: pick(seed, &PRODUCTS),
                category: pick(seed, &["shoes", "outdoor"]),
                quantity: 1,
                price_minor: 100,
            }],
            consent: Vec::new(),
            traits: br#"{"city":"Bonn"}"#,
            properties: b"{}",
            context: b"",
        };
        let mut body = Vec::new();
        event.encode(&mut body);
        body
    }

    fn command(seed: &mut Seed) -> Vec<u8> {
        let operation = if seed.one_in(3) {
            Operation::SetSuppression(SuppressionSettings {
                window_us: 1 + seed.below(200_000_000) as i64,
                everything: seed.one_in(3),
                ..SuppressionSettings::default()
            })
        } else {
            let a = key(IdentifierKind::USER_ID, seed.below(PEOPLE));
            let b = key(IdentifierKind::EMAIL, seed.below(PEOPLE));
            Operation::Unmerge(Parting::Pair(a, b))
        };
        let mut body = Vec::new();
        Command { idempotency: Key(0), operation }.encode(&mut body);
        body
    }
}

/// The same log in one go, in memory, and its feed.
pub(crate) fn in_one_go(frames: &[Frame]) -> Result<(Core<Engage>, Feed)> {
    let env = World::new(0, START_US).env();
    let objects = Arc::new(LocalObjects::open(&env, Path::new("/second"))?);
    let dedup = DedupOptions { window_us: WINDOW_US, bucket_us: BUCKET_US, bytes_limit: 1 << 20 };
    let (store, _) = Store::open(objects, StoreOptions { dedup, ..StoreOptions::default() })?;
    let mut core = Core::new(Engage, store.source(), store.dedup_window()?);
    // Nobody writes this feed: everything stays in memory.
    let options = FeedOptions { waiting_bytes_max: usize::MAX, ..FeedOptions::default() };
    let feeding = feed::open(&env, Path::new("/second-feed"), Position(0), Timestamp(0), None, options)?;
    core.set_feed(feeding.appender);
    for frame in frames {
        core.apply_frame(frame)?;
    }
    Ok((core, feeding.feed))
}

/// Everything that a feed holds from a place on.
pub(crate) fn read_all(feed: &Feed, mut place: Place) -> Result<Vec<Item>, feed::FeedError> {
    let mut items = Vec::new();
    loop {
        let batch = feed.read(place)?;
        items.extend(batch.items);
        if batch.at_end {
            return Ok(items);
        }
        place = batch.next;
    }
}

impl Subject for Shoppers {
    type Rules = Engage;
    const NAME: &'static str = "people";

    fn new(_number: u64, without: Classes, _seed: &mut Seed) -> Self {
        Self { sent: Vec::new(), acknowledged: BTreeSet::new(), without }
    }

    fn rules() -> Engage {
        Engage
    }

    fn message(&mut self, seed: &mut Seed, _now: Timestamp, out: &mut Vec<u8>) {
        if seed.one_in(15) && !self.without.has(Class::Commands) {
            encode_record(out, RecordKind::COMMAND, &Self::command(seed));
            return;
        }
        if !self.sent.is_empty() && seed.one_in(4) && !self.without.has(Class::Repeats) {
            let back = seed.below(self.sent.len().min(40) as u64) as usize;
            if let Some(body) = self.sent.get(self.sent.len() - 1 - back) {
                encode_record(out, RecordKind::EVENT, body);
                return;
            }
        }
        let body = self.event(seed);
        encode_record(out, RecordKind::EVENT, &body);
        self.sent.push(body);
    }

    fn answered(&mut self, _core: &mut Core<Engage>, frame: &Frame, _outcome: &FrameOutcome) -> Result<u64> {
        let mut new = 0;
        for record in decode_records(&frame.body, frame.first, frame.received_at) {
            let record = record?;
            if record.kind == RecordKind::EVENT {
                new += u64::from(self.acknowledged.insert(Event::peek_dedup_key(record.body)?));
            }
        }
        Ok(new)
    }

    fn check(&mut self, core: &mut Core<Engage>, frames: &[Frame]) -> Result<Explained> {
        let (mut second, feed) = in_one_go(frames)?;
        ensure!(core.progress().effects_digest == second.progress().effects_digest, "the effects differ");
        ensure!(core.progress().applied == second.progress().applied, "other records counted");
        for kind in [
            IdentifierKind::USER_ID,
            IdentifierKind::EMAIL,
            IdentifierKind::ANONYMOUS_ID,
            IdentifierKind::DEVICE_ID,
        ] {
            for number in 0..PEOPLE {
                let who = key(kind, number);
                let (found, expected) =
                    (core.query(Query::Identifier(who))?, second.query(Query::Identifier(who))?);
                ensure!(found == expected, "{kind:?} {number}: found {found:?}, in one go {expected:?}");
                for product in PRODUCTS {
                    let now = core.progress().log_time;
                    let found = core.view().decide(&[who], product, "", now);
                    let expected = second.view().decide(&[who], product, "", now);
                    ensure!(
                        found == expected,
                        "{kind:?} {number}, {product}: {found:?}, in one go {expected:?}"
                    );
                }
            }
        }
        let counted: BTreeSet<Key> = frames
            .iter()
            .flat_map(|frame| decode_records(&frame.body, frame.first, frame.received_at).flatten())
            .filter(|record| record.kind == RecordKind::EVENT)
            .filter_map(|record| Event::peek_dedup_key(record.body).ok())
            .collect();
        for message in &self.acknowledged {
            ensure!(counted.contains(message), "message {message} was acknowledged and is not in the log");
        }
        let effects = second.effects_after(None, usize::MAX).into_iter();
        let effects = effects.map(|issued| (issued.id, issued.effect.kind, issued.effect.body));
        let (effects, feed) = (effects.collect(), read_all(&feed, Place::default())?);
        Ok(Explained { effects, feed, duplicates: second.progress().duplicates })
    }
}
