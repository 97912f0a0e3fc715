//! Nanoseconds per recorded event, per evaluated rule and per definition, and bytes of state per profile.
//!
//! `cargo run --release -p model --example bench_audience`

use model::audience::{Agenda, Definition, DefinitionId, DefinitionKind, Person, Rulebook};
use model::event::{Event, EventKind, Identifiers, Product};
use model::feature::{Changed, FeatureStates, event_name};
use model::id::{Key, Timestamp};
use std::hint::black_box;

const START_US: i64 = 1_760_000_000_000_000;
const DAY_US: i64 = 86_400_000_000;
const ROUNDS: u64 = 2_000_000;
const PROFILES: u64 = 20_000;
const NODES: usize = 3;

/// Nanoseconds that this thread has been on a core: the machine may be busy with other things.
#[expect(clippy::disallowed_methods, reason = "a benchmark asks the machine that it runs on")]
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0)
}

struct Someone<'a> {
    nodes: &'a [FeatureStates],
    plan: &'a [u8],
}

impl Person for Someone<'_> {
    fn features(&self, index: usize) -> Option<&FeatureStates> {
        self.nodes.get(index)
    }
    fn stated(&self, name: &str) -> Option<&[u8]> {
        (name == "plan").then_some(self.plan)
    }
    fn consents(&self, category: &str) -> bool {
        category == "Advertising"
    }
    fn is_member(&self, _: DefinitionId) -> bool {
        true
    }
}

#[expect(clippy::panic, reason = "a benchmark stops at what should not be")]
fn define(book: &Rulebook, rule: &str) -> (Rulebook, DefinitionId) {
    let id = book.next_id();
    let kind = DefinitionKind::Audience { rule: rule.into(), suppress: None };
    let definition = Definition { id, name: format!("rule {}", id.0).into(), version: 1, kind };
    match book.define(definition) {
        Ok((book, _)) => (book, id),
        Err(error) => panic!("{rule}: {error}"),
    }
}

fn event<'a>(name: &'a str, properties: &'a [u8]) -> Event<'a> {
    Event {
        kind: EventKind::Track,
        source: 1,
        from_server: true,
        value_counts: true,
        dedup_key: Key(1),
        message_id: "m",
        occurred_at: Timestamp(START_US),
        name,
        identifiers: Identifiers::default(),
        order: None,
        products: vec![Product { product_id: "sku-1", category: "shoes", quantity: 1, price_minor: 4_200 }],
        consent: Vec::new(),
        traits: b"",
        properties,
        context: b"",
    }
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn report(what: &str, rounds: u64, since: u64) {
    let spent = cpu_ns() - since;
    println!("{what}: {:.1} ns", spent as f64 / rounds as f64);
}

fn main() {
    recording();
    evaluating();
    defining();
    sizes();
}

/// An event that touches four counts, and one that touches four of other kinds.
fn recording() {
    let cases: [(&str, &[&str]); 4] = [
        (
            "record an event into 4 counts",
            &["count('A') > 9", "count('A', '30d') > 9", "count('A', '7d') > 9", "count('A', '1d') > 9"],
        ),
        (
            "record an event into 4 counts with filters by product",
            &[
                "count('A', product_id == 'sku-1') > 9",
                "count('A', category == 'shoes') > 9",
                "count('A', quantity > 1) > 9",
                "count('A', '7d', category in ['hats', 'shoes']) > 9",
            ],
        ),
        (
            "record an event into 4 counts with filters over JSON",
            &[
                "count('A', price > 10) > 9",
                "count('A', query == 'running shoes') > 9",
                "count('A', properties.a.b == 5) > 9",
                "count('A', '7d', campaign == 'spring') > 9",
            ],
        ),
        (
            "record an event into a windowed sum, a last_at, a distinct and a funnel step",
            &[
                "sum('A', 'price', '7d') > 9",
                "has(last_at('A'))",
                "distinct('A', 'product_id') > 3",
                "funnel(['A', 'B'], '1h')",
            ],
        ),
    ];
    for (what, rules) in cases {
        let mut book = Rulebook::default();
        for rule in rules {
            book = define(&book, rule).0;
        }
        let event = event("A", br#"{"list_id":"home","query":"running shoes","a":{"b":5},"position":3}"#);
        let mut states = FeatureStates::default();
        let since = cpu_ns();
        for round in 0..ROUNDS {
            let at = Timestamp(START_US + round as i64 * 60_000_000);
            states.record(book.features_of(black_box(&event)), &event, at, at);
        }
        report(what, ROUNDS, since);
        black_box(states);
    }
}

fn evaluating() {
    let rules = [
        "count('Product Added', '7d') > 0 && count('Order Completed', '7d') == 0",
        "count('Product Added') > 0 && count('Order Completed') == 0",
        "count('Product Added', '7d') > 3 && sum('Order Completed', 'price', '30d') < 100",
        "traits.plan == 'gold' && consent('Advertising')",
        "since(last_at('Product Added')) < duration('3d') && audience('rule 0')",
        "funnel(['Product Viewed', 'Product Added'], '1h', ['Order Completed'])",
        "distinct('Product Viewed', 'product_id', '7d') >= 3",
        "traits.plan.matches('^go+ld$')",
    ];
    let mut book = Rulebook::default();
    let mut ids = Vec::new();
    for rule in rules {
        let (next, id) = define(&book, rule);
        (book, _) = (next, ids.push(id));
    }
    let mut nodes = vec![FeatureStates::default(); NODES];
    let now = fill(&book, &mut nodes, 7);
    let person = Someone { nodes: &nodes, plan: b"\"gold\"" };
    for (id, rule) in ids.iter().zip(rules) {
        let since = cpu_ns();
        for _ in 0..ROUNDS / 4 {
            black_box(book.evaluate(*id, black_box(&person), now));
        }
        report(&format!("evaluate {rule}"), ROUNDS / 4, since);
    }
    let since = cpu_ns();
    for _ in 0..ROUNDS / 4 {
        let mut agenda = Agenda::default();
        agenda.event(&book, black_box("Product Added"), Changed::ALL);
        while let Some(id) = agenda.next(&book) {
            black_box(id);
        }
    }
    report("find the audiences that an event may change", ROUNDS / 4, since);
}

/// Twelve days of a shopper's events over several nodes. Returns the last instant.
fn fill(book: &Rulebook, nodes: &mut [FeatureStates], seed: u64) -> Timestamp {
    let names = ["Product Viewed", "Product Viewed", "Product Added", "Product Viewed", "Order Completed"];
    let mut mixed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut now = Timestamp(START_US);
    for index in 0..60_u64 {
        mixed = mixed.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(index);
        now = Timestamp(START_US + (index as i64 * 12 * DAY_US) / 60 + (mixed >> 33) as i64);
        let product_id = format!("sku-{}", (mixed >> 40) % 9);
        let name = names.get((mixed >> 50) as usize % names.len()).copied().unwrap_or_default();
        let mut event = event(name, b"{\"query\":\"running shoes\"}");
        event.products =
            vec![Product { product_id: &product_id, category: "shoes", quantity: 1, price_minor: 4_200 }];
        if let Some(node) = nodes.get_mut((mixed >> 20) as usize % NODES) {
            node.record(book.features_of(&event), &event, now, now);
        }
        black_box(event_name(&event));
    }
    now
}

fn defining() {
    let rule = "count('Product Added', '7d', category == 'shoes' && price > 50) > 2 && traits.plan in ['gold', 'silver'] \
                && !consent('Advertising') && since(last_at('Order Completed')) > duration('30d')";
    let since = cpu_ns();
    for _ in 0..20_000 {
        black_box(define(&Rulebook::default(), black_box(rule)));
    }
    report("define an audience of four terms", 20_000, since);
}

/// Twenty features, five of them windowed, over three nodes.
#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn sizes() {
    let mut book = Rulebook::default();
    for rule in [
        "count('Product Viewed', '7d') > 0 && count('Product Added', '7d') > 0 && count('Order Completed', '30d') > 0",
        "sum('Order Completed', 'price', '30d') > 0 && count('Product Viewed', '1d', category == 'shoes') > 0",
        "count('Product Viewed') > 0 && count('Product Added') > 0 && count('Order Completed') > 0",
        "sum('Order Completed', 'price') > 0 && max('Order Completed', 'price') > 0 && min('Order Completed', 'price') > 0",
        "has(first_at('Order Completed')) && has(last_at('Order Completed')) && has(last_at('Product Viewed'))",
        "last('Product Viewed', 'category') == 'shoes' && first('Order Completed', 'product_id') == 'sku-1'",
        "distinct('Product Viewed', 'product_id') > 3 && count('Product Viewed', price > 20) > 0",
        "funnel(['Product Viewed', 'Product Added'], '1h')",
    ] {
        book = define(&book, rule).0;
    }
    let windowed = book.features().filter(|slot| slot.feature.window.is_some()).count();
    let (mut bytes, mut rows) = (0, 0);
    for seed in 0..PROFILES {
        let mut nodes = vec![FeatureStates::default(); NODES];
        fill(&book, &mut nodes, seed);
        bytes += nodes.iter().map(|node| size_of::<FeatureStates>() + node.heap_bytes()).sum::<usize>();
        rows += nodes.iter().filter(|node| !node.is_empty()).count();
    }
    println!(
        "{} features, {windowed} windowed, {} nodes a profile, 60 events a profile: {} bytes of state a profile",
        book.features().count(),
        rows as u64 / PROFILES,
        bytes as u64 / PROFILES
    );
}
