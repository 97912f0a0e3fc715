//! Nanoseconds per item that the change feed costs the applying thread, with a writer on a thread of its own and a real
//! disk.
//!
//! `cargo run --release -p engine --example bench_feed`

use engine::feed::{FeedOptions, Feeding, Place, open};
use engine::{Effect, IssuedEffect, Subject};
use env::Env;
use model::id::{EffectId, Key, Position, Timestamp};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

const ITEMS: u64 = 4_000_000;
/// The applying thread has more to do per event than the feed: at most this often a burst of it comes.
const BURST_ITEMS: u64 = 100_000;
const BURST_PAUSE: Duration = Duration::from_millis(100);

/// Nanoseconds that this thread has been on a core: the machine may be busy with other things.
#[expect(clippy::disallowed_methods, reason = "a benchmark asks the machine that it runs on")]
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0)
}

#[expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark prints its figures, fails loudly, and runs on the real machine"
)]
fn main() {
    for (frame_items, effects) in [(500, false), (100, false), (10, false), (1, false), (100, true)] {
        let folder: PathBuf =
            std::env::temp_dir().join(format!("throughline-bench-feed-{}", std::process::id()));
        let (ns, writer_ns, gaps) = run(&folder, frame_items, effects);
        println!(
            "frames of {frame_items} {}: {ns} ns an item on the applying thread, {writer_ns} ns on the writing one, \
             {gaps} gaps",
            if effects { "effects of 40 bytes" } else { "events" },
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

#[expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "see above")]
fn run(folder: &Path, frame_items: u64, effects: bool) -> (u64, u64, u64) {
    let env = Env::real();
    let options = FeedOptions { retention_bytes: 256 << 20, ..FeedOptions::default() };
    let opened = open(&env, folder, Position(0), Timestamp(0), None, options).unwrap();
    let Feeding { feed, mut appender, mut writer, .. } = opened;
    let stopping = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            while !stopping.load(Relaxed) {
                if !writer.step().unwrap() {
                    writer.wait(Duration::from_millis(10));
                }
            }
            cpu_ns()
        });
        let mut spent_ns = 0;
        let mut position = 0;
        for burst in 0..ITEMS / BURST_ITEMS {
            let start_ns = cpu_ns();
            for _ in 0..BURST_ITEMS / frame_items {
                for _ in 0..frame_items {
                    put(&mut appender, position, effects);
                    position += 1;
                }
                appender.end_frame(Position(position), Timestamp(burst as i64));
            }
            if burst % 8 == 0 {
                appender.mark();
            }
            spent_ns += cpu_ns() - start_ns;
            std::thread::sleep(BURST_PAUSE);
        }
        let end = Place::at(Position(position));
        assert!(feed.read(end).is_ok());
        stopping.store(true, Relaxed);
        (spent_ns / position, writing.join().unwrap() / position, feed.stats().gaps)
    })
}

fn put(appender: &mut engine::feed::Appender, position: u64, effects: bool) {
    let key = Key(u128::from(position.wrapping_mul(0x9E37_79B9_7F4A_7C15)) << 40);
    if effects {
        let effect = Effect { kind: 1, subject: key, body: vec![7; 40] };
        let id = EffectId { position: Position(position), ordinal: 0 };
        appender.effect(&IssuedEffect { id, issued_at: Timestamp(0), effect });
    } else {
        appender.event(Position(position), Subject { whole: key, part: Key(key.0 ^ 1), named: Some(0) });
    }
}
