//! Measures delivery on this machine:
//! `cargo run --release -p outbound --example bench_deliver -- FOLDER [EFFECTS] [MARKETING_EVERY]`.
//!
//! Prints effects a second and processor time per effect of the whole process, the receiver included.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measuring program"
)]

use delivery::env::Env;
use outbound::bench::{DeliverBench, bench_deliver};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| "target/bench_deliver".to_owned());
    let effects: u64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(50_000);
    let marketing_every: u64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (name, body_bytes, concurrency_max) in [
        ("500 B, 64 under way", 500, 64),
        ("500 B, 8 under way", 500, 8),
        ("10 kB, 64 under way", 10_000, 64),
    ] {
        let _ = std::fs::remove_dir_all(&folder);
        let bench = DeliverBench {
            effects,
            body_bytes,
            concurrency_max,
            marketing_every,
            ..DeliverBench::at(&folder)
        };
        let before = cpu_us();
        let figures = runtime.block_on(bench_deliver(&Env::real(), bench)).unwrap();
        let cpu_us = cpu_us() - before;
        println!(
            "{name}: {} effects/s, {:.1} us CPU per effect (receiver included), {} received for {} delivered",
            figures.per_second(),
            cpu_us as f64 / figures.delivered as f64,
            figures.received,
            figures.delivered,
        );
    }
    let _ = std::fs::remove_dir_all(&folder);
}

/// Processor time of the process, user and system, in microseconds; the kernel counts in hundredths of a second.
fn cpu_us() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()) * 10_000
}
