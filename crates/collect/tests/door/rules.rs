//! What the rules of a write key keep out: pages, names, numbers, shapes.

use crate::support::{Answer, NOW, TestDoor, ask, ask_head, door, keys, request};
use collect::mend::Mapping;
use collect::plan::Plan;
use collect::rules::{KeyRules, Rate};
use collect::wire::Encoding;
use model::event::Event;
use model::id::Position;
use model::quarantine::Quarantined;
use model::record::{RecordKind, decode_records};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;

const PUBLIC: (&str, &str) = ("Authorization", "Basic UFVCTElDOg==");
/// The number of the key `PUBLIC`.
const NUMBER: u32 = 2;

fn ruled(rules: KeyRules) -> TestDoor {
    door(|_, settings| {
        settings.rules.insert(NUMBER, Arc::new(rules));
    })
}

fn send(door: &TestDoor, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers: Vec<_> = [PUBLIC].iter().chain(headers).copied().collect();
    ask(door, &request("POST", path, &headers, body.as_bytes()))
}

fn track(name: &str, properties: &str) -> String {
    format!(
        r#"{{"type":"track","event":"{name}","userId":"u","messageId":"m-{name}","properties":{properties}}}"#
    )
}

fn batch(items: &[String]) -> String {
    format!(r#"{{"batch":[{}]}}"#, items.join(","))
}

#[test]
fn a_key_is_for_pages_of_its_origins() {
    let origins = ["https://shop.test".to_owned()].into();
    let door = ruled(KeyRules { origins, ..KeyRules::default() });
    let page = r#"{"userId":"u"}"#;
    let table: &[(&[(&str, &str)], u16)] = &[
        (&[("Origin", "https://shop.test")], 200),
        (&[("Origin", "https://shop.test.evil.test")], 403),
        (&[("Origin", "http://shop.test")], 403),
        (&[("Origin", "null")], 403),
        (&[("Origin", "")], 403),
        (&[("Referer", "https://shop.test/p")], 403),
        (&[], 403),
    ];
    for (headers, status) in table {
        let answer = send(&door, "/v1/page", headers, page);
        assert_eq!(answer.status, *status, "{headers:?} {}", answer.body);
        assert_eq!(door.memory.take_summaries().len(), usize::from(*status == 200));
        if *status != 200 {
            assert_eq!(answer.code(), "origin_not_allowed");
        }
    }
    // Images come without an origin, and often without a page.
    let image = "/pixel/v1/page?writeKey=PUBLIC&userId=u";
    for (headers, status) in [
        (vec![], "200"),
        (vec![("Referer", "https://shop.test/cart?a=b")], "200"),
        (vec![("Referer", "https://shop.test")], "200"),
        (vec![("Referer", "https://shop.test@evil.test/")], "403"),
        (vec![("Referer", "https://evil.test/https://shop.test/")], "403"),
        (vec![("Origin", "https://evil.test"), ("Referer", "https://shop.test/")], "403"),
    ] {
        let headers: Vec<_> = headers.into_iter().chain([("Connection", "close")]).collect();
        let answer = crate::support::ask_head(&door, &request("GET", image, &headers, b""));
        assert_eq!(&answer[9..12], status, "{headers:?}");
    }
    // Another key has its own rules: none.
    assert_eq!(ask(&door, &crate::support::post("/v1/page", page)).status, 200);
}

#[test]
fn a_key_that_sends_too_fast_is_told_how_long_to_wait() {
    let rate = Some(Rate { events_per_s: 2, burst_events: 5 });
    let door = ruled(KeyRules { rate, ..KeyRules::default() });
    let five = batch(&vec![track("A", "{}"); 5]);
    assert_eq!(send(&door, "/v1/batch", &[], &five).status, 200);
    for (path, body, wait) in [("/v1/batch", five.as_str(), "3"), ("/v1/page", r#"{"userId":"u"}"#, "1")] {
        let answer = send(&door, path, &[("Origin", "http://shop.test")], body);
        assert_eq!((answer.status, answer.code().as_str()), (429, "rate_limited"));
        assert_eq!(answer.header("retry-after"), Some(wait));
        assert_eq!(answer.header("access-control-expose-headers"), Some("Retry-After"));
    }
    assert_eq!(door.memory.take_summaries().len(), 5, "and nothing of the others");
    assert_eq!(door.open.counters().rate_limited_requests.load(Ordering::Relaxed), 2);
    assert_eq!(door.open.counters().deferred_requests.load(Ordering::Relaxed), 2);
    // A change of any setting does not fill the bucket.
    let settings = (*door.settings.load()).clone();
    door.settings.store(settings);
    assert_eq!(send(&door, "/v1/page", &[], r#"{"userId":"u"}"#).status, 429);
}

#[test]
fn events_that_a_key_does_not_list_are_set_aside() {
    let events = ["A".to_owned()].into();
    let door = ruled(KeyRules { events, ..KeyRules::default() });
    let page = r#"{"type":"page","userId":"u","messageId":"p"}"#.to_owned();
    let body = batch(&[track("A", "{}"), track("B", r#"{"email":"jane@example.com"}"#), page]);
    let answer = send(&door, "/v1/batch", &[], &body);
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"success":true}"#));
    assert_eq!(door.memory.take_summaries(), ["track \"A\" user=u", "page user=u"]);
    let kept_out = door.open.kept_out();
    assert_eq!(kept_out.len(), 1);
    assert_eq!((kept_out[0].key_number, kept_out[0].at), (NUMBER, NOW));
    assert_eq!(
        (kept_out[0].event.name.as_str(), kept_out[0].event.message_id.as_str(), kept_out[0].event.code),
        ("B", "m-B", "event_not_listed")
    );
    assert!(!format!("{kept_out:?}").contains("jane"));
    // All of a request may be set aside: there is nothing to store, and nothing to wait for.
    door.memory.say(crate::support::Word::Never);
    assert_eq!(send(&door, "/v1/track", &[], &track("C", "{}")).status, 200);
    // An event that is wrong is refused, wanted or not.
    let answer = send(&door, "/v1/track", &[], r#"{"event":"C"}"#);
    assert_eq!((answer.status, answer.code().as_str()), (400, "missing_identity"));
    assert_eq!(door.open.counters().set_aside_events.load(Ordering::Relaxed), 2);
    assert_eq!(door.open.in_flight_bytes(), 0);
}

#[test]
fn what_is_set_aside_is_remembered_up_to_a_bound() {
    let events = ["A".to_owned()].into();
    let door = ruled(KeyRules { events, ..KeyRules::default() });
    let many: Vec<String> = (0..700).map(|number| track(&format!("N{number}"), "{}")).collect();
    for _ in 0..2 {
        assert_eq!(send(&door, "/v1/batch", &[], &batch(&many)).status, 200);
    }
    let kept_out = door.open.kept_out();
    assert_eq!((kept_out.len(), kept_out[0].event.name.as_str()), (1_000, "N699"), "the newest first");
    assert_eq!(door.open.counters().set_aside_events.load(Ordering::Relaxed), 1_400);
}

#[test]
fn a_plan_blocks_or_counts() {
    let text = |otherwise: &str| {
        format!(
            r#"{{"unplanned":"allow","otherwise":"{otherwise}","events":{{"Order Completed":
                {{"required":["order_id"],"properties":{{"order_id":{{"type":"string"}}}}}}}}}}"#
        )
    };
    for (otherwise, stored, set_aside, off_plan) in [("block", 2, 1, 1), ("allow", 3, 0, 2)] {
        let plan = Some(Arc::new(Plan::read(&text(otherwise)).unwrap()));
        let door = ruled(KeyRules { plan, ..KeyRules::default() });
        let body = batch(&[
            track("Order Completed", r#"{"order_id":"o1"}"#),
            track("Order Completed", r#"{"order_id":5}"#),
            track("Not Planned", "{}"),
        ]);
        let answer = send(&door, "/v1/batch", &[], &body);
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"success":true}"#));
        assert_eq!(door.memory.take_summaries().len(), stored, "{otherwise}");
        let counters = door.open.counters();
        assert_eq!(counters.set_aside_events.load(Ordering::Relaxed), set_aside, "{otherwise}");
        assert_eq!(counters.off_plan_events.load(Ordering::Relaxed), off_plan, "{otherwise}");
        for kept_out in door.open.kept_out() {
            assert_eq!(kept_out.event.code, "off_plan");
            assert_eq!(kept_out.event.reason, "properties.order_id must be string");
        }
    }
}

/// The records that the door handed over since the last call.
fn records(door: &TestDoor) -> Vec<(RecordKind, Vec<u8>)> {
    let submissions = std::mem::take(&mut *door.memory.submissions.lock().unwrap());
    let all = submissions.iter().flat_map(|(records, count)| {
        let read: Vec<_> = decode_records(records, Position(0), NOW).map(|record| record.unwrap()).collect();
        assert_eq!(read.len(), *count as usize);
        read.into_iter().map(|record| (record.kind, record.body.to_vec())).collect::<Vec<_>>()
    });
    all.collect()
}

/// Whichever way an event comes in, the plan makes the same of it, and a beacon or an image is a browser's word under any key.
#[test]
fn a_plan_means_the_same_at_every_way_in() {
    let event = r#""event":"E","userId":"u","messageId":"m","properties":{"sku":1}"#;
    let one = format!("{{{event}}}");
    let many = format!(r#"{{"batch":[{{"type":"track",{event}}}]}}"#);
    let image = "/pixel/v1/track?writeKey=KEY&event=E&userId=u&messageId=m&properties.sku=1";
    let ways: [(&str, &str, &str, bool); 6] = [
        ("POST", "/v1/track", &one, false),
        ("POST", "/v1/batch", &many, false),
        ("POST", "/v1/import", &many, false),
        ("POST", "/v1/b", &many, false),
        ("POST", "/beacon/v1/batch?writeKey=KEY", &many, true),
        ("GET", image, "", true),
    ];
    // The image's sku is a text; the plan wants what none of them is.
    let plan = |fate: &str| {
        let plan = json!({"otherwise": fate, "events": {"E": {"properties": {"sku": {"type": "boolean"}}}}});
        Some(Arc::new(Plan::read(&plan.to_string()).unwrap()))
    };
    for (key, number) in [("WK", 1), ("PUBLIC", 2)] {
        for (fate, kind) in [
            ("allow", Some(RecordKind::EVENT)),
            ("block", None),
            ("quarantine", Some(RecordKind::QUARANTINED)),
        ] {
            let door = door(|_, settings| {
                let rules = KeyRules { plan: plan(fate), ..KeyRules::default() };
                settings.rules.insert(number, Arc::new(rules));
            });
            for (method, path, body, is_claim) in ways {
                let basic = if key == "WK" { "Basic V0s6" } else { "Basic UFVCTElDOg==" };
                let headers =
                    [("Authorization", basic), ("Content-Type", "text/plain"), ("Connection", "close")];
                let sent = request(method, &path.replace("KEY", key), &headers, body.as_bytes());
                let head = ask_head(&door, &sent);
                let case = format!("{key} {fate} {path}");
                assert!(head.starts_with("HTTP/1.1 200"), "{case}: {head}");
                let found = records(&door);
                assert_eq!(
                    found.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(),
                    Vec::from_iter(kind),
                    "{case}"
                );
                let Some((kind, body)) = found.first() else { continue };
                let held = (*kind == RecordKind::QUARANTINED).then(|| Quarantined::decode(body).unwrap());
                let event = Event::decode(held.map_or(body, |held| held.event)).unwrap();
                assert_eq!(event.from_server, key == "WK" && !is_claim, "{case}");
                assert_eq!(event.value_counts, event.from_server, "{case}");
                if let Some(held) = held {
                    assert_eq!((held.code, held.place), ("off_plan", "properties.sku"), "{case}");
                    assert_eq!(held.reason, "properties.sku must be boolean", "{case}");
                    assert_eq!(
                        (held.received_at, held.rows_max, held.kept_s),
                        (NOW, 100_000, 2_592_000),
                        "{case}"
                    );
                }
            }
            let counters = door.open.counters();
            let count = |fate_now: &str| if fate == fate_now { ways.len() as u64 } else { 0 };
            assert_eq!(
                counters.quarantined_events.load(Ordering::Relaxed),
                count("quarantine"),
                "{key} {fate}"
            );
            assert_eq!(counters.set_aside_events.load(Ordering::Relaxed), count("block"), "{key} {fate}");
            assert_eq!(counters.accepted_events.load(Ordering::Relaxed), count("allow"), "{key} {fate}");
        }
    }
}

/// What becomes of an event of the quarantine that is sent again, under a mapping and the rules of that moment.
#[test]
fn an_event_that_is_sent_again_is_judged_anew() {
    let plan = json!({"unplanned": "quarantine", "otherwise": "quarantine", "events": {"Order Completed": {
        "required": ["order_id"], "properties": {"order_id": {"type": "string"}, "total": {"type": "number"}}}}});
    let rules = |plan: &Value| KeyRules {
        plan: Some(Arc::new(Plan::read(&plan.to_string()).unwrap())),
        ..KeyRules::default()
    };
    let door = door(|_, settings| {
        settings.rules.insert(1, Arc::new(rules(&plan)));
        settings.rules.insert(2, Arc::new(rules(&plan)));
    });
    let sent = r#"{"event":"order done","userId":"u","anonymousId":"a","messageId":"m","timestamp":"2026-11-20T00:00:00Z",
        "properties":{"orderId":77,"total":"20.00","currency":"EUR"},"context":{"traits":{"email":"u@example.com"}}}"#;
    for basic in ["Basic V0s6", "Basic UFVCTElDOg=="] {
        let answer = ask(&door, &request("POST", "/v1/track", &[("Authorization", basic)], sent.as_bytes()));
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    let held: Vec<_> = records(&door).into_iter().map(|(_, body)| body).collect();
    let mend = json!([{"rename_event": "Order Completed"}, {"rename": {"from": "/orderId", "to": "/order_id"}},
        {"cast": {"at": "/order_id", "to": "string"}}, {"cast": {"at": "/total", "to": "number"}}]);
    let half =
        json!([{"rename_event": "Order Completed"}, {"rename": {"from": "/orderId", "to": "/order_id"}}]);
    let wrong = json!([{"set": {"at": "/total/cents", "value": 1}}]);
    type Expected<'a> = Result<(), (&'a str, &'a str)>;
    let table: [(usize, &Value, Expected<'_>); 5] = [
        (0, &mend, Ok(())),
        (1, &mend, Ok(())),
        (0, &half, Err(("off_plan", "properties.order_id"))),
        (0, &json!([]), Err(("unplanned", ""))),
        (0, &wrong, Err(("mapping_failed", "/total/cents"))),
    ];
    let settings = (*door.settings.load()).clone();
    let keys = keys();
    for (which, mapping, expected) in table {
        let held = Quarantined::decode(&held[which]).unwrap();
        let stored = Event::decode(held.event).unwrap();
        let encoding = Encoding { keys: &keys, settings: &settings, fresh: &|| [0; 16] };
        let again = encoding.again(&stored, held.received_at, &Mapping::read(mapping).unwrap());
        let outcome = again.event.as_ref().map(|_| ()).map_err(|stays| (stays.code, stays.place.as_str()));
        assert_eq!(outcome, expected, "{mapping}");
        let Ok(bytes) = &again.event else { continue };
        let event = Event::decode(bytes).unwrap();
        assert_eq!(
            again.properties, r#"{"total":20.00,"currency":"EUR","order_id":"77"}"#,
            "spelled as it was"
        );
        let order = event.order.unwrap();
        assert_eq!((order.order_id, order.value_minor, &order.currency), ("77", 2_000, b"EUR"));
        assert_eq!((event.message_id, event.dedup_key), ("m", stored.dedup_key));
        assert_eq!((event.occurred_at, event.source), (stored.occurred_at, stored.source));
        let who =
            |event: &Event<'_>| event.identifiers.as_slice().iter().map(|one| one.key).collect::<Vec<_>>();
        assert_eq!((who(&event).len(), who(&event)), (3, who(&stored)), "user, address and browser");
        assert_eq!(
            (event.from_server, event.value_counts),
            (which == 0, which == 0),
            "a browser's word stays a claim"
        );
    }
    // The rules are those of now: the key may be another one, and may be disabled.
    let held = Quarantined::decode(&held[0]).unwrap();
    let stored = Event::decode(held.event).unwrap();
    let judged = |change: &dyn Fn(&mut collect::settings::DoorSettings)| {
        let mut settings = settings.clone();
        change(&mut settings);
        let encoding = Encoding { keys: &keys, settings: &settings, fresh: &|| [0; 16] };
        encoding.again(&stored, held.received_at, &Mapping::default()).event.map_err(|stays| stays.code)
    };
    assert!(judged(&|settings| drop(settings.rules.remove(&1))).is_ok(), "no plan, no objection");
    let allows = json!({"unplanned": "allow"});
    assert!(judged(&|settings| drop(settings.rules.insert(1, Arc::new(rules(&allows))))).is_ok());
    let blocks = json!({"unplanned": "block"});
    assert_eq!(
        judged(&|settings| drop(settings.rules.insert(1, Arc::new(rules(&blocks))))),
        Err("unplanned")
    );
    let lists = KeyRules { events: ["A".to_owned()].into(), ..KeyRules::default() };
    assert_eq!(
        judged(&|settings| drop(settings.rules.insert(1, Arc::new(lists.clone())))),
        Err("event_not_listed")
    );
    let disable = |settings: &mut collect::settings::DoorSettings| {
        settings.write_keys.get_mut("WK").unwrap().enabled = false;
    };
    assert_eq!(judged(&disable), Err("source_disabled"));
}
