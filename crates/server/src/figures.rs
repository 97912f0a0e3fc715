//! Figures, the goals that they are held against, and the one JSON shape in which they are reported.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

/// All goals, see the file.
const GOALS: &str = include_str!("../../../benches/goals.toml");
/// More of a file under `/proc` is not read.
const PROC_BYTES_MAX: u64 = 256 * 1024;

/// Which side of the goal is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// At most the goal.
    Lower,
    /// At least the goal.
    Higher,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Goal {
    goal: f64,
    unit: String,
    better: Better,
}

/// One measured figure.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// Its name, as in `benches/goals.toml`.
    pub name: String,
    /// What was measured.
    pub value: f64,
    /// In what.
    pub unit: String,
    /// What it should be.
    pub goal: f64,
    /// Which side of the goal is good.
    pub better: Better,
    /// Whether it is on that side.
    pub met: bool,
}

/// What it was measured on.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Cores that this process may use.
    pub cores: usize,
    /// The processor's name, as the machine tells it.
    pub cpu: String,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The kernel.
    pub kernel: String,
    /// E.g. `x86_64-linux`.
    pub target: String,
    /// Built with optimisation: figures of a debug build mean little.
    pub optimised: bool,
}

impl Machine {
    /// This machine.
    pub fn here() -> Self {
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':'))
                .map(|(_, value)| value.trim().to_owned())
                .unwrap_or_default()
        };
        let memory = field(&proc_text("/proc/meminfo"), "MemTotal");
        let kibibytes: u64 = memory.trim_end_matches(" kB").trim().parse().unwrap_or(0);
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: field(&proc_text("/proc/cpuinfo"), "model name"),
            memory_mib: kibibytes / 1_024,
            kernel: proc_text("/proc/sys/kernel/osrelease").trim().to_owned(),
            target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
            optimised: !cfg!(debug_assertions),
        }
    }
}

/// A file under `/proc`; empty where there is none.
fn proc_text(path: &str) -> String {
    let Ok(file) = File::open(path) else { return String::new() };
    let mut bytes = Vec::new();
    let mut block = [0; 4_096];
    let mut reader = file.take(PROC_BYTES_MAX);
    while let Ok(count @ 1..) = reader.read(&mut block) {
        bytes.extend_from_slice(block.get(..count).unwrap_or_default());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Everything that one bench measured.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Its name.
    pub bench: String,
    /// On what.
    pub machine: Machine,
    /// What came out.
    pub figures: Vec<Figure>,
}

impl Figures {
    /// Holds measured values against the goals of this bench. A value without a goal is an error: all goals stand in
    /// `benches/goals.toml`.
    pub fn new(bench: &str, measured: &[(&str, f64)]) -> Result<Self> {
        let all: toml::Table = toml::from_str(GOALS).context("benches/goals.toml is no TOML")?;
        let figures = measured
            .iter()
            .map(|(name, value)| {
                let entry = all.get(bench).and_then(|table| table.get(*name));
                let entry =
                    entry.with_context(|| format!("benches/goals.toml has no [{bench}] {name}: add it"))?;
                let goal: Goal = entry
                    .clone()
                    .try_into()
                    .with_context(|| format!("[{bench}] {name} in benches/goals.toml is not understood"))?;
                Ok(figure(name, *value, goal))
            })
            .collect::<Result<_>>()?;
        Ok(Self { bench: bench.to_owned(), machine: Machine::here(), figures })
    }

    /// Writes them as JSON.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self).context("the figures cannot be written as JSON")?;
        text.push('\n');
        fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
    }
}

fn figure(name: &str, value: f64, goal: Goal) -> Figure {
    let Goal { goal, unit, better } = goal;
    let met = match better {
        Better::Lower => value <= goal,
        Better::Higher => value >= goal,
    };
    Figure { name: name.to_owned(), value, unit, goal, better, met }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_held_against_the_file_and_one_without_a_goal_is_an_error() {
        let measured = [("events_per_second", 1.0), ("purchases_not_suppressed", 0.0)];
        let report = Figures::new("demo", &measured).unwrap();
        let met: Vec<bool> = report.figures.iter().map(|figure| figure.met).collect();
        assert_eq!(met, [false, true]);
        assert!(report.machine.cores > 0);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["figures"][1]["better"], "lower");
        assert!(Figures::new("demo", &[("unheard_of", 1.0)]).is_err());
        assert!(Figures::new("unheard_of", &measured).is_err());
    }

    #[test]
    fn the_goal_itself_is_met() {
        for (value, better, met) in [
            (2.0, Better::Lower, true),
            (2.1, Better::Lower, false),
            (2.0, Better::Higher, true),
            (1.9, Better::Higher, false),
            (f64::NAN, Better::Lower, false),
        ] {
            assert_eq!(figure("x", value, Goal { goal: 2.0, unit: "s".into(), better }).met, met);
        }
    }
}
