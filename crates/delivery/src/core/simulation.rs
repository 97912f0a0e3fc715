//! Seeded lives of the core and its journal: destinations that hang, lie, answer twice, are slow or dead; permits that
//! refuse, delay or never come; sources that stumble, lose effects and have them again; and every fault of the seeded
//! disk. After each step the promises of the crate's front page are held against what went over the wire.

mod life;
mod world;

use life::{Life, Seen};

/// Lives of each of the four tests; more with `DELIVERY_SEEDS=100000`.
const SEEDS: u64 = 500;

#[test]
fn promises_hold_whatever_happens_in_the_first_lives() {
    promises_hold(0);
}

#[test]
fn promises_hold_whatever_happens_in_the_second_lives() {
    promises_hold(1);
}

#[test]
fn promises_hold_whatever_happens_in_the_third_lives() {
    promises_hold(2);
}

#[test]
fn promises_hold_whatever_happens_in_the_fourth_lives() {
    promises_hold(3);
}

fn promises_hold(quarter: u64) {
    let seeds = std::env::var("DELIVERY_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    let mut seen = Seen::default();
    for number in quarter * seeds..(quarter + 1) * seeds {
        let run = std::panic::catch_unwind(|| Life::new(number).run());
        let one = run.unwrap_or_else(|_| panic!("seed {number} failed, see above"));
        for (name, count) in one.0 {
            *seen.0.entry(name).or_default() += count;
        }
    }
    println!("{seen:#?}");
    for name in [
        "attempts",
        "batches",
        "crashes",
        "crashes with something on the wire",
        "journal errors",
        "failed opens",
        "delivered",
        "lost by a liar",
        "refused",
        "batches taken apart",
        "unknown",
        "marketing unknown",
        "timeouts",
        "stray answers",
        "permits refused",
        "permits delayed",
        "permits lost",
        "dead",
        "gave up",
        "re-sent",
        "discarded",
        "forgotten",
        "breaker open",
        "breaker probes",
        "retry-after holds",
        "rate holds",
        "full holds",
        "rewrites",
        "repeated after a crash",
        "trimmed",
        "empty supplies",
        "waited for its time",
        "lanes changed at rest",
        "lanes cut",
        "effects lost by the source",
        "waits before a loss",
        "lost effects sent after all",
    ] {
        let count = seen.0.get(name).copied().unwrap_or(0);
        assert!(count >= 20, "`{name}` is hardly met any more: {count}");
    }
}
