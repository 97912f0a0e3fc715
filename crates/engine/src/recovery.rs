//! From a data directory to a shard that answers: the newest checkpoint, then the tail of the log.
//!
//! Rows are not loaded, they are read when wanted; so recovery costs the tail, whatever the size of the state.

use crate::core::Core;
use crate::error::EngineError;
use crate::feed::{self, FEED_FOLDER, Feed, FeedOptions, Feeding};
use crate::machine::Machine;
use crate::panics;
use env::Env;
use eventlog::{Cut, FrameDraft, LocalLog, Log, LogError, LogHandle, LogOptions, LogReader};
use model::codec::Decoder;
use model::id::{Position, Term};
use model::record::{RecordKind, decode_records, encode_record};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::{ID_BYTES, LocalObjects, Manifest, Objects, Store, StoreOptions};

/// The folder of checkpoints in a data directory.
pub const STATE_FOLDER: &str = "state";

/// Settings of what a shard is opened from.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// The log.
    pub log: LogOptions,
    /// The checkpoints and de-duplication.
    pub store: StoreOptions,
    /// The change feed. It is sealed with the keyring of the log.
    pub feed: FeedOptions,
}

/// A log to replay: the writer's own, or a handle beside a running writer.
pub trait LogSource {
    /// The oldest readable position.
    fn first_position(&self) -> Position;
    /// The position after the last durable record.
    fn end_position(&self) -> Position;
    /// Reads in order.
    fn read_from(&self, from: Position) -> Result<Box<dyn LogReader>, LogError>;
}

impl LogSource for LocalLog {
    fn first_position(&self) -> Position {
        Log::first_position(self)
    }

    fn end_position(&self) -> Position {
        self.next_position()
    }

    fn read_from(&self, from: Position) -> Result<Box<dyn LogReader>, LogError> {
        Log::read_from(self, from)
    }
}

impl LogSource for LogHandle {
    fn first_position(&self) -> Position {
        LogHandle::first_position(self)
    }

    fn end_position(&self) -> Position {
        self.durable_position()
    }

    fn read_from(&self, from: Position) -> Result<Box<dyn LogReader>, LogError> {
        LogHandle::read_from(self, from)
    }
}

/// A shard, ready to run.
pub struct Opened<M: Machine> {
    /// Its state, as of the end of the log.
    pub core: Core<M>,
    /// Its log.
    pub log: LocalLog,
    /// Its checkpoints.
    pub store: Store,
    /// Its feed, for readers.
    pub feed: Feed,
    /// Its feed, for the thread that writes it.
    pub feed_writer: feed::Writer,
    /// Its data directory.
    pub directory: PathBuf,
    /// The reign that begins with this opening: higher than any before.
    pub term: Term,
    /// What was found.
    pub report: RecoveryReport,
}

/// What recovery found and did.
#[derive(Clone, Debug, Default)]
pub struct RecoveryReport {
    /// Where the checkpoint stood, if there was one.
    pub checkpoint: Option<Position>,
    /// Records applied again.
    pub replayed: u64,
    /// A torn append that was cut from the log: nobody had been told about it.
    pub cut: Option<Cut>,
    /// What was found of the feed.
    pub feed: feed::FeedReport,
    /// A record that panicked for the second time and is skipped from now on. Tell an operator.
    pub quarantined: Option<Position>,
    /// Time taken.
    pub elapsed_ns: u64,
}

/// Opens a data directory. `machine` makes the rules, more than once if a record panics for the second time.
pub fn open<M: Machine>(
    env: &Env,
    directory: &Path,
    machine: impl Fn() -> M,
    options: &OpenOptions,
) -> Result<Opened<M>, EngineError> {
    let started_ns = env.clock.monotonic_ns();
    let mut report = RecoveryReport::default();
    let (mut log, found) = LocalLog::open(env, directory, options.log.clone())?;
    report.cut = found.cut;
    let objects: Arc<dyn Objects> = Arc::new(LocalObjects::open(env, &directory.join(STATE_FOLDER))?);
    let (core, store, term, feed, feed_writer) = loop {
        let (store, manifest) = Store::open(Arc::clone(&objects), options.store.clone())?;
        let term = next_term(&log, manifest.as_ref());
        let mut core = restore(machine(), &store, manifest.as_ref())?;
        // The last sixteenth is for what waits in the queues when the door begins to refuse.
        core.set_dedup_ids_soft_max(options.store.dedup.bytes_limit / ID_BYTES / 16 * 15);
        report.checkpoint = manifest.as_ref().map(|_| core.progress().next_position);
        let Feeding { feed, appender, mut writer, report: found } =
            open_feed(env, directory, &core, options)?;
        core.set_feed(appender);
        report.feed = found;
        match replay(&mut core, &log, &mut writer) {
            Ok(Ok(replayed)) => {
                report.replayed = replayed;
                break (core, store, term, feed, writer);
            }
            Ok(Err(error)) => return Err(error),
            Err(message) => {
                let position = core.applying().unwrap_or_default();
                if panics::recall(env, directory) != Some(position) {
                    panics::remember(env, directory, position)
                        .map_err(|error| EngineError::System { what: "a panic could not be noted", error })?;
                    return Err(EngineError::Panicked { position, message });
                }
                quarantine(&mut log, term, position)?;
                report.quarantined = Some(position);
            }
        }
    };
    report.elapsed_ns = env.clock.monotonic_ns().saturating_sub(started_ns);
    Ok(Opened { core, log, store, feed, feed_writer, directory: directory.to_owned(), term, report })
}

fn next_term(log: &LocalLog, manifest: Option<&Manifest>) -> Term {
    let seen = manifest.map_or(log.term(), |manifest| manifest.term.max(log.term()));
    Term(seen.0 + 1)
}

/// The state as a checkpoint recorded it, nothing loaded but what must be in memory.
pub fn restore<M: Machine>(
    machine: M,
    store: &Store,
    manifest: Option<&Manifest>,
) -> Result<Core<M>, EngineError> {
    let dedup = store.dedup_window()?;
    let mut core = Core::new(machine, store.source(), dedup);
    if let Some(manifest) = manifest {
        core.restore(&manifest.metadata)?;
        for table in core.tables_to_load() {
            for row in store.scan(table) {
                let (key, bytes) = row?;
                core.load_row(table, key, &bytes)?;
            }
        }
    }
    Ok(core)
}

/// Applies everything that the log holds beyond the state. The outer error is a panic.
fn replay<M: Machine>(
    core: &mut Core<M>,
    log: &LocalLog,
    writer: &mut feed::Writer,
) -> Result<Result<u64, EngineError>, String> {
    // Nobody else writes the feed yet, and a long tail would not fit into memory. A failure lets it begin anew.
    let mut write_feed = || while matches!(writer.step(), Ok(true)) {};
    panics::guard(|| replay_frames(core, log, None, &mut write_feed))
}

/// The feed as it is where the replay begins.
fn open_feed<M: Machine>(
    env: &Env,
    directory: &Path,
    core: &Core<M>,
    options: &OpenOptions,
) -> Result<Feeding, EngineError> {
    let progress = core.progress();
    let found = feed::open(
        env,
        &directory.join(FEED_FOLDER),
        progress.next_position,
        progress.log_time,
        options.log.keyring.clone(),
        FeedOptions { history_kinds: M::HISTORY_KINDS, ..options.feed.clone() },
    )?;
    if found.report.began_anew {
        let position = progress.next_position.0;
        tracing::warn!(
            position,
            "the feed does not reach the checkpoint and begins anew; followers take a snapshot"
        );
    }
    Ok(found)
}

/// Applies the log from where the state stands up to `until` or its end. Returns the number of records.
pub fn replay_log<M: Machine>(
    core: &mut Core<M>,
    log: &dyn LogSource,
    until: Option<Position>,
) -> Result<u64, EngineError> {
    replay_frames(core, log, until, &mut || {})
}

fn replay_frames<M: Machine>(
    core: &mut Core<M>,
    log: &dyn LogSource,
    until: Option<Position>,
    after_frame: &mut dyn FnMut(),
) -> Result<u64, EngineError> {
    let from = core.progress().next_position;
    if from > log.end_position() {
        return Err(EngineError::LogBehindCheckpoint { checkpoint: from, log: log.end_position() });
    }
    core.set_skips(skips(log, from)?);
    let mut reader = log.read_from(from)?;
    while until.is_none_or(|until| core.progress().next_position < until) {
        let Some(frame) = reader.next()? else { break };
        core.apply_frame(&frame)?;
        after_frame();
    }
    Ok(core.progress().next_position.0 - from.0)
}

/// The positions that records from `from` on say to skip. They are known before anything is applied, because a skip
/// stands behind the record that it is about.
fn skips(log: &dyn LogSource, from: Position) -> Result<BTreeSet<Position>, EngineError> {
    let mut skips = BTreeSet::new();
    let mut reader = log.read_from(from)?;
    while let Some(frame) = reader.next()? {
        if !frame.control {
            continue;
        }
        for record in decode_records(&frame.body, frame.first, frame.received_at) {
            let record = record.map_err(|error| EngineError::Record { position: frame.first, error })?;
            if record.kind == RecordKind::SKIP {
                let position = Decoder::new(record.body)
                    .u64()
                    .map_err(|error| EngineError::Record { position: record.position, error })?;
                skips.insert(Position(position));
            }
        }
    }
    Ok(skips)
}

/// Logs that a record is to be treated as absent.
fn quarantine(log: &mut LocalLog, term: Term, position: Position) -> Result<(), EngineError> {
    tracing::error!(position = position.0, "a record made apply panic twice; it is skipped from now on");
    let mut body = Vec::new();
    encode_record(&mut body, RecordKind::SKIP, &position.0.to_le_bytes());
    let draft = FrameDraft { received_at: log.last_received_at(), control: true, count: 1, body };
    let next = log.next_position();
    log.append(term, next, &[draft])?;
    Ok(())
}
