//! Takes erased people out of platforms' lists: the platform is told by what it was told of them before, and then the
//! shadow forgets them too. The thread that follows erasures asks, again and again until nobody is left; so a restart, a
//! platform that is down and a destination that is closed only delay it.
//!
//! It works beside what `erase` does: a platform may take hours, and nothing else waits for it.

use super::{Deliveries, platform};
use crate::api::Context;
use env::Env;
use model::id::{Key, Position};
use outbound::platform::audience::Audiences;
use outbound::platform::shadow::{EXTENSION, ShadowOptions, forget_at_rest};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How long to sleep when nobody calls.
const IDLE: Duration = Duration::from_secs(1);

/// People who are to leave platforms' lists.
#[derive(Default)]
pub(super) struct Withdrawing {
    /// By profile, before which position: what was said later is of somebody who came anew.
    people: BTreeMap<Key, Position>,
    /// Those who leave the shadows whatever the platforms say.
    give_up: BTreeSet<Key>,
    asked: u64,
    done: u64,
    last: Withdrawn,
    /// By destination, how many went without the platform's word, since the start.
    abandoned: BTreeMap<String, u64>,
}

/// What the looks at all shadows came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Withdrawn {
    /// People of whom some shadow still holds something.
    pub(crate) left: BTreeSet<Key>,
    /// What kept people the last time.
    pub(crate) reason: Option<String>,
}

impl Deliveries {
    /// Asks that people leave the lists of every platform by what was said of them before a position each; with
    /// `give_up` they leave the shadows also where the platform was not told. Returns a ticket.
    pub(crate) fn withdraw(
        &self,
        people: impl IntoIterator<Item = (BTreeSet<Key>, Position)>,
        give_up: impl IntoIterator<Item = Key>,
    ) -> u64 {
        let mut shared = self.lock();
        let withdrawing = &mut shared.withdrawing;
        for (keys, before) in people {
            for key in keys {
                let known = withdrawing.people.entry(key).or_insert(before);
                *known = before.max(*known);
            }
        }
        withdrawing.give_up.extend(give_up);
        withdrawing.asked += 1;
        let ticket = withdrawing.asked;
        drop(shared);
        self.withdraw.notify_one();
        ticket
    }

    /// What was asked with this ticket came to; `None` while it is worked on.
    pub(crate) fn withdrawn(&self, ticket: u64) -> Option<Withdrawn> {
        let shared = self.lock();
        let withdrawing = &shared.withdrawing;
        (withdrawing.done >= ticket).then(|| withdrawing.last.clone())
    }

    /// The lists of a destination, while its lane is open.
    pub(super) fn audiences(&self, destination: &str) -> Option<Arc<Audiences>> {
        self.lock().platforms.get(destination)?.audiences.upgrade()
    }
}

impl Withdrawing {
    /// By destination, the people who left its shadow although the platform did not acknowledge it, since the start.
    pub(super) fn abandoned(&self) -> impl Iterator<Item = (&String, &u64)> {
        self.abandoned.iter()
    }
}

/// Works on what is asked, beside the lanes.
pub(super) async fn run(context: Arc<Context>, env: Env) {
    let deliveries = &context.deliveries;
    while !deliveries.is_stopping() {
        let (people, give_up, ticket) = {
            let mut shared = deliveries.lock();
            let withdrawing = &mut shared.withdrawing;
            if withdrawing.asked == withdrawing.done {
                (BTreeMap::new(), BTreeSet::new(), None)
            } else {
                let asked = withdrawing.asked;
                (
                    std::mem::take(&mut withdrawing.people),
                    std::mem::take(&mut withdrawing.give_up),
                    Some(asked),
                )
            }
        };
        let Some(ticket) = ticket else {
            tokio::select! {
                () = deliveries.withdraw.notified() => {}
                () = tokio::time::sleep(IDLE) => {}
            }
            continue;
        };
        let withdrawn = withdraw(&context, &env, &people, &give_up).await;
        let mut shared = deliveries.lock();
        let last = &mut shared.withdrawing.last;
        // Of those who were not asked about this time, what was heard before holds.
        last.left.retain(|person| !people.contains_key(person));
        last.left.extend(withdrawn.left);
        last.reason = withdrawn.reason;
        shared.withdrawing.done = ticket;
    }
}

async fn withdraw(
    context: &Arc<Context>,
    env: &Env,
    people: &BTreeMap<Key, Position>,
    give_up: &BTreeSet<Key>,
) -> Withdrawn {
    let mut all = Withdrawn::default();
    // Where a shadow cannot be looked at, nobody knows who is left: then everybody is.
    let everybody = || people.keys().copied().collect::<BTreeSet<Key>>();
    let names = match names(context, env) {
        Ok(names) => names,
        Err(problem) => return Withdrawn { left: everybody(), reason: Some(problem) },
    };
    for name in names {
        let audiences = context.deliveries.audiences(&name);
        let outcome = match audiences {
            Some(audiences) => open(&audiences, people, give_up).await,
            None => at_rest(context, env, &name, people, give_up).await,
        };
        let (left, abandoned, reason) =
            outcome.unwrap_or_else(|problem| (everybody(), Vec::new(), Some(problem)));
        if let Some(reason) = reason.filter(|_| !left.is_empty()) {
            all.reason.get_or_insert(format!("erased people are still in lists of `{name}`: {reason}"));
        }
        all.left.extend(left);
        if !abandoned.is_empty() {
            let lists: BTreeSet<&String> = abandoned.iter().map(|(list, _)| list).collect();
            tracing::error!(
                destination = name,
                people = abandoned.len(),
                ?lists,
                "erased people may still be in lists of a platform that never acknowledged that they are out, and \
                 nothing that would find them may be kept any longer: replace these lists"
            );
            *context.deliveries.lock().withdrawing.abandoned.entry(name).or_default() +=
                abandoned.len() as u64;
        }
    }
    all
}

/// Who is left, who went without the platform's word, and what keeps those who are left.
type Outcome = Result<(BTreeSet<Key>, Vec<(String, Key)>, Option<String>), String>;

async fn open(audiences: &Audiences, people: &BTreeMap<Key, Position>, give_up: &BTreeSet<Key>) -> Outcome {
    let done = audiences.forget(people, give_up).await.map_err(|error| error.to_string())?;
    Ok((done.left, done.abandoned, done.reason))
}

async fn at_rest(
    context: &Context,
    env: &Env,
    name: &str,
    people: &BTreeMap<Key, Position>,
    give_up: &BTreeSet<Key>,
) -> Outcome {
    let options = ShadowOptions { keys: context.journal_keys.clone(), ..ShadowOptions::default() };
    let (env, folder, name) = (env.clone(), platform::shadows(context), name.to_owned());
    let (people, give_up) = (people.clone(), give_up.clone());
    let work =
        tokio::task::spawn_blocking(move || forget_at_rest(&env, &folder, &name, options, &people, &give_up));
    let done = work.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    Ok((done.left, done.abandoned, Some("the destination is not open".to_owned())))
}

/// The destinations that have a shadow.
fn names(context: &Context, env: &Env) -> Result<Vec<String>, String> {
    let folder = platform::shadows(context);
    if !env.disk.exists(&folder) {
        return Ok(Vec::new());
    }
    let files = env.disk.list(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let suffix = format!(".{EXTENSION}");
    Ok(files.iter().filter_map(|file| file.strip_suffix(&suffix)).map(str::to_owned).collect())
}
