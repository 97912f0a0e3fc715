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

const PEOPLE: u64 = 100_000;
const EVENTS: u64 = 500_000;
const EPOCH: usize = 1_000;
const START_US: i64 = 1_700_000_000_000_000;

/// Nanoseconds that this thread has been on a core: the machine may be busy with other things.
#[expect(clippy::disallowed_methods, reason = "a benchmark asks the machine that it runs on")]
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0)
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn main() {
    let bodies: Vec<Vec<u8>> = (0..2 * EVENTS).map(body).collect();
    let mut state = Engage.empty_state();
    for (pass, name) in ["people new", "people known"].into_iter().enumerate() {
        let (mut naming_ns, mut apply_ns, mut decode_ns, mut effects) = (0, 0, 0, 0);
        let first = pass * EVENTS as usize;
        let half = bodies.get(first..first + EVENTS as usize).unwrap_or_default();
        for (epoch, chunk) in half.chunks(EPOCH).enumerate() {
            let at = |index: usize| first + epoch * EPOCH + index;
            let mut wanted = Wanted::default();
            let start = cpu_ns();
            for body in chunk {
                black_box(Event::decode(body).is_ok());
            }
            let decoded = cpu_ns();
            for (index, body) in chunk.iter().enumerate() {
                Engage.wanted(&state, &record(at(index), body), &mut wanted);
            }
            let named = cpu_ns();
            for (index, body) in chunk.iter().enumerate() {
                let mut outcome = Outcome::default();
                Engage.apply(&mut state, &record(at(index), body), &mut outcome);
                effects += outcome.effects.len();
                black_box(&outcome);
            }
            decode_ns += decoded - start;
            naming_ns += named - decoded;
            apply_ns += cpu_ns() - named;
        }
        println!(
            "{name}: apply {} ns an event, of which decoding {} ns; naming rows {} ns; {effects} effects",
            apply_ns / EVENTS,
            decode_ns / EVENTS,
            naming_ns / EVENTS
        );
    }
    print_sizes(&mut state);
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
