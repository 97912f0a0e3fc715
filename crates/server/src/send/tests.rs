use super::lines::{LINE_BYTES_MAX, Lines, Named, complete};
use super::*;
use crate::http_client::stub::{self, Answer, Asked, reply};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const QUICK: RetryPolicy =
    RetryPolicy { attempts_max: 3, first_wait: Duration::from_millis(1), wait_max: Duration::from_millis(5) };

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("throughline-send-{name}-{}.ndjson", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn args(&self, to: std::net::SocketAddr, change: impl FnOnce(&mut SendArgs)) -> SendArgs {
        let mut args = SendArgs {
            file: self.0.clone(),
            to: format!("http://{to}"),
            write_key: Some("WK".into()),
            write_key_file: None,
            batch: 100,
            connections: 1,
            default_type: None,
            skip_bad: false,
            json: false,
        };
        change(&mut args);
        args
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn transfer(args: &SendArgs) -> Summary {
    super::transfer(args, QUICK, &Terminal::stderr()).unwrap()
}

fn lines(count: u64) -> String {
    (0..count).map(|index| format!("{{\"event\":\"E\",\"userId\":\"u{index}\"}}\n")).collect()
}

fn events(asked: &Asked) -> Vec<Value> {
    let body: Value = serde_json::from_slice(&asked.body).unwrap();
    assert!(body["sentAt"].is_string());
    body["batch"].as_array().unwrap().clone()
}

/// A collector that takes what `judge` does not refuse, all or nothing; and what it took.
fn collector(
    judge: impl Fn(&Value) -> bool + Send + Sync + 'static,
) -> (std::net::SocketAddr, Arc<Mutex<Vec<Value>>>) {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&taken);
    let address = stub::start(move |asked| -> Answer {
        assert_eq!((asked.path.as_str(), asked.header("authorization")), ("/v1/batch", "Basic V0s6"));
        let events = events(&asked);
        if !events.iter().all(&judge) {
            return reply(400, "", r#"{"code":"bad","message":"no"}"#);
        }
        keep.lock().unwrap().extend(events);
        reply(200, "", r#"{"success":true}"#)
    });
    (address, taken)
}

#[test]
fn a_file_arrives_once_and_in_order_and_again_under_the_same_ids() {
    let (address, taken) = collector(|_| true);
    let file = Scratch::new("order", &lines(1_234));
    for round in 1..=2 {
        let summary = transfer(&file.args(address, |_| {}));
        assert_eq!((summary.lines, summary.accepted, summary.requests), (1_234, 1_234, 13));
        assert_eq!(taken.lock().unwrap().len(), 1_234 * round);
        summary.verdict().unwrap();
    }
    let taken = taken.lock().unwrap();
    for (index, event) in taken.iter().enumerate() {
        assert_eq!(event["userId"], format!("u{}", index % 1_234));
        assert_eq!(event["type"], "track");
    }
    let ids: BTreeSet<&str> = taken.iter().map(|event| event["messageId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 1_234);
}

#[test]
fn several_connections_lose_and_repeat_nothing() {
    let (address, taken) = collector(|_| true);
    let file = Scratch::new("several", &lines(2_000));
    let summary = transfer(&file.args(address, |args| (args.connections, args.batch) = (5, 7)));
    assert_eq!(summary.accepted, 2_000);
    let users: BTreeSet<String> =
        taken.lock().unwrap().iter().map(|event| event["userId"].as_str().unwrap().to_owned()).collect();
    assert_eq!((users.len(), taken.lock().unwrap().len()), (2_000, 2_000));
}

#[test]
fn refused_messages_are_found_and_named_and_the_others_taken() {
    let (address, taken) = collector(|event| !matches!(event["userId"].as_str(), Some("u3" | "u77")));
    let file = Scratch::new("refused", &lines(200));
    let summary = transfer(&file.args(address, |args| args.skip_bad = true));
    assert_eq!((summary.accepted, summary.refused, summary.bad, summary.not_sent), (198, 2, 0, 0));
    assert_eq!(summary.problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [4, 78]);
    assert_eq!(taken.lock().unwrap().len(), 198);
    assert!(summary.verdict().is_err());

    let summary = transfer(&file.args(address, |_| {}));
    assert_eq!(summary.refused, 1);
    assert!(summary.ended_early.as_deref().unwrap().starts_with("line 4: refused with 400"));
    assert_eq!(summary.accepted + summary.refused + summary.not_sent, summary.lines);
    assert!(summary.verdict().is_err());
}

#[test]
fn bad_lines_are_named_and_skipped_or_fatal() {
    let text = "{\"event\":\"E\",\"userId\":\"u\"}\n\nnot json\n[1]\n{\"userId\":\"u\"}\n{\"type\":\"buy\"}\n\
                {\"type\":null,\"event\":\"E\"}\n{\"batch\":[]}\n{\"type\":\"track\"\n{\"event\":\"E\",\"userId\":\"u\"}";
    let (address, _) = collector(|_| true);
    let file = Scratch::new("bad", text);
    let summary = transfer(&file.args(address, |args| args.skip_bad = true));
    assert_eq!((summary.lines, summary.accepted, summary.bad), (9, 2, 7));
    assert_eq!(
        summary.problems.iter().map(|problem| problem.line).collect::<Vec<_>>(),
        [3, 4, 5, 6, 7, 8, 9]
    );
    let summary = transfer(&file.args(address, |_| {}));
    assert_eq!((summary.bad, summary.accepted + summary.not_sent), (1, 1));
    assert!(summary.ended_early.as_deref().unwrap().starts_with("line 3: "));
    let summary = transfer(&file.args(address, |args| {
        (args.skip_bad, args.default_type) = (true, Some(MessageType::Page));
    }));
    assert_eq!((summary.accepted, summary.bad), (3, 6));
}

#[test]
fn a_busy_collector_is_waited_for_and_one_that_stays_busy_ends_it() {
    for (busy, accepted) in [(2, 250), (1_000, 0)] {
        let count = AtomicUsize::new(0);
        let address = stub::start(move |_| {
            let busy = count.fetch_add(1, SeqCst) < busy;
            if busy { reply(503, "Retry-After: 0\r\n", "busy") } else { reply(200, "", "{}") }
        });
        let file = Scratch::new("busy", &lines(250));
        let summary = transfer(&file.args(address, |_| {}));
        assert_eq!((summary.accepted, summary.retries), (accepted, 2));
        assert_eq!(summary.ended_early.is_some(), accepted == 0);
        assert_eq!(summary.accepted + summary.not_sent, summary.lines);
        assert_eq!(summary.verdict().is_ok(), accepted == 250);
    }
}

#[test]
fn a_wrong_key_ends_it_at_once() {
    let address = stub::start(|_| reply(401, "", r#"{"code":"bad_key","message":"unknown write key"}"#));
    let file = Scratch::new("key", &lines(100_000));
    let summary = transfer(&file.args(address, |_| {}));
    assert_eq!((summary.accepted, summary.requests), (0, 1));
    assert!(summary.ended_early.as_deref().unwrap().contains("unknown write key"));
    assert!(summary.lines < 1_000, "it read on: {}", summary.lines);
}

#[test]
fn an_event_that_would_overfill_a_request_begins_the_next() {
    let big = "x".repeat(200 * 1024);
    let text: String = (0..5).map(|_| format!("{{\"event\":\"{big}\",\"userId\":\"u\"}}\n")).collect();
    let largest = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&largest);
    let address = stub::start(move |asked| {
        seen.fetch_max(asked.body.len(), SeqCst);
        reply(200, "", "{}")
    });
    let file = Scratch::new("big", &text);
    let summary = transfer(&file.args(address, |_| {}));
    assert_eq!((summary.accepted, summary.requests), (5, 3));
    assert!(largest.load(SeqCst) < 500_000);
}

#[test]
fn a_line_without_end_is_one_bad_line_and_costs_no_more_memory_than_the_limit() {
    let mut text = "y".repeat(LINE_BYTES_MAX + 1);
    text.push_str("\n{}");
    let mut lines = Lines::new(std::io::Cursor::new(text));
    let first = lines.next_line().unwrap().unwrap();
    assert_eq!((first.number, first.text), (1, None));
    let second = lines.next_line().unwrap().unwrap();
    assert_eq!((second.number, second.text), (2, Some(&b"{}"[..])));
    assert!(lines.next_line().unwrap().is_none());
}

#[test]
fn a_key_can_come_from_a_file() {
    let (address, _) = collector(|_| true);
    let file = Scratch::new("key-events", &lines(3));
    let key = Scratch::new("key-file", " WK \nrest\n");
    let from = |path: &std::path::Path| {
        let path = path.to_owned();
        file.args(address, |args| (args.write_key, args.write_key_file) = (None, Some(path)))
    };
    assert_eq!(transfer(&from(&key.0)).accepted, 3);
    let empty = Scratch::new("key-empty", "\n");
    assert!(super::transfer(&from(&empty.0), QUICK, &Terminal::stderr()).is_err());
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from)
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec(("[a-z\"\\\\]{0,4}", inner), 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect()))
        ]
    })
}

proptest! {
    #[test]
    fn whatever_a_line_holds_it_is_a_whole_message_or_named(bytes: Vec<u8>) {
        let named = Named { source: "f", line: 1, default_type: Some(MessageType::Track) };
        if let Ok(Some(message)) = complete(&bytes, &named) {
            prop_assert!(serde_json::from_slice::<Value>(&message).unwrap().is_object());
        }
    }

    #[test]
    fn a_message_keeps_what_it_says_and_gets_what_it_lacks(
        members in prop::collection::btree_map("(event|traits|userId|properties|[a-z]{1,6})", json(), 1..6),
        blank in "[ \t]{0,3}",
    ) {
        prop_assume!(!members.contains_key("type") && !members.contains_key("batch"));
        let sent = Value::Object(members.clone().into_iter().collect());
        let line = format!("{blank}{sent}{blank}\r");
        let named = Named { source: "f", line: 9, default_type: Some(MessageType::Page) };
        let message = complete(line.as_bytes(), &named).unwrap().unwrap();
        let got: Value = serde_json::from_slice(&message).unwrap();
        for (name, value) in &members {
            prop_assert_eq!(&got[name], value);
        }
        prop_assert_eq!(got.as_object().unwrap().len(), members.len() + 2);
        let there = |name: &str| members.get(name).is_some_and(|value| !value.is_null());
        let expected = if there("event") { "track" } else if there("traits") { "identify" } else { "page" };
        prop_assert_eq!(got["type"].as_str(), Some(expected));
        let other = Named { line: 10, ..named };
        prop_assert_eq!(complete(line.as_bytes(), &named).unwrap().unwrap(), message.clone());
        prop_assert_ne!(complete(line.as_bytes(), &other).unwrap().unwrap(), message);
    }
}
