//! Nanoseconds per applied event of a typical mix, and bytes per profile.
//!
//! `cargo run --release -p engage --example bench_apply`

use engage::{Engage, Machine, Outcome, State};
use engine::Wanted;
use model::event::{
    Event, EventKind, Identifier, IdentifierKind, Identifiers, OrderChange, OrderFact, Product,
};
use model::id::{Key, Position, Timestamp};
use model::record::{Record, RecordKind};
use std::hint::black_box;
use std::time::Instant;

const PEOPLE: u64 = 100_000;
const EVENTS: u64 = 1_000_000;
const START_US: i64 = 1_700_000_000_000_000;

#[expect(clippy::disallowed_methods, reason = "a benchmark measures the machine it runs on")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn main() {
    let bodies: Vec<Vec<u8>> = (0..EVENTS).map(body).collect();
    let mut state = Engage.empty_state();
    for round in ["first pass, people new", "second pass, people known"] {
        let mut wanted = Wanted::default();
        let start = now();
        for (index, body) in bodies.iter().enumerate() {
            Engage.wanted(&state, &record(index, body), &mut wanted);
        }
        let naming_ns = start.elapsed_ns();
        let (start, mut effects) = (now(), 0);
        for (index, body) in bodies.iter().enumerate() {
            let mut outcome = Outcome::default();
            Engage.apply(&mut state, &record(index, body), &mut outcome);
            effects += outcome.effects.len();
            black_box(&outcome);
        }
        let apply_ns = start.elapsed_ns();
        let start = now();
        for body in &bodies {
            black_box(Event::decode(body).is_ok());
        }
        let (count, decode_ns) = (u128::from(EVENTS), start.elapsed_ns());
        println!(
            "{round}: apply {} ns an event, of which decoding {} ns; naming rows {} ns; {effects} effects",
            apply_ns / count,
            decode_ns / count,
            naming_ns / count
        );
    }
    print_sizes(&mut state);
}

trait ElapsedNs {
    fn elapsed_ns(self) -> u128;
}

impl ElapsedNs for Instant {
    fn elapsed_ns(self) -> u128 {
        now().duration_since(self).as_nanos()
    }
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn print_sizes(state: &mut State) {
    let sizes = state.sizes();
    let total: usize = sizes.iter().map(|(_, _, bytes)| bytes).sum();
    for (name, rows, bytes) in sizes {
        println!("{name}: {rows} rows, {bytes} bytes in memory");
    }
    println!("{} bytes in memory per person with 3 identifiers", total as u64 / PEOPLE);
}

fn record(index: usize, body: &[u8]) -> Record<'_> {
    Record {
        position: Position(index as u64),
        received_at: Timestamp(START_US + index as i64 * 1_000),
        kind: RecordKind::EVENT,
        body,
    }
}

/// Of 100 events: 60 page views of a browser, 25 by a known user on that browser, 10 identifies with e-mail and
/// traits, 5 orders from the server.
fn body(index: u64) -> Vec<u8> {
    let mixed = index.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 17;
    let (person, sort) = (mixed % PEOPLE, index % 100);
    let key = |kind: IdentifierKind| Identifier {
        kind: kind.0,
        key: Key(u128::from(person)).with(Key(u128::from(kind.0))),
        value: b"0123456789abcdef",
    };
    let (user, email) = (key(IdentifierKind::USER_ID), key(IdentifierKind::EMAIL));
    let browser = key(IdentifierKind::ANONYMOUS_ID);
    let (chosen, name): (&[Identifier<'_>], &str) = match sort {
        0..60 => (&[browser], "Product Viewed"),
        60..85 => (&[user, browser], "Product Added"),
        85..95 => (&[user, email, browser], ""),
        _ => (&[user], "Order Completed"),
    };
    let mut identifiers = Identifiers::default();
    chosen.iter().for_each(|one| assert!(identifiers.push(*one)));
    let order_id = format!("order {index}");
    let order = OrderFact {
        change: OrderChange::Completed,
        order_id: &order_id,
        refund_id: "",
        value_minor: 4_200,
        currency: *b"EUR",
    };
    let product = Product { product_id: "sku-1", category: "shoes", quantity: 1, price_minor: 4_200 };
    let traits: &[u8] = if name.is_empty() { br#"{"plan":"gold","city":"Berlin","age":41}"# } else { b"" };
    let event = Event {
        kind: if name.is_empty() { EventKind::Identify } else { EventKind::Track },
        source: 1,
        from_server: sort >= 95,
        value_counts: sort >= 95,
        dedup_key: Key(u128::from(index)),
        message_id: "01234567-89ab-cdef-0123-456789abcdef",
        occurred_at: Timestamp(START_US + index as i64 * 1_000),
        name,
        identifiers,
        order: (sort >= 95).then_some(order),
        products: if sort >= 95 { vec![product; 2] } else { Vec::new() },
        consent: Vec::new(),
        traits,
        properties: &[b'x'; 200],
        context: &[b'y'; 150],
    };
    let mut body = Vec::new();
    event.encode(&mut body);
    body
}
