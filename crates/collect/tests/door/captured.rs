//! Requests of the real SDKs, captured on the wire, sent again.

use crate::support::{ask, door, gzip, request};
use collect::wire::Call;
use model::event::EventKind;
use std::path::PathBuf;

/// Headers that belong to the connection, not to the request.
const OF_THE_CONNECTION: [&str; 4] = ["host", "content-length", "transfer-encoding", "connection"];

/// Each file, and what all of its requests mean together.
const FILES: &[(&str, &[&str])] = &[
    (
        "all.jsonl",
        &[
            "identify user=u1 email=a@b.c",
            "identify user=u1 email=a@b.c",
            "track \"Order Completed\" anonymous=an1 Completed:ID:100XXX",
            "page \"Home\" user=u1",
            "group \"g\" user=u1",
            "alias user=u2 user=u1",
            "screen \"S\" user=u1",
            "track \"Order Completed\" user=u1 Completed:ID:100XXX",
            "identify user=u1 email=a@b.c",
            "track \"Order Completed\" user=u1 Completed:ID:100XXX",
            "identify user=u1 email=a@b.c",
            "track \"Order Completed\" user=u1 Completed:ID:100XXX",
            "page \"Home\" anonymous=AN",
            "identify user=u1 email=a@b.c anonymous=AN",
            "track \"Order Completed\" user=u1 anonymous=AN Completed:ID:100XXX 1x1@0",
            "group \"g1\" user=u1 anonymous=AN",
            "alias user=u1 anonymous=AN",
            "track \"B1\" user=u1 anonymous=AN",
            "track \"B2\" user=u1 anonymous=AN",
        ],
    ),
    ("rudder-analytics-js.jsonl", RUDDER_JS),
    ("rudder-analytics-js-batch.jsonl", RUDDER_JS_BATCH),
];

const RUDDER_JS: &[&str] = &[
    "page \"Home\" anonymous=AN",
    "identify user=u1 email=a@b.c anonymous=AN",
    "track \"Order Completed\" user=u1 email=a@b.c anonymous=AN Completed:ID:100XXX",
    "group \"g1\" user=u1 email=a@b.c anonymous=AN",
    "alias user=u2 user=u1 email=a@b.c anonymous=AN",
];

/// Two batches of two: the capture ended before the alias was due.
const RUDDER_JS_BATCH: &[&str] = match RUDDER_JS.split_last() {
    Some((_, without_alias)) => without_alias,
    None => &[],
};

fn folder() -> PathBuf {
    let default = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data"));
    std::env::var_os("THROUGHLINE_SHARED_DATA").map_or_else(default, PathBuf::from).join("sdk")
}

#[expect(clippy::disallowed_methods, reason = "the captured requests are on the real disk")]
fn lines(file: &str) -> Option<Vec<serde_json::Value>> {
    let text = std::fs::read_to_string(folder().join(file)).ok()?;
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// The captured bodies with events, and the calls that they came with. None where there are no captures.
pub(crate) fn bodies() -> Vec<(Call, Vec<u8>)> {
    let lines = FILES.iter().filter_map(|(file, _)| lines(file)).flatten();
    let of = |line: serde_json::Value| {
        let path = line["u"].as_str()?.strip_prefix("/v1/")?;
        let call = match path {
            "batch" | "b" => Call::Batch,
            "identify" | "i" => Call::One(EventKind::Identify),
            "page" | "p" => Call::One(EventKind::Page),
            "group" | "g" => Call::One(EventKind::Group),
            "alias" | "a" => Call::One(EventKind::Alias),
            _ => Call::One(EventKind::Track),
        };
        let body = line["body"].as_str().filter(|body| body.starts_with('{'))?;
        Some((call, body.as_bytes().to_vec()))
    };
    lines.filter_map(of).collect()
}

#[test]
fn captured_requests_arrive() {
    for (file, expected) in FILES {
        let Some(lines) = lines(file) else {
            // `make test` shouts where there is no such folder; one that was named and lacks them is a mistake.
            let named = std::env::var_os("THROUGHLINE_SHARED_DATA");
            assert!(
                named.is_none(),
                "THROUGHLINE_SHARED_DATA is set, and {file} is not in {}",
                folder().display()
            );
            eprintln!("SKIPPED: no captured requests at {}; set THROUGHLINE_SHARED_DATA", folder().display());
            return;
        };
        let door = door(|_, settings| {
            let known = settings.write_keys["WK"];
            settings.write_keys.insert("WK2".into(), known);
        });
        for line in lines {
            let (method, path) = (line["m"].as_str().unwrap(), line["u"].as_str().unwrap());
            let headers = line["h"].as_object().unwrap();
            let header = |name: &str| headers.get(name).and_then(|value| value.as_str());
            let sent: Vec<(&str, &str)> = headers
                .iter()
                .filter(|(name, _)| !OF_THE_CONNECTION.contains(&name.as_str()))
                .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
                .collect();
            let body = line["body"].as_str().unwrap_or_default().as_bytes();
            let body = if header("content-encoding") == Some("gzip") { gzip(body) } else { body.to_vec() };
            let answer = ask(&door, &request(method, path, &sent, &body));
            match method {
                "OPTIONS" => {
                    assert_eq!(
                        answer.header("access-control-allow-headers"),
                        header("access-control-request-headers")
                    );
                    assert_eq!(answer.header("access-control-allow-origin"), header("origin"));
                }
                "POST" => {
                    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"success":true}"#), "{path}")
                }
                _ => assert_eq!(answer.status, 200, "{method} {path}: {}", answer.body),
            }
        }
        let meant: Vec<String> =
            door.memory.take_summaries().iter().map(|summary| without_random(summary)).collect();
        let (mut meant, mut expected) = (meant, expected.to_vec());
        meant.sort();
        expected.sort_unstable();
        assert_eq!(meant, expected, "{file}");
    }
}

/// Replaces the ids that SDKs draw by chance.
fn without_random(summary: &str) -> String {
    let words = summary.split(' ').map(|word| {
        if word.starts_with("anonymous=") && word != "anonymous=an1" {
            return "anonymous=AN".to_owned();
        }
        match word.strip_prefix("Completed:").and_then(|rest| rest.split_once(':')) {
            Some((_, value)) => format!("Completed:ID:{value}"),
            None => word.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}
