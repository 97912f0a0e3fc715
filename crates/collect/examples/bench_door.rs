//! What the door's own threads take for a request, from the socket to the answer, without the engine behind it.
//!
//! `cargo run --release -p collect --example bench_door [SECONDS [single|batch]]` sends single calls over 256 connections and batches
//! of 100 over 64, over loopback, from a thread of this process, to a sink that answers in groups after half a
//! millisecond as a log does. It prints the processor time of the threads `collect-*`, which is what compares.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measurement prints, stops at the first surprise, and uses the real clock and threads"
)]

use collect::http::{Door, DoorOptions};
use collect::settings::{DoorSettings, SettingsCell, WriteKey, WriteKeyKind};
use collect::sink::{Done, Sink, SinkError};
use model::id::Timestamp;
use model::seal::Keys;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const GROUP_PAUSE: Duration = Duration::from_micros(500);

/// Answers everything that waits, together.
#[derive(Default)]
struct Grouped {
    waiting: Mutex<Vec<(Vec<u8>, Done)>>,
    arrived: Condvar,
}

impl Sink for Grouped {
    fn submit(&self, records: Vec<u8>, _: u32, done: Done) -> Result<(), SinkError> {
        let mut waiting = self.waiting.lock().unwrap();
        waiting.push((records, done));
        if waiting.len() == 1 {
            self.arrived.notify_one();
        }
        Ok(())
    }
}

impl Grouped {
    fn answer_for_ever(&self) {
        loop {
            let waiting = self.waiting.lock().unwrap();
            drop(self.arrived.wait_while(waiting, |waiting| waiting.is_empty()).unwrap());
            std::thread::sleep(GROUP_PAUSE);
            let group = std::mem::take(&mut *self.waiting.lock().unwrap());
            group.into_iter().for_each(|(_, done)| done(Ok(())));
        }
    }
}

fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(5);
    let mut settings = DoorSettings::default();
    let key = WriteKey { number: 1, kind: WriteKeyKind::Server, enabled: true, value_counts: false };
    settings.write_keys.insert("WK".into(), key);
    let sink = Arc::new(Grouped::default());
    let answering = Arc::clone(&sink);
    std::thread::spawn(move || answering.answer_for_ever());
    let door = Door {
        sink,
        settings: Arc::new(SettingsCell::new(settings)),
        keys: Keys::derive(&[1; 32]),
        now: Arc::new(|| Timestamp(1_795_304_740_000_000)),
        fresh: Arc::new(|| [0; 16]),
        tracer: None,
    };
    let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name.to_owned()).spawn(body).map(|_| ())
    };
    let open = door.open(DoorOptions::at("127.0.0.1:0".parse().unwrap()), &spawn).unwrap();
    let only = std::env::args().nth(2);
    let wanted = |name| only.as_deref().is_none_or(|only| only == name);
    let events: Vec<String> = (0..100).map(event).collect();
    let batch = format!("{{\"batch\":[{}],\"sentAt\":\"2026-11-21T23:45:39.150Z\"}}", events.join(","));
    for _ in 0..3 {
        if wanted("single") {
            let (cpu_us, rate) = measure(open.address(), 256, request("/v1/track", &event(7)), seconds);
            println!("single: {cpu_us:.2} us per request, {rate:.0} requests per second");
        }
        if wanted("batch") {
            let (cpu_us, rate) = measure(open.address(), 64, request("/v1/batch", &batch), seconds);
            println!("batch: {:.3} us per event, {:.0} events per second", cpu_us / 100.0, rate * 100.0);
        }
    }
}

/// Processor microseconds of the door's threads per request, and requests per second.
fn measure(address: SocketAddr, connections: usize, request: Vec<u8>, seconds: u64) -> (f64, f64) {
    let (request, stop) = (Arc::new(request), Arc::new(AtomicBool::new(false)));
    let answered = Arc::new(AtomicU64::new(0));
    let client = {
        let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            let local = tokio::task::LocalSet::new();
            for _ in 0..connections {
                let (request, stop, answered) =
                    (Arc::clone(&request), Arc::clone(&stop), Arc::clone(&answered));
                local.spawn_local(async move {
                    let mut stream = TcpStream::connect(address).await.unwrap();
                    stream.set_nodelay(true).unwrap();
                    let mut answer = vec![0; 4096];
                    while !stop.load(Ordering::Relaxed) {
                        stream.write_all(&request).await.unwrap();
                        let mut read = 0;
                        while !answer[..read].ends_with(b"}") {
                            read += stream.read(&mut answer[read..]).await.unwrap();
                        }
                        assert!(answer.starts_with(b"HTTP/1.1 200"));
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            runtime.block_on(local);
        })
    };
    std::thread::sleep(Duration::from_millis(500));
    let (cpu, count, started) = (door_cpu_ns(), answered.load(Ordering::Relaxed), Instant::now());
    std::thread::sleep(Duration::from_secs(seconds));
    let (cpu, count) = (door_cpu_ns() - cpu, answered.load(Ordering::Relaxed) - count);
    let took = started.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    client.join().unwrap();
    (cpu as f64 / 1e3 / count as f64, count as f64 / took)
}

fn door_cpu_ns() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let of = |path: std::path::PathBuf| {
        let name = std::fs::read_to_string(path.join("comm")).unwrap();
        let time = std::fs::read_to_string(path.join("schedstat")).unwrap();
        if name.starts_with("collect-") { time.split(' ').next().unwrap().parse().unwrap() } else { 0 }
    };
    tasks.map(|task| of(task.unwrap().path())).sum()
}

/// As SDKs send it.
fn request(path: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1:7300\r\nAuthorization: Basic V0s6\r\nContent-Type: application/json\r\nUser-Agent: analytics-node/3.1.0\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn event(number: usize) -> String {
    format!(
        "{{\"type\":\"track\",\"event\":\"Product Viewed\",\"messageId\":\"node-next-1795304735758-{number:012}\",\
         \"userId\":\"customer-{number:08}\",\"anonymousId\":\"9080e0f4-955f-49c6-a6ba-{number:012}\",\
         \"timestamp\":\"2026-11-21T23:45:35.758Z\",\"properties\":{{\"product_id\":\"sku-{number:06}\",\"category\":\"Garden\",\
         \"price\":19.99,\"quantity\":1,\"currency\":\"EUR\"}},\"context\":{{\"library\":{{\"name\":\"analytics-node\",\
         \"version\":\"3.1.0\"}},\"page\":{{\"path\":\"/garden/item\",\"url\":\"https://shop.example/garden/item\"}},\
         \"locale\":\"de-DE\",\"timezone\":\"Europe/Berlin\"}}}}"
    )
}
