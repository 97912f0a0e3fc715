//! Finds new audiences for everybody who was there before them.
//!
//! A definition that touches people who are there already leaves a row behind (see `engage`'s back-fills). This thread
//! works through those rows in passes. All rows that wait when a pass begins share it: older events are read once for
//! all features that were never kept ([`gather`]), then everybody is named once for all audiences ([`people`]).
//! Everything enters the state as a record of the log; what this thread itself knows it can lose at any moment, and it
//! begins again where the rows say. How fast it goes follows from what else the shard has to do ([`pace`]).

mod gather;
mod line;
mod pace;
mod people;

use crate::api::Context;
use engage::{Backfill, MAX_TOGETHER};
use model::id::Position;
use pace::Pacer;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How often the rows are looked at when nobody calls.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Definitions often come one after the other: a pass begins when none has come for so long ...
const SETTLED_AFTER: Duration = Duration::from_millis(100);
/// ... or so often.
const SETTLING_ROUNDS: usize = 10;
/// How far below others the thread stands where processors are scarce. Not as far as it could: it holds locks that
/// others wait for, if only for moments.
const NICENESS: i32 = 10;

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

    /// Waits for a call or so long. Whether there was a call.
    fn wait(&self, timeout: Duration) -> bool {
        let idle = |shared: &mut Shared| !shared.called && !shared.stopping;
        let waited = self.wake.wait_timeout_while(self.lock(), timeout, idle);
        let (mut shared, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut shared.called)
    }

    /// Does nothing for so long. An error if the server stops.
    fn rest(&self, time: Duration) -> Result<(), String> {
        let waited = self.wake.wait_timeout_while(self.lock(), time, |shared| !shared.stopping);
        let (shared, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if shared.stopping { Err("the server stops".to_owned()) } else { Ok(()) }
    }
}

/// Events from here on can be counted for features that were never kept: the log holds them, and it is known under which
/// node each was counted.
pub(crate) fn known_from(context: &Context) -> Position {
    context.engine.feed().bounds().history.max(context.engine.log().first_position())
}

/// Starts the thread.
pub(super) fn start(context: &Arc<Context>) -> io::Result<std::thread::JoinHandle<()>> {
    let context = Arc::clone(context);
    std::thread::Builder::new().name("backfill".to_owned()).spawn(move || run(&context))
}

fn run(context: &Context) {
    step_back();
    let backfills = &context.backfills;
    while !backfills.is_stopping() {
        if backfills.wait(LOOK_INTERVAL) {
            // Whoever defines twenty audiences wants one pass, not one for the first and one for the rest.
            for _ in 0..SETTLING_ROUNDS {
                if !backfills.wait(SETTLED_AFTER) {
                    break;
                }
            }
        }
        let mut pacer = Pacer::new(context);
        loop {
            let rows = next_pass(context.engine.view().backfills());
            let outcome = if rows.is_empty() { Ok(()) } else { pass(context, &mut pacer, rows.clone()) };
            let mut shared = backfills.lock();
            if let Err(problem) = &outcome
                && shared.problem.as_ref() != Some(problem)
                && !shared.stopping
            {
                tracing::warn!(problem, "audiences are not found for everybody yet; it is tried again");
            }
            shared.problem = outcome.err();
            if rows.is_empty() || shared.problem.is_some() || shared.stopping {
                break;
            }
        }
    }
}

/// Lets everybody else of this machine go first. On Linux this is about the calling thread alone; elsewhere it would be
/// about the process.
fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "the thread that finds audiences for everybody keeps its priority");
    }
}

/// The rows of the next pass, oldest first.
///
/// An audience may look at what older definitions gather or find, so no row overtakes an older one. Those in front that
/// need no older events (any more) need not wait while the others read.
fn next_pass(mut rows: Vec<Backfill>) -> Vec<Backfill> {
    rows.sort_by_key(|row| row.defined_at);
    let ready = rows.iter().take_while(|row| !row.is_gathering()).count();
    let all = rows.len();
    rows.truncate(if ready > 0 { ready } else { all }.min(MAX_TOGETHER));
    rows
}

fn pass<'c>(context: &'c Context, pacer: &mut Pacer<'c>, mut rows: Vec<Backfill>) -> Result<(), String> {
    gather::gather(context, pacer, &mut rows)?;
    people::find(context, pacer, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::audience::DefinitionId;
    use model::feature::FeatureId;

    #[test]
    fn rows_share_a_pass_unless_they_would_wait_for_younger_ones() {
        let row = |number: u32, gathers: bool| Backfill {
            definition: DefinitionId(number),
            defined_at: Position(u64::from(number) + 10),
            features: if gathers { vec![FeatureId(number)] } else { Vec::new() },
            audiences: vec![DefinitionId(number)],
            sweep: false,
            read_to: Position(0),
            chunks: 0,
        };
        // Which rows gather, in the order in which they were defined; how many share the next pass.
        let many = vec![true; MAX_TOGETHER + 5];
        let cases: [(&[bool], usize); 6] = [
            (&[], 0),
            (&[true, true, false], 3),
            (&[false, false, true, false], 2),
            (&[false], 1),
            (&[true, false, false], 3),
            (&many, MAX_TOGETHER),
        ];
        for (gathers, expected) in cases {
            let rows = gathers.iter().zip(0..).map(|(gathers, number)| row(number, *gathers));
            let mut rows: Vec<Backfill> = rows.collect();
            rows.reverse();
            let pass = next_pass(rows);
            assert_eq!(pass.len(), expected, "{gathers:?}");
            assert!(pass.iter().zip(0..).all(|(row, number)| row.definition.0 == number), "{gathers:?}");
        }
    }
}
