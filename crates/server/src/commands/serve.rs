//! `throughline serve`.

use super::{Settings, print, say};
use crate::config::{LogFormat, Telemetry};
use crate::serve::{Credentials, Running, StartOptions, start};
use crate::shop::{RunningShop, start_shop};
use anyhow::Context as _;
use clap::{Args, ValueEnum};
use std::fmt::Write as _;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// How often the server looks whether its shard still works.
const WATCH_INTERVAL: Duration = Duration::from_millis(200);

/// Said at a first start without a keyring.
const IN_CLEAR: &str = "No keyring: what events say (traits, properties, context) lies in clear on this disk, personal data too; \
     `throughline keys init`, before the next start, seals what is written from then on.\n";

#[derive(Debug, Args)]
pub(super) struct ServeArguments {
    #[command(flatten)]
    settings: Settings,
    /// Requests say what time it is (X-Throughline-Log-Time): for imports and demonstrations, in a data directory of
    /// their own.
    #[arg(long)]
    drive_log_time: bool,
    /// Make a new admin token, for whoever lost theirs. The others stay valid.
    #[arg(long)]
    new_admin_token: bool,
    /// What this process is: what collects events and acts on them, the shop, or both
    #[arg(long, value_delimiter = ',', default_value = "customers")]
    roles: Vec<Role>,
}

/// What a process can be. Each role has data, threads and bounds of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// The ingest door, profiles, audiences, delivery and the private listeners.
    Customers,
    /// The shop: Storefront API, checkout, stock, orders.
    Commerce,
}

pub(super) fn run(arguments: &ServeArguments) -> anyhow::Result<()> {
    let config = arguments.settings.load()?;
    start_logging(&config.telemetry)?;
    let options =
        StartOptions { drive_log_time: arguments.drive_log_time, new_credentials: arguments.new_admin_token };
    let is = |role| arguments.roles.contains(&role);
    // The shop first: it needs nobody.
    let shop = is(Role::Commerce).then(|| start_shop(&config)).transpose()?;
    if let Some(shop) = &shop {
        print(&format!(
            "throughline {} on {}\n  shop        http://{}\n",
            env!("CARGO_PKG_VERSION"),
            config.data.directory.display(),
            shop.address()
        ))?;
    }
    let customers = if is(Role::Customers) { Some(start(config, options)) } else { None }.transpose();
    let ended = customers.and_then(|customers| {
        if let Some(running) = &customers {
            print(&greeting(running))?;
        }
        let stopped = || {
            let customers = customers.as_ref().and_then(Running::stopped);
            customers.or_else(|| shop.as_ref().and_then(RunningShop::stopped))
        };
        wait(stopped)?;
        customers.map_or(Ok(()), Running::stop)
    });
    let shop_ended = shop.map_or(Ok(()), RunningShop::stop);
    ended.and(shop_ended)?;
    say("throughline: stopped; everything that was acknowledged is on disk");
    Ok(())
}

/// Log lines go to standard error. Nothing else may: no line holds personal data.
fn start_logging(settings: &Telemetry) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(settings.log_level.word()).context("the log level is not understood")?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match settings.log_format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("logging could not be started: {error}"))
}

/// Until a signal asks to stop, or a shard has stopped by itself.
pub(super) fn wait(stopped: impl Fn() -> Option<String>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be awaited")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be awaited")?;
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                () = tokio::time::sleep(WATCH_INTERVAL) => {
                    if stopped().is_some() {
                        break;
                    }
                }
            }
        }
        Ok(())
    })
}

fn greeting(running: &Running) -> String {
    let addresses = running.addresses();
    let mut text = format!(
        "throughline {} on {}\n  events in   http://{}\n  admin       http://{}\n  profiles    http://{}\n",
        env!("CARGO_PKG_VERSION"),
        running.directory().display(),
        addresses.ingest,
        addresses.admin,
        addresses.profiles,
    );
    match running.credentials() {
        Some(credentials) => {
            if !running.is_sealed() {
                text.push_str(IN_CLEAR);
            }
            introduce(&mut text, running, credentials);
        }
        None => {
            let _ = writeln!(
                text,
                "Tokens and write keys are those of the first start. Lost? --new-admin-token."
            );
        }
    }
    text
}

fn introduce(text: &mut String, running: &Running, credentials: &Credentials) {
    let addresses = running.addresses();
    let Credentials { admin_token, browser_write_key, server_write_key } = credentials;
    let _ = write!(
        text,
        "
Keep these. The token is shown this once and kept nowhere in clear.
  admin token        {admin_token}
  server write key   {server_write_key}
  browser write key  {browser_write_key}

A first order, and the first decision:
  curl -s -u {server_write_key}: http://{ingest}/v1/track -H 'Content-Type: application/json' -d '{{
    \"userId\": \"jane\", \"event\": \"Order Completed\", \"messageId\": \"first\",
    \"properties\": {{\"order_id\": \"1\", \"total\": 20, \"currency\": \"EUR\", \"products\": [{{\"product_id\": \"shoe\"}}]}}}}'
  curl -s -H 'Authorization: Bearer {admin_token}' http://{profiles}/v1/decide -H 'Content-Type: application/json' \\
    -d '{{\"identifiers\": [{{\"type\": \"user_id\", \"value\": \"jane\"}}], \"product_id\": \"shoe\"}}'
",
        ingest = addresses.ingest,
        profiles = addresses.profiles,
    );
}
