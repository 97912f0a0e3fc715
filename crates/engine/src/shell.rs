//! A shard in production: the core on threads of its own.
//!
//! ```text
//!  submit ──▶ [queue] ──▶ committer ──▶ [groups] ──▶ applier ──▶ answers, views
//!                          append, sync               │  ▲
//!                                                     ▼  │ committed
//!                                                checkpointer: runs, merges      sealer: closed log segments
//!                                                feeder: files of the change feed
//! ```
//!
//! While the committer waits for the disk, the applier works on the group before. Every queue is bounded; a full one
//! refuses the submission, which the door passes on as 503.

mod apply;
mod bodies;
mod checkpointer;
mod commit;
mod feeder;
mod mailbox;
mod readers;
mod stages;
mod status;
mod warmer;

pub use stages::{Stages, Together};
pub use status::Status;

use crate::core::Core;
use crate::error::{EngineError, SubmitError};
use crate::feed::Feed;
use crate::machine::{AsOf, IssuedEffect, Machine};
use crate::recovery::Opened;
use apply::{Applier, Work};
use bodies::Bodies;
use checkpointer::Checkpointer;
use commit::{Commit, Committer, Submission};
use env::{Clock, Env, Thread};
use eventlog::{LocalLog, Log, LogHandle};
use mailbox::{Mailbox, Refused};
use model::id::{EffectId, Position, Term, Timestamp};
use model::record::{RecordKind, encode_record};
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

/// Queries that may wait for the applying thread.
const QUERIES_MAX: usize = 1_024;

/// What a submission led to.
#[derive(Debug, Default)]
pub struct Applied {
    /// Replies of the records that answer, by their index in the submission.
    pub replies: Vec<(u32, Vec<u8>)>,
    /// Everything before this position has been applied.
    pub next_position: Position,
    /// How it went, for submissions of [`Engine::submit_followed`].
    pub stages: Option<Box<Stages>>,
}

/// Called once, from a thread of the shard, when a submission is durable and applied, or was refused. It must not
/// block.
pub type Done = Box<dyn FnOnce(Result<Applied, SubmitError>) + Send>;

/// Settings of a running shard.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The reign of this writer. [`Engine::start`] sets it to that of the opening.
    pub term: Term,
    /// Submissions that may wait to be appended.
    pub queue_items_max: usize,
    /// Bytes that may wait to be appended.
    pub queue_bytes_max: usize,
    /// Groups that may wait to be applied.
    pub groups_max: usize,
    /// A loaded committer lets a group grow up to this many bytes.
    pub group_bytes_min: usize,
    /// A group is appended at this many bytes at the latest.
    pub group_bytes_max: usize,
    /// Submissions are joined into frames of up to this many bytes.
    pub frame_bytes_max: usize,
    /// Time between checkpoints.
    pub checkpoint_interval_ms: u64,
    /// Records after which a checkpoint begins whatever the time: this is what recovery replays at most, twice over.
    pub checkpoint_records_max: u64,
    /// Rows kept in memory, in bytes; durable rows beyond it are evicted.
    pub resident_bytes_max: usize,
    /// Threads that read rows ahead.
    pub reader_threads: usize,
    /// Bytes that background merges may write per second.
    pub merge_bytes_per_second: u64,
    /// Submissions carry their own log time; the wall clock drives nothing. For imports and demonstrations, in a data
    /// directory of their own.
    pub drive_log_time: bool,
    /// How much of the log to keep beyond what recovery needs.
    pub retention: eventlog::Retention,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            term: Term(1),
            queue_items_max: 16_384,
            queue_bytes_max: 128 << 20,
            groups_max: 8,
            group_bytes_min: 512 << 10,
            group_bytes_max: 8 << 20,
            frame_bytes_max: 256 << 10,
            checkpoint_interval_ms: 5_000,
            checkpoint_records_max: 500_000,
            resident_bytes_max: 4 << 30,
            reader_threads: 4,
            merge_bytes_per_second: 64 << 20,
            drive_log_time: false,
            retention: eventlog::Retention::default(),
        }
    }
}

/// A running shard. Cheap to clone; [`Engine::stop`] ends it for all.
pub struct Engine<M: Machine> {
    shared: Arc<Shared<M>>,
}

impl<M: Machine> Clone for Engine<M> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<M: Machine> {
    view: Arc<M::View>,
    status: Arc<Status>,
    commits: Arc<Mailbox<Commit>>,
    work: Arc<Mailbox<Work<M>>>,
    log: LogHandle,
    feed: Feed,
    store: store::Store,
    clock: Arc<dyn Clock>,
    drive_log_time: bool,
    directory: PathBuf,
    threads: Mutex<Vec<Box<dyn Thread>>>,
}

impl<M: Machine> Engine<M> {
    /// Starts the threads of an opened shard.
    pub fn start(env: &Env, opened: Opened<M>, options: EngineOptions) -> Result<Self, EngineError> {
        let Opened { core, log, store, feed, feed_writer, directory, term, .. } = opened;
        let options = EngineOptions { term, ..options };
        let handle = log.handle();
        let status = Arc::new(Status::default());
        status.progress(core.progress());
        status.durable_next.store(log.next_position().0, Relaxed);
        let checkpoint = store.manifest().map_or(Position(0), |manifest| manifest.position);
        status.checkpoint_next.store(checkpoint.0, Relaxed);
        let shared = Arc::new(Shared {
            view: core.view(),
            status: Arc::clone(&status),
            commits: Arc::new(Mailbox::new(options.queue_items_max, options.queue_bytes_max)),
            // A group weighs 1, a query nothing: neither can keep the other out.
            work: Arc::new(Mailbox::new(options.groups_max + QUERIES_MAX, options.groups_max)),
            log: handle,
            feed,
            store,
            clock: Arc::clone(&env.clock),
            drive_log_time: options.drive_log_time,
            directory,
            threads: Mutex::new(Vec::new()),
        });
        let engine = Self { shared };
        engine.announce_rules(&core);
        let feeder =
            feeder::Feeder { writer: feed_writer, feed: engine.shared.feed.clone(), log: log.handle() };
        engine.spawn_all(env, core, log, &options)?;
        engine.spawn(env, "feed", move || feeder.run())?;
        Ok(engine)
    }

    /// A deploy that changes rules says so in the log, before anything else is appended.
    fn announce_rules(&self, core: &Core<M>) {
        if core.progress().rules_version == M::RULES_VERSION {
            return;
        }
        let mut records = Vec::new();
        encode_record(&mut records, RecordKind::RULES_CHANGED, &M::RULES_VERSION.to_le_bytes());
        self.shared.commits.push_control(Commit::Records(Submission {
            records,
            count: 1,
            control: true,
            // A log time that is driven from outside stays where it is.
            log_time: self.shared.drive_log_time.then_some(Timestamp(0)),
            done: Box::new(|_| {}),
            stages: None,
        }));
    }

    fn spawn_all(
        &self,
        env: &Env,
        mut core: Core<M>,
        log: LocalLog,
        options: &EngineOptions,
    ) -> Result<(), EngineError> {
        let shared = &self.shared;
        let store = shared.store.clone();
        let checkpoints = Arc::new(Mailbox::new(64, usize::MAX));
        core.set_reader(Box::new(readers::Readers::start(env, options.reader_threads)?));
        let warmer = warmer::Warmer {
            store: store.clone(),
            tables: core.begin_warming(),
            applier: Arc::clone(&shared.work),
            status: Arc::clone(&shared.status),
            resident_bytes_max: options.resident_bytes_max,
        };
        let retention = options.retention;
        let handle = shared.log.clone();
        let bodies = Arc::new(Bodies::default());
        let committer = Committer {
            env: env.clone(),
            log,
            retention_floor: Box::new(move |now| handle.retention_floor(now, &retention)),
            options: options.clone(),
            inbox: Arc::clone(&shared.commits),
            applier: Arc::clone(&shared.work),
            status: Arc::clone(&shared.status),
            bodies: Arc::clone(&bodies),
        };
        let applier = Applier {
            env: env.clone(),
            directory: shared.directory.clone(),
            core,
            options: options.clone(),
            inbox: Arc::clone(&shared.work),
            committer: Arc::clone(&shared.commits),
            checkpointer: Arc::clone(&checkpoints),
            status: Arc::clone(&shared.status),
            bodies,
            feed: shared.feed.clone(),
            checkpoint_started_ns: env.clock.monotonic_ns(),
            housekeeping_ns: 0,
            tick_pending: false,
        };
        let checkpointer = Checkpointer::new(
            env.clone(),
            store,
            shared.feed.clone(),
            Arc::clone(&checkpoints),
            Arc::clone(&shared.work),
            Arc::clone(&shared.status),
            options,
        );
        let sealer = checkpointer::Sealer {
            log: shared.log.clone(),
            status: Arc::clone(&shared.status),
            checkpoints: Arc::clone(&checkpoints),
        };
        self.spawn(env, "commit", move || committer.run())?;
        self.spawn(env, "apply", move || applier.run())?;
        self.spawn(env, "checkpoint", move || checkpointer.run())?;
        self.spawn(env, "seal", move || sealer.run())?;
        self.spawn(env, "warm", move || warmer.run())
    }

    fn spawn(&self, env: &Env, name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), EngineError> {
        let thread = env
            .spawner
            .spawn(name, Box::new(body))
            .map_err(|error| EngineError::System { what: "a thread could not be started", error })?;
        self.shared.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    /// Hands over `count` records written with [`encode_record`]. `done` is called once they are durable and applied.
    ///
    /// `log_time` is only heeded where log time is driven from outside.
    pub fn submit(
        &self,
        records: Vec<u8>,
        count: u32,
        log_time: Option<Timestamp>,
        done: Done,
    ) -> Result<(), SubmitError> {
        self.enqueue(Submission { records, count, control: false, log_time, done, stages: None })
    }

    /// The same, and [`Applied::stages`] says when it passed each stage.
    pub fn submit_followed(
        &self,
        records: Vec<u8>,
        count: u32,
        log_time: Option<Timestamp>,
        done: Done,
    ) -> Result<(), SubmitError> {
        let submitted_ns = self.shared.clock.monotonic_ns();
        let stages = Some(Box::new(Stages { submitted_ns, ..Stages::default() }));
        self.enqueue(Submission { records, count, control: false, log_time, done, stages })
    }

    fn enqueue(&self, mut submission: Submission) -> Result<(), SubmitError> {
        let shared = &self.shared;
        if shared.status.stopped().is_some() {
            return Err(shared.status.unavailable());
        }
        if shared.status.dedup_full.load(Relaxed) {
            return Err(SubmitError::Unavailable {
                reason: "de-duplication holds as many message ids as it may; raise its limit".to_owned(),
                retry_after_s: 60,
            });
        }
        submission.log_time = submission.log_time.filter(|_| shared.drive_log_time);
        let weight = submission.records.len();
        match shared.commits.try_push(Commit::Records(submission), weight) {
            Ok(()) => Ok(()),
            Err(Refused::Full(_)) => Err(SubmitError::Full { retry_after_s: 1 }),
            Err(Refused::Closed(_)) => Err(shared.status.unavailable()),
        }
    }

    /// Runs something on the state, between two groups. It must be short.
    pub fn inspect(&self, inspect: impl FnOnce(&mut Core<M>) + Send + 'static) -> Result<(), SubmitError> {
        match self.shared.work.try_push(Work::Inspect(Box::new(inspect)), 0) {
            Ok(()) => Ok(()),
            Err(Refused::Full(_)) => Err(SubmitError::Full { retry_after_s: 1 }),
            Err(Refused::Closed(_)) => Err(self.shared.status.unavailable()),
        }
    }

    /// Answers a query from the state, later, on a thread of the shard. The answer callback must not block.
    pub fn query(
        &self,
        query: M::Query,
        answer: impl FnOnce(Result<(M::Answer, AsOf), EngineError>) + Send + 'static,
    ) -> Result<(), SubmitError> {
        self.inspect(move |core| {
            let result = core.query(query);
            let as_of = core.as_of();
            answer(result.map(|found| (found, as_of)));
        })
    }

    /// Effects in the outbox after `after`, oldest first.
    pub fn effects_after(
        &self,
        after: Option<EffectId>,
        limit: usize,
        answer: impl FnOnce(Vec<IssuedEffect>) + Send + 'static,
    ) -> Result<(), SubmitError> {
        self.inspect(move |core| answer(core.effects_after(after, limit)))
    }

    /// Closes the log's open segment, if it holds a record, so that it can be sealed and rewritten although nothing more
    /// comes. It happens soon; the segments that [`Engine::log`] shows say when.
    pub fn roll_log(&self) -> Result<(), SubmitError> {
        match self.shared.commits.try_push(Commit::Roll, 0) {
            Ok(()) => Ok(()),
            Err(Refused::Full(_)) => Err(SubmitError::Full { retry_after_s: 1 }),
            Err(Refused::Closed(_)) => Err(self.shared.status.unavailable()),
        }
    }

    /// Asks that rows deleted (or replaced) by records before this position leave every kept checkpoint: all runs are
    /// merged, and checkpoints are taken, even if nothing changes, until none is kept that names an older run. It
    /// is done when [`Status::rewritten_before`] has come so far. Asking again for the same costs nothing.
    pub fn rewrite_checkpoints(&self, before: Position) {
        self.shared.status.rewrite_before.fetch_max(before.0, Relaxed);
    }

    /// Asks for a checkpoint soon, even if nothing changed. [`Status::checkpoint_next`] tells when it is there.
    pub fn want_checkpoint(&self) {
        self.shared.status.checkpoint_wanted.store(true, Relaxed);
        self.shared.status.checkpoint_soon.store(true, Relaxed);
    }

    /// Every row of a table as the last checkpoint holds it, by key. Reads beside the loop.
    pub fn scan(&self, table: store::TableId) -> store::Scan {
        self.shared.store.scan(table)
    }

    /// What other threads read.
    pub fn view(&self) -> &Arc<M::View> {
        &self.shared.view
    }

    /// Live figures.
    pub fn status(&self) -> &Arc<Status> {
        &self.shared.status
    }

    /// The change feed, for reading.
    pub fn feed(&self) -> &Feed {
        &self.shared.feed
    }

    /// The log, for reading.
    pub fn log(&self) -> &LogHandle {
        &self.shared.log
    }

    /// Stops: what was accepted is applied and answered, a last checkpoint is written, the threads end.
    pub fn stop(&self) {
        self.shared.commits.close();
        let threads =
            std::mem::take(&mut *self.shared.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if !thread.join() {
                tracing::error!("a thread of the shard panicked");
            }
        }
    }
}
