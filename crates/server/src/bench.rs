//! `throughline bench NAME`: measures the real binary, as a child process over loopback, and holds the figures against
//! `benches/goals.toml`.
//!
//! The load comes from this process and shares the machine with the server, so processor time per event of the server
//! alone is the figure that compares.

mod audience;
mod audiences;
mod backfill;
mod decide;
mod deliver;
mod events;
mod folder;
mod kill;
mod latency;
mod load;
mod pipeline;
mod prefill;
mod report;
mod request;

pub use events::{Generator, Population};
use folder::Folder;
pub use latency::Latencies;
pub use load::{Lane, LaneResult, Load, Pace};
pub use report::Report;
pub use request::{Batches, Decides, Introductions, Source};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

/// The longest that one phase may be asked to take.
const SECONDS_MAX: u64 = 24 * 3_600;
/// The most repetitions.
const REPEAT_MAX: u32 = 99;
/// The most people that may be asked for.
const PEOPLE_MAX: u64 = 200_000_000;
/// The most message ids that may be asked for.
const PREFILL_IDS_MAX: u64 = 1_000_000_000;

/// The most rounds of killing.
const ROUNDS_MAX: u32 = 100_000;
/// The most purchases.
const PURCHASES_MAX: u64 = 100_000_000;

/// What there is to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Name {
    /// From the HTTP byte to applied: rates, processor time, latencies, memory, disk, recovery.
    Pipeline,
    /// Kills the server under load: nothing acknowledged is lost, nothing counts twice, effects keep their ids.
    Kill,
    /// Purchases and decisions at once: after its 200 a purchase is never unsuppressed.
    Decide,
    /// Rules and features: nanoseconds of each, memory per profile, and how fast everybody is found.
    Audience,
    /// Effects to a webhook on this machine: how many a second, and processor time of each.
    Deliver,
    /// Audiences defined over everybody under load, killed in the middle: equal to those defined from the beginning.
    Backfill,
}

/// Options of `throughline bench`.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// What to measure
    #[arg(value_enum)]
    pub name: Name,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
    /// Seconds of each phase, after its warm-up
    #[arg(long, default_value_t = 300)]
    pub seconds: u64,
    /// Where the server's data goes; must be new or empty. A temporary folder, removed at the end, if left out
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// Run every phase so many times and take the medians
    #[arg(long, default_value_t = 1)]
    pub repeat: u32,
    /// People who are known before the phases begin, with three identifiers each
    #[arg(long, default_value_t = 1_000_000)]
    pub people: u64,
    /// Of `pipeline`: audiences of mixed kind that are defined before the people are told
    #[arg(long, default_value_t = 20)]
    pub audiences: usize,
    /// Percent of events whose person is drawn from everybody alike, so mostly not from memory
    #[arg(long, default_value_t = 10)]
    pub cold_percent: u64,
    /// Memory for rows during the phases, in MiB; less than the people take keeps cold people cold
    #[arg(long, default_value_t = 1_024)]
    pub resident_mib: u64,
    /// Message ids of the last 24 h that de-duplication knows before the phases begin
    #[arg(long, default_value_t = 50_000_000)]
    pub prefill_ids: u64,
    /// Events in the log before the server is killed and recovers
    #[arg(long, default_value_t = 5_000_000)]
    pub recovery_events: u64,
    /// Only these phases, e.g. `batch,single`: batch, single, paced, recovery
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<pipeline::Phase>,
    /// Of `kill`: how often the server is killed
    #[arg(long, default_value_t = 20)]
    pub rounds: u32,
    /// Of `decide`: how many purchases
    #[arg(long, default_value_t = 10_000)]
    pub purchases: u64,
    /// Of `kill`, `decide` and `backfill`: what chance is drawn from
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The binary to measure; this one if left out
    #[arg(long)]
    pub binary: Option<PathBuf>,
}

/// Runs a bench and prints what it measured. A promise that was broken is an error; a goal of speed that was missed is
/// a figure.
pub fn bench(args: BenchArgs) -> anyhow::Result<()> {
    let report = measure(&args)?;
    let text = if args.json { report.json()? } else { report.table() };
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes())?;
    output.flush()?;
    report.promises()
}

/// Runs a bench.
pub fn measure(args: &BenchArgs) -> anyhow::Result<Report> {
    let bounded = (1..=SECONDS_MAX).contains(&args.seconds)
        && (1..=REPEAT_MAX).contains(&args.repeat)
        && (1..=PEOPLE_MAX).contains(&args.people)
        && args.audiences <= audiences::AUDIENCES_MAX
        && args.cold_percent <= 100
        && args.prefill_ids <= PREFILL_IDS_MAX
        && (1..=ROUNDS_MAX).contains(&args.rounds)
        && (1..=PURCHASES_MAX).contains(&args.purchases);
    if !bounded {
        bail!(
            "use 1 to {SECONDS_MAX} seconds, 1 to {REPEAT_MAX} repetitions, 1 to {PEOPLE_MAX} people, at most {} \
             audiences, at most 100 percent, at most {PREFILL_IDS_MAX} ids, 1 to {ROUNDS_MAX} rounds and 1 to {PURCHASES_MAX} purchases",
            audiences::AUDIENCES_MAX
        );
    }
    match args.name {
        Name::Pipeline => pipeline::run(args),
        Name::Kill => kill::run(args),
        Name::Decide => decide::run(args),
        Name::Audience => audience::run(args),
        Name::Deliver => deliver::run(args),
        Name::Backfill => backfill::run(args),
    }
}

fn binary_of(args: &BenchArgs) -> anyhow::Result<PathBuf> {
    match &args.binary {
        Some(binary) => Ok(binary.clone()),
        None => std::env::current_exe().context("this program does not know where it is; use --binary"),
    }
}

/// Says on standard error what is going on. On a terminal the line is drawn again and again.
pub(crate) struct Progress {
    terminal: bool,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal() }
    }

    /// A step begins.
    pub(crate) fn step(&self, text: &str) {
        // Nobody to tell is no reason to stop.
        let _ = if self.terminal {
            writeln!(std::io::stderr(), "\r\x1b[K{text}")
        } else {
            writeln!(std::io::stderr(), "{text}")
        };
    }

    /// It goes on; shown on a terminal only.
    pub(crate) fn tick(&self, text: &str) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K  {text}");
        }
    }
}
