//! Takes erased people out of the checkpoints and the log.
//!
//! The state of a person goes when the erasing record is applied. Here a thread follows the effects that say so and
//! sees to it that the person leaves the disk: see `rounds`. What it knows is in a small file, so a restart goes on
//! where the last run stopped; doing any part twice is the same as doing it once.

mod platforms;
mod rounds;
mod segments;

use crate::api::Context;
use crate::calendar::now_us;
use engage::effect::{Body, ERASED};
use engine::IssuedEffect;
use model::codec::Encoder;
use model::id::{EffectId, Position};
use model::record::{RecordKind, encode_record};
use rounds::{Rounds, Stage};
use serde::{Deserialize, Serialize};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;

/// How often the effects are looked at when nobody calls.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long an answer of the shard may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Effects read at once.
const EFFECTS_MAX: usize = 1_000;
/// Effects are acknowledged after so many, so the outbox holds the last ones for whoever looks at it.
const EFFECTS_KEPT: u64 = 16_384;
/// Erasures that are worked on together; further ones wait in the outbox.
const PENDING_MAX: usize = 10_000;
/// A larger file is none of ours.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// The name under which effects are acknowledged.
const CONSUMER: &str = "erasure";

/// The file cannot be used.
#[derive(Debug, Error)]
#[error("{path} cannot be read ({what}): it says which erasures are unfinished; put its copy back")]
pub(crate) struct ErasuresError {
    path: PathBuf,
    what: String,
}

/// What is known and what is done, for the thread and for status.
pub(crate) struct Erasures {
    path: PathBuf,
    shared: Mutex<Shared>,
    wake: Condvar,
}

#[derive(Default)]
struct Shared {
    stored: Stored,
    called: bool,
    stopping: bool,
    stage: Option<Stage>,
    segments_done: u64,
    segments_total: u64,
    records_emptied: u64,
    problem: Option<String>,
}

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    /// Effects up to this one were looked at: position and ordinal.
    seen: Option<(u64, u32)>,
    /// Erasures before this position are out of checkpoints and log.
    done_before: u64,
    pending: Vec<Pending>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pending {
    /// Records before this one are to be emptied.
    position: u64,
    /// Segments before this position are done.
    rewritten_before: u64,
    /// Nodes, and how much of each goes.
    nodes: Vec<(String, u8)>,
    /// No kept checkpoint holds the person any more.
    #[serde(default)]
    checkpoints_done: bool,
    /// Nothing that we keep for ourselves holds the person any more: what is left is to tell ad platforms.
    #[serde(default)]
    kept_done: bool,
    /// When the person was erased, in microseconds since 1970. Unknown where an earlier version noted it.
    #[serde(default)]
    at_us: Option<i64>,
}

/// What status shows.
pub(crate) type Shown = crate::api::ErasureStatus;

impl Erasures {
    pub(crate) fn open(path: PathBuf) -> Result<Self, ErasuresError> {
        let failed = |what: String| ErasuresError { path: path.clone(), what };
        let mut stored = match std::fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Stored::default(),
            Err(error) => return Err(failed(error.to_string())),
            Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
                return Err(failed("it is too large".to_owned()));
            }
            Ok(_) => {
                let bytes = std::fs::read(&path).map_err(|error| failed(error.to_string()))?;
                serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?
            }
        };
        for one in &mut stored.pending {
            one.at_us.get_or_insert_with(now_us);
        }
        let shared = Mutex::new(Shared { stored, ..Shared::default() });
        Ok(Self { path, shared, wake: Condvar::new() })
    }

    /// Asks the thread to look at once.
    pub(crate) fn look(&self) {
        self.lock().called = true;
        self.wake.notify_all();
    }

    pub(crate) fn stop(&self) {
        self.lock().stopping = true;
        self.wake.notify_all();
    }

    pub(crate) fn status(&self) -> Shown {
        let shared = self.lock();
        Shown {
            pending: shared.stored.pending.len() as u64,
            done_before_position: shared.stored.done_before,
            stage: shared.stage.map(|stage| stage.as_str().to_owned()),
            segments_done: shared.segments_done,
            segments_total: shared.segments_total,
            records_emptied: shared.records_emptied,
            problem: shared.problem.clone(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    /// Waits for a call or the interval. `false` at the end.
    fn wait(&self) -> bool {
        let shared = self.lock();
        let idle = |shared: &mut Shared| !shared.called && !shared.stopping;
        let (mut shared, _) =
            self.wake.wait_timeout_while(shared, LOOK_INTERVAL, idle).unwrap_or_else(PoisonError::into_inner);
        shared.called = false;
        !shared.stopping
    }

    /// Changes what is stored: on disk first, so that memory never knows more than a restart would.
    fn change(&self, change: impl FnOnce(&mut Stored)) -> io::Result<()> {
        let mut stored = self.lock().stored.clone();
        change(&mut stored);
        replace_file(&self.path, &serde_json::to_vec(&stored).map_err(io::Error::other)?)?;
        self.lock().stored = stored;
        Ok(())
    }
}

/// Starts the thread.
pub(super) fn start(context: &Arc<Context>) -> io::Result<std::thread::JoinHandle<()>> {
    let context = Arc::clone(context);
    std::thread::Builder::new().name("erase".to_owned()).spawn(move || run(&context))
}

fn run(context: &Context) {
    let erasures = &context.erasures;
    let mut cursor = erasures.lock().stored.seen.map(effect_id);
    let mut unacknowledged = 0;
    let mut rounds = Rounds::default();
    acknowledge(context, cursor);
    forget_at_once(context, &erasures.lock().stored.pending.clone());
    loop {
        let outcome = follow(context, &mut cursor, &mut unacknowledged).and_then(|()| rounds.work(context));
        let mut shared = erasures.lock();
        match outcome {
            Ok(stage) => {
                shared.problem = None;
                shared.stage = stage;
            }
            Err(error) if shared.problem.as_deref() != Some(&error) => {
                tracing::warn!(error, "erased people are still on the disk; it is tried again");
                shared.problem = Some(error);
            }
            Err(_) => {}
        }
        drop(shared);
        if !erasures.wait() {
            break;
        }
    }
}

fn effect_id((position, ordinal): (u64, u32)) -> EffectId {
    EffectId { position: Position(position), ordinal }
}

/// Looks at the effects that are new.
fn follow(context: &Context, cursor: &mut Option<EffectId>, unacknowledged: &mut u64) -> Result<(), String> {
    while !context.erasures.is_stopping() && context.erasures.lock().stored.pending.len() < PENDING_MAX {
        let effects = effects_after(context, *cursor)?;
        let Some(last) = effects.last() else { break };
        let (seen, full) = (last.id, effects.len() == EFFECTS_MAX);
        let found: Vec<Pending> = effects.iter().filter_map(pending_of).collect();
        *unacknowledged += effects.len() as u64;
        let acknowledge_now = *unacknowledged >= EFFECTS_KEPT;
        if acknowledge_now || !found.is_empty() {
            let store = |stored: &mut Stored| {
                stored.seen = Some((seen.position.0, seen.ordinal));
                stored.pending.extend(found.iter().cloned());
            };
            forget_at_once(context, &found);
            context.erasures.change(store).map_err(|error| error.to_string())?;
        }
        if acknowledge_now {
            // What was looked at before this page; the page itself stays to be seen.
            acknowledge(context, *cursor);
            *unacknowledged = 0;
        }
        *cursor = Some(seen);
        if !full {
            break;
        }
    }
    Ok(())
}

/// Dead letters, what waits to be sent, and platforms' lists do not wait for a round.
fn forget_at_once(context: &Context, found: &[Pending]) {
    if !found.is_empty() {
        let people = || found.iter().map(|one| (segments::keys(one), Position(one.position)));
        context.deliveries.forget(people(), false);
        context.deliveries.withdraw(people(), []);
    }
}

fn effects_after(context: &Context, cursor: Option<EffectId>) -> Result<Vec<IssuedEffect>, String> {
    let (word, answer) = std::sync::mpsc::sync_channel(1);
    let tell = move |effects| {
        let _ = word.send(effects);
    };
    context.engine.effects_after(cursor, EFFECTS_MAX, tell).map_err(|error| error.to_string())?;
    answer.recv_timeout(ANSWER_TIMEOUT).map_err(|_| "the shard does not say what its outbox holds".to_owned())
}

fn pending_of(effect: &IssuedEffect) -> Option<Pending> {
    if effect.effect.kind != ERASED {
        return None;
    }
    match Body::decode(effect.effect.kind, &effect.effect.body) {
        Ok(Body::Erased { nodes, position }) => {
            let nodes = nodes.iter().map(|(node, extent)| (node.to_string(), *extent as u8)).collect();
            Some(Pending {
                position: position.0,
                rewritten_before: 0,
                nodes,
                checkpoints_done: false,
                kept_done: false,
                at_us: Some(effect.issued_at.0),
            })
        }
        _ => {
            tracing::error!(effect = %effect.id, "an erasure cannot be read: start the version that wrote it");
            None
        }
    }
}

/// Tells the shard which effects need not be kept for us. A refusal costs memory only; the next one makes up for it.
fn acknowledge(context: &Context, cursor: Option<EffectId>) {
    let mut body = Vec::new();
    let mut encoder = Encoder(&mut body);
    encoder.text(CONSUMER);
    encoder.u64(cursor.map_or(0, |cursor| cursor.position.0));
    let mut records = Vec::new();
    encode_record(&mut records, RecordKind::ACKNOWLEDGED, &body);
    if let Err(error) = context.engine.submit(records, 1, context.submission_time(), Box::new(|_| {})) {
        tracing::warn!(error = %error, "effects could not be acknowledged");
    }
}

fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(folder)?.sync_all()
}
