//! A door that prints what arrives, one JSON object a line: the other end for tests with real SDKs, and a way to see
//! what an SDK sends.
//!
//! `cargo run -p collect --example recorder -- 127.0.0.1:7300` listens there (port 0: any) and prints
//! `{"listening":"…"}` first. Write keys: `WK` (server) and `PUBLIC` (browser). It ends when its standard input does.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a small program of its own: it prints, and uses the machine's clock, threads and entropy"
)]

use collect::http::{Door, DoorOptions};
use collect::settings::{DoorSettings, SettingsCell, WriteKey, WriteKeyKind};
use collect::sink::{Done, Sink, SinkError};
use model::event::{Event, IdentifierKind};
use model::id::{Position, Timestamp};
use model::record::decode_records;
use model::seal::Keys;
use serde_json::{Value, json};
use std::error::Error;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

const MASTER_SECRET: [u8; 32] = [7; 32];

fn main() -> Result<(), Box<dyn Error>> {
    let listen = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7300".to_owned()).parse()?;
    let key = |number, kind| WriteKey { number, kind, enabled: true, value_counts: false };
    let mut settings = DoorSettings::default();
    settings.write_keys.insert("WK".to_owned(), key(1, WriteKeyKind::Server));
    settings.write_keys.insert("PUBLIC".to_owned(), key(2, WriteKeyKind::Browser));
    let keys = Keys::derive(&MASTER_SECRET);
    let made = AtomicU64::new(1);
    let door = Door {
        sink: Arc::new(Printer { keys: keys.clone() }),
        settings: Arc::new(SettingsCell::new(settings)),
        keys,
        now: Arc::new(now),
        fresh: Arc::new(move || u128::from(made.fetch_add(1, Ordering::Relaxed)).to_be_bytes()),
        tracer: None,
    };
    let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name.to_owned()).spawn(body).map(|_| ())
    };
    let open = door.open(DoorOptions::at(listen), &spawn)?;
    println!("{}", json!({"listening": open.address().to_string()}));
    let mut buffer = [0; 64];
    while std::io::stdin().read(&mut buffer)? > 0 {}
    open.close();
    Ok(())
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(since.as_micros() as i64)
}

/// Takes everything and prints it.
struct Printer {
    keys: Keys,
}

impl Sink for Printer {
    fn submit(&self, records: Vec<u8>, _count: u32, done: Done) -> Result<(), SinkError> {
        for record in decode_records(&records, Position(0), Timestamp(0)).flatten() {
            match Event::decode(record.body) {
                Ok(event) => println!("{}", self.shown(&event)),
                Err(error) => println!("{}", json!({"error": error.to_string()})),
            }
        }
        done(Ok(()));
        Ok(())
    }
}

impl Printer {
    fn shown(&self, event: &Event<'_>) -> Value {
        let raw = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or(Value::Null);
        let identifiers: Vec<Value> = event
            .identifiers
            .as_slice()
            .iter()
            .map(|identifier| {
                let opened = if IdentifierKind(identifier.kind).is_sealed() {
                    self.keys.open_identifier(identifier.key, identifier.value).unwrap_or_default()
                } else {
                    identifier.value.to_vec()
                };
                json!({"kind": identifier.kind, "value": String::from_utf8_lossy(&opened)})
            })
            .collect();
        json!({
            "type": event.kind.name(),
            "name": event.name,
            "source": event.source,
            "from_server": event.from_server,
            "message_id": event.message_id,
            "behind_us": now().since_us(event.occurred_at),
            "identifiers": identifiers,
            "order": event.order.map(|order| json!({
                "change": format!("{:?}", order.change),
                "order_id": order.order_id,
                "value_minor": order.value_minor,
                "currency": String::from_utf8_lossy(&order.currency),
            })),
            "products": event.products.iter().map(|product| product.product_id).collect::<Vec<_>>(),
            "traits": raw(event.traits),
            "properties": raw(event.properties),
            "context": raw(event.context),
        })
    }
}
