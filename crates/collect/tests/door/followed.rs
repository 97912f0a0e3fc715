//! What somebody who follows a request is told, and when nobody is.

use crate::support::{Client, Memory, SERVER, TestDoor, Word, ask, followed_door, gzip, post, request, wait};
use collect::http::{Trace, Tracer};
use collect::sink::{Done, Sink, SinkError};
use hyper::http::request::Parts;
use std::sync::{Arc, Mutex};

type Notes = Arc<Mutex<Vec<String>>>;

/// Follows every request that says so in a header, and writes down what it is told.
struct Chooser {
    notes: Notes,
    memory: Arc<Memory>,
}

struct Writer {
    notes: Notes,
    memory: Arc<Memory>,
}

struct Detour {
    notes: Notes,
    memory: Arc<Memory>,
}

impl Tracer for Chooser {
    fn begin(&self, head: &Parts) -> Option<Arc<dyn Trace>> {
        self.notes.lock().unwrap().push(format!("{} {}", head.method, head.uri.path()));
        head.headers.get("follow")?;
        Some(Arc::new(Writer { notes: self.notes.clone(), memory: self.memory.clone() }))
    }
}

impl Writer {
    fn note(&self, text: String) {
        self.notes.lock().unwrap().push(text);
    }
}

impl Trace for Writer {
    fn received(&self, body_bytes: usize) {
        self.note(format!("received {body_bytes}"));
    }

    fn parsed(&self, events: u32) {
        self.note(format!("parsed {events}"));
    }

    fn sink(&self) -> Arc<dyn Sink> {
        Arc::new(Detour { notes: self.notes.clone(), memory: self.memory.clone() })
    }

    fn answered(&self, status: u16) {
        self.note(format!("answered {status}"));
    }
}

impl Sink for Detour {
    fn submit(&self, records: Vec<u8>, count: u32, done: Done) -> Result<(), SinkError> {
        self.notes.lock().unwrap().push(format!("submitted {count}"));
        self.memory.submit(records, count, done)
    }
}

fn open() -> (TestDoor, Notes) {
    let notes = Notes::default();
    let own = notes.clone();
    let door =
        followed_door(|_, _| {}, |memory| Some(Arc::new(Chooser { notes: own, memory: Arc::clone(memory) })));
    (door, notes)
}

#[test]
fn a_followed_request_is_told_of_in_order_up_to_where_it_fails() {
    let (door, notes) = open();
    let event = r#"{"userId":"u","messageId":"m"}"#;
    let batch = format!(r#"{{"batch":[{}]}}"#, [r#"{"type":"page","userId":"u"}"#; 2].join(","));
    let packed = gzip(batch.as_bytes());
    let wrong = r#"{"userId":"#;
    let followed = |path: &str, more: &[(&str, &str)], body: &[u8]| {
        let mut headers = vec![SERVER, ("follow", "1")];
        headers.extend_from_slice(more);
        request("POST", path, &headers, body)
    };
    let full = SinkError::Full { retry_after_s: 1 };
    let table: Vec<(Vec<u8>, Word, Vec<String>)> = vec![
        (
            followed("/v1/page", &[], event.as_bytes()),
            Word::Yes,
            told(&["POST /v1/page", "received 30", "parsed 1", "submitted 1", "answered 200"]),
        ),
        (
            followed("/v1/batch", &[("Content-Encoding", "gzip")], &packed),
            Word::Yes,
            told(&[
                "POST /v1/batch",
                &format!("received {}", packed.len()),
                "parsed 2",
                "submitted 2",
                "answered 200",
            ]),
        ),
        (
            followed("/v1/page", &[], wrong.as_bytes()),
            Word::Yes,
            told(&["POST /v1/page", "received 10", "answered 400"]),
        ),
        (
            followed("/v1/page", &[("Content-Encoding", "br")], event.as_bytes()),
            Word::Yes,
            told(&["POST /v1/page", "answered 415"]),
        ),
        (
            followed("/v1/page", &[], event.as_bytes()),
            Word::NotTaken(full),
            told(&["POST /v1/page", "received 30", "parsed 1", "submitted 1", "answered 429"]),
        ),
        // Not chosen, so nothing but the question is seen.
        (post("/v1/page", event), Word::Yes, told(&["POST /v1/page"])),
        // No events: not even asked.
        (request("GET", "/v1/page", &[SERVER, ("follow", "1")], b""), Word::Yes, told(&[])),
        (request("OPTIONS", "/v1/page", &[("follow", "1")], b""), Word::Yes, told(&[])),
        (followed("/v1/m", &[], b"{}"), Word::Yes, told(&[])),
        (followed("/elsewhere", &[], b"{}"), Word::Yes, told(&[])),
    ];
    for (sent, word, expected) in table {
        door.memory.say(word);
        ask(&door, &sent);
        let seen = std::mem::take(&mut *notes.lock().unwrap());
        assert_eq!(seen, expected, "{}", String::from_utf8_lossy(&sent));
    }
}

#[test]
fn a_client_that_goes_away_is_not_answered() {
    let (door, notes) = open();
    door.memory.say(Word::Held);
    wait(async {
        let mut client = Client::to(&door).await;
        client.send(&request("POST", "/v1/page", &[SERVER, ("follow", "1")], br#"{"userId":"u"}"#)).await;
        while door.memory.held.lock().unwrap().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        drop(client);
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    });
    for done in std::mem::take(&mut *door.memory.held.lock().unwrap()) {
        done(Ok(()));
    }
    let seen = notes.lock().unwrap().clone();
    assert_eq!(seen, ["POST /v1/page", "received 14", "parsed 1", "submitted 1"]);
}

fn told(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}
