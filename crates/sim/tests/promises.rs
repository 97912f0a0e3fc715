//! A thousand lives and more, in four parts so that they run beside each other. A failure prints its seed:
//! `cargo run -p sim -- 1 SEED` lives it again.

#![expect(
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test that fails must say why"
)]

use sim::ledger::Clients;
use sim::people::Shoppers;
use sim::scenario::{Scenario, Tally};
use sim::subject::Subject;

const STEPS: u32 = 160;
const EVERYTHING: [&str; 8] =
    ["crash", "kill", "fault", "checkpoint", "duplicate", "effect", "quarantine", "followed item"];
const WITHOUT_POISON: [&str; 7] =
    ["crash", "kill", "fault", "checkpoint", "duplicate", "effect", "followed item"];

fn live<S: Subject>(first: u64, count: u64, expected: &[&str]) {
    std::panic::set_hook(Box::new(|info| {
        // Poisonous records panic on purpose; everything else must be heard.
        if !info.to_string().contains("a poisonous record") {
            eprintln!("{info}");
        }
    }));
    let mut total = Tally::default();
    for seed in first..first + count {
        match Scenario::<S>::new(seed).run(STEPS) {
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
        ("followed item", total.followed),
    ] {
        assert!(seen > 0 || !expected.contains(&what), "not one {what} in {count} lives");
    }
}

#[test]
fn promises_hold_in_lives_1_to_400() {
    live::<Clients>(1, 400, &EVERYTHING);
}

#[test]
fn promises_hold_in_lives_401_to_800() {
    live::<Clients>(401, 400, &EVERYTHING);
}

#[test]
fn promises_hold_in_lives_801_to_1200() {
    live::<Clients>(801, 400, &EVERYTHING);
}

/// Lives that once broke a promise. 100706: a row was read ahead as it had been before it was changed, written and
/// evicted.
#[test]
fn promises_hold_in_lives_that_broke_them_once() {
    live::<Clients>(100_706, 1, &[]);
}

#[test]
fn promises_hold_in_150_lives_of_people() {
    live::<Shoppers>(1, 150, &WITHOUT_POISON);
}
