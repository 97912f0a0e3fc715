//! Whole HTTP requests, ready to be written to a connection.

use super::events::{Generator, HISTORY_EVENTS, browser_of, product_id, user_id};
use base64::Engine as _;
use std::net::SocketAddr;

/// Events of a batch.
pub(crate) const BATCH_EVENTS: u32 = 100;

/// Renders one request after the other.
pub trait Source {
    /// Appends a whole request and says how many events it holds.
    fn render(&mut self, out: &mut Vec<u8>) -> u32;
}

/// The part of a head that never changes.
fn head(path: &str, address: SocketAddr, authorization: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: {authorization}\r\n\
         Content-Type: application/json\r\nContent-Length: "
    )
    .into_bytes()
}

fn basic(write_key: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{write_key}:")))
}

fn request(head: &[u8], body: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(head);
    out.extend_from_slice(body.len().to_string().as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
    out.extend_from_slice(body);
}

/// `POST /v1/batch` with events of the usual mix; or, of one event, `POST /v1/track`.
pub struct Batches {
    head: Vec<u8>,
    generator: Generator,
    events: u32,
    body: Vec<u8>,
}

impl Batches {
    /// Batches of so many events.
    pub fn new(address: SocketAddr, write_key: &str, generator: Generator, events: u32) -> Self {
        Self { head: head("/v1/batch", address, &basic(write_key)), generator, events, body: Vec::new() }
    }

    /// Single `track` requests.
    pub fn single(address: SocketAddr, write_key: &str, generator: Generator) -> Self {
        Self { head: head("/v1/track", address, &basic(write_key)), generator, events: 0, body: Vec::new() }
    }
}

impl Source for Batches {
    fn render(&mut self, out: &mut Vec<u8>) -> u32 {
        let Self { head, generator, events, body } = self;
        generator.set_time_to_now();
        body.clear();
        if *events == 0 {
            generator.track(body);
            request(head, body, out);
            return 1;
        }
        batch(*events, body, |_, body| generator.event(body));
        request(head, body, out);
        *events
    }
}

/// People of one batch where each is told with a history.
const PEOPLE_WITH_HISTORY: u64 = (BATCH_EVENTS / HISTORY_EVENTS) as u64;

/// Batches that tell every person of a range once.
pub struct Introductions {
    head: Vec<u8>,
    generator: Generator,
    next: u64,
    end: u64,
    with_history: bool,
    body: Vec<u8>,
}

impl Introductions {
    /// The people from `next` up to `end`.
    pub fn new(address: SocketAddr, write_key: &str, generator: Generator, next: u64, end: u64) -> Self {
        let head = head("/v1/batch", address, &basic(write_key));
        Self { head, generator, next, end, with_history: false, body: Vec::new() }
    }

    /// The same with what they did in the last days, so that their features hold something.
    pub fn with_history(self) -> Self {
        Self { with_history: true, ..self }
    }

    fn histories(&mut self, out: &mut Vec<u8>) -> u32 {
        let end = self.end.min(self.next.saturating_add(PEOPLE_WITH_HISTORY));
        let people = self.next..end;
        let events = HISTORY_EVENTS * people.clone().count() as u32;
        self.next = end;
        self.generator.set_time_to_now();
        self.body.clear();
        self.body.extend_from_slice(br#"{"batch":["#);
        self.generator.histories(people, &mut self.body, |body| body.push(b','));
        self.body.extend_from_slice(b"]}");
        request(&self.head, &self.body, out);
        events
    }
}

impl Source for Introductions {
    fn render(&mut self, out: &mut Vec<u8>) -> u32 {
        if self.with_history && self.next < self.end {
            return self.histories(out);
        }
        let events = u64::from(BATCH_EVENTS).min(self.end.saturating_sub(self.next)) as u32;
        if events == 0 {
            return 0;
        }
        let Self { head, generator, next, body, .. } = self;
        generator.set_time_to_now();
        body.clear();
        batch(events, body, |number, body| generator.introduction(*next + u64::from(number), body));
        *next += u64::from(events);
        request(head, body, out);
        events
    }
}

fn batch(events: u32, body: &mut Vec<u8>, mut event: impl FnMut(u32, &mut Vec<u8>)) {
    body.extend_from_slice(br#"{"batch":["#);
    for number in 0..events {
        if number > 0 {
            body.push(b',');
        }
        event(number, body);
    }
    body.extend_from_slice(b"]}");
}

/// `POST /v1/decide` for two identifiers of a person and some product.
pub struct Decides {
    head: Vec<u8>,
    generator: Generator,
    body: Vec<u8>,
}

impl Decides {
    /// Questions with this token.
    pub fn new(address: SocketAddr, token: &str, generator: Generator) -> Self {
        Self { head: head("/v1/decide", address, &format!("Bearer {token}")), generator, body: Vec::new() }
    }
}

impl Source for Decides {
    fn render(&mut self, out: &mut Vec<u8>) -> u32 {
        let person = self.generator.person();
        let product = product_id(self.generator.product());
        let (user, browser) = (user_id(person), browser_of(person));
        self.body.clear();
        let question = format!(
            r#"{{"identifiers":[{{"type":"user_id","value":"{user}"}},{{"type":"anonymous_id","value":"{browser}"}}],"product_id":"{product}","category":"category-07"}}"#
        );
        self.body.extend_from_slice(question.as_bytes());
        request(&self.head, &self.body, out);
        1
    }
}

#[cfg(test)]
mod tests {
    use super::super::events::Population;
    use super::*;
    use serde_json::Value;

    #[test]
    fn requests_say_their_length_and_hold_the_events_they_say() {
        let address: SocketAddr = ([127, 0, 0, 1], 7300).into();
        let generator = |nonce| Generator::new(Population { people: 250, cold_percent: 0 }, 1, nonce);
        let people = |nonce| Introductions::new(address, "k", generator(nonce), 0, 250);
        let sources: [(&str, Box<dyn Source>); 5] = [
            ("batch", Box::new(Batches::new(address, "k", generator(1), 7))),
            ("single", Box::new(Batches::single(address, "k", generator(2)))),
            ("people", Box::new(people(3))),
            ("people with history", Box::new(people(5).with_history())),
            ("decide", Box::new(Decides::new(address, "t", generator(4)))),
        ];
        for (name, mut source) in sources {
            let mut out = Vec::new();
            let events = source.render(&mut out);
            let text = String::from_utf8(out).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{name}: {head}");
            let body: Value = serde_json::from_str(body).unwrap();
            let held = body.get("batch").map_or(1, |batch| batch.as_array().unwrap().len());
            assert_eq!(held, events as usize, "{name}");
        }
    }

    #[test]
    fn everybody_is_introduced_once() {
        let source = |people| {
            let generator = Generator::new(Population { people, cold_percent: 0 }, 1, 1);
            Introductions::new(([127, 0, 0, 1], 1).into(), "k", generator, 0, people)
        };
        let counts = |mut source: Introductions| -> Vec<u32> {
            (0..4).map(|_| source.render(&mut Vec::new())).collect()
        };
        assert_eq!(counts(source(250)), [100, 100, 50, 0]);
        assert_eq!(counts(source(34).with_history()), [96, 96, 12, 0]);
    }
}
