//! Runs seeded lives from the command line: `cargo run --release -p sim -- COUNT [FIRST] [--life NAME] [--steps N]
//! [--without CLASS,CLASS]`. It never touches the real disk, clock or network. See docs/simulation.md.

use anyhow::{Context, Result, bail};
use sim::classes::Classes;
use sim::scenario::Tally;
use sim::shrink::{Kind, STEPS};
use std::io::Write;
use std::process::ExitCode;

/// What was asked for.
struct Asked {
    count: u64,
    first: u64,
    steps: u32,
    without: Classes,
    /// A mix of all, where nobody named one.
    kind: Option<Kind>,
}

impl Asked {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut asked =
            Self { count: 1_000, first: 1, steps: STEPS, without: Classes::default(), kind: None };
        let mut place = 0;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--life" => asked.kind = Some(Kind::named(&value()?)?),
                "--steps" => asked.steps = value()?.parse().context("--steps takes a number")?,
                "--without" => {
                    let text = value()?;
                    let all = Classes::default().others();
                    asked.without = Classes::parse(&text)
                        .with_context(|| format!("--without {text}: the classes are {all}"))?;
                }
                number if place < 2 => {
                    let number = number.parse().with_context(|| format!("{number} is no number"))?;
                    *if place == 0 { &mut asked.count } else { &mut asked.first } = number;
                    place += 1;
                }
                other => bail!(
                    "{other} is not known: write COUNT [FIRST] [--life NAME] [--steps N] [--without A,B]"
                ),
            }
        }
        Ok(asked)
    }

    /// What lives from a seed.
    fn kinds(&self, seed: u64) -> Vec<Kind> {
        self.kind.map_or_else(|| Kind::mix(seed), |kind| vec![kind])
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without a backtrace: the seed is all that is needed.
            let _ = writeln!(std::io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    // A panic of a poisonous record is part of the simulation, and any other becomes an error with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let asked = Asked::read(std::env::args().skip(1))?;
    let mut total = Tally::default();
    let mut out = std::io::stdout().lock();
    for seed in asked.first..asked.first.saturating_add(asked.count) {
        for kind in asked.kinds(seed) {
            match kind.live_or_shrink(seed, asked.steps, asked.without) {
                Ok(tally) => total.add(&tally),
                Err(failure) => bail!("{failure}"),
            }
        }
        let done = seed - asked.first + 1;
        if done.is_multiple_of(5_000) {
            writeln!(out, "{done} seeds: {total:?}")?;
        }
    }
    writeln!(out, "{} seeds from {}: every promise held. {total:?}", asked.count, asked.first)?;
    Ok(())
}
