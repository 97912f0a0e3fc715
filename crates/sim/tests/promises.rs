//! A thousand lives and more, in four parts so that they run beside each other. A failure prints its seed:
//! `cargo run -p sim -- 1 SEED` lives it again.

#![expect(
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that fails must say why"
)]

use sim::scenario::{Scenario, Tally};

const STEPS: u32 = 160;

fn live(first: u64, count: u64) {
    std::panic::set_hook(Box::new(|info| {
        // Poisonous records panic on purpose; everything else must be heard.
        if !info.to_string().contains("a poisonous record") {
            eprintln!("{info}");
        }
    }));
    let mut total = Tally::default();
    for seed in first..first + count {
        match Scenario::new(seed).run(STEPS) {
            Ok(tally) => total.add(&tally),
            Err(error) => panic!("seed {seed}: {error:#}"),
        }
    }
    println!("seeds {first}..{}: {total:?}", first + count);
    // A simulation in which nothing happens proves nothing.
    for (what, seen) in [
        ("crash", total.crashes),
        ("kill", total.kills),
        ("fault", total.faults),
        ("checkpoint", total.checkpoints),
        ("duplicate", total.duplicates),
        ("effect", total.effects),
        ("quarantine", total.quarantined),
    ] {
        assert!(seen > 0, "not one {what} in {count} lives");
    }
}

#[test]
fn promises_hold_in_lives_1_to_400() {
    live(1, 400);
}

#[test]
fn promises_hold_in_lives_401_to_800() {
    live(401, 400);
}

#[test]
fn promises_hold_in_lives_801_to_1200() {
    live(801, 400);
}

#[test]
fn promises_hold_in_lives_1201_to_1600() {
    live(1_201, 400);
}
