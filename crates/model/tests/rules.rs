//! The language of rules: what is refused, with which code, advice and place; and what each construct means.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "helpers of tests fail by panicking")]

#[path = "rules/refused.rs"]
mod refused;

use model::audience::{
    Agenda, Changes, Definition, DefinitionError, DefinitionId, DefinitionKind, MAX_AUDIENCE_CHAIN, Person,
    RuleError, Rulebook, Suppress,
};
use model::codec::{Decoder, Encoder};
use model::event::{Event, EventKind, Identifiers, OrderChange, OrderFact};
use model::feature::{Changed, DISTINCT_HASHES, FeatureStates, NEVER, Value};
use model::id::{Key, Timestamp};
use proptest::prelude::*;

const NOW: i64 = 1_760_000_000_000_000;
const HOUR: i64 = 3_600_000_000;

fn audience(id: DefinitionId, name: &str, version: u32, rule: &str) -> Definition {
    let kind = DefinitionKind::Audience { rule: rule.into(), suppress: None };
    Definition { id, name: name.into(), version, kind }
}

fn feature(id: DefinitionId, name: &str, version: u32, expression: &str) -> Definition {
    Definition {
        id,
        name: name.into(),
        version,
        kind: DefinitionKind::Feature { expression: expression.into() },
    }
}

/// A rulebook with a feature `spend` and an audience `buyers`.
fn book() -> Rulebook {
    let book = Rulebook::default();
    let (book, _) =
        book.define(feature(DefinitionId(0), "spend", 1, "sum('Order Completed', 'value')")).unwrap();
    book.define(audience(DefinitionId(1), "buyers", 1, "count('Order Completed') > 0")).unwrap().0
}

fn refuse(rule: &str) -> RuleError {
    let book = book();
    match book.define(audience(book.next_id(), "tested", 1, rule)) {
        Err(DefinitionError::Rule(error)) => error,
        other => panic!("{rule}: {other:?}"),
    }
}

#[derive(Default)]
struct Someone {
    states: Vec<FeatureStates>,
    traits: Vec<(&'static str, &'static str)>,
    audiences: Vec<DefinitionId>,
}

impl Person for Someone {
    fn features(&self, index: usize) -> Option<&FeatureStates> {
        self.states.get(index)
    }
    fn stated(&self, name: &str) -> Option<&[u8]> {
        self.traits.iter().find(|(own, _)| *own == name).map(|(_, value)| value.as_bytes())
    }
    fn consents(&self, category: &str) -> bool {
        category == "Advertising"
    }
    fn is_member(&self, audience: DefinitionId) -> bool {
        self.audiences.contains(&audience)
    }
}

fn event<'a>(kind: EventKind, name: &'a str, properties: &'a str, context: &'a str) -> Event<'a> {
    Event {
        kind,
        source: 1,
        from_server: true,
        value_counts: true,
        dedup_key: Key(1),
        message_id: "m",
        occurred_at: Timestamp(NOW),
        name,
        identifiers: Identifiers::default(),
        order: None,
        products: Vec::new(),
        consent: Vec::new(),
        traits: b"",
        properties: properties.as_bytes(),
        context: context.as_bytes(),
    }
}

#[test]
fn what_rules_say_of_one_person() {
    let table = [
        ("true", true),
        ("traits.plan == 'gold'", true),
        ("traits['plan'] == \"gold\"", true),
        ("traits.plan != 'gold'", false),
        ("traits.missing == 'gold'", false),
        ("traits.missing != 'gold'", true),
        ("traits.missing < 5 || traits.missing >= 5", false),
        ("has(traits.plan) && !has(traits.missing) && !has(traits.nothing)", true),
        ("traits.plan != null && traits.missing == null", true),
        ("traits.address.city == 'Köln'", true),
        ("traits.address['city'].startsWith('Kö')", true),
        ("traits.age > 40 && traits.age <= 41.0 && 40 < traits.age", true),
        ("traits.age_as_text >= 41 && traits.age_as_text == '41'", true),
        ("traits.age == '41'", false),
        ("traits.plan > 5", false),
        ("traits.vip && !traits.plan", true),
        ("traits.vip == true && traits.vip != false", true),
        ("traits.plan in ['silver', 'gold']", true),
        ("traits.age in [1, 41]", true),
        ("traits.plan in ['silver']", false),
        ("traits.plan.endsWith('ld') && traits.plan.contains('ol')", true),
        ("traits.plan.matches('^g.ld$') && !traits.plan.matches('^ld')", true),
        ("traits.age.contains('4')", false),
        ("traits.age + 1 == 42 && traits.age * 2 - 2 == 80 && traits.age / 2 == 20.5", true),
        ("traits.age / 0 > 0 || traits.age / 0 <= 0", false),
        ("-traits.age == -41", true),
        ("2 + 3 * 4 == 14 && (2 + 3) * 4 == 20 && 10 - 4 - 3 == 3", true),
        ("true || false && false", true),
        ("traits.age > 18 ? traits.plan == 'gold' : false", true),
        ("(traits.vip ? 2 : 1) == 2", true),
        ("consent('Advertising') && !consent('Analytics')", true),
        ("audience('buyers')", true),
        (
            "traits.since < timestamp('2025-01-01') && traits.since >= timestamp('2024-02-29T12:00:00+01:00')",
            true,
        ),
        ("since(traits.since) > duration('52w')", true),
        ("since(timestamp('2099-01-01')) < duration('0s')", true),
        ("count('View') == 3 && count('View', '2h') == 2", true),
        ("count('View', properties.page == 1) == 1", true),
        ("count('View', '2h', properties.page >= 1) == 2", true),
        ("count('View', campaign == 'spring' && campaign.source == 'mail') == 3", true),
        ("count('page', name == 'Home') == 1 && count('page', name == 'Else') == 0", true),
        ("count('Completed Order') == 1 && count('Order Completed') == 1", true),
        ("feature('spend') == 12.5 && feature('spend') > 12", true),
        ("sum('Order Completed', 'value') == 12.5", true),
        ("last('Order Completed', 'order_id') == 'o1' && last('Order Completed', 'currency') == 'EUR'", true),
        ("min('View', 'properties.page') == 0 && max('View', 'properties.page') == 2", true),
        ("distinct('View', 'properties.page') == 3", true),
        ("first('View', 'properties.page') == 0 && last('View', 'properties.page') == 2", true),
        ("sum('View', 'properties.page') / count('View') == 1", true),
        ("sum('Never', 'price') == 0 && count('Never') == 0 && !has(min('Never', 'price'))", true),
        ("since(last_at('View')) < duration('1h1s') && since(last_at('View')) >= duration('1h')", true),
        ("since(last_at('Never')) < duration('1h') || since(last_at('Never')) >= duration('1h')", false),
        ("last_at('View') > first_at('View') && last_at('View') - first_at('View') == duration('2h')", true),
        ("first_at('View') + duration('2h') == last_at('View')", true),
        ("funnel(['View', 'Order Completed'], '3h') && !funnel(['Order Completed', 'View'], '3h')", true),
        ("funnel(['View', 'View', 'View'], '2h')", true),
        ("funnel(['View', 'View', 'View'], '119m')", false),
        (
            "funnel([event('View', properties.page == 1), 'View'], '1h', [event('View', properties.page == 0)])",
            true,
        ),
        ("funnel([event('View', properties.page == 0), 'page'], '3h', ['Order Completed'])", false),
        (
            "funnel(['View', event('View', properties.page == 1)], '2h', [event('View', properties.page == 2)])",
            false,
        ),
        (
            "funnel(['View', event('View', properties.page == 1)], '119m', [event('View', properties.page == 2)])",
            true,
        ),
        ("funnel(['View', 'Order Completed'], '3h', ['page'])", false),
        ("funnel_at(['View', 'Order Completed'], '3h') == last_at('Order Completed')", true),
        (
            "r'\\d' == '\\\\d' && 'a\\u00e9' == \"a\\x65\" || '\\x41' == 'A' && '''a'b''' == \"a'b\" // remark",
            true,
        ),
        ("0x10 == 16 && 1e2 == 100u && .5 == 0.5", true),
    ];
    let mut book = book();
    let mut ids = Vec::new();
    for (rule, _) in table {
        let id = book.next_id();
        book = match book.define(audience(id, &format!("rule {}", id.0), 1, rule)) {
            Ok((book, _)) => book,
            Err(error) => panic!("{rule}: {error}"),
        };
        ids.push(id);
    }
    let person = someone(&book);
    for ((rule, expected), id) in table.iter().zip(&ids) {
        let verdict = book.evaluate(*id, &person, Timestamp(NOW)).unwrap();
        assert_eq!(verdict.member, *expected, "{rule}");
        assert!(book.cost(*id).unwrap() > 0);
    }
    assert_eq!(book.evaluate(DefinitionId(0), &person, Timestamp(NOW)), None, "a feature is no audience");
}

/// Three views, one an hour, up to an hour ago; a page; an order; traits.
fn someone(book: &Rulebook) -> Someone {
    let mut states = FeatureStates::default();
    let context = r#"{"campaign":{"name":"spring","source":"mail"}}"#;
    let mut record = |event: Event<'_>, at: i64| {
        states.record(book.features_of(&event), &event, Timestamp(at), Timestamp(NOW));
    };
    for page in 0..3 {
        let properties = format!("{{\"page\":{page}}}");
        record(event(EventKind::Track, "View", &properties, context), NOW - (3 - page) * HOUR);
    }
    record(event(EventKind::Page, "Home", "{}", ""), NOW - HOUR / 2);
    let mut order = event(EventKind::Track, "Completed Order", "{}", "");
    order.order = Some(OrderFact {
        change: OrderChange::Completed,
        order_id: "o1",
        refund_id: "",
        value_minor: 1_250,
        currency: *b"EUR",
    });
    record(order, NOW - 1);
    let traits = vec![
        ("plan", r#""gold""#),
        ("age", "41"),
        ("age_as_text", r#""41""#),
        ("vip", "true"),
        ("nothing", "null"),
        ("address", r#"{"street":{"city":"no"}, "city" : "K\u00f6ln"}"#),
        ("since", r#""2024-03-01T08:00:00.5Z""#),
    ];
    Someone { states: vec![states], traits, audiences: vec![DefinitionId(1)] }
}

#[test]
fn explanations_name_terms_values_and_what_flipped() {
    let rule =
        "count('View', '7d') > 1 && !(traits.plan == 'silver') && (count('Never') > 0 || audience('buyers'))";
    let book = book();
    let id = book.next_id();
    let (book, _) = book.define(audience(id, "tested", 1, rule)).unwrap();
    let before = book.terms(id, &Someone::default(), Timestamp(NOW)).unwrap();
    let person = someone(&book);
    let after = book.terms(id, &person, Timestamp(NOW)).unwrap();
    let flipped = book.flipped(id, before, after);
    assert_eq!(flipped, [("count('View', '7d') > 1", true), ("audience('buyers')", true)]);
    let explained = book.explain(id, &person, Timestamp(NOW), Some(before)).unwrap();
    let shown: Vec<String> = explained
        .iter()
        .map(|part| {
            let values: Vec<String> =
                part.values.iter().map(|(text, value)| format!("{text} = {value}")).collect();
            let flipped = if part.flipped { " *" } else { "" };
            format!(
                "{}{}: {}{flipped} [{}]",
                " ".repeat(part.depth),
                part.text,
                part.holds,
                values.join(", ")
            )
        })
        .collect();
    let expected = [
        format!("{rule}: true []"),
        " count('View', '7d') > 1: true * [count('View', '7d') = 3]".to_owned(),
        " !(traits.plan == 'silver'): true []".to_owned(),
        "  traits.plan == 'silver': false [traits.plan = \"gold\"]".to_owned(),
        " count('Never') > 0 || audience('buyers'): true []".to_owned(),
        "  count('Never') > 0: false [count('Never') = 0]".to_owned(),
        "  audience('buyers'): true * [audience('buyers') = true]".to_owned(),
    ];
    assert_eq!(shown, expected);
}

#[test]
fn the_same_feature_has_one_slot_and_no_slot_is_used_again() {
    let book = Rulebook::default();
    let rules = [
        "count('A', '7d', price > 5 && category == 'x') > 0",
        "count(\"A\", \"168h\", ((price > 5.0)) && (category == \"x\")) == 0 && true",
        "count('A', '1w', price > 5 && category == 'x') > 3",
    ];
    let mut changes = Vec::new();
    let mut current = book;
    for (index, rule) in rules.iter().enumerate() {
        let (next, change) = current.define(audience(DefinitionId(index as u32), rule, 1, rule)).unwrap();
        (current, _) = (next, changes.push(change));
    }
    let new: Vec<usize> = changes.iter().map(|change| change.new_features.len()).collect();
    assert_eq!(new, [1, 0, 0]);
    let first = changes[0].new_features[0];
    for id in 0..3 {
        current = current.remove(DefinitionId(id)).unwrap().0;
    }
    assert_eq!(current.features().count(), 0);
    let (next, change) = current.define(audience(DefinitionId(3), "again", 1, rules[0])).unwrap();
    assert!(change.new_features[0] > first);
    let (_, change) = next.define(audience(DefinitionId(3), "again", 2, "true")).unwrap();
    assert_eq!(change.dropped_features, next.features().map(|slot| slot.id).collect::<Vec<_>>());
    let mut bytes = Vec::new();
    current.encode(&mut Encoder(&mut bytes));
    let read = Rulebook::decode(&mut Decoder::new(&bytes)).unwrap();
    assert_eq!(read.next_id(), DefinitionId(3));
    let again = read.define(audience(DefinitionId(3), "again", 1, rules[0])).unwrap().1;
    assert_eq!(again.new_features, [next.features().next().unwrap().id]);
}

#[test]
fn definitions_that_are_refused() {
    let book = book();
    let (book, _) = book
        .define(audience(DefinitionId(2), "loyal", 1, "audience('buyers') && feature('spend') > 9"))
        .unwrap();
    let next = book.next_id();
    let mut scope = audience(next, "n", 1, "true");
    scope.kind =
        DefinitionKind::Audience { rule: "true".into(), suppress: Some(Suppress::Product("".into())) };
    let cases = [
        (audience(next, "", 1, "true"), "definition_name"),
        (audience(next, " n", 1, "true"), "definition_name"),
        (audience(next, "a\nb", 1, "true"), "definition_name"),
        (audience(next, "buyers", 1, "true"), "definition_name_taken"),
        (audience(DefinitionId(99), "n", 1, "true"), "definition_unknown"),
        (audience(DefinitionId(1), "buyers", 1, "true"), "definition_stale"),
        (audience(DefinitionId(1), "renamed", 2, "true"), "definition_in_use"),
        (feature(DefinitionId(1), "buyers", 2, "count('A')"), "definition_kind_changed"),
        (feature(DefinitionId(0), "spend", 2, "last_at('A')"), "definition_breaks"),
        (feature(next, "n", 1, "count('A') + 1"), "rule_type"),
        (feature(next, "n", 1, "count(1)"), "rule_arguments"),
        (audience(DefinitionId(1), "buyers", 2, "audience('loyal')"), "rule_cycle"),
        (audience(next, "me", 1, "audience('me')"), "rule_cycle"),
        (scope, "definition_empty_scope"),
    ];
    for (definition, code) in cases {
        match book.define(definition.clone()) {
            Err(error) => assert_eq!(error.code(), code, "{definition:?}: {error}"),
            Ok(_) => panic!("{definition:?} was taken"),
        }
    }
    assert_eq!(book.remove(DefinitionId(1)).unwrap_err().code(), "definition_in_use");
    assert_eq!(book.remove(DefinitionId(9)).unwrap_err().code(), "definition_unknown");
    // A change of a named feature reaches the rules that name it.
    let (_, changes) = book.define(feature(DefinitionId(0), "spend", 2, "count('A')")).unwrap();
    let expected = Changes {
        new_features: vec![model::feature::FeatureId(3)],
        dropped_features: vec![model::feature::FeatureId(0)],
        audiences: vec![DefinitionId(2)],
    };
    assert_eq!(changes.audiences, expected.audiences);
    assert_eq!(changes.dropped_features, expected.dropped_features);
    assert_eq!(changes.new_features.len(), 1);
    let suppressing = Definition {
        kind: DefinitionKind::Audience {
            rule: "true".into(),
            suppress: Some(Suppress::Category("shoes".into())),
        },
        ..audience(next, "no shoes", 1, "")
    };
    let (book, _) = book.define(suppressing.clone()).unwrap();
    assert_eq!(book.suppresses(next), Some(&Suppress::Category("shoes".into())));
    let mut bytes = Vec::new();
    suppressing.encode(&mut Encoder(&mut bytes));
    assert_eq!(Definition::decode(&mut Decoder::new(&bytes)), Ok(suppressing));
}

#[test]
fn chains_of_audiences_end() {
    let mut book = Rulebook::default();
    let mut refused = None;
    for index in 0..40_u32 {
        let rule = if index == 0 { "true".to_owned() } else { format!("audience('a{}')", index - 1) };
        match book.define(audience(DefinitionId(index), &format!("a{index}"), 1, &rule)) {
            Ok((next, _)) => book = next,
            Err(error) => {
                refused = Some((index, error.code()));
                break;
            }
        }
    }
    assert_eq!(refused, Some((MAX_AUDIENCE_CHAIN as u32 + 1, "rule_too_deep")));
    let mut agenda = Agenda::default();
    agenda.changed(&book, DefinitionId(3));
    assert_eq!(agenda.next(&book), Some(DefinitionId(4)));
    assert!(agenda.is_empty());
    agenda.everything(&book);
    let order: Vec<DefinitionId> = std::iter::from_fn(|| agenda.next(&book)).collect();
    assert_eq!(order, book.audiences().collect::<Vec<_>>());
    assert!(order.is_sorted());
}

#[test]
fn agendas_follow_traits_consent_time_and_audiences() {
    let rules = [
        ("plain", "count('A') > 3"),
        ("timed", "count('A', '7d') > 3"),
        ("trait", "traits.plan == 'gold'"),
        ("consent", "consent('Ads')"),
        ("age", "since(first_at('B')) > duration('1d')"),
        ("of", "audience('trait') || audience('consent')"),
    ];
    let mut book = Rulebook::default();
    for (index, (name, rule)) in rules.iter().enumerate() {
        book = book.define(audience(DefinitionId(index as u32), name, 1, rule)).unwrap().0;
    }
    let named = |note: &dyn Fn(&mut Agenda)| -> Vec<u32> {
        let mut agenda = Agenda::default();
        note(&mut agenda);
        let mut ids: Vec<u32> = std::iter::from_fn(|| agenda.next(&book)).map(|id| id.0).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(named(&|agenda| agenda.event(&book, "A", Changed::ALL)), [0, 1]);
    assert_eq!(named(&|agenda| agenda.event(&book, "B", Changed::ALL)), [4]);
    assert_eq!(named(&|agenda| agenda.event(&book, "C", Changed::ALL)), [0; 0]);
    assert_eq!(named(&|agenda| agenda.event(&book, "A", Changed::default())), [0; 0]);
    assert_eq!(named(&|agenda| agenda.stated(&book, "plan")), [2]);
    assert_eq!(named(&|agenda| agenda.consent(&book, "Ads")), [3]);
    assert_eq!(named(&|agenda| agenda.time(&book)), [1, 4]);
    assert_eq!(named(&|agenda| agenda.changed(&book, DefinitionId(3))), [5]);
    assert_eq!(named(&|agenda| agenda.audience(&book, DefinitionId(5))), [5]);
}

#[test]
fn distinct_is_exact_below_its_bound_and_near_above() {
    let book = Rulebook::default();
    let (book, changes) =
        book.define(feature(DefinitionId(0), "f", 1, "distinct('A', 'properties.id')")).unwrap();
    let id = changes.new_features[0];
    let mut person = Someone { states: vec![FeatureStates::default(); 2], ..Someone::default() };
    for count in 1..=20_000_u64 {
        let properties = format!("{{\"id\":\"value {count}\"}}");
        let event = event(EventKind::Track, "A", &properties, "");
        let node = (count % 2) as usize;
        person.states[node].record(book.features_of(&event), &event, Timestamp(NOW), Timestamp(NOW));
        let check_at = count < 2 * DISTINCT_HASHES as u64 || count % 5_000 == 0;
        if !check_at {
            continue;
        }
        let (value, next) = book.value(id, &person, Timestamp(NOW)).unwrap();
        assert_eq!(next, NEVER);
        let Value::Number(micro) = value else { panic!("{value:?}") };
        let found = micro / 1_000_000;
        if count < DISTINCT_HASHES as u64 {
            assert_eq!(found as u64, count);
        } else {
            let error = found.abs_diff(count as i64) as f64 / count as f64;
            assert!(error < 0.45, "{found} for {count}");
        }
    }
    assert!(person.states[0].heap_bytes() < 8 * DISTINCT_HASHES + 64);
}

proptest! {
    #[test]
    fn no_text_panics_or_takes_long(
        noise in "\\PC{0,60}",
        words in prop::collection::vec(prop::sample::select(vec![
            "count", "(", ")", "'A'", ",", "'7d'", "&&", "||", "!", "traits", ".", "plan", "[", "]", "==", ">", "0",
            "since", "last_at", "duration", "funnel", "in", "?", ":", "-", "*", "has", "price", "null", "\n", "\"",
            "event", "sum", "audience", "'buyers'", "feature", "'spend'", ".matches('(a*)*b')", "1e9",
        ]), 0..40),
    ) {
        let book = book();
        for text in [noise, words.join(" "), words.concat()] {
            match book.define(audience(book.next_id(), "tested", 1, &text)) {
                Ok((book, _)) => {
                    book.evaluate(DefinitionId(2), &Someone::default(), Timestamp(NOW)).unwrap();
                }
                Err(DefinitionError::Rule(error)) => {
                    prop_assert!(error.place.offset <= text.len());
                    prop_assert!(!error.message.is_empty() && error.place.excerpt.contains('^'));
                }
                Err(error) => prop_assert!(false, "{}", error),
            }
        }
    }

    #[test]
    fn damaged_rulebooks_never_panic(at: prop::sample::Index, to: u8, bytes: Vec<u8>) {
        let mut stored = Vec::new();
        book().encode(&mut Encoder(&mut stored));
        let index = at.index(stored.len());
        stored[index] = to;
        for candidate in [&stored[..], &stored[..index], &bytes[..]] {
            let _ = Rulebook::decode(&mut Decoder::new(candidate));
        }
    }
}
