//! Runs seeded lives from the command line: `cargo run --release -p sim -- COUNT [FIRST]`.

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
        match Scenario::new(seed).run(STEPS) {
            Ok(tally) => total.add(&tally),
            Err(error) => anyhow::bail!("seed {seed}: {error:#}"),
        }
        if (seed - first + 1).is_multiple_of(5_000) {
            writeln!(out, "{} seeds: {total:?}", seed - first + 1)?;
        }
    }
    writeln!(out, "{count} seeds from {first}: every promise held. {total:?}")?;
    Ok(())
}
