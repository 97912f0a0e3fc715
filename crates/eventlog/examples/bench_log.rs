//! Measures the log on this machine: `cargo run --release -p eventlog --example bench_log -- DIRECTORY [SECONDS]`.
//!
//! Appends groups of 100 events of about 500 bytes, as fast as one sync after the other allows and then paced, with
//! sealing in the background, and prints CPU per event of the whole process, the latency of appends, and bytes per
//! event before and after sealing.
//!
//! `bench_log DIRECTORY seal [ROUNDS [LEVEL [BLOCK_KIB]]]` measures sealing alone, of events as the door stores them.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measuring program"
)]

#[path = "bench_log/sealing.rs"]
mod sealing;

use env::Env;
use env::seeded::Seed;
use eventlog::{FrameDraft, Keyring, LocalLog, Log, LogOptions, SealStep};
use model::id::{Position, Term, Timestamp};
use model::record::{RecordKind, encode_record};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const GROUP_RECORDS: u32 = 100;
/// Different groups prepared before the clock starts: more than a block holds, so that compression sees no repeats.
const GROUPS: usize = 2_000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().unwrap_or_else(|| "target/bench_log".to_owned()));
    let what = arguments.next().unwrap_or_default();
    if what == "seal" {
        let mut number = |default| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default);
        let defaults = LogOptions::default();
        let (rounds, level) = (number(3), number(i64::from(defaults.compression_level)));
        let block_kib = number(defaults.block_bytes as i64 >> 10);
        return sealing::run(&directory, rounds, level as i32, (block_kib as usize) << 10);
    }
    let seconds: u64 = what.parse().unwrap_or(10);
    let groups = make_groups();
    let bytes: usize = groups.iter().map(Vec::len).sum();
    println!("{} bytes per event before the log", bytes / GROUPS / GROUP_RECORDS as usize);
    for (name, pace, sealed, level) in [
        ("flat out", None, false, 1),
        ("flat out, keyring", None, true, 1),
        ("flat out, zstd -1", None, false, -1),
        ("20,000 events/s", Some(200), false, 1),
    ] {
        let _ = std::fs::remove_dir_all(&directory);
        run(name, &directory, &groups, seconds, pace, sealed, level);
    }
    let _ = std::fs::remove_dir_all(&directory);
}

fn options(sealed: bool, compression_level: i32) -> LogOptions {
    let keyring = sealed.then(|| Keyring { active: 1, keys: BTreeMap::from([(1, [5; 32])]) });
    LogOptions { keyring, compression_level, ..LogOptions::default() }
}

fn run(
    name: &str,
    directory: &Path,
    groups: &[Vec<u8>],
    seconds: u64,
    pace: Option<u64>,
    sealed: bool,
    level: i32,
) {
    let env = Env::real();
    let (mut log, _) = LocalLog::open(&env, directory, options(sealed, level)).unwrap();
    while log.handle().seal_step().unwrap() != SealStep::Idle {}
    let stop = Arc::new(AtomicBool::new(false));
    let (handle, stopping) = (log.handle(), Arc::clone(&stop));
    let sealer = env.spawner.spawn(
        "sealer",
        Box::new(move || {
            while !stopping.load(Ordering::Relaxed) {
                if handle.seal_step().unwrap() == SealStep::Idle {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }),
    );
    let (cpu_before, thread_before) = (cpu_us("/proc/self/stat"), cpu_us("/proc/thread-self/stat"));
    let started = env.clock.monotonic_ns();
    let mut latencies_us = Vec::new();
    let mut drafts =
        [FrameDraft { received_at: Timestamp(0), control: false, count: GROUP_RECORDS, body: Vec::new() }];
    for number in 0.. {
        let begun = env.clock.monotonic_ns();
        if begun - started > seconds * 1_000_000_000 {
            break;
        }
        drafts[0].body.clone_from(&groups[number % groups.len()]);
        drafts[0].received_at = Timestamp(number as i64);
        let next = log.next_position();
        let before = env.clock.monotonic_ns();
        log.append(Term(1), next, &drafts).unwrap();
        latencies_us.push((env.clock.monotonic_ns() - before) / 1_000);
        if let Some(per_second) = pace {
            let due = started + (number as u64 + 1) * 1_000_000_000 / per_second;
            std::thread::sleep(Duration::from_nanos(due.saturating_sub(env.clock.monotonic_ns())));
        }
    }
    let wall_us = (env.clock.monotonic_ns() - started) / 1_000;
    let (cpu, thread) =
        (cpu_us("/proc/self/stat") - cpu_before, cpu_us("/proc/thread-self/stat") - thread_before);
    stop.store(true, Ordering::Relaxed);
    assert!(sealer.unwrap().join());
    let events = log.next_position().0;
    latencies_us.sort_unstable();
    let at = |share: f64| latencies_us[((latencies_us.len() - 1) as f64 * share) as usize];
    println!("\n{name}: {events} events, {:.0} per second", events as f64 * 1e6 / wall_us as f64);
    println!(
        "  CPU per event: writer {:.3} us, whole process with sealing so far {:.3} us",
        thread as f64 / events as f64,
        cpu as f64 / events as f64
    );
    println!("  append p50 {} us, p99 {} us, p99.9 {} us, max {} us", at(0.5), at(0.99), at(0.999), at(1.0));
    measure_sealing(&env, &log);
    measure_reading(&env, &log);
}

fn measure_sealing(env: &Env, log: &LocalLog) {
    let handle = log.handle();
    let sealed_before: u64 =
        handle.segments().iter().filter(|segment| segment.sealed).map(|s| s.records()).sum();
    let (cpu_before, started) = (cpu_us("/proc/self/stat"), env.clock.monotonic_ns());
    while handle.seal_step().unwrap() != SealStep::Idle {}
    let (cpu, wall_us) =
        (cpu_us("/proc/self/stat") - cpu_before, (env.clock.monotonic_ns() - started) / 1_000);
    let sealed: Vec<_> = handle.segments().into_iter().filter(|segment| segment.sealed).collect();
    let records: u64 = sealed.iter().map(|segment| segment.records()).sum();
    let bytes: u64 = sealed.iter().map(|segment| segment.used_bytes).sum();
    if records > 0 {
        println!("  sealed {records} events to {:.1} bytes per event", bytes as f64 / records as f64);
    }
    let behind = records - sealed_before;
    if behind > 0 {
        println!(
            "  of these {behind} after the end: {:.3} us CPU per event, {:.0} per second",
            cpu as f64 / behind as f64,
            behind as f64 * 1e6 / wall_us as f64
        );
    }
    let stats = handle.stats();
    println!(
        "  {} rolls, {} without a spare, {} spares from used files",
        stats.rolls, stats.rolls_without_spare, stats.recycled_spares
    );
}

fn measure_reading(env: &Env, log: &LocalLog) {
    let (cpu_before, started) = (cpu_us("/proc/self/stat"), env.clock.monotonic_ns());
    let mut reader = log.read_from(Position(0)).unwrap();
    let mut records = 0;
    while let Some(frame) = reader.next().unwrap() {
        records += u64::from(frame.count);
    }
    let (cpu, wall_us) =
        (cpu_us("/proc/self/stat") - cpu_before, (env.clock.monotonic_ns() - started) / 1_000);
    println!(
        "  reading all: {:.3} us CPU per event, {:.0} per second",
        cpu as f64 / records as f64,
        records as f64 * 1e6 / wall_us as f64
    );
}

/// User and system time of a process or thread; the kernel counts in hundredths of a second.
fn cpu_us(path: &str) -> u64 {
    let text = std::fs::read_to_string(path).unwrap();
    let fields: Vec<&str> = text[text.rfind(')').unwrap() + 2..].split(' ').collect();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10_000
}

/// Segment track calls as an online shop sends them: random message and anonymous ids, real-looking catalogue, clock,
/// prices and agents; properties as JSON.
fn make_groups() -> Vec<Vec<u8>> {
    let mut seed = Seed::new(11);
    let mut groups = Vec::with_capacity(GROUPS);
    let mut clock_ms = 1_767_225_600_000_u64;
    for _ in 0..GROUPS {
        let mut body = Vec::new();
        for _ in 0..GROUP_RECORDS {
            clock_ms += seed.below(8);
            encode_record(&mut body, RecordKind::EVENT, event(&mut seed, clock_ms).as_bytes());
        }
        groups.push(body);
    }
    groups
}

fn event(seed: &mut Seed, clock_ms: u64) -> String {
    const NAMES: [&str; 6] = [
        "Product Viewed",
        "Product Added",
        "Product List Viewed",
        "Cart Viewed",
        "Checkout Started",
        "Order Completed",
    ];
    const PAGES: [&str; 4] = ["/products/", "/collections/spring/", "/search?q=", "/cart/"];
    const AGENTS: [&str; 3] = [
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Version/18.1 Safari/604.1",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0",
        "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Chrome/143.0.0.0 Mobile Safari/537.36",
    ];
    let pick = |seed: &mut Seed, from: &[&'static str]| from[seed.below(from.len() as u64) as usize];
    let (product, visitor) = (seed.below(5_000) * seed.below(100) / 100, seed.below(200_000));
    let mut visitor_seed = Seed::new(visitor);
    format!(
        concat!(
            r#"{{"type":"track","messageId":"ajs-next-{:x}-{:016x}{:016x}","anonymousId":"{:016x}{:016x}","event":"{}","#,
            r#""timestamp":"{}","properties":{{"product_id":"sku-{:05}","price":{}.{:02},"quantity":{},"currency":"EUR","#,
            r#""url":"https://shop.example{}{}"}},"context":{{"userAgent":"{}","ip":"203.0.{}.{}"}}}}"#
        ),
        clock_ms,
        seed.next_u64(),
        seed.next_u64(),
        visitor_seed.next_u64(),
        visitor_seed.next_u64(),
        pick(seed, &NAMES),
        clock_ms,
        product,
        product % 190 + 5,
        product % 100,
        1 + seed.below(3),
        pick(seed, &PAGES),
        product,
        pick(&mut visitor_seed, &AGENTS),
        visitor_seed.below(255),
        visitor_seed.below(255),
    )
}
