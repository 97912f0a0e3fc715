//! `throughline demo`, with a real server underneath.

use super::serve::wait;
use crate::config::{Sources, load};
use crate::demo::{DemoArgs, Stage, VerifyReport, demo};
use crate::serve::{Credentials, Running, StartOptions, start};
use anyhow::Context as _;
use engine::verify::Stretch;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

pub(super) fn run(arguments: &DemoArgs) -> anyhow::Result<()> {
    demo(arguments, open)
}

/// A server in the demo's folder. A file of the working directory belongs to somebody's real server and is not read;
/// the environment is.
fn open(folder: &Path) -> anyhow::Result<Theatre> {
    let mut config = load(&Sources { file: None, ..Sources::of_process(None, Vec::new()) })?;
    config.data.directory = folder.to_owned();
    super::serve::start_logging(&config.telemetry)?;
    let running = start(config, StartOptions { drive_log_time: true, new_credentials: true })?;
    let credentials = running.credentials().cloned().context("the server made no credentials")?;
    Ok(Theatre { running: Some(running), credentials })
}

/// The server that the demo plays on.
struct Theatre {
    /// Always there, until the end.
    running: Option<Running>,
    credentials: Credentials,
}

impl Theatre {
    fn address(&self, pick: impl Fn(&Running) -> SocketAddr) -> SocketAddr {
        self.running.as_ref().map_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)), pick)
    }
}

impl Stage for Theatre {
    fn ingest(&self) -> SocketAddr {
        self.address(|running| running.addresses().ingest)
    }

    fn profiles(&self) -> SocketAddr {
        self.address(|running| running.addresses().profiles)
    }

    fn admin(&self) -> SocketAddr {
        self.address(|running| running.addresses().admin)
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
        let running = self.running.as_ref().context("the server has ended")?;
        let stretches = running.verify()?;
        let last = stretches.last();
        Ok(VerifyReport {
            records: stretches.iter().map(|stretch| stretch.records).sum(),
            effects: last.map_or(0, |stretch| stretch.effects),
            stretches: stretches.len() as u64,
            state_digest: last.map(|stretch| format!("{:032x}", stretch.state.1)).unwrap_or_default(),
            effects_digest: last.map(|stretch| format!("{:032x}", stretch.effect_chain.1)).unwrap_or_default(),
            exact: !stretches.is_empty() && stretches.iter().all(Stretch::is_exact),
            elapsed: began.elapsed(),
        })
    }

    fn wait(&self) -> anyhow::Result<()> {
        self.running.as_ref().map_or(Ok(()), wait)
    }
}

impl Drop for Theatre {
    fn drop(&mut self) {
        if let Some(running) = self.running.take()
            && let Err(error) = running.stop()
        {
            super::say(&format!("throughline: {error:#}"));
        }
    }
}
