//! The command line. Exit codes: 0 done, 1 failed, 2 wrong usage, or differences where `apply --dry-run` found some;
//! of `doctor` 1 where something should be looked at, 2 where something does not work.

mod apply;
mod attribution;
mod backup;
mod config;
mod demo;
mod destinations;
mod doctor;
mod export;
mod follow;
mod keys;
mod lists;
mod log;
mod quarantine;
mod replay;
mod restore;
mod serve;

use crate::config::{ConfigError, Sources};
use crate::http_client::{Client, Request};
use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;
const DIFFERENT: u8 = 2;
/// The variable that names the token where no file does.
const TOKEN_VARIABLE: &str = "THROUGHLINE_TOKEN";
/// A longer file is no token.
const TOKEN_BYTES_MAX: u64 = 4_096;

/// One durable event log and one customer profile under everything a retailer runs online.
#[derive(Debug, Parser)]
#[command(name = "throughline", version, propagate_version = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(serve::ServeArguments),
    /// Prove that the log gives the same state and the same effects again, checkpoint to checkpoint.
    Replay(replay::ReplayArguments),
    /// Look into the log of a data directory. Works beside a running server.
    Log(log::LogArguments),
    /// Print what a running server applies, as it happens: its change feed.
    Follow(follow::FollowArguments),
    /// Make a running server have what the files of a directory define: features, audiences, destinations, settings.
    Apply(apply::ApplyArguments),
    /// Write what a running server has defined as files, for `apply`.
    Export(export::ExportArguments),
    /// See what a destination with templates would send.
    Destinations(destinations::DestinationsArguments),
    /// Show the lists of an ad platform, or re-sync, replace or verify one of them.
    Lists(lists::ListsArguments),
    /// Events that tracking plans keep out: list them, look at one, mend and send them again, or discard them.
    Quarantine(quarantine::QuarantineArguments),
    /// How channels share what paths of them sold: last click, Markov, Shapley, from a CSV file.
    Attribution(attribution::AttributionArguments),
    /// Look at a deployment, or a server that runs, and say what to do. Changes nothing.
    Doctor(doctor::DoctorArguments),
    /// Copy a data directory, also beside a running server; each time only what is new.
    Backup(backup::BackupArguments),
    /// Make a data directory of a backup, after a look at every byte of it.
    Restore(restore::RestoreArguments),
    /// Make and rotate the keys that seal data at rest.
    Keys(keys::KeysArguments),
    /// Check the configuration, or show what can be set.
    Config(config::ConfigArguments),
    /// Measure this binary and hold the figures against the goals.
    Bench(crate::bench::BenchArgs),
    /// Send a real year of shopping through the real door, on a server of its own, and show what becomes of it.
    Demo(demo::DemoArguments),
    /// Send a file of events, one JSON object a line, to a Segment-compatible collector.
    Send(crate::send::SendArgs),
    /// Import a file of events or of people, NDJSON, CSV or Parquet; a report of what was refused, and it goes on where it
    /// was left.
    Import(crate::import::ImportArgs),
    /// Print the OpenAPI document of the admin and profile listeners.
    Openapi,
    /// Print the version.
    Version,
}

/// Where settings come from, for commands that need some.
#[derive(Debug, Args)]
pub struct Settings {
    /// The configuration file; without it `throughline.toml` of the working directory is read, if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data directory; stands over `data.directory`.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Set one key; stands over the file and the environment. May be repeated.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    assignments: Vec<String>,
}

impl Settings {
    fn load(&self) -> Result<crate::config::Config, ConfigError> {
        let mut config =
            crate::config::load(&Sources::of_process(self.config.clone(), self.assignments.clone()))?;
        if let Some(directory) = &self.data {
            config.data.directory.clone_from(directory);
        }
        Ok(config)
    }
}

/// Runs a command and says how it went.
pub fn run(arguments: Arguments) -> ExitCode {
    let outcome = match arguments.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Log(arguments) => log::run(&arguments),
        Command::Follow(arguments) => follow::run(&arguments),
        Command::Apply(arguments) => apply::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::Destinations(arguments) => destinations::run(&arguments),
        Command::Lists(arguments) => lists::run(&arguments),
        Command::Quarantine(arguments) => quarantine::run(&arguments),
        Command::Attribution(arguments) => attribution::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Backup(arguments) => backup::run(&arguments),
        Command::Restore(arguments) => restore::run(&arguments),
        Command::Keys(arguments) => keys::run(&arguments),
        Command::Config(arguments) => config::run(&arguments),
        Command::Bench(arguments) => crate::bench::bench(arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Send(arguments) => crate::send::send(&arguments),
        Command::Import(arguments) => crate::import::import(&arguments),
        Command::Openapi => print(&crate::api::openapi()),
        Command::Version => print(&format!("throughline {}\n", env!("CARGO_PKG_VERSION"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = match &error {
                error if error.is::<ConfigError>() => WRONG_USAGE,
                error if error.is::<Differences>() => DIFFERENT,
                error => error.downcast_ref().map_or(FAILED, doctor::Complaints::code),
            };
            say(&format!("throughline: {error:#}"));
            ExitCode::from(code)
        }
    }
}

/// What `apply --dry-run` ends with where something is to be done.
#[derive(Debug, thiserror::Error)]
#[error("there are {0} differences, and --dry-run changes nothing")]
struct Differences(usize);

/// The token in a file, or else in the environment.
fn token(file: Option<&Path>) -> anyhow::Result<String> {
    let token = match file {
        Some(path) => {
            let shown = path.display();
            let bytes = std::fs::metadata(path).with_context(|| format!("{shown} cannot be read"))?.len();
            anyhow::ensure!(bytes <= TOKEN_BYTES_MAX, "{shown} has {bytes} bytes: that is no token");
            std::fs::read_to_string(path).with_context(|| format!("{shown} cannot be read"))?
        }
        None => std::env::var(TOKEN_VARIABLE)
            .with_context(|| format!("no token: name a file with --token-file, or set {TOKEN_VARIABLE}"))?,
    };
    Ok(token.trim().to_owned())
}

/// Asks a server for something that it answers with JSON and 200; anything else is an error in its own words.
fn ask<T: serde::de::DeserializeOwned>(
    client: &mut Client,
    method: &'static str,
    path: &str,
    body: &[u8],
) -> anyhow::Result<T> {
    let answer = client.send(Request { method, path, headers: &[], body })?;
    if answer.status != 200 {
        let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        anyhow::bail!(
            "the server answered {}: {}",
            answer.status,
            said["message"].as_str().unwrap_or("no reason")
        );
    }
    serde_json::from_slice(&answer.body).context("the answer cannot be read")
}

/// Writes to standard output. A reader that has gone away is no failure of ours.
fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Writes a line to standard error, where it cannot disturb output that a program reads.
fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
