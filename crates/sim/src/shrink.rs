//! A failure made small: with the fewest steps, then with as few classes of trouble as it needs.

use crate::classes::{Class, Classes};
use crate::customers::Customers;
use crate::ledger::Clients;
use crate::people::Shoppers;
use crate::scenario::{Scenario, Tally};
use crate::subject::Subject;
use anyhow::{Result, anyhow, bail};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How many steps a life has unless somebody asks for another number.
pub const STEPS: u32 = 160;

/// A kind of life.
#[derive(Clone, Copy)]
pub struct Kind {
    /// Its name on the command line.
    pub name: &'static str,
    run: fn(u64, u32, Classes) -> Result<Tally>,
}

impl Kind {
    /// Of a subject.
    pub fn of<S: Subject>() -> Self {
        Self { name: S::NAME, run: |seed, steps, without| Scenario::<S>::without(seed, without).run(steps) }
    }

    /// All kinds.
    pub fn all() -> [Self; 3] {
        [Self::of::<Clients>(), Self::of::<Shoppers>(), Self::of::<Customers>()]
    }

    /// What lives from a seed where nobody asks for a kind. Lives of people and customers are much dearer than those of
    /// a ledger, so they are rarer. Every other seed trims its log: of both, some are among those.
    pub fn mix(seed: u64) -> Vec<Self> {
        let [ledger, people, customers] = Self::all();
        match seed % 8 {
            0 | 5 => vec![ledger, people],
            2 | 7 => vec![ledger, customers],
            _ => vec![ledger],
        }
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Result<Self> {
        let found = Self::all().into_iter().find(|kind| kind.name == name);
        found.ok_or_else(|| anyhow!("there is no life called {name:?}: write ledger, people or customers"))
    }

    /// Lives one life. A panic is a failure like any other.
    pub fn live(&self, seed: u64, steps: u32, without: Classes) -> Result<Tally> {
        catch_unwind(AssertUnwindSafe(|| (self.run)(seed, steps, without))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it says nothing");
            bail!("it panicked: {text}")
        })
    }

    /// Lives one life, and makes a failure small.
    pub fn live_or_shrink(&self, seed: u64, steps: u32, without: Classes) -> Result<Tally, Box<Failure>> {
        self.live(seed, steps, without).map_err(|error| Box::new(self.shrink(seed, steps, without, &error)))
    }

    fn shrink(&self, seed: u64, steps: u32, without: Classes, error: &anyhow::Error) -> Failure {
        let first = format!("{error:#}");
        let mut small =
            Failure { kind: self.name, seed, steps, without, error: first.clone(), at_first: first };
        // Fewer steps are not always a part of more of them, as a life ends with looking after everything: so each
        // number is tried.
        if let Some((steps, error)) = self.fewest_steps(seed, steps, without) {
            (small.steps, small.error) = (steps, error);
        }
        for (class, _) in Class::ALL {
            let fewer = small.without.with(class);
            if fewer == small.without {
                continue;
            }
            if let Some((steps, error)) = self.fewest_steps(seed, small.steps, fewer) {
                (small.steps, small.error, small.without) = (steps, error, fewer);
            }
        }
        small
    }

    fn fewest_steps(&self, seed: u64, most: u32, without: Classes) -> Option<(u32, String)> {
        (0..=most).find_map(|steps| {
            self.live(seed, steps, without).err().map(|error| (steps, format!("{error:#}")))
        })
    }
}

/// A life that broke a promise.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which kind of life.
    pub kind: &'static str,
    /// From which seed.
    pub seed: u64,
    /// With how many steps.
    pub steps: u32,
    /// Without what.
    pub without: Classes,
    /// What is wrong.
    pub error: String,
    /// What was wrong before anything was left out.
    pub at_first: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, seed, steps, without, error, at_first } = self;
        writeln!(formatter, "seed {seed}, {kind}: {at_first}")?;
        writeln!(formatter, "smallest: {steps} steps, trouble left: {}", without.others())?;
        writeln!(formatter, "  {error}")?;
        write!(formatter, "again: cargo run --release -p sim -- 1 {seed} --life {kind} --steps {steps}")?;
        if *without != Classes::default() {
            write!(formatter, " --without {without}")?;
        }
        Ok(())
    }
}
