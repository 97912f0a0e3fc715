//! How long one event takes from its bytes in a body to its encoded record, on one core.
//!
//! `cargo run --release -p collect --example bench_wire` prints nanoseconds per event, the best of many short
//! rounds, for batches of 100 and for single calls, beside what sonic-rs takes for less.
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a measurement prints, stops at the first surprise, and reads the real clock"
)]

use collect::settings::{DoorSettings, WriteKey, WriteKeyKind};
use collect::wire::{Call, Encoding, Envelope, Sender};
use model::event::EventKind;
use model::id::Timestamp;
use model::seal::Keys;
use serde::Deserialize;
use sonic_rs::LazyValue;
use std::hint::black_box;
use std::time::Instant;

/// Rounds are shorter than a scheduler's slice, so the best ones were not interrupted, however busy the machine is.
const ROUNDS: usize = 4_000;
const EVENTS_PER_ROUND: usize = 500;
const BATCH: usize = 100;

/// A `track` of 511 bytes: two identifiers, an amount, a nested context.
fn event(number: usize, email: bool) -> String {
    let traits = if email { r#""traits":{"email":"ann.example@shop.test"},"# } else { "" };
    let mut text = format!(
        "{{\"type\":\"track\",\"event\":\"Product Viewed\",\"messageId\":\"node-next-1795304735758-{number:012}\",\
         \"userId\":\"customer-{number:08}\",\"anonymousId\":\"9080e0f4-955f-49c6-a6ba-{number:012}\",\
         \"timestamp\":\"2026-11-21T23:45:35.758Z\",\"properties\":{{\"product_id\":\"sku-{number:06}\",\"category\":\"Garden\",\
         \"price\":19.99,\"quantity\":1,\"currency\":\"EUR\"}},\"context\":{{{traits}\"library\":{{\"name\":\"analytics-node\",\
         \"version\":\"3.1.0\"}},\"page\":{{\"path\":\"/p\",\"url\":\"http://shop.test/p\"}},\"locale\":\"de-DE\",\"x\":\"\"}}}}"
    );
    let missing = 511_usize.saturating_sub(text.len());
    text = text.replace("\"x\":\"\"", &format!("\"x\":\"{}\"", "x".repeat(missing)));
    text
}

fn best_ns(events: usize, run: &mut dyn FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        run();
        best = best.min(started.elapsed().as_nanos() as f64 / events as f64);
    }
    best
}

fn main() {
    let keys = Keys::derive(&[1; 32]);
    let settings = DoorSettings::default();
    let encoding = Encoding { keys: &keys, settings: &settings, fresh: &|| [0; 16] };
    let key = |kind| WriteKey { number: 1, kind, enabled: true, value_counts: false };
    let sender = |kind| Sender {
        key: key(kind),
        received_at: Timestamp(1_795_304_740_000_000),
        ip: Some([192, 0, 2, 1].into()),
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"),
    };
    let batch = |email| {
        let events: Vec<String> = (0..BATCH).map(|number| event(number, email)).collect();
        format!("{{\"batch\":[{}],\"sentAt\":\"2026-11-21T23:45:39.150Z\"}}", events.join(","))
    };
    let (plain, with_email, single) = (batch(false), batch(true), event(7, false));
    println!("event: {} bytes, with e-mail {}", single.len(), event(7, true).len());
    let whole = |body: &str, call, kind| {
        let envelope =
            Envelope::read(black_box(body.as_bytes()), call, &settings.limits).expect("a good body");
        encoding.encode(&envelope, &sender(kind)).expect("good events")
    };
    let batches = EVENTS_PER_ROUND / BATCH;
    let only = std::env::args().nth(1).unwrap_or_default();
    let report = |name: &str, run: &mut dyn FnMut()| {
        if name.contains(&only) {
            println!("{name:<58} {:>7.0} ns per event", best_ns(EVENTS_PER_ROUND, run));
        }
    };
    report("read only, batch of 100", &mut || {
        for _ in 0..batches {
            black_box(
                Envelope::read(black_box(plain.as_bytes()), Call::Batch, &settings.limits).expect("good"),
            );
        }
    });
    for (name, body, kind) in [
        ("read, hash and encode, batch of 100, server key", &plain, WriteKeyKind::Server),
        ("the same, browser key (address and browser added)", &plain, WriteKeyKind::Browser),
        ("the same, server key, with an e-mail to seal", &with_email, WriteKeyKind::Server),
    ] {
        report(name, &mut || {
            for _ in 0..batches {
                black_box(whole(body, Call::Batch, kind));
            }
        });
    }
    report("read, hash and encode, single call", &mut || {
        for _ in 0..EVENTS_PER_ROUND {
            black_box(whole(&single, Call::One(EventKind::Track), WriteKeyKind::Server));
        }
    });
    report("sonic-rs, only ids and where the objects are, batch of 100", &mut || {
        for _ in 0..batches {
            black_box(with_sonic(black_box(&plain)));
        }
    });
    let encoded = whole(&plain, Call::Batch, WriteKeyKind::Server);
    println!("{} bytes per record", encoded.records.len() / BATCH);
}

/// What sonic-rs takes for the least that any door must do: the ids borrowed, the objects found and not looked into.
#[derive(Deserialize)]
struct Borrowed<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    event: &'a str,
    #[serde(rename = "messageId")]
    message_id: &'a str,
    #[serde(rename = "userId")]
    user_id: &'a str,
    #[serde(rename = "anonymousId")]
    anonymous_id: &'a str,
    timestamp: &'a str,
    #[serde(borrow)]
    properties: LazyValue<'a>,
    #[serde(borrow)]
    context: LazyValue<'a>,
}

#[derive(Deserialize)]
struct BorrowedBatch<'a> {
    #[serde(borrow)]
    batch: Vec<Borrowed<'a>>,
}

fn with_sonic(body: &str) -> usize {
    let read: BorrowedBatch<'_> = sonic_rs::from_str(body).expect("a batch");
    let lengths = read.batch.iter().map(|event| {
        let texts =
            [event.kind, event.event, event.message_id, event.user_id, event.anonymous_id, event.timestamp];
        let objects = [event.properties.as_raw_str(), event.context.as_raw_str()];
        texts.iter().chain(&objects).map(|text| text.len()).sum::<usize>()
    });
    lengths.sum()
}
