//! Takes erased people out of what delivery keeps: dead letters and what waits, with or without a lane, and the lines of
//! files. The thread that follows erasures asks; what is asked and not done is asked again after a restart.

use super::lanes::has_journal;
use super::{Deliveries, FILES_FOLDER, folder};
use crate::api::Context;
use env::Env;
use memchr::memmem;
use model::id::{EffectId, Key, Position, parse_public_id};
use outbound::ndjson::{Goes, forget_at_rest, names};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked whether attempts with messages about somebody erased are over.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// How long to wait after something failed.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// A public id: `prf_` and 32 digits.
const PUBLIC_ID_BYTES: usize = 36;

/// People who are to be forgotten.
#[derive(Default)]
pub(super) struct Erasing {
    /// By profile, before which position: what happened to the same identifiers later is somebody's who came anew.
    people: BTreeMap<Key, Position>,
    /// Whether files are rewritten too.
    files: bool,
    asked: u64,
    done: u64,
    /// What stopped the last attempt.
    problem: Option<String>,
}

impl Deliveries {
    /// Asks that what delivery keeps of people before a position each is forgotten: dead letters and what waits at once,
    /// with `files` the lines of files too. Returns a ticket: it is done once [`Deliveries::forgotten`] gives this number
    /// or a greater one. Doing it twice is as doing it once; a restart forgets the request.
    pub(crate) fn forget(
        &self,
        people: impl IntoIterator<Item = (BTreeSet<Key>, Position)>,
        files: bool,
    ) -> u64 {
        let mut shared = self.lock();
        let erasing = &mut shared.erasing;
        for (keys, before) in people {
            for key in keys {
                erasing.ask(key, before);
            }
        }
        erasing.files |= files;
        erasing.asked += 1;
        let ticket = erasing.asked;
        drop(shared);
        self.erase.notify_one();
        ticket
    }

    /// Requests up to this ticket are done.
    pub(crate) fn forgotten(&self) -> u64 {
        self.lock().erasing.done
    }

    /// What keeps erased people in what delivery keeps, if something does.
    pub(crate) fn forget_problem(&self) -> Option<String> {
        self.lock().erasing.problem.clone()
    }
}

/// Works on what is asked, beside the lanes.
pub(super) async fn run(context: Arc<Context>, env: Env) {
    let deliveries = &context.deliveries;
    while !deliveries.is_stopping() {
        let (people, files, ticket) = {
            let mut shared = deliveries.lock();
            let erasing = &mut shared.erasing;
            (std::mem::take(&mut erasing.people), std::mem::take(&mut erasing.files), erasing.asked)
        };
        if ticket == deliveries.forgotten() {
            tokio::select! {
                () = deliveries.erase.notified() => {}
                () = tokio::time::sleep(TRY_AGAIN) => {}
            }
            continue;
        }
        let people = Arc::new(people);
        let mut outcome = forget_kept(&context, &env, &people).await;
        if outcome.is_ok() && files {
            outcome = forget_lines(&context, &env, &people).await;
        }
        let failed = outcome.is_err();
        deliveries.lock().erasing.take_in(outcome, ticket, &people, files);
        if failed {
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }
}

impl Erasing {
    fn ask(&mut self, key: Key, before: Position) {
        let known = self.people.entry(key).or_insert(before);
        *known = before.max(*known);
    }

    /// What failed is asked again, together with what was asked meanwhile.
    fn take_in(
        &mut self,
        outcome: Result<(), String>,
        ticket: u64,
        people: &BTreeMap<Key, Position>,
        files: bool,
    ) {
        let Err(problem) = outcome else {
            (self.done, self.problem) = (ticket, None);
            return;
        };
        if self.problem.as_ref() != Some(&problem) {
            tracing::warn!(problem, "erased people are still in what delivery keeps; it is tried again");
        }
        self.problem = Some(problem);
        for (key, before) in people {
            self.ask(*key, *before);
        }
        self.files |= files;
    }
}

/// Dead letters, what waits in memory, and what is on the wire once that is over.
async fn forget_kept(context: &Context, env: &Env, people: &BTreeMap<Key, Position>) -> Result<(), String> {
    let last = |before: Position| before.0.checked_sub(1);
    let subjects = people.iter().filter_map(|(key, before)| {
        let up_to = EffectId { position: Position(last(*before)?), ordinal: u32::MAX };
        Some((*key, up_to))
    });
    let subjects: Arc<BTreeMap<Key, EffectId>> = Arc::new(subjects.collect());
    while !context.deliveries.is_stopping() {
        let Some(runner) = context.deliveries.runner() else {
            let kept = has_journal(context, env);
            return if kept { Err("delivery has not started".to_owned()) } else { Ok(()) };
        };
        let done = runner.forget(Arc::clone(&subjects)).await.map_err(|error| error.to_string())?;
        if done.under_way == 0 {
            return Ok(());
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
    Err("the server stops".to_owned())
}

/// Lines of files, also of destinations that are written no more.
async fn forget_lines(
    context: &Context,
    env: &Env,
    people: &Arc<BTreeMap<Key, Position>>,
) -> Result<(), String> {
    let own = Arc::clone(people);
    let goes: Goes = Arc::new(move |line| is_about(line, &own));
    let files = folder(context).join(FILES_FOLDER);
    for name in names(&*env.disk, &files).map_err(|error| error.to_string())? {
        let writer = context.deliveries.lock().files.get(&name).and_then(std::sync::Weak::upgrade);
        let done = match writer {
            Some(writer) => writer.forget(Arc::clone(&goes)).await,
            None => {
                let (disk, files, goes) = (Arc::clone(&env.disk), files.clone(), Arc::clone(&goes));
                let own = name.clone();
                let work = tokio::task::spawn_blocking(move || forget_at_rest(&disk, &files, &own, &goes));
                work.await.map_err(|error| error.to_string())?
            }
        };
        let done = done.map_err(|error| error.to_string())?;
        if done.lines > 0 {
            tracing::info!(
                name,
                files = done.rewritten,
                lines = done.lines,
                "erased people are out of files"
            );
        }
    }
    Ok(())
}

/// Whether a line speaks of somebody erased, and of the time before.
fn is_about(line: &[u8], people: &BTreeMap<Key, Position>) -> bool {
    #[derive(Deserialize)]
    struct Id<'a> {
        id: &'a str,
    }
    let named = memmem::find_iter(line, b"prf_").filter_map(|at| {
        let text = line.get(at..at + PUBLIC_ID_BYTES)?;
        people.get(&parse_public_id("prf", std::str::from_utf8(text).ok()?)?)
    });
    let Some(before) = named.max() else { return false };
    let id = serde_json::from_slice::<Id<'_>>(line).ok().and_then(|line| crate::api::parse_effect(line.id));
    // A line that cannot be read is about somebody erased, and nobody can say since when.
    id.is_none_or(|id| id.position < *before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::public_id;

    #[test]
    fn lines_about_erased_people_go_and_later_ones_stay() {
        let (erased, other) = (Key(0xA11CE), Key(0xB0B));
        let people = BTreeMap::from([(erased, Position(10))]);
        let line = |id: &str, key: Key| {
            format!(
                r#"{{"type":"x","id":"{id}","timestamp":"","data":{{"profile":"{}"}}}}"#,
                public_id("prf", key)
            )
        };
        let table = [
            (line("eff_9_4", erased), true),
            (line("eff_10_0", erased), false),
            (line("eff_11_0", erased), false),
            (line("eff_9_0", other), false),
            (
                line("eff_9_0", other)
                    .replace("\"data\"", &format!("\"from\":\"{}\",\"data\"", public_id("prf", erased))),
                true,
            ),
            (line("what", erased), true),
            (r#"{"id":"eff_1_0","data":{"profile":"prf_"}}"#.to_owned(), false),
            (String::new(), false),
        ];
        for (line, goes) in table {
            assert_eq!(is_about(line.as_bytes(), &people), goes, "{line}");
        }
    }
}
