//! A server in a directory of its own, and a small HTTP client that hides nothing.

use serde_json::Value;
use server::config::Config;
use server::serve::{Credentials, Running, StartOptions, start};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long anything in the background may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// No answer is longer.
const ANSWER_BYTES_MAX: usize = 4 << 20;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A directory that goes with the test.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("throughline-server-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    pub(crate) fn config(&self) -> Config {
        let mut config = Config::default();
        let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
        config.listen.ingest = free;
        config.listen.admin = free;
        config.listen.profiles = free;
        config.data.directory = self.0.clone();
        config.log.segment_bytes = 1 << 20;
        config.ingest.threads = 1;
        config.state.checkpoint_interval_ms = 200;
        config
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running server with its first credentials.
pub(crate) struct Shop {
    pub(crate) running: Running,
    pub(crate) credentials: Credentials,
    pub(crate) scratch: Scratch,
}

impl Shop {
    pub(crate) fn open() -> Self {
        let scratch = Scratch::new();
        let config = scratch.config();
        Self::with(scratch, config, StartOptions::default())
    }

    pub(crate) fn with(scratch: Scratch, config: Config, options: StartOptions) -> Self {
        let running = start(config, options).unwrap();
        let credentials = running.credentials().unwrap().clone();
        Self { running, credentials, scratch }
    }

    /// Stops and starts again on the same directory.
    pub(crate) fn restart(self) -> Self {
        let Self { running, credentials, scratch } = self;
        running.stop().unwrap();
        let running = start(scratch.config(), StartOptions::default()).unwrap();
        assert_eq!(running.credentials(), None, "only the first start makes credentials");
        Self { running, credentials, scratch }
    }

    pub(crate) fn admin(&self, method: &str, path: &str, body: Option<&str>) -> Reply {
        self.admin_with(method, path, body, &[])
    }

    pub(crate) fn admin_with(
        &self,
        method: &str,
        path: &str,
        body: Option<&str>,
        more: &[(&str, &str)],
    ) -> Reply {
        let bearer = format!("Bearer {}", self.credentials.admin_token);
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend_from_slice(more);
        request(self.running.addresses().admin, method, path, &headers, body)
    }

    pub(crate) fn profiles(&self, token: &str, method: &str, path: &str, body: Option<&str>) -> Reply {
        let bearer = format!("Bearer {token}");
        request(self.running.addresses().profiles, method, path, &[("authorization", &bearer)], body)
    }

    pub(crate) fn decide(&self, kind: &str, value: &str, product: &str) -> Value {
        let body =
            format!(r#"{{"identifiers":[{{"type":"{kind}","value":"{value}"}}],"product_id":"{product}"}}"#);
        let reply = self.profiles(&self.credentials.admin_token, "POST", "/v1/decide", Some(&body));
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()
    }

    pub(crate) fn lookup(&self, token: &str, kind: &str, value: &str) -> Reply {
        let body = format!(r#"{{"identifier":{{"type":"{kind}","value":"{value}"}}}}"#);
        self.profiles(token, "POST", "/v1/profiles/lookup", Some(&body))
    }

    /// Sends one event with the server's write key.
    pub(crate) fn send(&self, call: &str, body: &str) -> Reply {
        self.send_as(&self.credentials.server_write_key, call, body, &[])
    }

    pub(crate) fn send_as(&self, key: &str, call: &str, body: &str, more: &[(&str, &str)]) -> Reply {
        let keyed = body.replacen('{', &format!(r#"{{"writeKey":"{key}","#), 1);
        request(self.running.addresses().ingest, "POST", &format!("/v1/{call}"), more, Some(&keyed))
    }

    pub(crate) fn order(&self, user: &str, order: &str, product: &str) {
        let body = format!(
            r#"{{"userId":"{user}","event":"Order Completed","messageId":"{order}","context":{{"traits":
            {{"email":"{user}@example.com"}}}},"properties":{{"order_id":"{order}","total":"20.00","currency":"EUR",
            "products":[{{"product_id":"{product}"}}]}}}}"#
        );
        let reply = self.send("track", &body);
        assert_eq!(reply.status, 200, "{reply:?}");
    }

    pub(crate) fn token(&self, scopes: &[&str]) -> String {
        let body = serde_json::json!({ "name": "test", "scopes": scopes }).to_string();
        let reply = self.admin("POST", "/admin/v1/tokens", Some(&body));
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.json()["secret"].as_str().unwrap().to_owned()
    }

    pub(crate) fn status(&self) -> Value {
        self.admin("GET", "/admin/v1/status", None).json()
    }
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// One request on a connection of its own. A header `host` replaces the right one.
pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&str>,
) -> Reply {
    let mut text = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    let named = |name: &str| headers.iter().any(|(own, _)| *own == name);
    if !named("host") {
        text.push_str(&format!("host: {address}\r\n"));
    }
    if body.is_some() && !named("content-type") {
        text.push_str("content-type: application/json\r\n");
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if let Some(body) = body {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body.unwrap_or_default());
    raw(address, text.as_bytes())
}

/// Sends bytes and reads to the end.
pub(crate) fn raw(address: SocketAddr, bytes: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A server that refuses early may close while we still write: what it said counts.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut part = vec![0; 64 << 10];
    while answer.len() < ANSWER_BYTES_MAX {
        match stream.read(&mut part) {
            Ok(0) | Err(_) => break,
            Ok(read) => answer.extend_from_slice(&part[..read]),
        }
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    Reply { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// Waits for something in the background.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}
