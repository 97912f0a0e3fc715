//! Nanoseconds per applied event of a typical mix, and bytes per profile, with so many audiences defined.
//!
//! `cargo run --release -p engage --example bench_apply -- --audiences 20 --step-us 1000`
//!
//! The audiences are those of `benches/audiences.txt`. Between two events `--step-us` of log time go by: with 1,000,
//! time alone changes next to nothing; with 1,000,000, windows run over and people are caught up with.

use engage::{Command, Draft, Engage, Machine, Operation, Outcome, PARTS, Reply, State, Stretch};
use engine::Wanted;
use model::audience::DefinitionKind;
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
/// 200 bytes and 150 bytes, as events have them.
const PROPERTIES: &[u8] = br#"{"product_id":"sku-012345","category":"category-07","name":"Watering can","price":19.99,"quantity":1,"currency":"EUR","list":"spring in the garden","position":3,"url":"https://shop.example/garden/item"}"#;
const CONTEXT: &[u8] = br#"{"library":{"name":"analytics-node","version":"3.1.0"},"page":{"path":"/garden/item"},"locale":"de-DE","timezone":"Europe/Berlin","network":"wifi"}"#;
/// Where the definitions stand in the log.
const AT_DEFINITION: Position = Position(1);
/// The audiences of the benches.
const AUDIENCES: &str = include_str!("../../../benches/audiences.txt");

/// Nanoseconds that this thread has been on a core: the machine may be busy with other things.
#[expect(clippy::disallowed_methods, reason = "a benchmark asks the machine that it runs on")]
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0)
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn main() {
    let (audiences, step_us) = (option("--audiences", 0), option("--step-us", 1_000));
    let bodies: Vec<Vec<u8>> = (0..2 * EVENTS).map(|index| body(index, step_us)).collect();
    let record = |index, body| record(index, body, step_us);
    let mut state = Engage.empty_state();
    let rules: Vec<String> = AUDIENCES.lines().filter(|line| !line.starts_with('#')).map(rule_of).collect();
    for (number, rule) in rules.iter().take(audiences as usize).enumerate() {
        define(&mut state, number, rule);
    }
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

/// The number behind an option of the command line.
fn option(name: &str, otherwise: i64) -> i64 {
    let given = std::env::args().skip_while(|word| word != name).nth(1);
    given.and_then(|word| word.parse().ok()).unwrap_or(otherwise)
}

/// A rule of the benches: without its kind, and without what stands in braces.
fn rule_of(line: &str) -> String {
    let (_, template) = line.split_once(' ').unwrap_or_default();
    let mut rule = String::new();
    for part in template.split('}') {
        rule.push_str(part.split('{').next().unwrap_or_default());
    }
    rule.replace('@', "bench")
}

/// Defines an audience while nobody is there, so that there is nobody to find it for.
#[expect(clippy::panic, reason = "a benchmark stops at what should not be")]
fn define(state: &mut State, number: usize, rule: &str) {
    let kind = DefinitionKind::Audience { rule: rule.into(), suppress: None };
    let draft = Draft { name: format!("bench-{:02}", number + 1), changes: None, kind };
    let mut reply = apply_command(state, Operation::Define(draft));
    let Some(Reply::Defined(definition, _)) = reply else { panic!("{rule}: {reply:?}") };
    let stretch = Stretch { from: Position(0), to: AT_DEFINITION, parts: (0, PARTS), nodes: Vec::new() };
    // Only what asks for new features has something to gather; the others refuse a stretch, and that is fine.
    apply_command(state, Operation::Gather { definitions: vec![definition], stretch });
    reply = apply_command(state, Operation::Backfilled { definition, chunks: 0 });
    assert!(matches!(reply, Some(Reply::Backfill(..))), "{rule}: {reply:?}");
}

fn apply_command(state: &mut State, operation: Operation) -> Option<Reply> {
    let mut body = Vec::new();
    Command { idempotency: Key(0), operation }.encode(&mut body);
    let record = Record {
        position: AT_DEFINITION,
        received_at: Timestamp(START_US),
        kind: RecordKind::COMMAND,
        body: &body,
    };
    let mut outcome = Outcome::default();
    Engage.apply(state, &record, &mut outcome);
    outcome.reply.and_then(|reply| Reply::decode(&reply).ok())
}

fn record(index: usize, body: &[u8], step_us: i64) -> Record<'_> {
    Record {
        position: Position(AT_DEFINITION.0 + 1 + index as u64),
        received_at: Timestamp(START_US + index as i64 * step_us),
        kind: RecordKind::EVENT,
        body,
    }
}

/// Of 100 events: 60 product views of a browser, 25 additions by a known user on that browser, 10 identifies with e-mail
/// and traits, 5 orders from the server.
fn body(index: u64, step_us: i64) -> Vec<u8> {
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
    let (sku, category) = (format!("sku-{:06}", mixed % 50_000), format!("category-{:02}", mixed / 7 % 40));
    let product = Product { product_id: &sku, category: &category, quantity: 1, price_minor: 1_999 };
    let products = match sort {
        85..95 => Vec::new(),
        95.. => vec![product; 2],
        _ => vec![product],
    };
    let traits: &[u8] = if name.is_empty() { br#"{"plan":"gold","city":"Berlin","age":41}"# } else { b"" };
    let event = Event {
        kind: if name.is_empty() { EventKind::Identify } else { EventKind::Track },
        source: 1,
        from_server: sort >= 95,
        value_counts: sort >= 95,
        dedup_key: Key(u128::from(index)),
        message_id: "01234567-89ab-cdef-0123-456789abcdef",
        occurred_at: Timestamp(START_US + index as i64 * step_us),
        name,
        identifiers,
        order: (sort >= 95).then_some(order),
        products,
        consent: Vec::new(),
        traits,
        properties: PROPERTIES,
        context: CONTEXT,
    };
    let mut body = Vec::new();
    event.encode(&mut body);
    body
}
