//! `throughline demo`, with a real server underneath.

use super::serve::wait;
use crate::config::{Sources, load};
use crate::demo::{DemoArgs, Stage, VerifyReport, demo};
use crate::serve::{Addresses, Credentials, Running, StartOptions, start};
use anyhow::Context as _;
use clap::Args;
use engine::verify::Stretch;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

/// What the demo is told, beside what every server is told.
#[derive(Debug, Args)]
pub(super) struct DemoArguments {
    #[command(flatten)]
    demo: DemoArgs,
    /// Set one key of the configuration; stands over the environment. May be repeated.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    assignments: Vec<String>,
}

pub(super) fn run(arguments: &DemoArguments) -> anyhow::Result<()> {
    demo(&arguments.demo, |folder| open(folder, arguments.assignments.clone()))
}

/// A server in the demo's folder. A file of the working directory belongs to somebody's real server and is not read;
/// the environment is.
fn open(folder: &Path, mut assignments: Vec<String>) -> anyhow::Result<Theatre> {
    // A new audience is found for everybody behind a checkpoint, one after the other, and the demo defines many.
    assignments.insert(0, "state.checkpoint_interval_ms=500".to_owned());
    // The demo's ad network listens on this machine.
    assignments.insert(0, "delivery.allow=127.0.0.0/8+http".to_owned());
    let mut config = load(&Sources { file: None, ..Sources::of_process(None, assignments) })?;
    config.data.directory = folder.to_owned();
    let running = start(config, StartOptions { drive_log_time: true, new_credentials: true })?;
    let credentials = running.credentials().cloned().context("the server made no credentials")?;
    let addresses = running.addresses();
    Ok(Theatre { running, addresses, credentials })
}

/// The server that the demo plays on.
struct Theatre {
    running: Running,
    addresses: Addresses,
    credentials: Credentials,
}

impl Stage for Theatre {
    fn ingest(&self) -> SocketAddr {
        self.addresses.ingest
    }

    fn profiles(&self) -> SocketAddr {
        self.addresses.profiles
    }

    fn admin(&self) -> SocketAddr {
        self.addresses.admin
    }

    fn server_write_key(&self) -> &str {
        &self.credentials.server_write_key
    }

    fn browser_write_key(&self) -> &str {
        &self.credentials.browser_write_key
    }

    fn profile_token(&self) -> &str {
        &self.credentials.admin_token
    }

    fn admin_token(&self) -> &str {
        &self.credentials.admin_token
    }

    fn verify(&self) -> anyhow::Result<VerifyReport> {
        let began = Instant::now();
        let stretches = self.running.verify()?;
        let last = stretches.last();
        let hex = |digest: u128| format!("{digest:032x}");
        Ok(VerifyReport {
            records: stretches.iter().map(|stretch| stretch.records).sum(),
            effects: last.map_or(0, |stretch| stretch.effects),
            stretches: stretches.len() as u64,
            state_digest: last.map(|stretch| hex(stretch.state.1)).unwrap_or_default(),
            effects_digest: last.map(|stretch| hex(stretch.effect_chain.1)).unwrap_or_default(),
            exact: !stretches.is_empty() && stretches.iter().all(Stretch::is_exact),
            elapsed: began.elapsed(),
        })
    }

    fn wait(&self) -> anyhow::Result<()> {
        wait(|| self.running.stopped())
    }

    fn close(self) -> anyhow::Result<()> {
        self.running.stop()
    }
}
