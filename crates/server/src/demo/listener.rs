//! The door of the demo's ad network: a receiver of webhooks that notes how late they come.

use super::ads::Lag;
use anyhow::{Context as _, Result};
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Expectations that nothing came for are dropped beyond so many: somebody who is on the list already is not told of
/// again.
const EXPECTED_MAX: usize = 10_000;
const BODY_BYTES_MAX: usize = 1 << 20;
const LINE_BYTES_MAX: u64 = 8_192;
/// The lag that the network works with is that of the slowest of so many of the latest.
const LATEST: usize = 100;
const IDLE_MAX: Duration = Duration::from_secs(60);

/// What came, and what is waited for.
#[derive(Debug, Default)]
struct Heard {
    messages: u64,
    /// By user id, when the order got its 200.
    expected: HashMap<String, Instant>,
    /// By user id, when it was heard of last: a message can be quicker than the 200.
    latest: HashMap<String, Instant>,
    lags_us: Vec<u32>,
}

/// The receiver. It ends with the process.
#[derive(Clone, Debug)]
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
    lag: Arc<Lag>,
}

impl Listener {
    /// Listens on a free port of this machine.
    pub(super) fn open(lag: Arc<Lag>) -> Result<Self> {
        let socket = TcpListener::bind("127.0.0.1:0").context("the demo's ad network cannot listen")?;
        let address = socket.local_addr()?;
        let listener = Self { address, heard: Arc::default(), lag };
        let own = listener.clone();
        std::thread::Builder::new().name("ad-network".to_owned()).spawn(move || {
            for stream in socket.incoming().flatten() {
                let own = own.clone();
                // A connection that cannot get a thread is closed, and delivery tries again.
                let _ = std::thread::Builder::new()
                    .name("ad-network".to_owned())
                    .spawn(move || own.serve(&stream));
            }
        })?;
        Ok(listener)
    }

    /// Where webhooks go.
    pub(super) fn url(&self) -> String {
        format!("http://{}/list", self.address)
    }

    /// An order of this customer has just got its 200; it began at `sent_at`.
    pub(super) fn expect(&self, user_id: &str, sent_at: Instant, accepted_at: Instant) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        match heard.latest.get(user_id).copied().filter(|at| *at >= sent_at) {
            Some(at) => heard.note(at.saturating_duration_since(accepted_at), &self.lag),
            None if heard.expected.len() >= EXPECTED_MAX => heard.expected.clear(),
            None => drop(heard.expected.insert(user_id.to_owned(), accepted_at)),
        }
    }

    /// Messages that came, and how long after the order's 200 those came that were waited for, in microseconds.
    pub(super) fn heard(&self) -> (u64, Vec<u32>) {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        (heard.messages, heard.lags_us.clone())
    }

    fn serve(&self, stream: &TcpStream) {
        let _ = stream.set_read_timeout(Some(IDLE_MAX));
        let mut reader = BufReader::new(stream);
        let mut writer = stream;
        while let Some(body) = read_request(&mut reader) {
            self.take(&body);
            if writer.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").is_err() {
                return;
            }
        }
    }

    fn take(&self, body: &[u8]) {
        let now = Instant::now();
        let Ok(message) = serde_json::from_slice::<serde_json::Value>(body) else { return };
        let data = message.get("data").unwrap_or(&message);
        let identifiers = data.get("identifiers").and_then(|all| all.as_array());
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.messages += 1;
        for identifier in identifiers.into_iter().flatten() {
            let Some(value) = identifier.get("value").and_then(|value| value.as_str()) else { continue };
            heard.latest.insert(value.to_owned(), now);
            if let Some(accepted_at) = heard.expected.remove(value) {
                heard.note(now.saturating_duration_since(accepted_at), &self.lag);
            }
        }
    }
}

impl Heard {
    fn note(&mut self, late: Duration, lag: &Lag) {
        self.lags_us.push(u32::try_from(late.as_micros()).unwrap_or(u32::MAX));
        let from = self.lags_us.len().saturating_sub(LATEST);
        let slowest = self.lags_us.get(from..).unwrap_or_default().iter().max().copied().unwrap_or_default();
        lag.set(i64::from(slowest));
    }
}

/// The body of the next request; `None` at the end of the connection, or where it makes no sense.
#[expect(clippy::disallowed_methods, reason = "a line is read from a bounded part of the stream")]
fn read_request(reader: &mut BufReader<&TcpStream>) -> Option<Vec<u8>> {
    let mut length = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
        let text = std::str::from_utf8(&line).ok()?;
        if text == "\r\n" {
            break;
        }
        if let Some((name, value)) = text.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse::<usize>().ok().filter(|length| *length <= BODY_BYTES_MAX)?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}
