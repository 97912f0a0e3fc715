//! A door on loopback, a sink that remembers, and a client that speaks raw HTTP.

use collect::http::{Door, DoorOptions, OpenDoor, Tracer};
use collect::settings::{DoorSettings, SettingsCell, WriteKey, WriteKeyKind};
use collect::sink::{Done, Sink, SinkError};
use model::event::{Event, IdentifierKind};
use model::id::{Position, Timestamp};
use model::record::{RecordKind, decode_records};
use model::seal::Keys;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// When every request of a test arrives: 2026-11-21T23:45:40Z.
pub(crate) const NOW: Timestamp = Timestamp(1_795_304_740_000_000);
/// How long a test waits for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn keys() -> Keys {
    Keys::derive(&[7; 32])
}

pub(crate) fn settings() -> DoorSettings {
    let key = |number, kind| WriteKey { number, kind, enabled: true, value_counts: false };
    let mut settings = DoorSettings::default();
    settings.write_keys.insert("WK".into(), key(1, WriteKeyKind::Server));
    settings.write_keys.insert("PUBLIC".into(), key(2, WriteKeyKind::Browser));
    settings.write_keys.insert("OFF".into(), WriteKey { enabled: false, ..key(3, WriteKeyKind::Server) });
    settings
}

/// What the sink says to a submission.
pub(crate) enum Word {
    Yes,
    NotTaken(SinkError),
    Later(SinkError),
    Never,
    Held,
}

/// Remembers what it was given.
pub(crate) struct Memory {
    pub(crate) submissions: Mutex<Vec<(Vec<u8>, u32)>>,
    pub(crate) word: Mutex<Word>,
    pub(crate) held: Mutex<Vec<Done>>,
}

impl Sink for Memory {
    fn submit(&self, records: Vec<u8>, count: u32, done: Done) -> Result<(), SinkError> {
        match &*self.word.lock().unwrap() {
            Word::NotTaken(error) => return Err(error.clone()),
            Word::Later(error) => {
                done(Err(error.clone()));
                return Ok(());
            }
            Word::Never => return Ok(()),
            Word::Held => self.held.lock().unwrap().push(done),
            Word::Yes => done(Ok(())),
        }
        self.submissions.lock().unwrap().push((records, count));
        Ok(())
    }
}

impl Memory {
    pub(crate) fn say(&self, word: Word) {
        *self.word.lock().unwrap() = word;
    }

    /// Whether any event that was taken counts as the shop's own word.
    pub(crate) fn any_from_server(&self) -> bool {
        self.submissions.lock().unwrap().iter().any(|(records, _)| {
            decode_records(records, Position(0), NOW)
                .any(|record| Event::decode(record.unwrap().body).unwrap().from_server)
        })
    }

    /// Everything taken since the last call, one line an event.
    pub(crate) fn take_summaries(&self) -> Vec<String> {
        let submissions = std::mem::take(&mut *self.submissions.lock().unwrap());
        submissions.iter().flat_map(|(records, count)| summaries(records, *count)).collect()
    }
}

pub(crate) struct TestDoor {
    pub(crate) open: OpenDoor,
    pub(crate) memory: Arc<Memory>,
    pub(crate) settings: Arc<SettingsCell>,
}

impl Drop for TestDoor {
    fn drop(&mut self) {
        self.open.close();
    }
}

pub(crate) fn door(change: impl FnOnce(&mut DoorOptions, &mut DoorSettings)) -> TestDoor {
    followed_door(change, |_| None)
}

/// A door whose requests somebody may follow; `tracer` gets the sink to pass them on to.
pub(crate) fn followed_door(
    change: impl FnOnce(&mut DoorOptions, &mut DoorSettings),
    tracer: impl FnOnce(&Arc<Memory>) -> Option<Arc<dyn Tracer>>,
) -> TestDoor {
    let memory = Arc::new(Memory {
        submissions: Mutex::default(),
        word: Mutex::new(Word::Yes),
        held: Mutex::default(),
    });
    let mut options = DoorOptions::at("127.0.0.1:0".parse().unwrap());
    let mut settings = settings();
    change(&mut options, &mut settings);
    let settings = Arc::new(SettingsCell::new(settings));
    let fresh = AtomicU64::new(1);
    let door = Door {
        sink: memory.clone(),
        settings: settings.clone(),
        keys: keys(),
        now: Arc::new(|| NOW),
        fresh: Arc::new(move || u128::from(fresh.fetch_add(1, Ordering::Relaxed)).to_be_bytes()),
        tracer: tracer(&memory),
    };
    TestDoor { open: door.open(options, &spawn).unwrap(), memory, settings }
}

#[expect(clippy::disallowed_methods, reason = "a test of the real server needs real threads")]
fn spawn(name: &str, body: Box<dyn FnOnce() + Send>) -> std::io::Result<()> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body).map(|_| ())
}

pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("no answer") })
}

#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        assert!(body["message"].as_str().is_some_and(|text| text.contains(' ')), "a sentence: {}", self.body);
        body["code"].as_str().unwrap().to_owned()
    }

    pub(crate) fn field(&self) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        body["field"].as_str().unwrap_or_default().to_owned()
    }
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    pub(crate) async fn to(door: &TestDoor) -> Self {
        Self { stream: TcpStream::connect(door.open.address()).await.unwrap(), read: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next answer, or `None` when the server hangs up.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8(self.read[..end].to_vec()).unwrap();
                let answer = Answer { status: head[9..12].parse().unwrap(), head, body: String::new() };
                let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
                if self.read.len() >= end + 4 + length {
                    let body = String::from_utf8(self.read[end + 4..end + 4 + length].to_vec()).unwrap();
                    self.read.drain(..end + 4 + length);
                    return Some(Answer { body, ..answer });
                }
            }
            let mut buffer = vec![0; 16_384];
            match self.stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.read.extend_from_slice(&buffer[..count]),
            }
        }
    }
}

/// One request on a connection of its own.
pub(crate) fn ask(door: &TestDoor, request: &[u8]) -> Answer {
    wait(async {
        let mut client = Client::to(door).await;
        client.send(request).await;
        client.answer().await.expect("an answer")
    })
}

/// The bytes of an answer that is no text, or has no body. The request must ask for the connection to be closed.
pub(crate) fn ask_head(door: &TestDoor, request: &[u8]) -> String {
    wait(async {
        let mut client = Client::to(door).await;
        client.send(request).await;
        let mut buffer = vec![0; 16_384];
        loop {
            match client.stream.read(&mut buffer).await.unwrap() {
                0 => return String::from_utf8_lossy(&client.read).into_owned(),
                count => client.read.extend_from_slice(&buffer[..count]),
            }
        }
    })
}

pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) const SERVER: (&str, &str) = ("Authorization", "Basic V0s6");

pub(crate) fn post(path: &str, body: &str) -> Vec<u8> {
    request("POST", path, &[SERVER], body.as_bytes())
}

pub(crate) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// The events of a submission, one line each: what a rule would see, without what it would not look at.
pub(crate) fn summaries(records: &[u8], count: u32) -> Vec<String> {
    let records: Vec<_> = decode_records(records, Position(0), NOW).map(|record| record.unwrap()).collect();
    assert_eq!(records.len(), count as usize);
    assert!(records.iter().all(|record| record.kind == RecordKind::EVENT));
    records.iter().map(|record| summary(&Event::decode(record.body).unwrap())).collect()
}

fn summary(event: &Event<'_>) -> String {
    let mut text = event.kind.name().to_owned();
    if !event.name.is_empty() {
        text += &format!(" {:?}", event.name);
    }
    for identifier in event.identifiers.as_slice() {
        let opened = match IdentifierKind(identifier.kind).is_sealed() {
            true => keys().open_identifier(identifier.key, identifier.value).unwrap(),
            false => identifier.value.to_vec(),
        };
        assert_eq!(identifier.key, keys().identifier(IdentifierKind(identifier.kind), &opened));
        let name = match identifier.kind {
            1 => "user".to_owned(),
            2 => "email".to_owned(),
            3 => "phone".to_owned(),
            4 => "anonymous".to_owned(),
            5 => "device".to_owned(),
            other => format!("kind{other}"),
        };
        text += &format!(" {name}={}", String::from_utf8(opened).unwrap());
    }
    if let Some(order) = event.order {
        let currency = String::from_utf8_lossy(&order.currency).into_owned();
        text += &format!(" {:?}:{}", order.change, order.order_id);
        if !order.refund_id.is_empty() {
            text += &format!("/{}", order.refund_id);
        }
        text += &format!(":{}{currency}", order.value_minor);
    }
    for product in &event.products {
        text += &format!(" {}x{}", product.quantity, product.product_id);
        if !product.category.is_empty() {
            text += &format!("({})", product.category);
        }
        text += &format!("@{}", product.price_minor);
    }
    for consent in &event.consent {
        text += &format!(" {}{}", if consent.granted { '+' } else { '-' }, consent.category);
    }
    text
}
