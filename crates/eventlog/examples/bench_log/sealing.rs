//! Sealing alone, on the thread that is measured, of events as the door stores them.

use env::Env;
use env::seeded::Seed;
use eventlog::{FrameDraft, LocalLog, Log, LogHandle, LogOptions, SealStep};
use model::event::{
    Event, EventKind, Identifier, IdentifierKind, Identifiers, OrderChange, OrderFact, Product,
};
use model::id::{Position, Term, Timestamp};
use model::record::{RecordKind, encode_record};
use model::seal::Keys;
use std::path::Path;

const GROUP_RECORDS: u32 = 100;
const GROUPS: u64 = 10_000;
const PEOPLE: u64 = 300_000;
const START_US: i64 = 1_795_304_740_000_000;
const CONTEXT: &str = r#"{"library":{"name":"analytics-node","version":"3.1.0"},"page":{"path":"/garden/item","url":"https://shop.example/garden/item"},"locale":"de-DE","timezone":"Europe/Berlin"}"#;

/// Fills a log, then seals all that is full, as often as asked.
pub(crate) fn run(directory: &Path, rounds: i64, compression_level: i32, block_bytes: usize) {
    let env = Env::real();
    let groups: Vec<Vec<u8>> = {
        let mut maker = Maker { keys: Keys::derive(&[1; 32]), seed: Seed::new(5), messages: 0 };
        (0..GROUPS).map(|_| maker.group()).collect()
    };
    for _ in 0..rounds {
        let _ = std::fs::remove_dir_all(directory);
        let options =
            LogOptions { compression_level, block_bytes, spare_segments: 1, ..LogOptions::default() };
        let (mut log, _) = LocalLog::open(&env, directory, options).unwrap();
        for (number, group) in groups.iter().enumerate() {
            let received_at = Timestamp(START_US + number as i64 * 300);
            let draft = FrameDraft { received_at, control: false, count: GROUP_RECORDS, body: group.clone() };
            let next = log.next_position();
            log.append(Term(1), next, &[draft]).unwrap();
        }
        // A thread of its own, so that a profiler can tell it from the rest by its name.
        let handle = log.handle();
        let sealer = std::thread::Builder::new().name("sealing".to_owned()).spawn(move || seal_all(&handle));
        let Sealed { records, open, sealed, cpu_ns } = sealer.unwrap().join().unwrap();
        let (cpu, each) = (cpu_ns as f64 / 1e3, records as f64);
        println!(
            "level {compression_level}, blocks of {} KiB: {records} events of {:.0} bytes sealed to {:.1} bytes at {:.3} us CPU per event",
            block_bytes >> 10,
            open as f64 / each,
            sealed as f64 / each,
            cpu / each,
        );
        let before = thread_cpu_ns();
        let mut reader = log.read_from(Position(0)).unwrap();
        let mut read = 0;
        while let Some(frame) = reader.next().unwrap() {
            read += u64::from(frame.count);
        }
        println!(
            "  reading all: {:.3} us CPU per event",
            (thread_cpu_ns() - before) as f64 / 1e3 / read as f64
        );
    }
    let _ = std::fs::remove_dir_all(directory);
}

struct Sealed {
    records: u64,
    open: u64,
    sealed: u64,
    cpu_ns: u64,
}

fn seal_all(handle: &LogHandle) -> Sealed {
    let mut all = Sealed { records: 0, open: 0, sealed: 0, cpu_ns: 0 };
    loop {
        let before = thread_cpu_ns();
        let step = handle.seal_step().unwrap();
        let spent = thread_cpu_ns() - before;
        match step {
            SealStep::Idle => return all,
            SealStep::Sealed { first, open_bytes, sealed_bytes } => {
                let found = handle.segments().into_iter().find(|segment| segment.first == first);
                all.cpu_ns += spent;
                all.open += open_bytes;
                all.sealed += sealed_bytes;
                all.records += found.unwrap().records();
            }
            _ => {}
        }
    }
}

/// Processor time of this thread, user and system.
fn thread_cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// Makes records as the pipeline's load leads to: of 100 events, 45 product views, 25 pages, 15 additions to a cart, 10
/// identifies and 5 orders, of people who are drawn as in `throughline bench pipeline`.
struct Maker {
    keys: Keys,
    seed: Seed,
    messages: u64,
}

impl Maker {
    fn group(&mut self) -> Vec<u8> {
        let (mut group, mut record) = (Vec::new(), Vec::new());
        for _ in 0..GROUP_RECORDS {
            record.clear();
            self.event(&mut record);
            encode_record(&mut group, RecordKind::EVENT, &record);
        }
        group
    }

    /// One in ten anybody, the others by Zipf's law with exponent 0.8.
    fn person(&mut self) -> u64 {
        if self.seed.below(10) == 0 {
            return self.seed.below(PEOPLE);
        }
        let even = (self.seed.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        let root = 1.0 + even * ((PEOPLE as f64 + 1.0).powf(0.2) - 1.0);
        (root.powi(5) as u64).saturating_sub(1).min(PEOPLE - 1)
    }

    fn event(&mut self, out: &mut Vec<u8>) {
        let (person, product_number) = (self.person(), self.seed.below(50_000));
        self.messages += 1;
        let message_id = format!("00000003f1a2b4c5-{:019}", self.messages);
        let mixed = person.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let browser = format!(
            "{:08x}-{:04x}-4{:03x}-8000-{person:012x}",
            mixed >> 32,
            (mixed >> 16) & 0xFFFF,
            mixed & 0xFFF
        );
        let (user, email) = (format!("u-{person:010}"), format!("c{person:010}@shop.example"));
        let (product_id, category) =
            (format!("sku-{product_number:06}"), format!("category-{:02}", product_number % 40));
        let product = format!(
            r#""product_id":"{product_id}","category":"{category}","name":"Watering can","price":19.99,"quantity":1"#
        );
        let draw = self.seed.below(100);
        let (kind, name) = match draw {
            0..45 => (EventKind::Track, "Product Viewed"),
            45..70 => (EventKind::Page, "Garden"),
            70..85 => (EventKind::Track, "Product Added"),
            85..95 => (EventKind::Identify, ""),
            _ => (EventKind::Track, "Order Completed"),
        };
        let order_id = format!("ORD{:017}", self.messages);
        let properties = match draw {
            45..70 => r#"{"title":"Garden","path":"/garden","url":"https://shop.example/garden?page=2","referrer":"https://shop.example/"}"#.to_owned(),
            85..95 => String::new(),
            95.. => format!(r#"{{"order_id":"{order_id}","revenue":39.98,"currency":"EUR","products":[{{{product}}}]}}"#),
            _ => format!(r#"{{{product},"currency":"EUR"}}"#),
        };
        let traits = format!(r#"{{"email":"{email}","plan":"gold","city":"Berlin"}}"#);
        let mut identifiers = Identifiers::default();
        let mut add = |kind: IdentifierKind, hashed: &str, value| {
            identifiers.push(Identifier {
                kind: kind.0,
                key: self.keys.identifier(kind, hashed.as_bytes()),
                value,
            });
        };
        let sealed;
        if draw >= 70 {
            add(IdentifierKind::USER_ID, &user, user.as_bytes());
        }
        if kind == EventKind::Identify {
            let key = self.keys.identifier(IdentifierKind::EMAIL, email.as_bytes());
            sealed = self.keys.seal_identifier(key, email.as_bytes()).unwrap();
            add(IdentifierKind::EMAIL, &email, &sealed);
        }
        add(IdentifierKind::ANONYMOUS_ID, &browser, browser.as_bytes());
        let sold = Product { product_id: &product_id, category: &category, quantity: 1, price_minor: 1_999 };
        let order = (draw >= 95).then_some(OrderFact {
            change: OrderChange::Completed,
            order_id: &order_id,
            refund_id: "",
            value_minor: 3_998,
            currency: *b"EUR",
        });
        let event = Event {
            kind,
            source: 1,
            from_server: true,
            value_counts: true,
            dedup_key: self.keys.message(1, &message_id),
            message_id: &message_id,
            occurred_at: Timestamp(START_US + self.messages as i64 / 100 * 3_000),
            name,
            identifiers,
            order,
            products: if kind == EventKind::Track { vec![sold] } else { Vec::new() },
            consent: Vec::new(),
            traits: if kind == EventKind::Identify { traits.as_bytes() } else { b"" },
            properties: properties.as_bytes(),
            context: CONTEXT.as_bytes(),
        };
        event.encode(out);
    }
}
