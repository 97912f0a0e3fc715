//! A short walk through every target, and everything that was ever found.
//!
//! `FUZZ_ROUNDS` makes it longer, `FUZZ_SEED` takes another one.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test"
)]

use fuzz::walk::walk;
use fuzz::{TARGETS, target};
use std::path::Path;

const ROUNDS: u64 = 20_000;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn stroll(name: &str) {
    let target = target(name).unwrap();
    let (rounds, seed) = (number("FUZZ_ROUNDS", ROUNDS), number("FUZZ_SEED", 1));
    println!("{name}: {rounds} rounds from seed {seed}; the last round said is the one that failed");
    let mut known = (target.seeds)();
    let findings = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    if let Ok(files) = std::fs::read_dir(findings) {
        known.extend(files.map(|file| std::fs::read(file.unwrap().path()).unwrap()));
    }
    let mut round = 0;
    let met = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        walk(target, &known, rounds, seed, |number, input| {
            round = number;
            if number == 0 {
                println!("known: {input:?}");
            }
        })
    }));
    let met = met.unwrap_or_else(|_| panic!("{name} fails in round {round} of seed {seed}"));
    println!("{met:?}");
    assert!(met.accepted * 200 > rounds, "hardly anything is accepted: the walk is too wild");
    assert!(met.refused * 200 > rounds, "hardly anything is refused: the walk is too tame");
}

#[test]
fn collector() {
    stroll("collector");
}

#[test]
fn event() {
    stroll("event");
}

#[test]
fn log() {
    stroll("log");
}

#[test]
fn plan() {
    stroll("plan");
}

#[test]
fn records() {
    stroll("records");
}

#[test]
fn rule() {
    stroll("rule");
}

#[test]
fn run() {
    stroll("run");
}

#[test]
fn every_target_has_a_walk() {
    let here = include_str!("walks.rs");
    for target in TARGETS {
        assert!(here.contains(&format!("stroll(\"{}\")", target.name)), "{} has none", target.name);
    }
}

#[test]
fn what_is_given_to_begin_with_is_accepted() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        let accepted = seeds.iter().filter(|seed| (target.check)(seed)).count();
        assert!(accepted > 0, "{}: none of {} seeds is accepted", target.name, seeds.len());
    }
}
