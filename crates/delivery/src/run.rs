//! The shell: drives the core, its journal and real destinations, on the runtime of whoever calls.
//!
//! One task owns core and journal. Everything else, sources, permits and destinations, runs as tasks of its own that
//! report back through a bounded queue, so that one that hangs holds up nobody.

mod lanes;

use crate::core::{Action, AttemptId, Core, Forgotten, LaneStatus, Step};
use crate::error::{CommandError, JournalError, OptionsError};
use crate::journal::{Journal, JournalOptions};
use crate::ledger::DeadLetter;
use crate::options::LaneOptions;
use crate::parcel::{Destination, Moment, Outcome, Parcel, Permit, Permits, Source, SourceError, Supply};
use env::Env;
use env::seeded::Seed;
use lanes::{Closing, Running};
use model::id::{EffectId, Key, Timestamp};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

/// Reports that may wait for the core. Whoever reports waits with them, so nothing is lost when it is full.
const REPORTS_MAX: usize = 4_096;
/// Reports taken in before the core decides.
const REPORTS_AT_ONCE_MAX: usize = 1_024;
/// Commands that may wait.
const COMMANDS_MAX: usize = 64;
/// How long a source may take.
const SOURCE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often destinations are asked to tend to what they hold open.
const TEND_EVERY: Duration = Duration::from_secs(1);

/// One destination with everything it needs.
pub struct LaneParts {
    /// Its limits.
    pub options: LaneOptions,
    /// Where its parcels come from.
    pub source: Arc<dyn Source>,
    /// Where they go.
    pub destination: Arc<dyn Destination>,
}

/// How delivery runs.
#[derive(Clone, Debug)]
pub struct RunnerOptions {
    /// The folder of the journal.
    pub folder: PathBuf,
    /// How the journal is kept.
    pub journal: JournalOptions,
    /// How often sources are asked without [`Runner::nudge`], in milliseconds.
    pub ask_every_ms: u64,
    /// How long attempts under way may take after [`Runner::stop`], in milliseconds.
    pub stop_timeout_ms: u64,
    /// The disk is waited for on another thread, so that it holds up no connection. A simulation has one thread.
    pub syncs_elsewhere: bool,
}

impl RunnerOptions {
    /// A journal in this folder, in clear; sources asked every 200 ms; 5 s to stop.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            journal: JournalOptions::default(),
            ask_every_ms: 200,
            stop_timeout_ms: 5_000,
            syncs_elsewhere: true,
        }
    }
}

/// Why delivery did not start, or ended.
#[derive(Debug, Error)]
pub enum RunError {
    /// A lane's options cannot work.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The journal failed. Nothing more is sent, because order and marketing parcels depend on it.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A thread of the runtime that wrote the journal panicked.
    #[error("the journal's writer panicked: {0}. Restart; the journal is read back as it was")]
    Writer(String),
    /// The system gives no random bytes, which keep retries of many from falling on the same instant.
    #[error("the system gives no random bytes ({0}). Check its random source, then restart")]
    Entropy(std::io::Error),
}

/// Why a lane was not opened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// Its options cannot work.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// Nobody is there to open it.
    #[error(transparent)]
    Command(#[from] CommandError),
}

impl RunError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Options(error) => error.code(),
            Self::Journal(error) => error.code(),
            Self::Writer(_) => "journal_writer_panicked",
            Self::Entropy(_) => "no_entropy",
        }
    }
}

/// Delivery that runs. Dropping it stops nothing; see [`Runner::stop`].
pub struct Runner {
    commands: mpsc::Sender<Command>,
    nudge: Arc<tokio::sync::Notify>,
    statuses: watch::Receiver<Vec<LaneStatus>>,
    settled: watch::Receiver<Option<EffectId>>,
    ended: watch::Receiver<Option<Arc<RunError>>>,
    stop: watch::Sender<bool>,
    task: std::sync::Mutex<Option<tokio::task::JoinHandle<()>>>,
}

type Work = Box<dyn FnOnce(&mut Core) + Send>;

enum Command {
    /// `done` is answered when what the work did is durable.
    Work {
        work: Work,
        done: oneshot::Sender<()>,
    },
    Open {
        lane: Box<LaneParts>,
        opened: oneshot::Sender<Result<(), OptionsError>>,
    },
    /// `done` is answered when the lane has let go of everything, durably.
    Close {
        lane: String,
        done: oneshot::Sender<()>,
    },
}

/// Starts delivery on the runtime that this is called in, which should be one of its own.
pub fn run(
    env: &Env,
    options: RunnerOptions,
    lanes: Vec<LaneParts>,
    permits: Arc<dyn Permits>,
) -> Result<Runner, RunError> {
    let (journal, ledger) = Journal::open(env, &options.folder, &options.journal)?;
    let mut seed = [0; 8];
    env.entropy.fill(&mut seed).map_err(RunError::Entropy)?;
    let now = moment(env);
    let core = Core::open(lanes.iter().map(|lane| lane.options.clone()).collect(), ledger, now)?;
    let lanes = lanes.into_iter().enumerate().map(|(place, parts)| (place, Running::new(parts)));
    let (commands, commanded) = mpsc::channel(COMMANDS_MAX);
    let (reports, reported) = mpsc::channel(REPORTS_MAX);
    let (statuses_out, statuses) = watch::channel(core.statuses());
    let (settled_out, settled) = watch::channel(core.settled_through());
    let (ended_out, ended) = watch::channel(None);
    let (stop, stopping) = watch::channel(false);
    let nudge = Arc::new(tokio::sync::Notify::new());
    let driver = Driver {
        env: env.clone(),
        options,
        core,
        journal: Some(journal),
        lanes: lanes.collect(),
        closing: Vec::new(),
        wired: BTreeMap::new(),
        permits,
        reports,
        reported,
        commanded,
        nudge: Arc::clone(&nudge),
        stopping,
        statuses: statuses_out,
        settled: settled_out,
        under_way: BTreeMap::new(),
        seed: Seed::new(u64::from_le_bytes(seed)),
        acknowledge: Vec::new(),
        stop_at_us: None,
    };
    let task = tokio::spawn(async move {
        if let Err(error) = driver.run().await {
            tracing::error!(code = error.code(), %error, "delivery stopped");
            ended_out.send_replace(Some(Arc::new(error)));
        }
    });
    let task = std::sync::Mutex::new(Some(task));
    Ok(Runner { commands, nudge, statuses, settled, ended, stop, task })
}

impl Runner {
    /// Sources have something new: ask them now.
    pub fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// How every lane stands; a moment old.
    pub fn statuses(&self) -> Vec<LaneStatus> {
        self.statuses.borrow().clone()
    }

    /// The last effect that no lane needs any more, durably. What is up to here may leave the outbox.
    pub fn settled_through(&self) -> watch::Receiver<Option<EffectId>> {
        self.settled.clone()
    }

    /// Why delivery ended by itself, if it did.
    pub fn failure(&self) -> Option<Arc<RunError>> {
        self.ended.borrow().clone()
    }

    /// Dead letters of a lane after an id, oldest first.
    pub async fn dead_letters(
        &self,
        lane: &str,
        after: Option<EffectId>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, CommandError> {
        let lane = lane.to_owned();
        self.command(move |core| core.dead_letters(&lane, after, limit)).await?
    }

    /// Sends a dead letter again; durable on return.
    pub async fn resend(&self, lane: &str, id: EffectId) -> Result<(), CommandError> {
        let lane = lane.to_owned();
        self.command(move |core| core.resend(&lane, id)).await?
    }

    /// Drops a dead letter for good; durable on return.
    pub async fn discard(&self, lane: &str, id: EffectId) -> Result<(), CommandError> {
        let lane = lane.to_owned();
        self.command(move |core| core.discard(&lane, id)).await?
    }

    /// Forgets what is held of subjects up to an effect each; gone from the disk on return. What is under way goes when
    /// its attempt ends: to know when that is, ask again until nothing is under way.
    pub async fn forget(&self, subjects: Arc<BTreeMap<Key, EffectId>>) -> Result<Forgotten, CommandError> {
        self.command(move |core| core.forget(&subjects)).await
    }

    /// Opens a lane, while the others go on. One that was open before goes on where it was, and counts on.
    pub async fn open(&self, lane: LaneParts) -> Result<(), OpenError> {
        let (opened, answered) = oneshot::channel();
        let command = Command::Open { lane: Box::new(lane), opened };
        self.commands.send(command).await.map_err(|_| CommandError::Stopped)?;
        Ok(answered.await.map_err(|_| CommandError::Stopped)??)
    }

    /// Closes a lane, while the others go on: it begins nothing new, attempts under way may end within the time for
    /// stopping, and its destination closes what it holds. On return that is durable, and the destination was let go.
    /// A lane that is not open is closed already.
    pub async fn close(&self, lane: &str) -> Result<(), CommandError> {
        let (done, closed) = oneshot::channel();
        let command = Command::Close { lane: lane.to_owned(), done };
        self.commands.send(command).await.map_err(|_| CommandError::Stopped)?;
        closed.await.map_err(|_| CommandError::Stopped)
    }

    /// Stops: nothing new begins, attempts under way may end within their time, destinations close what they hold. What
    /// had no outcome by then is attempted again after the next start, or, being marketing, counts as unknown.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let task = self.task.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(task) = task
            && task.await.is_err()
        {
            tracing::error!("the task that drives delivery panicked");
        }
    }

    async fn command<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Core) -> T + Send + 'static,
    ) -> Result<T, CommandError> {
        let (answer, answered) = oneshot::channel();
        let (done, durable) = oneshot::channel();
        let work: Work = Box::new(move |core| {
            // A caller that has gone away needs no answer.
            let _ = answer.send(work(core));
        });
        self.commands.send(Command::Work { work, done }).await.map_err(|_| CommandError::Stopped)?;
        durable.await.map_err(|_| CommandError::Stopped)?;
        answered.await.map_err(|_| CommandError::Stopped)
    }
}

enum Report {
    Supply(usize, Result<Supply, SourceError>),
    Permits(AttemptId, Vec<Permit>),
    Answer(AttemptId, Outcome),
    /// So many parcels of a lane were crossed.
    Crossed(String, u64),
    /// The destination at this place holds nothing any more.
    Closed(usize),
}

struct Driver {
    env: Env,
    options: RunnerOptions,
    core: Core,
    /// Away while another thread writes it.
    journal: Option<Journal>,
    lanes: BTreeMap<usize, Running>,
    closing: Vec<Closing>,
    /// What is on the wire.
    wired: BTreeMap<AttemptId, (String, Arc<[Parcel]>)>,
    permits: Arc<dyn Permits>,
    reports: mpsc::Sender<Report>,
    reported: mpsc::Receiver<Report>,
    commanded: mpsc::Receiver<Command>,
    nudge: Arc<tokio::sync::Notify>,
    stopping: watch::Receiver<bool>,
    statuses: watch::Sender<Vec<LaneStatus>>,
    settled: watch::Sender<Option<EffectId>>,
    under_way: BTreeMap<AttemptId, AbortHandle>,
    seed: Seed,
    acknowledge: Vec<oneshot::Sender<()>>,
    stop_at_us: Option<u64>,
}

fn moment(env: &Env) -> Moment {
    Moment { at: Timestamp(env.clock.now_us()), monotonic_us: env.clock.monotonic_ns() / 1_000 }
}

impl Driver {
    async fn run(mut self) -> Result<(), RunError> {
        let mut ask = tokio::time::interval(Duration::from_millis(self.options.ask_every_ms.max(1)));
        let mut tend = tokio::time::interval(TEND_EVERY);
        ask.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tend.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let wake_us = self.step().await?;
            if self.is_done() {
                break;
            }
            self.let_go();
            let wait = Duration::from_micros(wake_us.unwrap_or(1_000_000).min(1_000_000));
            let stopping = self.stop_at_us.is_some();
            tokio::select! {
                biased;
                Some(report) = self.reported.recv() => self.take_in(report),
                Some(command) = self.commanded.recv() => self.obey(command),
                _ = self.stopping.changed(), if !stopping => {}
                () = self.nudge.notified(), if !stopping => self.core.nudge(),
                _ = ask.tick() => {
                    self.core.nudge();
                    self.statuses.send_replace(self.core.statuses());
                }
                _ = tend.tick() => self.tend(),
                () = tokio::time::sleep(wait) => {}
            }
            for _ in 0..REPORTS_AT_ONCE_MAX {
                let Ok(report) = self.reported.try_recv() else { break };
                self.take_in(report);
            }
            if *self.stopping.borrow() && self.stop_at_us.is_none() {
                let timeout_us = self.options.stop_timeout_ms.saturating_mul(1_000);
                self.stop_at_us = Some(moment(&self.env).monotonic_us.saturating_add(timeout_us));
                self.core.stop();
            }
        }
        for task in self.under_way.values() {
            task.abort();
        }
        self.close_destinations().await;
        self.finish().await
    }

    /// One step of the core: entries first, then actions. Returns how long nothing is due, in microseconds.
    async fn step(&mut self) -> Result<Option<u64>, RunError> {
        let now = moment(&self.env);
        let seed = &mut self.seed;
        let step = self.core.poll(now, &mut || seed.next_u64());
        let wake_us = step.wake_at_us.map(|at_us| at_us.saturating_sub(now.monotonic_us));
        self.write(&step).await?;
        for action in step.actions {
            self.act(action);
        }
        Ok(wake_us)
    }

    async fn write(&mut self, step: &Step) -> Result<(), RunError> {
        let forgotten = self.core.take_rewrite();
        let grown = self.journal.as_ref().is_some_and(Journal::wants_rewrite);
        let sync = step.sync || !self.acknowledge.is_empty();
        if forgotten || grown {
            let ledger = self.core.ledger().clone();
            self.on_journal(move |journal| journal.rewrite(&ledger)).await?;
        } else if sync {
            let entries = step.entries.clone();
            self.on_journal(move |journal| journal.append(&entries, true)).await?;
        } else if let (false, Some(journal)) = (step.entries.is_empty(), &mut self.journal) {
            // Into the page cache only: no reason to change threads.
            journal.append(&step.entries, false)?;
        }
        if forgotten || grown || sync {
            self.core.on_synced(moment(&self.env));
            self.settled.send_replace(self.core.settled_through());
            for done in self.acknowledge.drain(..) {
                let _ = done.send(());
            }
        }
        Ok(())
    }

    /// Works on the journal where waiting for the disk holds up no connection.
    async fn on_journal(
        &mut self,
        work: impl FnOnce(&mut Journal) -> Result<(), JournalError> + Send + 'static,
    ) -> Result<(), RunError> {
        let mut journal = self.journal.take().ok_or(JournalError::Poisoned)?;
        if !self.options.syncs_elsewhere {
            let result = work(&mut journal);
            self.journal = Some(journal);
            return Ok(result?);
        }
        let written = tokio::task::spawn_blocking(move || {
            let result = work(&mut journal);
            (journal, result)
        });
        let (journal, result) = written.await.map_err(|error| RunError::Writer(error.to_string()))?;
        self.journal = Some(journal);
        Ok(result?)
    }

    fn act(&mut self, action: Action) {
        let reports = self.reports.clone();
        match action {
            Action::Fetch { lane, after, limit } => {
                let Some(source) = self.parts(lane).map(|parts| Arc::clone(&parts.source)) else { return };
                // A task in a task: one that panics or hangs must still be reported, or the lane would never ask again.
                let mut asking = tokio::spawn(async move { source.after(after, limit).await });
                tokio::spawn(async move {
                    let supply = match tokio::time::timeout(SOURCE_TIMEOUT, &mut asking).await {
                        Ok(Ok(supply)) => supply,
                        Ok(Err(_)) => Err(SourceError("it panicked".to_owned())),
                        Err(_) => {
                            asking.abort();
                            Err(SourceError("its time ran out".to_owned()))
                        }
                    };
                    let _ = reports.send(Report::Supply(lane, supply)).await;
                });
            }
            Action::Ask { attempt, requests } => {
                let Some(name) = self.parts(attempt.lane).map(|parts| parts.options.name.clone()) else {
                    return;
                };
                let permits = Arc::clone(&self.permits);
                let task = tokio::spawn(async move {
                    let answers = permits.request(&name, requests).await;
                    let _ = reports.send(Report::Permits(attempt, answers)).await;
                });
                self.under_way.insert(attempt, task.abort_handle());
            }
            Action::Send { attempt, parcels, timeout_ms } => {
                let Some(parts) = self.parts(attempt.lane) else { return };
                let (name, destination) = (parts.options.name.clone(), Arc::clone(&parts.destination));
                self.wired.insert(attempt, (name, Arc::clone(&parcels)));
                let task = tokio::spawn(async move {
                    let outcome = destination.send(parcels, timeout_ms).await;
                    // Whoever waits for the answer may want to close the destination.
                    drop(destination);
                    let _ = reports.send(Report::Answer(attempt, outcome)).await;
                });
                self.under_way.insert(attempt, task.abort_handle());
            }
            Action::Abandon { attempt } => {
                if let Some(task) = self.under_way.remove(&attempt) {
                    task.abort();
                }
                self.look_back(attempt);
            }
        }
    }

    /// Asks whether something crossed an attempt that is over.
    fn look_back(&mut self, attempt: AttemptId) {
        let Some((name, parcels)) = self.wired.remove(&attempt) else { return };
        let (permits, reports) = (Arc::clone(&self.permits), self.reports.clone());
        tokio::spawn(async move {
            let crossed = permits.crossed(&name, parcels).await;
            if crossed > 0 {
                let _ = reports.send(Report::Crossed(name, crossed)).await;
            }
        });
    }

    fn take_in(&mut self, report: Report) {
        let now = moment(&self.env);
        match report {
            Report::Supply(lane, Ok(supply)) => self.core.supply(lane, Some(supply), now),
            Report::Supply(lane, Err(error)) => {
                tracing::warn!(lane, %error, "a source gave nothing");
                self.core.supply(lane, None, now);
            }
            Report::Permits(attempt, permits) => {
                self.under_way.remove(&attempt);
                self.core.on_permits(attempt, &permits, now);
            }
            Report::Answer(attempt, outcome) => {
                self.under_way.remove(&attempt);
                let chance = self.seed.next_u64();
                self.core.on_answer(attempt, &outcome, now, chance);
                self.look_back(attempt);
            }
            Report::Crossed(lane, parcels) => self.core.on_crossed(&lane, parcels),
            Report::Closed(place) => self.closed(place),
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Work { work, done } => {
                work(&mut self.core);
                self.acknowledge.push(done);
            }
            Command::Open { lane, opened } => {
                // A caller that has gone away needs no answer.
                let _ = opened.send(self.open_lane(*lane));
            }
            Command::Close { lane, done } => self.close_lane(&lane, done),
        }
    }

    /// Lets every destination close what it holds, all at a time and within the time for stopping.
    async fn close_destinations(&self) {
        let mut closing = tokio::task::JoinSet::new();
        for running in self.lanes.values() {
            let destination = Arc::clone(&running.parts.destination);
            closing.spawn(async move { destination.tend(true).await });
        }
        let all = async { while closing.join_next().await.is_some() {} };
        let timeout = Duration::from_millis(self.options.stop_timeout_ms.max(1));
        if tokio::time::timeout(timeout, all).await.is_err() {
            tracing::warn!("a destination did not close in time");
        }
    }

    fn is_done(&self) -> bool {
        let Some(stop_at_us) = self.stop_at_us else { return false };
        !self.core.is_under_way() || moment(&self.env).monotonic_us >= stop_at_us
    }

    /// What was settled last becomes durable.
    async fn finish(&mut self) -> Result<(), RunError> {
        let ledger = self.core.ledger().clone();
        self.on_journal(move |journal| journal.rewrite(&ledger)).await?;
        self.core.on_synced(moment(&self.env));
        self.settled.send_replace(self.core.settled_through());
        self.statuses.send_replace(self.core.statuses());
        Ok(())
    }
}
