//! Finds new audiences for everybody who was there before them.
//!
//! A definition that touches people who are there already leaves a row behind (see `engage`'s back-fills). This thread
//! works through those rows, oldest first: it reads older events for features that were never kept, hands in what
//! they come to, and then names everybody, a chunk at a time. Everything enters the state as a record of the log; what
//! this thread itself knows it can lose at any moment, and it begins again where the row says.

mod gather;

use crate::api::Context;
use engage::{Backfill, Command, MAX_CHUNK, Operation, Reply};
use engine::Applied;
use model::id::{Key, Position};
use model::record::{RecordKind, encode_record};
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::time::Duration;

/// How often the rows are looked at when nobody calls.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long an answer of the shard may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a checkpoint is looked for.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(20);
/// People of one chunk: well below a millisecond of the applying thread.
const PEOPLE_AT_ONCE: usize = 64;
/// Commands on their way at a time.
const COMMANDS_AT_ONCE: usize = 8;

const _: () = assert!(PEOPLE_AT_ONCE <= MAX_CHUNK);

/// Calls the thread, and stops it.
#[derive(Default)]
pub(crate) struct Backfills {
    shared: Mutex<Shared>,
    wake: Condvar,
}

#[derive(Default)]
struct Shared {
    called: bool,
    stopping: bool,
    problem: Option<String>,
}

impl Backfills {
    /// Asks the thread to look at once.
    pub(crate) fn look(&self) {
        self.lock().called = true;
        self.wake.notify_all();
    }

    pub(crate) fn stop(&self) {
        self.lock().stopping = true;
        self.wake.notify_all();
    }

    /// What keeps the thread from going on, if anything does.
    pub(crate) fn problem(&self) -> Option<String> {
        self.lock().problem.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    /// Waits for a call or the interval. `false` at the end.
    fn wait(&self) -> bool {
        let idle = |shared: &mut Shared| !shared.called && !shared.stopping;
        let waited = self.wake.wait_timeout_while(self.lock(), LOOK_INTERVAL, idle);
        let (mut shared, _) = waited.unwrap_or_else(PoisonError::into_inner);
        shared.called = false;
        !shared.stopping
    }
}

/// Starts the thread.
pub(super) fn start(context: &Arc<Context>) -> io::Result<std::thread::JoinHandle<()>> {
    let context = Arc::clone(context);
    std::thread::Builder::new().name("backfill".to_owned()).spawn(move || run(&context))
}

fn run(context: &Context) {
    let backfills = &context.backfills;
    while backfills.wait() {
        let mut rows = context.engine.view().backfills();
        rows.sort_by_key(|row| row.defined_at);
        for row in rows {
            let outcome = work(context, row);
            let mut shared = backfills.lock();
            if let Err(problem) = &outcome
                && shared.problem.as_ref() != Some(problem)
                && !shared.stopping
            {
                tracing::warn!(problem, "an audience is not found for everybody yet; it is tried again");
            }
            shared.problem = outcome.err();
            if shared.problem.is_some() || shared.stopping {
                // One after the other: a later definition may look at what an earlier one gathers.
                break;
            }
        }
    }
}

fn work(context: &Context, row: Backfill) -> Result<(), String> {
    let mut row = row;
    if row.is_gathering() {
        gather::gather(context, &mut row)?;
    }
    reckon(context, &row)
}

/// Names everybody. Who came after the definition was found everything with the first event, so everybody of a
/// checkpoint behind it is enough.
fn reckon(context: &Context, row: &Backfill) -> Result<(), String> {
    let behind = context.engine.view().as_of().next_position;
    checkpoint(context, behind)?;
    let mut chunks = row.chunks;
    let mut line = Line::new(context);
    let mut people = Vec::with_capacity(PEOPLE_AT_ONCE);
    for found in context.engine.scan(engage::PROFILES) {
        let (key, bytes) = found.map_err(|error| error.to_string())?;
        if !engage::ProfileRow::is_live(&bytes) {
            continue;
        }
        people.push(key);
        if people.len() == PEOPLE_AT_ONCE {
            line.chunk(row, &mut chunks, std::mem::take(&mut people))?;
        }
    }
    if !people.is_empty() {
        line.chunk(row, &mut chunks, people)?;
    }
    line.finish()?;
    command(context, Operation::Backfilled { definition: row.definition, chunks })?;
    tracing::info!(definition = row.definition.0, chunks, "a definition holds for everybody");
    Ok(())
}

/// Waits until a checkpoint stands at or behind a position.
fn checkpoint(context: &Context, behind: Position) -> Result<(), String> {
    let status = context.engine.status();
    while status.checkpoint_next.load(Relaxed) < behind.0 {
        if context.backfills.is_stopping() {
            return Err("the server stops".to_owned());
        }
        context.engine.want_checkpoint();
        std::thread::sleep(CHECKPOINT_INTERVAL);
    }
    Ok(())
}

/// Appends a command and waits until it is applied.
fn command(context: &Context, operation: Operation) -> Result<Reply, String> {
    answer_of(&submit(context, operation)?)
}

type Verdict = mpsc::Receiver<Result<Applied, engine::SubmitError>>;

fn submit(context: &Context, operation: Operation) -> Result<Verdict, String> {
    if context.backfills.is_stopping() {
        return Err("the server stops".to_owned());
    }
    let mut body = Vec::new();
    Command { idempotency: Key(0), operation }.encode(&mut body);
    let mut records = Vec::new();
    encode_record(&mut records, RecordKind::COMMAND, &body);
    let (word, verdict) = mpsc::sync_channel(1);
    let done = Box::new(move |result: Result<Applied, engine::SubmitError>| {
        let _ = word.send(result);
    });
    let submitted = context.engine.submit(records, 1, context.submission_time(), done);
    submitted.map_err(|error| error.to_string())?;
    Ok(verdict)
}

fn answer_of(verdict: &Verdict) -> Result<Reply, String> {
    let applied = verdict
        .recv_timeout(ANSWER_TIMEOUT)
        .map_err(|_| "the shard does not answer".to_owned())?
        .map_err(|error| error.to_string())?;
    match applied.replies.first().map(|(_, bytes)| Reply::decode(bytes)) {
        Some(Ok(Reply::Refused(error))) => Err(error.to_string()),
        Some(Ok(reply)) => Ok(reply),
        _ => Err("the shard's answer cannot be read".to_owned()),
    }
}

/// Commands on their way, a few at a time: beside a busy door each one waits its turn for the disk, and one after the
/// other that would be nearly all that happens.
struct Line<'c> {
    context: &'c Context,
    waiting: VecDeque<(Verdict, (Position, u64))>,
}

impl<'c> Line<'c> {
    fn new(context: &'c Context) -> Self {
        Self { context, waiting: VecDeque::new() }
    }

    /// Hands in a command that is to be answered with this.
    fn push(&mut self, operation: Operation, expected: (Position, u64)) -> Result<(), String> {
        if self.waiting.len() >= COMMANDS_AT_ONCE {
            self.wait()?;
        }
        self.waiting.push_back((submit(self.context, operation)?, expected));
        Ok(())
    }

    fn chunk(&mut self, row: &Backfill, chunks: &mut u64, people: Vec<Key>) -> Result<(), String> {
        let operation = Operation::Reckon { definition: row.definition, chunk: *chunks, people };
        *chunks += 1;
        self.push(operation, (row.read_to, *chunks))
    }

    fn wait(&mut self) -> Result<(), String> {
        let Some((verdict, (read_to, chunks))) = self.waiting.pop_front() else { return Ok(()) };
        match answer_of(&verdict)? {
            Reply::Backfill(read, told) if (read, told) == (read_to, chunks) => Ok(()),
            _ => Err("the shard stands elsewhere; it begins again there".to_owned()),
        }
    }

    /// Waits for all of them.
    fn finish(mut self) -> Result<(), String> {
        while !self.waiting.is_empty() {
            self.wait()?;
        }
        Ok(())
    }
}
