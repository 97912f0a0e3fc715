//! `bench audience`: what rules and features cost.
//!
//! Evaluations and recordings are measured in this process, on one thread, through `model` alone. Memory per profile and
//! the rates of finding everybody are those of a real server, as a child process, without other load.

use super::audiences::{self, Audience};
use super::pipeline::{AMPLE_BYTES, introduce, resident, rows_in_memory, thread_cpu_ns};
use super::{BenchArgs, Folder, Generator, Population, Progress, Report, binary_of};
use crate::calendar::now_us;
use crate::process::{ServerOptions, ServerProcess};
use anyhow::Context as _;
use model::audience::{Definition, DefinitionId, DefinitionKind, Person, Rulebook};
use model::event::{Event, EventKind, Identifiers, Product};
use model::feature::FeatureStates;
use model::id::{Key, Timestamp};
use serde_json::json;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

/// Every row of `[audience]` in `benches/goals.toml`.
#[cfg(test)]
pub(crate) const GOALS: [&str; 5] = [
    "evaluation",
    "recorded_event",
    "memory_per_profile",
    "backfill_of_kept_features",
    "backfill_of_new_features",
];

/// Audiences, as the goals speak of.
const AUDIENCES: usize = 20;
/// How often each rule is evaluated.
const EVALUATIONS: u64 = 200_000;
/// How many events are recorded.
const RECORDINGS: u64 = 400_000;
/// Nodes of a person: identifiers under which events are aggregated.
const NODES: usize = 3;
/// Events of the person whose audiences are evaluated, and over how long.
const PAST_EVENTS: u64 = 60;
const PAST_US: i64 = 12 * 86_400_000_000;
const START_US: i64 = 1_760_000_000_000_000;
/// Log time between two recorded events of one person.
const STEP_US: i64 = 60_000_000;
/// How long finding everybody may take.
const BACKFILL_TIMEOUT: Duration = Duration::from_secs(3_600);

/// Measures everything.
pub(super) fn run(args: &BenchArgs) -> anyhow::Result<Report> {
    let mut report = Report::new("audience");
    let progress = Progress::new();
    report.fact("people", json!(args.people));
    report.fact("evaluations_and_recordings", json!("in process, one thread"));
    report.fact("memory_and_backfill", json!("through a running server, without other load"));
    progress.step("rules are evaluated and events recorded");
    let all = audiences::mixed(AUDIENCES);
    let book = book_of(&all)?;
    evaluate(&book, &all, &mut report);
    record(&book, &mut report);
    with_a_server(args, &progress, &mut report)?;
    Ok(report)
}

fn book_of(all: &[Audience]) -> anyhow::Result<Rulebook> {
    let mut book = Rulebook::default();
    for audience in all {
        let kind = DefinitionKind::Audience { rule: audience.rule.as_str().into(), suppress: None };
        let name = audience.name.as_str().into();
        let definition = Definition { id: book.next_id(), name, version: 1, kind };
        (book, _) = book.define(definition).with_context(|| audience.rule.clone())?;
    }
    Ok(book)
}

struct Someone<'a> {
    nodes: &'a [FeatureStates],
}

impl Person for Someone<'_> {
    fn features(&self, index: usize) -> Option<&FeatureStates> {
        self.nodes.get(index)
    }
    fn stated(&self, name: &str) -> Option<&[u8]> {
        match name {
            "plan" => Some(b"\"gold\""),
            "city" => Some(b"\"Berlin\""),
            _ => None,
        }
    }
    fn consents(&self, category: &str) -> bool {
        category == "Analytics"
    }
    fn is_member(&self, audience: DefinitionId) -> bool {
        audience.0.is_multiple_of(2)
    }
}

/// Of 100 events: 45 product views, 25 pages, 15 additions to a cart, 10 identifies and 5 orders, as all benches send.
fn with_event<T>(number: u64, then: impl FnOnce(&Event<'_>) -> T) -> T {
    let (kind, name, properties): (_, _, &[u8]) = match number.wrapping_mul(37) % 100 {
        0..45 => (EventKind::Track, "Product Viewed", br#"{"name":"Watering can","currency":"EUR"}"#),
        45..70 => (EventKind::Page, "Garden", br#"{"title":"Garden","path":"/garden","url":"https://x"}"#),
        70..85 => (EventKind::Track, "Product Added", br#"{"name":"Watering can","currency":"EUR"}"#),
        85..95 => (EventKind::Identify, "", b""),
        _ => (EventKind::Track, "Order Completed", br#"{"order_id":"o-1","revenue":39.98}"#),
    };
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let product_id = format!("sku-{:06}", mixed >> 48);
    let category = format!("category-{:02}", (mixed >> 32) % 40);
    let product = Product { product_id: &product_id, category: &category, quantity: 1, price_minor: 1_999 };
    let tracked = kind == EventKind::Track;
    then(&Event {
        kind,
        source: 1,
        from_server: true,
        value_counts: true,
        dedup_key: Key(u128::from(number)),
        message_id: "m",
        occurred_at: Timestamp(START_US),
        name,
        identifiers: Identifiers::default(),
        order: None,
        products: if tracked { vec![product] } else { Vec::new() },
        consent: Vec::new(),
        traits: if kind == EventKind::Identify { br#"{"plan":"gold","city":"Berlin"}"# } else { b"" },
        properties,
        context: b"",
    })
}

/// A person with a past, and the instant at which it ends.
fn somebody(book: &Rulebook) -> (Vec<FeatureStates>, Timestamp) {
    let mut nodes = vec![FeatureStates::default(); NODES];
    let step_us = PAST_US / PAST_EVENTS as i64;
    for number in 0..PAST_EVENTS {
        let at = Timestamp(START_US + number as i64 * step_us);
        let Some(node) = nodes.get_mut(number as usize % NODES) else { continue };
        with_event(number, |event| node.record(book.features_of(event), event, at, at));
    }
    (nodes, Timestamp(START_US + PAST_US))
}

#[expect(clippy::cast_precision_loss, reason = "a figure needs no last digit")]
fn evaluate(book: &Rulebook, all: &[Audience], report: &mut Report) {
    let (nodes, now) = somebody(book);
    let person = Someone { nodes: &nodes };
    let bytes: usize = nodes.iter().map(|node| size_of::<FeatureStates>() + node.heap_bytes()).sum();
    report.detail("feature_state_of_60_events", "B", bytes as f64);
    let mut kinds: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (audience, id) in all.iter().zip(book.audiences()) {
        let before_ns = thread_cpu_ns();
        for _ in 0..EVALUATIONS {
            black_box(book.evaluate(id, black_box(&person), now));
        }
        let kind = kinds.entry(audience.kind).or_default();
        kind.0 += thread_cpu_ns().saturating_sub(before_ns);
        kind.1 += EVALUATIONS;
    }
    let (ns, count) = kinds.values().fold((0, 0), |sum, kind| (sum.0 + kind.0, sum.1 + kind.1));
    report.goal("evaluation", ns as f64 / count as f64);
    report.detail_higher("evaluations_per_second", "1/s", count as f64 * 1e9 / ns as f64);
    for (kind, (ns, count)) in kinds {
        report.detail(&format!("evaluation_of_{kind}"), "ns", ns as f64 / count as f64);
    }
}

/// Events are rendered outside of what is measured, in rounds of this many.
const RECORDED_AT_ONCE: u64 = 100;

#[expect(clippy::cast_precision_loss, reason = "a figure needs no last digit")]
fn record(book: &Rulebook, report: &mut Report) {
    let mut states = FeatureStates::default();
    let (mut ns, mut touched) = (0, 0);
    for number in 0..RECORDED_AT_ONCE {
        with_event(number, |event| {
            touched += book.features_of(event).count();
            let before_ns = thread_cpu_ns();
            for round in 0..RECORDINGS / RECORDED_AT_ONCE {
                let step = (number * (RECORDINGS / RECORDED_AT_ONCE) + round) as i64;
                let at = Timestamp(START_US + step * STEP_US);
                states.record(book.features_of(black_box(event)), event, at, at);
            }
            ns += thread_cpu_ns().saturating_sub(before_ns);
        });
    }
    black_box(&states);
    report.goal("recorded_event", ns as f64 / RECORDINGS as f64);
    report.detail("features_of_an_event", "", touched as f64 / RECORDED_AT_ONCE as f64);
}

#[expect(clippy::cast_precision_loss, reason = "a figure needs no last digit")]
fn with_a_server(args: &BenchArgs, progress: &Progress, report: &mut Report) -> anyhow::Result<()> {
    let folder = Folder::new(args.data.as_deref())?;
    let set = vec![resident(AMPLE_BYTES)];
    let options = ServerOptions { binary: binary_of(args)?, data: folder.path().to_owned(), set };
    let mut server = ServerProcess::start(&options)?;
    audiences::define(&server, &audiences::mixed(AUDIENCES))?;
    audiences::wait_until_found(&server, BACKFILL_TIMEOUT, progress)?;
    audiences::describe(&server, report)?;
    progress.step(&format!("{} people are told, with a history each", args.people));
    let population = Population { people: args.people, cold_percent: 0 };
    let generator = Generator::new(population, args.seed, now_us().unsigned_abs());
    let before = server.usage()?;
    let told = introduce(&server, generator, args.people, true, progress)?;
    let grown = server.usage()?.resident_bytes.saturating_sub(before.resident_bytes);
    let people = args.people as f64;
    report.fact("events_told", json!(told));
    report.goal("memory_per_profile", grown as f64 / people);
    report.detail("memory_of_rows_per_profile", "B", rows_in_memory(&server)? as f64 / people);
    report.detail("memory_of_message_ids", "B", server.status_number("dedup_bytes")? as f64);
    report.detail("effects_in_the_outbox", "", server.status_number("outbox")? as f64);
    let kept = r#"count("Product Viewed", "7d") >= 2 && count("page", "24h") >= 1"#;
    let new = r#"count("Product Viewed", "14d", price > 10) >= 2"#;
    for (name, rule) in [("backfill_of_kept_features", kept), ("backfill_of_new_features", new)] {
        progress.step(&format!("{name}: {rule}"));
        let before = server.usage()?;
        let audience = Audience { name: name.to_owned(), kind: "", rule: rule.to_owned() };
        audiences::define(&server, &[audience])?;
        let took = audiences::wait_until_found(&server, BACKFILL_TIMEOUT, progress)?;
        let used = server.usage()?.since(&before);
        report.goal(name, people / took.as_secs_f64());
        report.detail(&format!("{name}_cpu_per_profile"), "us", used.cpu_ns as f64 / 1e3 / people);
        let members = audiences::tallies(&server)?.get(name).map_or(0, |tally| tally.members);
        report.detail_higher(&format!("{name}_members"), "", members as f64);
    }
    server.stop()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_looks_at_something_that_the_person_has() {
        let all = audiences::mixed(AUDIENCES);
        let book = book_of(&all).unwrap();
        let (nodes, now) = somebody(&book);
        let person = Someone { nodes: &nodes };
        let inside = book.audiences().filter(|id| book.evaluate(*id, &person, now).unwrap().member).count();
        assert!((3..18).contains(&inside), "{inside} of 20 hold: rules that all agree measure little");
        assert!(nodes.iter().all(|node| !node.is_empty()));
    }

    #[test]
    fn every_goal_is_measured_by_name() {
        let mut report = Report::new("audience");
        GOALS.iter().for_each(|name| report.goal(name, 1.0));
        assert!(report.json().is_ok());
    }
}
