//! `throughline import`: files of events or of people, in NDJSON, CSV or Parquet, through the same door as everything.
//!
//! `import/rows.rs` reads rows, `import/plan.rs` makes messages of them, `import/progress.rs` remembers how far it came;
//! batches leave as those of [`crate::send`] do. A row always makes the same `messageId`, whatever columns are mapped to,
//! so what was sent before counts once; and a file goes on where it was left, however that happened.

mod parquet_rows;
mod plan;
mod progress;
mod refused;
mod rows;
#[cfg(test)]
mod tests;

use crate::http_client::{Credential, Endpoint, RetryPolicy};
use crate::send::{Batch, Delivery, Problem, Summary, Watcher, write_key_of};
use crate::terminal::{Terminal, grouped};
use anyhow::{Context as _, Result, bail, ensure};
use plan::{Mapping, Plan};
use progress::{Fingerprint, Progress};
use refused::Refused;
use rows::{Row, Rows};
use serde::Serialize;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

const BATCH_EVENTS_MAX: i64 = 2_500;
/// Bytes of the events of one request: a little less than Segment's 500 KB.
const BATCH_BYTES: usize = 450 * 1024;
const CONNECTIONS_MAX: i64 = 64;
/// Messages that `--dry-run` shows.
const SHOWN_MAX: usize = 3;

/// What rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Things that happened: further columns become properties.
    Events,
    /// People: further columns become traits.
    Profiles,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a line.
    Ndjson,
    /// Comma-separated, with a first line of names.
    Csv,
    /// Parquet.
    Parquet,
}

/// Imports a file of events or of people: NDJSON, CSV or Parquet. Goes on where it was left.
#[derive(Clone, Debug, clap::Args)]
pub struct ImportArgs {
    /// The file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What its rows are
    #[arg(long = "as", value_name = "KIND", value_enum)]
    pub kind: Kind,
    /// How it is written; otherwise its name says so (.ndjson, .jsonl, .csv, .parquet)
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub format: Option<Format>,
    /// Where a column goes: bought_at=timestamp, sum=properties.total:number, note= (left out). Types are text, number,
    /// boolean and json. May be repeated
    #[arg(long = "map", value_name = "COLUMN=PLACE[:TYPE]")]
    pub mappings: Vec<Mapping>,
    /// The event of rows that name none
    #[arg(long, value_name = "NAME")]
    pub event: Option<String>,
    /// Where to; http only
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7300")]
    pub to: String,
    /// A file that holds a server's write key
    #[arg(long, value_name = "FILE", required_unless_present = "dry_run")]
    pub write_key_file: Option<PathBuf>,
    /// Rows of one request, at most
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=BATCH_EVENTS_MAX))]
    pub batch: u32,
    /// Connections that send at once; with more than one, the order of the file is not kept
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=CONNECTIONS_MAX))]
    pub connections: u32,
    /// End when more rows than this were refused: then the mapping is wrong, not the rows
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub refused_max: u64,
    /// Where rows go that were refused, each with the reason; otherwise FILE.refused.ndjson
    #[arg(long, value_name = "FILE")]
    pub refused: Option<PathBuf>,
    /// Begin at the first row again, whatever was sent before
    #[arg(long)]
    pub again: bool,
    /// Read all rows, send none, and show the first messages
    #[arg(long)]
    pub dry_run: bool,
    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}

/// What became of the rows, in this run and in those before that it goes on from.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Imported {
    /// Rows of the file that are done.
    pub rows: u64,
    /// Rows that were done before this run.
    pub done_before: u64,
    /// Of the others: taken, which is durable. With `--dry-run`: those that make a message.
    pub accepted: u64,
    /// Refused by the server, or nothing that a message can be made of; those of the runs before too.
    pub refused: u64,
    /// Time used.
    pub elapsed_s: f64,
    /// Where the refused rows are, if there are any.
    pub refused_file: Option<PathBuf>,
    /// Why it ended before the end of the file, if it did.
    pub ended_early: Option<String>,
}

impl Imported {
    fn text(&self, dry_run: bool) -> String {
        let verb = if dry_run { "would be sent" } else { "accepted" };
        let mut text = format!(
            "{} rows: {} done before, {} {verb}, {} refused; {:.1} s, {}/s",
            grouped(self.rows),
            grouped(self.done_before),
            grouped(self.accepted),
            grouped(self.refused),
            self.elapsed_s,
            grouped((self.accepted as f64 / self.elapsed_s.max(1e-9)) as u64)
        );
        if let Some(file) = &self.refused_file {
            text.push_str(&format!("\nThe refused rows and why: {}", file.display()));
        }
        text
    }
}

/// Imports the file. An error if a row of it was refused, or if it ended early.
pub fn import(args: &ImportArgs) -> Result<()> {
    let imported = run(args, RetryPolicy::default(), &Terminal::stderr())?;
    let text = if args.json { serde_json::to_string_pretty(&imported)? } else { imported.text(args.dry_run) };
    Terminal::stdout().say(&text);
    if let Some(why) = &imported.ended_early {
        bail!("it ended before the end of the file: {why}. The same command goes on from there");
    }
    ensure!(imported.refused == 0, "{} rows were refused", grouped(imported.refused));
    Ok(())
}

fn run(args: &ImportArgs, policy: RetryPolicy, terminal: &Terminal) -> Result<Imported> {
    let began = Instant::now();
    let plan = Plan::new(args.kind, &args.mappings, args.event.as_deref())?;
    let format = format_of(args)?;
    let mut rows = Rows::open(&args.file, format)?;
    plan.check(rows.names())?;
    let mut imported = if args.dry_run {
        dry_run(&plan, &mut rows, terminal)?
    } else {
        transfer(args, &plan, rows, policy, terminal)?
    };
    imported.elapsed_s = began.elapsed().as_secs_f64();
    Ok(imported)
}

fn format_of(args: &ImportArgs) -> Result<Format> {
    if let Some(format) = args.format {
        return Ok(format);
    }
    let ending = args.file.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    Ok(match ending.as_deref() {
        Some("ndjson" | "jsonl" | "json") => Format::Ndjson,
        Some("csv") => Format::Csv,
        Some("parquet") => Format::Parquet,
        _ => bail!("the name of {} does not say how it is written: give --format", args.file.display()),
    })
}

fn dry_run(plan: &Plan, rows: &mut Rows, terminal: &Terminal) -> Result<Imported> {
    let mut imported = Imported::default();
    while let Some(row) = rows.next_row()? {
        imported.rows += 1;
        match row.columns.and_then(|columns| plan.message(columns, &row.id)) {
            Ok(message) => {
                imported.accepted += 1;
                if imported.accepted <= SHOWN_MAX as u64 {
                    terminal.say(&String::from_utf8_lossy(&message));
                }
            }
            Err(reason) => {
                imported.refused += 1;
                if imported.refused <= SHOWN_MAX as u64 {
                    terminal.say(&format!("row {}: {reason}", row.number));
                }
            }
        }
    }
    Ok(imported)
}

fn transfer(
    args: &ImportArgs,
    plan: &Plan,
    rows: Rows,
    policy: RetryPolicy,
    terminal: &Terminal,
) -> Result<Imported> {
    let endpoint = Endpoint::parse(&args.to)?;
    let key_file = args.write_key_file.as_deref().context("a write key is needed: give --write-key-file")?;
    let credential = Credential::WriteKey(write_key_of(key_file)?);
    let fingerprint = Fingerprint::of(&args.file, args.kind)?;
    let progress = Progress::open(&args.file, &fingerprint, args.again)?;
    let done_before = progress.rows_done();
    if done_before > 0 {
        terminal.say(&format!("{} rows were done before; it goes on behind them", grouped(done_before)));
    }
    let refused_file = args.refused.clone().unwrap_or_else(|| beside(&args.file, ".refused.ndjson"));
    let refused = Refused::open(&refused_file, done_before)?;
    let watcher = Watch { progress: &progress, refused: &refused, refused_max: args.refused_max };
    let delivery = Delivery::new(endpoint, credential, policy, true, terminal).watched_by(&watcher);
    let result = delivery.run(args.connections as usize, |give| {
        let mut feeder = Feeder {
            args,
            plan,
            delivery: &delivery,
            progress: &progress,
            terminal,
            began: Instant::now(),
            batch: Batch::default(),
            last_row: done_before,
        };
        feeder.feed(rows, done_before, give)
    });
    let failed = progress.save().and(refused.finish());
    let Summary { accepted, ended_early, .. } = delivery.into_summary();
    result.with_context(|| format!("{} cannot be read on", args.file.display()))?;
    failed?;
    Ok(Imported {
        rows: progress.rows_done(),
        done_before,
        accepted,
        refused: refused.count(),
        elapsed_s: 0.0,
        refused_file: (refused.count() > 0).then_some(refused_file),
        ended_early,
    })
}

/// The file's own name with an ending more, in the same folder.
fn beside(file: &std::path::Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Writes down what became of rows.
struct Watch<'a> {
    progress: &'a Progress,
    refused: &'a Refused,
    refused_max: u64,
}

impl Watcher for Watch<'_> {
    fn refused(&self, problem: &Problem, message: &[u8]) -> Result<(), String> {
        let count = self.refused.add(problem, message).map_err(|error| format!("{error:#}"))?;
        if count > self.refused_max {
            return Err(format!(
                "more than {} rows were refused, so it is more than a few rows that are wrong: look at the reasons, \
                 correct the mapping, and begin anew with --again",
                grouped(self.refused_max)
            ));
        }
        Ok(())
    }

    fn done(&self, batch: u64) -> Result<(), String> {
        // What was refused must be on disk before it is said to be done.
        self.progress.done(batch, || self.refused.flush()).map_err(|error| format!("{error:#}"))
    }
}

/// Turns rows into batches.
struct Feeder<'a> {
    args: &'a ImportArgs,
    plan: &'a Plan,
    delivery: &'a Delivery<'a>,
    progress: &'a Progress,
    terminal: &'a Terminal,
    began: Instant,
    batch: Batch,
    last_row: u64,
}

impl Feeder<'_> {
    fn feed(&mut self, mut rows: Rows, done_before: u64, give: &mut dyn FnMut(Batch)) -> io::Result<()> {
        while !self.delivery.has_ended() {
            let Some(Row { number, id, columns }) = rows.next_row()? else {
                // What comes behind the last message, e.g. rows that make none, is done too.
                self.hand_over(give, true);
                break;
            };
            if number <= done_before {
                continue;
            }
            self.delivery.count_line();
            match columns.and_then(|columns| self.plan.message(columns, &id)) {
                Ok(message) => {
                    if self.batch.bytes() + message.len() > BATCH_BYTES {
                        self.hand_over(give, false);
                    }
                    self.batch.push(number, message);
                }
                Err(reason) => self.delivery.bad(Problem { line: number, reason }),
            }
            self.last_row = number;
            if self.batch.len() >= self.args.batch as usize {
                self.hand_over(give, false);
            }
            self.show(rows.share());
        }
        Ok(())
    }

    fn hand_over(&mut self, give: &mut dyn FnMut(Batch), even_if_empty: bool) {
        let mut batch = std::mem::take(&mut self.batch);
        if batch.len() > 0 || even_if_empty {
            batch.number = self.progress.begin(self.last_row);
            give(batch);
        }
    }

    fn show(&self, share: Option<f64>) {
        if !self.terminal.is_due() {
            return;
        }
        let accepted = self.delivery.accepted();
        let passed_s = self.began.elapsed().as_secs_f64().max(1e-9);
        let speed = grouped((accepted as f64 / passed_s) as u64);
        let mut line = format!("{} accepted  {speed}/s", grouped(accepted));
        if let Some(share) = share {
            line.push_str(&format!("  {:.0} %", share * 100.0));
        }
        self.terminal.progress(&line);
    }
}
