//! Features and audiences against a straightforward recount from the raw events, at every event and at every instant
//! at which time alone changes something. The recount shares no code with the library.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "helpers of tests fail by panicking")]

#[path = "recount/generate.rs"]
mod generate;
#[path = "recount/oracle.rs"]
mod oracle;

use generate::{Metric, Raw, Rule, metrics, raws, rules};
use model::audience::{Agenda, Definition, DefinitionId, DefinitionKind, Person, Rulebook, Terms, Verdict};
use model::codec::{Decoder, Encoder};
use model::feature::{Changed, FeatureId, FeatureStates, NEVER, Value};
use model::id::Timestamp;
use oracle::Worth;
use proptest::prelude::*;

struct Someone<'a>(&'a [FeatureStates]);

impl Person for Someone<'_> {
    fn features(&self, index: usize) -> Option<&FeatureStates> {
        self.0.get(index)
    }
    fn stated(&self, _: &str) -> Option<&[u8]> {
        None
    }
    fn consents(&self, _: &str) -> bool {
        false
    }
    fn is_member(&self, _: DefinitionId) -> bool {
        false
    }
}

fn define(book: &Rulebook, name: &str, kind: DefinitionKind) -> (Rulebook, DefinitionId) {
    let id = book.next_id();
    let definition = Definition { id, name: name.into(), version: 1, kind };
    match book.define(definition) {
        Ok((book, _)) => (book, id),
        Err(error) => panic!("{name}: {error}"),
    }
}

struct World {
    book: Rulebook,
    features: Vec<FeatureId>,
    audiences: Vec<DefinitionId>,
}

fn world(metrics: &[Metric], rules: &[Rule]) -> World {
    let mut book = Rulebook::default();
    let (mut features, mut audiences) = (Vec::new(), Vec::new());
    for (index, metric) in metrics.iter().enumerate() {
        let kind = DefinitionKind::Feature { expression: metric.text().into() };
        let (next, id) = define(&book, &format!("metric {index}"), kind);
        features.push(next.features_in(id).next().unwrap().id);
        book = next;
    }
    for (index, rule) in rules.iter().enumerate() {
        let kind = DefinitionKind::Audience { rule: rule.text().into(), suppress: None };
        let (next, id) = define(&book, &format!("rule {index}"), kind);
        audiences.push(id);
        book = next;
    }
    World { book, features, audiences }
}

fn record(book: &Rulebook, states: &mut FeatureStates, raw: &Raw, now: i64) -> Changed {
    let event = raw.event();
    states.record(book.features_of(&event), &event, Timestamp(raw.at), Timestamp(now))
}

fn is(value: &Value<'_>, worth: &Worth) -> bool {
    match (value, worth) {
        (Value::Absent, Worth::Nothing) => true,
        (Value::Number(micro), Worth::Number(expected)) => i128::from(*micro) == *expected,
        (Value::Text(text), Worth::Text(expected)) => text == expected,
        (Value::Time(at), Worth::Time(expected)) => at.0 == *expected,
        _ => false,
    }
}

/// Checks every value and membership at `now`, and that nothing changes before what is said to be the next change.
/// Returns the earliest next change.
fn check(
    world: &World,
    metrics: &[Metric],
    rules: &[Rule],
    nodes: &[FeatureStates],
    seen: &[Raw],
    now: i64,
    probes: &[u32],
) -> Result<i64, TestCaseError> {
    let person = Someone(nodes);
    let mut earliest = NEVER.0;
    for (metric, feature) in metrics.iter().zip(&world.features) {
        let (value, next) = world.book.value(*feature, &person, Timestamp(now)).unwrap();
        prop_assert!(next.0 > now, "{}", metric.text());
        let expected = oracle::value(metric, seen, now);
        prop_assert!(is(&value, &expected), "{} at {now}: {value:?}, not {expected:?}", metric.text());
        for later in between(now, next.0, probes) {
            let later_worth = oracle::value(metric, seen, later);
            prop_assert!(is(&value, &later_worth), "{} changed at {later} < {}", metric.text(), next.0);
        }
        earliest = earliest.min(next.0);
    }
    for (rule, audience) in rules.iter().zip(&world.audiences) {
        let verdict = world.book.evaluate(*audience, &person, Timestamp(now)).unwrap();
        let Verdict { member, next_change } = verdict;
        prop_assert!(next_change.0 > now, "{}", rule.text());
        prop_assert_eq!(member, oracle::holds(rule, seen, now), "{} at {}", rule.text(), now);
        for later in between(now, next_change.0, probes) {
            prop_assert_eq!(member, oracle::holds(rule, seen, later), "{} flips at {}", rule.text(), later);
        }
        earliest = earliest.min(next_change.0);
        check_terms(&world.book, *audience, &person, now, verdict)?;
    }
    Ok(earliest)
}

/// The last instant before the next change, and some in between.
fn between(now: i64, next: i64, probes: &[u32]) -> Vec<i64> {
    let end = next.min(now + 40 * 86_400_000_000);
    let span = end - now - 1;
    let mut instants: Vec<i64> =
        probes.iter().map(|probe| now + (span as i128 * i128::from(*probe) / (1 << 32)) as i64).collect();
    instants.push(end - 1);
    instants
}

/// The explanation agrees with the verdict and with the terms.
fn check_terms(
    book: &Rulebook,
    audience: DefinitionId,
    person: &Someone<'_>,
    now: i64,
    verdict: Verdict,
) -> Result<(), TestCaseError> {
    let now = Timestamp(now);
    let terms = book.terms(audience, person, now).unwrap();
    let explained = book.explain(audience, person, now, Some(Terms(!terms.0))).unwrap();
    prop_assert_eq!(explained[0].holds, verdict.member);
    prop_assert_eq!(&explained[0].text, book.definition(audience).unwrap().text());
    for part in &explained {
        if let Some(term) = part.term {
            prop_assert_eq!(terms.0 >> term & 1 == 1, part.holds);
            prop_assert!(part.flipped);
            prop_assert!(!part.values.is_empty(), "{}", part.text);
        }
    }
    let flipped = book.flipped(audience, terms, Terms(0));
    prop_assert_eq!(flipped.len() as u32, terms.0.count_ones());
    Ok(())
}

proptest! {
    #[test]
    fn values_and_memberships_equal_a_recount(
        metrics in metrics(), rules in rules(), raws in raws(30), probes in prop::collection::vec(any::<u32>(), 3),
    ) {
        let world = world(&metrics, &rules);
        let mut nodes = vec![FeatureStates::default(); 3];
        for (index, raw) in raws.iter().enumerate() {
            record(&world.book, &mut nodes[raw.node], raw, raw.received);
            let seen = &raws[..=index];
            let until = raws.get(index + 1).map_or(i64::MAX, |next| next.received);
            let mut now = raw.received;
            // Follow the timer as the loop would: nothing may change between two of its instants.
            for _ in 0..40 {
                let next = check(&world, &metrics, &rules, &nodes, seen, now, &probes)?;
                if next > until || next == NEVER.0 {
                    break;
                }
                now = next;
            }
        }
    }

    #[test]
    fn order_nodes_and_halves_are_nothing(
        metrics in metrics(), rules in rules(), raws in raws(40), order in prop::collection::vec(any::<u32>(), 40),
        cut in 0_usize..40,
    ) {
        let world = world(&metrics, &rules);
        let book = &world.book;
        let end = raws.last().map_or(0, |raw| raw.received);
        let swept = |mut states: FeatureStates| {
            book.sweep(&mut states, Timestamp(end));
            states
        };
        let mut whole = FeatureStates::default();
        let mut again = FeatureStates::default();
        let mut nodes = vec![FeatureStates::default(); 3];
        let (mut older, mut newer) = (FeatureStates::default(), FeatureStates::default());
        for (index, raw) in raws.iter().enumerate() {
            record(book, &mut whole, raw, raw.received);
            record(book, &mut again, raw, raw.received);
            record(book, &mut nodes[raw.node], raw, raw.received);
            record(book, if index < cut { &mut older } else { &mut newer }, raw, raw.received);
        }
        prop_assert_eq!(bytes(&whole), bytes(&again), "a replay gives other bytes");
        let mut shuffled: Vec<usize> = (0..raws.len()).collect();
        shuffled.sort_by_key(|index| order[*index]);
        let mut mixed = FeatureStates::default();
        for index in shuffled {
            record(book, &mut mixed, &raws[index], end);
        }
        let whole = swept(whole);
        prop_assert_eq!(bytes(&swept(mixed)), bytes(&whole), "the order of arrival shows");
        book.merge(&mut older, &newer, Timestamp(end));
        prop_assert_eq!(bytes(&swept(older)), bytes(&whole), "two halves are not the whole");
        let one = [whole];
        let (split, alone) = (Someone(&nodes), Someone(&one));
        for feature in &world.features {
            let value = book.value(*feature, &alone, Timestamp(end));
            prop_assert_eq!(&book.value(*feature, &split, Timestamp(end)), &value);
            nodes_in_any_order(book, *feature, &nodes, end, value.unwrap().0)?;
        }
        for audience in &world.audiences {
            let verdict = book.evaluate(*audience, &alone, Timestamp(end));
            prop_assert_eq!(book.evaluate(*audience, &split, Timestamp(end)), verdict);
        }
        stored_forms_read_back(book, &one[0])?;
    }

    #[test]
    fn damaged_states_never_panic(
        metrics in metrics(), rules in rules(), raws in raws(12), at: prop::sample::Index, to: u8, bytes: Vec<u8>,
    ) {
        let world = world(&metrics, &rules);
        let mut states = FeatureStates::default();
        for raw in &raws {
            record(&world.book, &mut states, raw, raw.received);
        }
        let mut damaged = self::bytes(&states);
        let index = at.index(damaged.len());
        damaged[index] = to;
        for candidate in [&damaged, &damaged[..index].to_vec(), &bytes] {
            let Ok(mut read) = FeatureStates::decode(&mut Decoder::new(candidate)) else { continue };
            let nodes = [read.clone()];
            for feature in &world.features {
                let _ = world.book.value(*feature, &Someone(&nodes), Timestamp(0));
            }
            for audience in &world.audiences {
                let _ = world.book.evaluate(*audience, &Someone(&nodes), Timestamp(0));
            }
            record(&world.book, &mut read, &raws[0], raws[0].received);
            world.book.merge(&mut read, &nodes[0], Timestamp(0));
            world.book.sweep(&mut read, Timestamp(0));
        }
    }

    #[test]
    fn an_agenda_names_every_audience_that_changed(
        metrics in metrics(), rules in rules(), raws in raws(20),
    ) {
        let world = world(&metrics, &rules);
        let mut states = [FeatureStates::default()];
        for raw in &raws {
            let now = Timestamp(raw.received);
            let before: Vec<_> =
                world.audiences.iter().map(|id| world.book.evaluate(*id, &Someone(&states), now)).collect();
            let changed = record(&world.book, &mut states[0], raw, raw.received);
            let mut agenda = Agenda::default();
            agenda.event(&world.book, raw.event().name, changed);
            let mut named = Vec::new();
            while let Some(id) = agenda.next(&world.book) {
                named.push(id);
            }
            for (id, before) in world.audiences.iter().zip(before) {
                let after = world.book.evaluate(*id, &Someone(&states), now);
                prop_assert!(before == after || named.contains(id));
            }
        }
    }
}

fn bytes(states: &FeatureStates) -> Vec<u8> {
    let mut bytes = Vec::new();
    states.encode(&mut Encoder(&mut bytes));
    bytes
}

fn nodes_in_any_order(
    book: &Rulebook,
    feature: FeatureId,
    nodes: &[FeatureStates],
    now: i64,
    expected: Value<'_>,
) -> Result<(), TestCaseError> {
    let turned: Vec<FeatureStates> = nodes.iter().rev().cloned().collect();
    let person = Someone(&turned);
    let value = book.value(feature, &person, Timestamp(now)).unwrap().0;
    prop_assert_eq!(value, expected);
    Ok(())
}

fn stored_forms_read_back(book: &Rulebook, states: &FeatureStates) -> Result<(), TestCaseError> {
    let stored = bytes(states);
    let mut decoder = Decoder::new(&stored);
    let read = FeatureStates::decode(&mut decoder);
    prop_assert_eq!(read.as_ref(), Ok(states));
    prop_assert!(decoder.is_empty());
    let mut stored = Vec::new();
    book.encode(&mut Encoder(&mut stored));
    let read = Rulebook::decode(&mut Decoder::new(&stored)).unwrap();
    let mut again = Vec::new();
    read.encode(&mut Encoder(&mut again));
    prop_assert_eq!(stored, again);
    let shown = |book: &Rulebook| -> Vec<String> {
        book.features().map(|slot| format!("{:?} {}", slot.id, slot.feature)).collect()
    };
    prop_assert_eq!(shown(book), shown(&read));
    prop_assert_eq!(book.audiences().collect::<Vec<_>>(), read.audiences().collect::<Vec<_>>());
    Ok(())
}
