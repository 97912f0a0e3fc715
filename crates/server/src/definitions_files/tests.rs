//! Files held against what they mean; servers are held in `tests/server/definitions_files.rs`.

use super::kinds::{Field, Form, KINDS, Kind, Reference, Type, canonical, values_of};
use super::place::{Findings, offset_in_source};
use super::plan::{Plan, Present, plan};
use super::read::{Item, read};
use super::server::Server;
use super::write::write;
use super::{carry_out, check};
use crate::http_client::stub;
use crate::terminal::Terminal;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use toml::de::DeValue;

fn findings(text: &str) -> String {
    let mut findings = Findings::default();
    let items = read("shop.toml", text, &mut findings);
    let findings = findings.or(()).and_then(|()| check(&items));
    findings.err().map(|findings| findings.to_string()).unwrap_or_default()
}

#[test]
fn mistakes_are_shown_at_their_place() {
    let head = "[[audience]]\nname = \"a\"\n";
    let with = |rest: &str| format!("{head}{rest}");
    let two = "[[audience]]\nname = \"a\"\nrule = 'audience(\"b\")'\n[[audience]]\nname = \"b\"\nrule = ";
    for (text, place, message, carets) in [
        ("name = ", "1:8", "this is not TOML", "^"),
        ("[[audiense]]\nname = 'x'", "1:3", "did you mean `audience`?", "^^^^^^^^"),
        ("[settings.idenity]", "1:11", "did you mean `identity`?", "^^^^^^^"),
        ("[audience]\nname = 'x'", "1:2", "write [[audience]]", "^^^^^^^^"),
        (&with("rul = 'true'"), "3:1", "did you mean `rule`?", "^^^"),
        (&with("rule = 3"), "3:8", "`rule` is text, in quotes, and this is integer", "^"),
        (head, "1:1", "[[audience]] needs `rule`", "^"),
        ("[[audience]]\nrule = 'count(\"x\") > 1'", "1:1", "needs a `name`", "^"),
        (&with("rule = 'count(\"x\") > tarits.y'"), "3:22", "Did you mean `traits`?", "^^^^^^"),
        // Escapes take more room in the file than in the rule.
        (&with(r#"rule = "count(\"x\") > tarits.y""#), "3:24", "rule_unknown_name", "^^^^^^"),
        (&with("rule = '''\n\n  count(\"x\") > 0 &&\n\ttarits.y'''"), "6:2", "rule_unknown_name", "^^^^^^"),
        (&with("rule = 'audience(\"b\")'"), "3:18", "rule_unknown_name", "^^^"),
        (&format!("{two}'audience(\"a\")'"), "6:18", "rule_cycle", "^^^"),
        (&with("rule = 'count(\"x\") > 1'\nsuppress = { everything = false }"), "4:12", "one of", "^"),
        (&with("rule = 'count(\"x\") > 1'\nsuppress = { categroy = 'x' }"), "4:14", "`category`", "^^^^^^^^"),
        (
            &format!("{}{head}rule = 'count(\"y\") > 1'", with("rule = 'count(\"x\") > 1'\n")),
            "5:8",
            "a` is there already: shop.toml:1",
            "^^^",
        ),
        ("[[feature]]\nname = 'f'\nexpression = 'count(\"x\") > 1'", "3:15", "rule_", "^"),
        ("[[destination]]\nname = 'crm'\ntype = 'webhock'", "3:8", "did you mean `webhook`?", "^^^^^^^^^"),
        ("[[destination]]\nname = 'crm'\ntype = 'webhook'", "3:8", "needs a `url`", "^"),
        ("[[destination]]\nname = 'c m'\ntype = 'ndjson'", "2:8", "letters, digits", "^^^^^"),
        (
            "[[destination]]\nname = 'c'\ntype = 'ndjson'\nkinds = ['audience.entred']",
            "4:9",
            "`audience.entered`?",
            "^",
        ),
        (
            "[[destination]]\nname = 'c'\ntype = 'ndjson'\naudiences = ['x']",
            "4:13",
            "which there is not",
            "^",
        ),
        ("[settings.suppression]\nwindow_s = 0", "2:12", "1 second to 400 days", "^"),
        ("[settings.suppression]\nwindow_s = 99_999_999_999_999_999_999", "2:12", "`window_s` is", "^"),
        ("[settings.line]\ncurrency = 'eur'", "2:12", "three capital letters", "^^^^^"),
        ("[settings.line]\nview_window_s = 2_592_001", "2:17", "`view_window_s` is 0 to 30 days", "^"),
        ("[settings.line]\nfrequency_cap = 0", "2:17", "`frequency_cap` is 1 to", "^"),
        (
            "[settings.line]\nrates = [{ currency = 'USD', day = '2026-13-01', rate = '1' }]",
            "2:9",
            "\"2026-13-01\" is no day",
            "^",
        ),
        (
            "[settings.line]\nrates = [{ currency = 'USD', day = '2026-01-01', rate = '0' }]",
            "2:9",
            "\"0\" is no rate",
            "^",
        ),
        (
            "[settings.line]\nrates = [{ currency = 'USD', day = '2026-01-01', rate = 1.5 }]",
            "2:57",
            "`rate` is a decimal number, in quotes",
            "^",
        ),
        (
            "[[settings.line.rates]]\ncurrency = 'USD'\nday = '2026-01-01'\nrate = '1'\n\
             [[settings.line.rates]]\ncurrency = 'USD'\nday = '2026-01-01'\nrate = '2'",
            "5:1",
            "another one of this currency and day",
            "^",
        ),
        ("[settings.identity]\nshared_takers = 1", "2:17", "between 2", "^"),
        ("[settings.identity]\nkinds = []", "2:9", "kinds must be between 1", "^^"),
    ] {
        let found = findings(text);
        assert!(found.contains(&format!("shop.toml:{place}: ")), "{text}\n---\n{found}");
        assert!(found.contains(message), "{text}\n---\n{found}");
        let shown = found.lines().find(|line| line.trim_start().starts_with('^')).unwrap_or_default();
        assert!(shown.trim().starts_with(carets), "{text}\n---\n{found}");
        let column: usize = place.split_once(':').unwrap().1.parse().unwrap();
        assert_eq!(
            shown.chars().take_while(|one| *one != '^').count(),
            4 + column - 1,
            "{text}\n---\n{found}"
        );
    }
}

#[test]
fn what_is_right_is_read_with_what_is_meant_where_nothing_is_said() {
    let text = "# a shop\r\n[[destination]]\r\nname = 'files'\r\ntype = 'ndjson'\r\nkinds = ['audience.exited', 'audience.entered']\r\n\
                [[audience]]\r\nname = 'b'\r\nrule = '''\r\ncount(\"x\") > 1\r\n  || audience(\"a\")\r\n'''\r\n\
                [[audience]]\r\nname = 'a'\r\nrule = 'feature(\"f\") > 1'\r\n\
                [[feature]]\r\nname = 'f'\r\nexpression = 'count(\"y\")'\r\n[settings.suppression]\r\nwindow_s = 86_400\r\n";
    assert_eq!(findings(text), "");
    let items = read("shop.toml", text, &mut Findings::default());
    let of = |name: &str| items.iter().find(|item| item.name == name).map(|item| json!(item.values)).unwrap();
    assert_eq!(of("b"), json!({ "rule": "count(\"x\") > 1\n  || audience(\"a\")" }));
    assert_eq!(
        of("files"),
        json!({ "type": "ndjson", "class": "marketing", "kinds": ["audience.entered", "audience.exited"],
                "audiences": [], "identifiers": [], "events": [], "enabled": true, "consent": "not_needed" })
    );
    assert_eq!(of("")["window_s"], 86_400);
    assert_eq!(of("")["products"], true);
    // Whatever the files' order is: settings, features, audiences (those first that others depend on), destinations.
    let plan = plan(&items, &Present::default(), false).unwrap();
    let order: Vec<&str> = plan.steps.iter().map(|step| step.name.as_str()).collect();
    assert_eq!(order, ["", "f", "a", "b", "files"]);
}

#[test]
fn settings_of_the_line_mean_the_same_however_they_are_written() {
    let text = "[settings.line]\ncurrency = 'EUR'\nsessions = true\n\
                [[settings.line.rates]]\ncurrency = 'USD'\nday = '2026-01-02'\nrate = '0.92310'\n\
                [[settings.line.rates]]\ncurrency = 'GBP'\nday = '2026-01-09'\nrate = '1.2e0'\n\
                [[settings.line.rates]]\ncurrency = 'USD'\nday = '2026-01-01'\nrate = '1'\n";
    assert_eq!(findings(text), "");
    let items = read("shop.toml", text, &mut Findings::default());
    let rate =
        |currency: &str, day: &str, rate: &str| json!({ "currency": currency, "day": day, "rate": rate });
    let rates = [
        rate("GBP", "2026-01-09", "1.2"),
        rate("USD", "2026-01-01", "1"),
        rate("USD", "2026-01-02", "0.9231"),
    ];
    assert_eq!(items[0].values["rates"], json!(rates));
    // What a server answers, with what it says beside.
    let answer = json!({
        "version": 3, "holds_from": "2026-11-22T00:00:00.000Z", "currency": "EUR", "view_window_s": 86_400,
        "click_window_s": 604_800, "frequency_cap": 10, "cap_window_s": 86_400, "duplicate_window_s": 86_400,
        "grace_s": 0, "sessions": true, "consent_category": "Advertising", "rates": [rates[1], rates[2], rates[0]],
    });
    assert_eq!(values_of(items[0].kind.fields, &answer), items[0].values);
}

/// A file that leaves out what is usual says the same as a server that shows it.
#[test]
fn what_is_usual_for_a_type_of_destination_is_no_difference() {
    let shown = |more: Value| {
        let mut answer = json!({ "name": "d", "class": "marketing", "kinds": [], "audiences": [], "identifiers": [],
            "events": [], "enabled": true, "secret_generation": 0 });
        answer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        answer
    };
    for (text, answer) in [
        (
            "type = 'platform'\nsettings = { platform = 'meta_audience' }",
            json!({ "type": "platform", "settings": { "platform": "meta_audience" }, "credentials": {}, "person": [],
                "consent": "required" }),
        ),
        (
            "type = 'http'\nurl = 'https://a.test/'\n[destination.settings]\nbody = '''\n{\"a\": {{ id }}}\n'''",
            json!({ "type": "http", "url": "https://a.test/", "settings": { "body": "{\"a\": {{ id }}}\n" },
                "credentials": {}, "person": [], "consent": "not_needed" }),
        ),
        ("type = 'ndjson'", json!({ "type": "ndjson", "consent": "not_needed" })),
        (
            "type = 'ndjson'\nconsent = 'required'\nconsent_category = 'Email'",
            json!({ "type": "ndjson", "consent": "required", "consent_category": "Email" }),
        ),
    ] {
        let text = format!("[[destination]]\nname = 'd'\n{text}\n");
        let items = read("shop.toml", &text, &mut Findings::default());
        assert_eq!(values_of(items[0].kind.fields, &shown(answer)), items[0].values, "{text}");
    }
}

#[test]
fn a_place_in_a_string_is_found_behind_every_escape() {
    for (raw, value) in [
        (r#""a\"b\\c\tdé\u00e9\U0001F600x""#, "a\"b\\c\tdéé😀x"),
        ("\"\"\"\none\\\n   \n  two\"\"\"", "onetwo"),
        ("'''\na'b\n'''", "a'b\n"),
        (r#""""a""b""""#, "a\"\"b"),
    ] {
        for (wanted, character) in value.char_indices() {
            let at = offset_in_source(raw, value, wanted).unwrap();
            assert_eq!(prefix(raw, at), &value[..wanted], "{raw} {wanted} {character}");
        }
    }
    assert_eq!(offset_in_source("'ab'", "abc", 99), None);
}

/// What the beginning of a string's source means, as the TOML parser says.
fn prefix(raw: &str, at: usize) -> String {
    let quotes = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quotes| raw.starts_with(quotes)).unwrap();
    let closed = format!("{}{quotes}", &raw[..at]);
    DeValue::parse(&closed).unwrap().get_ref().as_str().unwrap().to_owned()
}

/// Any value that a key can hold.
fn any_value(holds: Type) -> BoxedStrategy<Value> {
    match holds {
        Type::Text | Type::Rule => any_text().prop_map(Value::from).boxed(),
        Type::Decimal => {
            (1_i64..1_000_000_000_000).prop_map(|nano| json!(crate::line::rate_text(nano))).boxed()
        }
        Type::Boolean => any::<bool>().prop_map(Value::from).boxed(),
        Type::Integer { least, most } => (least..=most).prop_map(Value::from).boxed(),
        Type::OneOf(words) => prop::sample::select(words).prop_map(Value::from).boxed(),
        Type::Names(_) => prop::collection::vec(any_text(), 0..4).prop_map(|names| json!(names)).boxed(),
        Type::Table(fields) => any_table(fields),
        Type::Free => {
            prop::collection::btree_map(any_text(), any_free(), 0..4).prop_map(|all| json!(all)).boxed()
        }
        Type::Tables(fields, by) => prop::collection::vec(any_table(fields), 0..4)
            .prop_map(move |tables| {
                let mut seen = BTreeSet::new();
                let key = |one: &Value| by.iter().map(|by| one[*by].to_string()).collect::<Vec<_>>();
                tables.into_iter().filter(|one| seen.insert(key(one))).collect::<Value>()
            })
            .boxed(),
    }
}

fn any_free() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any_text().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(any_text(), inner, 0..3).prop_map(|all| json!(all)),
        ]
    })
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[ -~]{0,20}", "[a'\"\\\\\n\t é]{0,12}", "\\PC{0,8}'''?"]
}

fn any_table(fields: &'static [Field]) -> BoxedStrategy<Value> {
    fields.iter().fold(Just(json!({})).boxed(), |table, field| {
        (table, any_value(field.holds), any::<bool>())
            .prop_map(|(mut table, value, is_there)| {
                if is_there || matches!(field.otherwise, super::kinds::Otherwise::Refused) {
                    table[field.name] = value;
                }
                table
            })
            .boxed()
    })
}

fn any_item() -> impl Strategy<Value = Item> {
    prop::sample::select((0..KINDS.len()).collect::<Vec<_>>()).prop_flat_map(|index| {
        let kind: &'static Kind = &KINDS[index];
        (any_text(), any_table(kind.fields)).prop_map(move |(name, table)| {
            let name = if kind.form == Form::Settings { String::new() } else { name };
            Item { kind, name, values: values_of(kind.fields, &table), origin: None }
        })
    })
}

fn comparable(items: &[Item]) -> BTreeSet<String> {
    items.iter().map(|item| json!([item.kind.word, item.name, item.values]).to_string()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_written_is_read_as_the_same(items in prop::collection::vec(any_item(), 0..6)) {
        let mut seen = BTreeSet::new();
        let mut items: Vec<Item> =
            items.into_iter().filter(|one| seen.insert((one.kind.word, one.name.clone()))).collect();
        // What contradicts itself is refused when it is read, see the table of mistakes.
        items.retain(|item| (item.kind.check)(item).is_none());
        let files = write(&items);
        let mut again = Vec::new();
        let mut findings = Findings::default();
        for (name, text) in &files {
            again.extend(read(name, text, &mut findings));
        }
        prop_assert!(findings.0.is_empty(), "{findings}\n{files:#?}");
        prop_assert_eq!(comparable(&items), comparable(&again));
        items.reverse();
        prop_assert_eq!(files, write(&items), "the order of definitions is nothing that files depend on");
    }

    #[test]
    fn a_place_in_any_text_is_found(text in any_text()) {
        let value = canonical(Type::Rule, Value::from(text));
        let value = value.as_str().unwrap();
        for raw in [super::write::literal(Type::Rule, &Value::from(value)), super::write::literal(Type::Text, &Value::from(value))] {
            for (wanted, _) in value.char_indices() {
                let at = offset_in_source(&raw, value, wanted).unwrap();
                prop_assert_eq!(prefix(&raw, at), &value[..wanted]);
            }
        }
    }

    /// Audiences that use each other without a circle, on the server and in files; a naive world takes the steps.
    #[test]
    fn every_step_can_be_made_when_its_turn_comes(
        before in prop::collection::vec(prop::collection::vec(0..8_usize, 0..3), 8),
        after in prop::collection::vec(prop::collection::vec(0..8_usize, 0..3), 8),
        there in any::<u8>(), wanted in any::<u8>(), turn in 0..8_usize,
    ) {
        // The files' definitions use those before them, the server's those before them in another order.
        let server = audiences(there, &before, |index| (index + turn) % 8);
        let files = audiences(wanted, &after, |index| 7 - index);
        let mut present = Present::default();
        for item in &server {
            present.versions.insert(("audience", item.name.clone()), 1);
        }
        present.items = server;
        let plan = plan(&files, &present, true).unwrap();
        let uses = |item: &Item| -> BTreeSet<String> {
            let rule = item.text("rule").unwrap().to_owned();
            (0..8).map(|index| format!("a{index}")).filter(|name| rule.contains(&format!("\"{name}\""))).collect()
        };
        let mut world: BTreeMap<String, BTreeSet<String>> =
            present.items.iter().map(|item| (item.name.clone(), uses(item))).collect();
        for step in &plan.steps {
            match &step.after {
                Some(values) => {
                    let used = uses(&Item { kind: step.kind, name: String::new(), values: values.clone(), origin: None });
                    prop_assert!(used.iter().all(|name| world.contains_key(name)), "{plan:?}");
                    world.insert(step.name.clone(), used);
                    prop_assert!(!is_in_a_circle(&world, &step.name), "{plan:?}");
                }
                None => {
                    world.remove(&step.name);
                    prop_assert!(world.values().all(|used| !used.contains(&step.name)), "{plan:?}");
                }
            }
        }
        let wanted: BTreeMap<String, BTreeSet<String>> =
            files.iter().map(|item| (item.name.clone(), uses(item))).collect();
        prop_assert_eq!(world, wanted);
        // Once that is what the server has, nothing is to be done.
        let done = Present { items: files.clone(), ..Present::default() };
        prop_assert!(super::plan(&files, &done, true).unwrap().steps.is_empty());
    }
}

fn audiences(there: u8, uses: &[Vec<usize>], rank: impl Fn(usize) -> usize) -> Vec<Item> {
    let is_there = |index: usize| there & (1 << index) != 0;
    let kind = KINDS.iter().find(|kind| kind.word == "audience").unwrap();
    let rule = |index: usize| {
        let used = uses[index].iter().filter(|other| is_there(**other) && rank(**other) < rank(index));
        let parts: Vec<String> = used.map(|other| format!("audience(\"a{other}\")")).collect();
        if parts.is_empty() { "count(\"x\") > 0".to_owned() } else { parts.join(" || ") }
    };
    let item = |index| {
        let values = values_of(kind.fields, &json!({ "rule": rule(index) }));
        Item { kind, name: format!("a{index}"), values, origin: None }
    };
    (0..8).filter(|index| is_there(*index)).map(item).collect()
}

fn is_in_a_circle(world: &BTreeMap<String, BTreeSet<String>>, name: &str) -> bool {
    let (mut seen, mut waiting) = (BTreeSet::new(), vec![name.to_owned()]);
    while let Some(one) = waiting.pop() {
        for used in world.get(&one).into_iter().flatten() {
            if used == name {
                return true;
            }
            if seen.insert(used.clone()) {
                waiting.push(used.clone());
            }
        }
    }
    false
}

#[test]
fn what_the_server_would_refuse_in_the_middle_is_said_before_the_beginning() {
    let items = |text: &str| read("shop.toml", text, &mut Findings::default());
    let there = "[[feature]]\nname = 'f'\nexpression = 'count(\"x\")'\n[[audience]]\nname = 'a'\nrule = 'feature(\"f\") > 1'\n";
    let there = items(there).into_iter().map(|item| Item { origin: None, ..item }).collect();
    let present = Present { items: there, ..Present::default() };
    for (files, said) in [
        // The rule on the server, which stays, cannot use what the feature becomes.
        (
            "[[feature]]\nname = 'f'\nexpression = 'last_at(\"x\")'\n",
            "shop.toml:1:1: feature `f`: `a` refers to it",
        ),
        ("[[feature]]\nname = 'a'\nexpression = 'count(\"x\")'\n", "a definition stays what it is"),
    ] {
        let error = plan(&items(files), &present, false).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    // The feature alone may go neither with nor without the audience's leave; together they go in the right order.
    let only = "[[audience]]\nname = 'b'\nrule = 'count(\"x\") > 2'\n";
    let plan = plan(&items(only), &present, true).unwrap();
    let order: Vec<(&str, &str)> = plan.steps.iter().map(|step| (step.word(), step.name.as_str())).collect();
    assert_eq!(order, [("add", "b"), ("remove", "a"), ("remove", "f")]);
}

/// A server that has nothing, answers the n-th request for destinations as `later` says, and refuses a definition.
fn stub_server(refusal: &'static str, later: fn(u64) -> &'static str) -> Server {
    let asked = AtomicU64::new(0);
    let address = stub::start(move |request| {
        let is_put = request.header("idempotency-key").starts_with("apply-");
        match request.path.as_str() {
            "/admin/v1/status" => stub::reply(200, "", r#"{"applied_next":7}"#),
            "/admin/v1/features" => stub::reply(200, "", r#"{"features":[]}"#),
            "/admin/v1/audiences" => stub::reply(200, "", r#"{"audiences":[]}"#),
            "/admin/v1/destinations" => stub::reply(200, "", later(asked.fetch_add(1, Relaxed))),
            _ if is_put => stub::reply(409, "", refusal),
            _ => stub::reply(200, "", "{}"),
        }
    });
    Server::new(&format!("http://{address}"), "token".to_owned()).unwrap()
}

fn carried(server: &mut Server, files: &str) -> (Plan, String) {
    let items = read("shop.toml", files, &mut Findings::default());
    let plan = plan(&items, &server.read().unwrap(), false).unwrap();
    let carried = carry_out(&plan, server, &Terminal::stderr());
    assert_eq!(carried.made, 0);
    (plan, carried.stopped.unwrap().to_string())
}

#[test]
fn what_somebody_else_changed_meanwhile_is_not_written_over() {
    let nothing = |_| r#"{"destinations":[]}"#;
    let audience = "[[audience]]\nname = 'a'\nrule = 'count(\"x\") > 2'\n";
    let stale = r#"{"code":"conflict","rule_code":"definition_stale","message":"version 3 is in force"}"#;
    let (plan, error) = carried(&mut stub_server(stale, nothing), audience);
    assert!(error.contains("audience `a` was changed on the server since it was read"), "{error}");
    assert_eq!(plan.steps[0].version, Some(0));
    let other = r#"{"code":"idempotency_conflict","message":"used for another request"}"#;
    let (_, error) = carried(&mut stub_server(other, nothing), audience);
    assert!(error.contains("refused audience `a`: used for another request"), "{error}");
    // Destinations have no versions: one that comes in between is seen by looking again.
    let later = |asked| match asked {
        0 => r#"{"destinations":[]}"#,
        _ => r#"{"destinations":[{"name":"crm","type":"ndjson"}]}"#,
    };
    let destination = "[[destination]]\nname = 'crm'\ntype = 'ndjson'\nenabled = false\n";
    let (_, error) = carried(&mut stub_server("{}", later), destination);
    assert!(error.contains("destination `crm` was changed on the server since it was read"), "{error}");
}

#[test]
fn a_key_is_that_of_one_change_of_one_state() {
    let items = |text: &str| read("shop.toml", text, &mut Findings::default());
    let key = |rule: &str, position, attempt| {
        let text = format!("[[audience]]\nname = 'a'\nrule = '{rule}'\n");
        let plan = plan(&items(&text), &Present { position, ..Present::default() }, false).unwrap();
        super::carry_out::key(&plan.steps[0], position, attempt)
    };
    let (one, two) = ("count(\"x\") > 1", "count(\"x\") > 2");
    assert_eq!(key(one, 1, 0), key(one, 1, 0));
    let keys = BTreeSet::from([key(one, 1, 0), key(two, 1, 0), key(one, 2, 0), key(one, 1, 1)]);
    assert_eq!(keys.len(), 4);
    assert!(keys.iter().all(|key| key.len() <= 128 && key.is_ascii()));
}

#[test]
fn every_kind_is_where_its_names_are_known() {
    for (index, kind) in KINDS.iter().enumerate() {
        for field in kind.fields {
            if let Type::Names(Reference::Kind(word)) = field.holds {
                let other = KINDS.iter().position(|other| other.word == word);
                assert!(other.is_some_and(|other| other < index), "{} comes before {word}", kind.word);
            }
        }
    }
}
