//! Runs seeded lives from the command line: `cargo run --release -p sim -- COUNT [FIRST]`. It never touches the real
//! disk or clock.

use anyhow::Context;
use sim::ledger::Clients;
use sim::people::Shoppers;
use sim::scenario::{Scenario, Tally};
use std::io::Write;

const STEPS: u32 = 160;

fn main() -> anyhow::Result<()> {
    // A panic of a poisonous record is part of the simulation: its message would only be noise.
    std::panic::set_hook(Box::new(|_| {}));
    let mut arguments = std::env::args().skip(1);
    let count: u64 = arguments.next().map_or(Ok(1_000), |text| text.parse())?;
    let first: u64 = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let mut total = Tally::default();
    let mut out = std::io::stdout().lock();
    for seed in first..first + count {
        let ledger = Scenario::<Clients>::new(seed).run(STEPS);
        total.add(&ledger.with_context(|| format!("seed {seed}, ledger"))?);
        // Every fourth seed also lives with people: their second shard makes a life much dearer.
        if seed.is_multiple_of(4) {
            let people = Scenario::<Shoppers>::new(seed).run(STEPS);
            total.add(&people.with_context(|| format!("seed {seed}, people"))?);
        }
        if (seed - first + 1).is_multiple_of(5_000) {
            writeln!(out, "{} seeds: {total:?}", seed - first + 1)?;
        }
    }
    writeln!(out, "{count} seeds from {first}: every promise held. {total:?}")?;
    Ok(())
}
