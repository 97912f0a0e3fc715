//! Opens a data directory and starts everything on it: the shard, the ingest door, the private listeners, the
//! background work after erasures. [`start`] is what the command line, the demo, tests and benches use.

mod audit;
mod backfill;
mod directory;
mod door;
mod erasures;
mod first;
mod instant;
mod secrets;

pub(crate) use audit::AuditLog;
pub(crate) use backfill::{Backfills, known_from};
pub(crate) use directory::shop_options;
pub use directory::{DataDirectory, DirectoryError, open_options};
pub(crate) use door::refresh_door;
pub(crate) use erasures::Erasures;
pub use first::Credentials;
pub(crate) use instant::Instant;
pub(crate) use secrets::Secrets;

use crate::api::{self, Context, Listener, Listening, Rules};
use crate::config::Config;
use crate::feed::Feeds;
use crate::telemetry::Traces;
use anyhow::Context as _;
use collect::http::DoorOptions;
use collect::settings::SettingsCell;
use engage::Engage;
use engine::recovery::{LogSource, STATE_FOLDER};
use engine::verify::Stretch;
use engine::{Engine, EngineError, EngineOptions, OpenOptions, RecoveryReport};
use env::Env;
use model::id::Position;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;
use store::{LocalObjects, Objects, StoreError};

const DAY_US: i64 = 24 * 3_600 * 1_000_000;
/// How long open requests of the door may take once it closes.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How to start, beside the configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct StartOptions {
    /// Requests drive log time. Only in a data directory that was made so.
    pub drive_log_time: bool,
    /// Makes an admin token even if there are some: for whoever lost theirs, and for the demo.
    pub new_credentials: bool,
}

/// A server that runs. Stop it with [`Running::stop`].
pub struct Running {
    context: Arc<Context>,
    listeners: Vec<Listening>,
    /// Those of the door, and the one that erases.
    threads: Vec<JoinHandle<()>>,
    addresses: Addresses,
    credentials: Option<Credentials>,
    recovery: RecoveryReport,
    sealed: bool,
}

/// Where a server listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// Events.
    pub ingest: SocketAddr,
    /// Operators.
    pub admin: SocketAddr,
    /// Profiles and decisions.
    pub profiles: SocketAddr,
}

/// Starts a server. When this returns, every listener answers.
pub fn start(config: Config, options: StartOptions) -> anyhow::Result<Running> {
    let env = Env::real();
    // Bound first: an occupied port is found before anything is made or recovered. The door binds its own sockets with
    // SO_REUSEPORT, which a second server would share silently, so its address is probed without it.
    drop(bind(config.listen.ingest, "ingest")?);
    let admin = bind(config.listen.admin, "admin")?;
    let profiles = bind(config.listen.profiles, "profiles")?;
    let directory = DataDirectory::open(&config.data, options.drive_log_time)?;
    let secrets = directory.secrets(&env)?;
    let opening = open_options(&config, &directory, &env)?;
    let sealed = opening.log.keyring.is_some();
    let journal_keys = crate::deliver::journal_keys(opening.log.keyring.as_ref());
    let egress = crate::deliver::egress(&env, &config.delivery.allow)?;
    let opened = engine::recovery::open(&env, directory.path(), Engage::default, &opening)
        .map_err(|error| not_opened(error, directory.path()))?;
    let recovery = opened.report.clone();
    tell_recovery(&recovery);
    let engine_options = EngineOptions {
        term: opened.term,
        drive_log_time: options.drive_log_time,
        ..engine_options(&config)
    };
    let traces = Traces::start(&config, &env)?;
    let audit = AuditLog::open(&directory.audit_folder(), &config.private)?;
    let erasures = Arc::new(Erasures::open(directory.erasure_file())?);
    let engine = Engine::start(&env, opened, engine_options).context("the shard could not be started")?;
    let context = Arc::new(Context {
        engine,
        config,
        secrets: Arc::new(secrets),
        audit,
        erasures,
        feeds: Arc::new(Feeds::default()),
        backfills: Arc::new(Backfills::default()),
        deliveries: crate::deliver::Deliveries::default(),
        egress,
        journal_keys,
        door_settings: Arc::new(SettingsCell::default()),
        door: OnceLock::new(),
        changing: tokio::sync::Mutex::new(()),
        drive_log_time: options.drive_log_time,
        started: Instant::now(),
        pages: crate::page::Pages::default(),
        traces,
    });
    // The door's own address is known once it is open.
    let addresses = Addresses {
        ingest: context.config.listen.ingest,
        admin: admin.local_addr()?,
        profiles: profiles.local_addr()?,
    };
    let mut running = Running {
        context,
        listeners: Vec::new(),
        threads: Vec::new(),
        addresses,
        credentials: None,
        recovery,
        sealed,
    };
    match running.open_doors(admin, profiles, options.new_credentials) {
        Ok(()) => Ok(running),
        Err(error) => {
            // What was opened is closed again; the first error is the one that counts.
            let _ = running.stop();
            Err(error)
        }
    }
}

impl Running {
    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Keys and a token that this start made; nothing else ever shows the token.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// What recovery found.
    pub fn recovery(&self) -> &RecoveryReport {
        &self.recovery
    }

    /// Whether a keyring seals the log and the checkpoints.
    pub fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// Why the shard has stopped by itself, if it has: the process should end with this reason.
    pub fn stopped(&self) -> Option<String> {
        self.context.engine.status().stopped()
    }

    /// Position after the last applied record.
    pub fn applied_next(&self) -> Position {
        self.context.engine.view().as_of().next_position
    }

    /// The data directory.
    pub fn directory(&self) -> &Path {
        &self.context.config.data.directory
    }

    /// Replays the log beside the running shard, and compares with the kept checkpoints.
    pub fn verify(&self) -> anyhow::Result<Vec<Stretch>> {
        let (env, directory) = (Env::real(), DataDirectory::at(&self.context.config.data));
        let opening = open_options(&self.context.config, &directory, &env)?;
        verify_log(&env, directory.path(), self.context.engine.log(), &opening)
    }

    /// Credentials first, since nobody can come in without; then the doors; then the work in the background.
    fn open_doors(
        &mut self,
        admin: TcpListener,
        profiles: TcpListener,
        new_credentials: bool,
    ) -> anyhow::Result<()> {
        let context = Arc::clone(&self.context);
        self.credentials = first::credentials(&context, new_credentials)?;
        refresh_door(&context);
        let mut options = door_options(&context.config, context.drive_log_time);
        options.scripts = Arc::new(door::scripts(&context.config.ingest.scripts)?);
        let (door, threads) = door::open(&context, options)?;
        self.addresses.ingest = door.address();
        self.threads.extend(threads);
        // Nobody else sets it: there is one door.
        let _ = context.door.set(door);
        let routes = Arc::new(api::routes());
        for (listener, socket) in [(Listener::Admin, admin), (Listener::Profiles, profiles)] {
            let private = &context.config.private;
            let rules = Rules {
                listener,
                routes: Arc::clone(&routes),
                body_bytes_max: size(private.body_bytes_max),
                connections_max: size(private.connections_max),
                request_timeout: Duration::from_millis(private.request_timeout_ms),
                hosts: hosts(&context.config.listen.hosts),
            };
            let listening = api::listen(Arc::clone(&context), rules, socket)
                .context("a private listener could not be started")?;
            self.listeners.push(listening);
        }
        self.threads.push(erasures::start(&context)?);
        self.threads.push(backfill::start(&context)?);
        self.threads.extend(crate::deliver::start(&context, &Env::real())?);
        Ok(())
    }

    /// Stops: requests that were taken are answered, a last checkpoint is written. An error says why the shard had
    /// stopped by itself.
    pub fn stop(mut self) -> anyhow::Result<()> {
        if let Some(door) = self.context.door.get() {
            door.close();
        }
        self.context.feeds.stop();
        for listener in self.listeners.drain(..) {
            listener.close();
        }
        self.context.erasures.stop();
        self.context.backfills.stop();
        self.context.deliveries.stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the server panicked");
            }
        }
        let reason = self.stopped();
        self.context.engine.stop();
        if let Some(traces) = &self.context.traces {
            traces.stop();
        }
        match reason.or_else(|| self.stopped()) {
            None => Ok(()),
            Some(reason) => Err(anyhow::anyhow!("the shard stopped: {reason}")),
        }
    }
}

/// Says what to do where the checkpoints cannot be used: they are made from the log, and can be made again.
fn not_opened(error: EngineError, directory: &Path) -> anyhow::Error {
    let unusable = matches!(
        &error,
        EngineError::Store(
            StoreError::Damaged { .. }
                | StoreError::Missing { .. }
                | StoreError::Row { .. }
                | StoreError::Io { .. }
        )
    );
    let state = directory.join(STATE_FOLDER);
    let shown = directory.display();
    let error = anyhow::Error::new(error);
    if !unusable {
        return error.context(format!("the data directory {shown} could not be opened"));
    }
    error.context(format!(
        "the checkpoints in {state} cannot be used. If `throughline log verify` says that the log is whole and begins \
         at position 0: with the server stopped, move {state} away (do not delete it yet) and start again, and it is \
         rebuilt from the log. If not: restore {shown} from a backup",
        state = state.display(),
    ))
}

fn bind(address: SocketAddr, what: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).with_context(|| {
        format!("cannot listen at {address}: another program holds the port; stop it, or set listen.{what}")
    })
}

fn hosts(list: &str) -> Vec<String> {
    list.split(',').map(|host| host.trim().to_ascii_lowercase()).filter(|host| !host.is_empty()).collect()
}

fn tell_recovery(report: &RecoveryReport) {
    if let Some(position) = report.quarantined {
        tracing::error!(
            position = position.0,
            "a record made the rules fail twice and is skipped from now on"
        );
    }
    tracing::info!(
        replayed = report.replayed,
        elapsed_ms = report.elapsed_ns / 1_000_000,
        torn_tail_cut = report.cut.is_some(),
        "the data directory is open"
    );
}

/// A setting as a size. On a 32-bit machine what does not fit is the most there is.
fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn engine_options(config: &Config) -> EngineOptions {
    let age_us = i64::try_from(config.log.retention_age_days).unwrap_or(i64::MAX).saturating_mul(DAY_US);
    EngineOptions {
        queue_items_max: size(config.queue.items_max),
        queue_bytes_max: size(config.queue.bytes_max),
        checkpoint_interval_ms: config.state.checkpoint_interval_ms,
        resident_bytes_max: size(config.state.resident_bytes_max),
        reader_threads: size(config.state.reader_threads),
        merge_bytes_per_second: config.state.merge_bytes_per_second,
        retention: eventlog::Retention {
            age_us: (age_us > 0).then_some(age_us),
            bytes: Some(config.log.retention_bytes).filter(|bytes| *bytes > 0),
        },
        ..EngineOptions::default()
    }
}

fn door_options(config: &Config, drive_log_time: bool) -> DoorOptions {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = if config.ingest.threads == 0 { cores } else { size(config.ingest.threads) };
    DoorOptions {
        threads,
        connections_max: size(config.ingest.connections_max),
        in_flight_bytes_max: size(config.ingest.in_flight_bytes_max),
        trust_forwarded_for: config.listen.behind_proxy,
        heed_log_time: drive_log_time,
        close_timeout: CLOSE_TIMEOUT,
        ..DoorOptions::at(config.listen.ingest)
    }
}

/// Replays a data directory that no server has open, and compares with its kept checkpoints.
pub fn verify_directory(config: &Config) -> anyhow::Result<Vec<Stretch>> {
    let env = Env::real();
    let directory = DataDirectory::at(&config.data);
    let opening = open_options(config, &directory, &env)?;
    let (log, _) = eventlog::LocalLog::open(&env, directory.path(), opening.log.clone())?;
    verify_log(&env, directory.path(), &log, &opening)
}

fn verify_log(
    env: &Env,
    directory: &Path,
    log: &dyn LogSource,
    opening: &OpenOptions,
) -> anyhow::Result<Vec<Stretch>> {
    let objects: Arc<dyn Objects> = Arc::new(LocalObjects::open(env, &directory.join(STATE_FOLDER))?);
    Ok(engine::verify::verify(&objects, log, Engage::default, opening)?)
}
