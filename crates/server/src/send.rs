//! `throughline send`: a file of events, one JSON object a line, to any Segment-compatible collector.
//!
//! `send/lines.rs` reads lines and completes messages, `send/delivery.rs` sends batches. A message without an id gets
//! one from its file, line and text, so sending a file a second time counts nothing twice.

mod delivery;
mod lines;
#[cfg(test)]
mod tests;

use crate::calendar::now_us;
use crate::http_client::{Credential, Endpoint, RetryPolicy};
use crate::terminal::{Terminal, grouped};
use anyhow::{Context as _, Result, bail, ensure};
pub(crate) use delivery::{Batch, Delivery, Watcher};
pub(crate) use lines::{Lines, too_long};
use lines::{MessageType, Named, complete};
use serde::Serialize;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Segment's limit for a batch; other collectors have larger ones.
const BATCH_EVENTS_MAX: i64 = 2_500;
/// Bytes of the events of one request: a little less than Segment's 500 KB.
const BATCH_BYTES: usize = 450 * 1024;
const CONNECTIONS_MAX: i64 = 64;
/// The longest write key file.
const KEY_BYTES_MAX: u64 = 4_096;
/// Problems told one by one, and listed in the JSON; all are counted.
const PROBLEMS_TOLD_MAX: usize = 100;

/// Sends a file of events, one JSON object a line, to a Segment-compatible collector.
#[derive(Clone, Debug, clap::Args)]
pub struct SendArgs {
    /// The file; - reads standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where to; http only
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7300")]
    pub to: String,
    /// The write key
    #[arg(
        long,
        value_name = "KEY",
        required_unless_present = "write_key_file",
        conflicts_with = "write_key_file"
    )]
    pub write_key: Option<String>,
    /// A file that holds the write key, so that no list of processes shows it
    #[arg(long, value_name = "FILE")]
    pub write_key_file: Option<PathBuf>,
    /// Events of one request, at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=BATCH_EVENTS_MAX))]
    pub batch: u32,
    /// Connections that send at once; with more than one, the order of the file is not kept
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=CONNECTIONS_MAX))]
    pub connections: u32,
    /// The type of lines that name none and show none (by an event, traits, a groupId or a previousId)
    #[arg(long, value_name = "TYPE", value_enum)]
    pub default_type: Option<MessageType>,
    /// Go on after lines that are no messages, and after messages that are refused; otherwise the first one ends it
    #[arg(long)]
    pub skip_bad: bool,
    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}

/// What became of the lines.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Lines read, empty ones left out.
    pub lines: u64,
    /// Messages with a 200.
    pub accepted: u64,
    /// Messages that the collector refused.
    pub refused: u64,
    /// Lines that are no messages.
    pub bad: u64,
    /// Messages that were not sent because of an earlier problem.
    pub not_sent: u64,
    /// Requests with messages, those sent again included.
    pub requests: u64,
    /// Requests that were sent again because the collector was busy or away.
    pub retries: u64,
    /// Time used.
    pub elapsed_s: f64,
    /// Accepted per second.
    pub events_per_second: f64,
    /// The first problems, by line.
    pub problems: Vec<Problem>,
    /// Why it ended before the end of the file, if it did.
    pub ended_early: Option<String>,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// Its number; the first is 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// Sends the file. An error if anything of it was not accepted.
pub fn send(args: &SendArgs) -> Result<()> {
    let terminal = Terminal::stderr();
    let summary = transfer(args, RetryPolicy::default(), &terminal)?;
    let text = if args.json { serde_json::to_string_pretty(&summary)? } else { summary.text() };
    Terminal::stdout().say(&text);
    summary.verdict()
}

impl Summary {
    fn text(&self) -> String {
        format!(
            "{} messages: {} accepted, {} refused, {} lines were no messages, {} not sent; {} requests, {} of them \
             again; {:.1} s, {}/s",
            grouped(self.lines),
            grouped(self.accepted),
            grouped(self.refused),
            grouped(self.bad),
            grouped(self.not_sent),
            grouped(self.requests),
            grouped(self.retries),
            self.elapsed_s,
            grouped(self.events_per_second as u64)
        )
    }

    fn verdict(&self) -> Result<()> {
        if let Some(why) = &self.ended_early {
            bail!(
                "it ended before the end of the file: {why}. Sending the file again from the beginning counts nothing \
                 twice"
            );
        }
        let left_out = self.refused + self.bad + self.not_sent;
        ensure!(left_out == 0, "{} lines were not taken, see above", grouped(left_out));
        Ok(())
    }
}

fn transfer(args: &SendArgs, policy: RetryPolicy, terminal: &Terminal) -> Result<Summary> {
    let endpoint = Endpoint::parse(&args.to)?;
    let credential = Credential::WriteKey(write_key(args)?);
    let (reader, length) = open(&args.file)?;
    let began = Instant::now();
    let delivery = Delivery::new(endpoint, credential, policy, args.skip_bad, terminal);
    let result = delivery.run(args.connections as usize, |give| {
        let mut feeder =
            Feeder { args, delivery: &delivery, terminal, began, length, batch: Batch::default() };
        feeder.feed(Lines::new(reader), give)
    });
    result.with_context(|| format!("{} cannot be read", args.file.display()))?;
    let mut summary = delivery.into_summary();
    summary.elapsed_s = began.elapsed().as_secs_f64();
    summary.events_per_second = summary.accepted as f64 / summary.elapsed_s.max(1e-9);
    Ok(summary)
}

fn write_key(args: &SendArgs) -> Result<String> {
    if let Some(key) = &args.write_key {
        return Ok(key.clone());
    }
    let path = args
        .write_key_file
        .as_deref()
        .context("a write key is needed: give --write-key or --write-key-file")?;
    write_key_of(path)
}

/// The write key that a file begins with.
pub(crate) fn write_key_of(path: &Path) -> Result<String> {
    let file = File::open(path).with_context(|| format!("{} cannot be opened", path.display()))?;
    let mut lines = Lines::new(BufReader::new(file.take(KEY_BYTES_MAX)));
    let first = lines.next_line()?.and_then(|line| line.text.map(|text| text.to_vec())).unwrap_or_default();
    let key = String::from_utf8(first).ok().map(|key| key.trim().to_owned()).filter(|key| !key.is_empty());
    key.with_context(|| format!("{} does not begin with a write key", path.display()))
}

type Input = BufReader<Box<dyn Read>>;

/// The input, and its length where it has one.
fn open(path: &Path) -> Result<(Input, Option<u64>)> {
    if path == Path::new("-") {
        return Ok((BufReader::new(Box::new(io::stdin())), None));
    }
    let context = || format!("{} cannot be opened", path.display());
    let file = File::open(path).with_context(context)?;
    let about = file.metadata().with_context(context)?;
    ensure!(!about.is_dir(), "{} is a folder: give a file of events, one JSON object a line", path.display());
    let length = about.is_file().then_some(about.len());
    Ok((BufReader::new(Box::new(file)), length))
}

/// Turns lines into batches.
struct Feeder<'a> {
    args: &'a SendArgs,
    delivery: &'a Delivery<'a>,
    terminal: &'a Terminal,
    began: Instant,
    length: Option<u64>,
    batch: Batch,
}

impl Feeder<'_> {
    fn feed(&mut self, mut lines: Lines<Input>, give: &mut dyn FnMut(Batch)) -> io::Result<()> {
        let source = self.args.file.to_string_lossy().into_owned();
        while !self.delivery.has_ended() {
            let Some(line) = lines.next_line()? else { break };
            let named = Named { source: &source, line: line.number, default_type: self.args.default_type };
            match line.text.map_or_else(|| Err(too_long()), |text| complete(text, &named)) {
                Ok(None) => {}
                Ok(Some(message)) => {
                    self.delivery.count_line();
                    if self.batch.bytes() + message.len() > BATCH_BYTES {
                        self.hand_over(give);
                    }
                    self.batch.push(line.number, message);
                    if self.batch.len() >= self.args.batch as usize {
                        self.hand_over(give);
                    }
                }
                Err(reason) => {
                    self.delivery.count_line();
                    self.delivery.bad(Problem { line: line.number, reason });
                }
            }
            self.show(lines.bytes_read());
        }
        self.hand_over(give);
        Ok(())
    }

    fn hand_over(&mut self, give: &mut dyn FnMut(Batch)) {
        let mut batch = std::mem::take(&mut self.batch);
        if batch.len() > 0 {
            batch.sent_at_us = Some(now_us());
            give(batch);
        }
    }

    fn show(&self, bytes_read: u64) {
        if !self.terminal.is_due() {
            return;
        }
        let accepted = self.delivery.accepted();
        let passed_s = self.began.elapsed().as_secs_f64().max(1e-9);
        let mut line =
            format!("{} accepted  {}/s", grouped(accepted), grouped((accepted as f64 / passed_s) as u64));
        if let Some(length) = self.length.filter(|length| *length > 0) {
            let share = (bytes_read as f64 / length as f64).clamp(1e-9, 1.0);
            let left_s = passed_s * (1.0 - share) / share;
            line.push_str(&format!("  {:.0} %  about {left_s:.0} s left", share * 100.0));
        }
        self.terminal.progress(&line);
    }
}
