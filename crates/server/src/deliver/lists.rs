//! Lists on ad platforms, for operators: how each stands, and work on one as a whole. A re-sync sends what is missing and
//! takes out what is too much; with `again` it believes nothing that was acknowledged; a replacement takes out also what
//! nobody here knows of; a verification sends nothing.
//!
//! Who is in an audience is read from the last checkpoint, together with everybody whom the platform was told of; each
//! is then asked of the loop as they are now, so that nobody who entered or left meanwhile is told of wrongly.

use super::list_types::{ListGiven, ListShown, ListWork, ListsShown};
use super::{Deliveries, said};
use crate::api::{Answering, Call, Code, Context, Problem, Reply as Answer, shown_identifiers};
use crate::calendar::{iso, now_us};
use delivery::Later;
use engage::{Answer as Told, AsOf, Destination, Engage, PROFILES, ProfileRead, ProfileRow, Query};
use engine::{Engine, EngineError};
use model::audience::DefinitionId;
use model::id::{Key, Position};
use outbound::platform::audience::{Audiences, People, ResyncError, Resynced};
use outbound::platform::contact::Contact;
use outbound::platform::message::read_contact;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;

/// People asked for at once: the loop's queue is everybody's.
const ASKED_AT_ONCE: usize = 64;
/// People whom a platform was told of, read at once.
const TOLD_AT_ONCE: usize = 10_000;

/// What the loop answers to a question.
type Answered = Result<(Told, AsOf), EngineError>;

/// What is done with a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Differences,
    Again,
    Replace,
    Verify,
}

impl How {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Differences, "differences"),
        (Self::Again, "again"),
        (Self::Replace, "replace"),
        (Self::Verify, "verify"),
    ];

    fn of(word: &str) -> Result<Self, Problem> {
        let known = Self::ALL.iter().find(|(_, own)| *own == word).map(|(how, _)| *how);
        let message = "how must be differences, again, replace or verify";
        known.ok_or_else(|| Problem::at(Code::BadValue, "how", message.to_owned()))
    }
}

pub(crate) fn shown(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let settings = context.engine.view().settings();
        let destination = super::handlers::named(&settings, &call)?;
        let audiences = opened(&context, &destination.name)?;
        Answer::json(200, &all(&context, &destination.name, &audiences).await?)
    })
}

/// Begins the work. It goes on when the request is over; asking for the lists shows how it goes.
pub(crate) fn begin(context: Arc<Context>, call: Call) -> Answering {
    Box::pin(async move {
        let given: ListGiven = call.json()?;
        let how = How::of(&given.how)?;
        let settings = context.engine.view().settings();
        let destination = super::handlers::named(&settings, &call)?.clone();
        let audiences = opened(&context, &destination.name)?;
        if !audiences.audiences().any(|own| *own == given.audience) {
            let known: Vec<&str> = audiences.audiences().map(String::as_str).collect();
            let message =
                format!("there is no list for {:?}; there are {}", given.audience, known.join(", "));
            return Err(Problem::at(Code::BadValue, "audience", message));
        }
        let book = context.engine.view().book();
        let found = book
            .audiences()
            .find(|id| book.definition(*id).is_some_and(|definition| *definition.name == *given.audience));
        let Some(audience) = found else {
            let message = format!("there is no audience {:?}: define it first", given.audience);
            return Err(Problem::at(Code::BadValue, "audience", message));
        };
        context.deliveries.begin_work(&destination.name, &given, now_us())?;
        let work = work(
            Arc::clone(&context),
            destination.clone(),
            Arc::clone(&audiences),
            given.audience,
            audience,
            how,
        );
        // The runtime of deliveries, since connections of the platform live there.
        let (own, name) = (Arc::clone(&context), destination.name.clone());
        let watched = context.deliveries.spawn(async move {
            if tokio::spawn(work).await.is_err() {
                own.deliveries.end_work(&name, Err("it panicked: report it, and begin again".to_owned()));
            }
        });
        if watched.is_none() {
            context.deliveries.end_work(&destination.name, Err("delivery has not started".to_owned()));
        }
        Answer::json(200, &all(&context, &destination.name, &audiences).await?)
    })
}

async fn work(
    context: Arc<Context>,
    destination: Destination,
    audiences: Arc<Audiences>,
    name: String,
    audience: DefinitionId,
    how: How,
) {
    let position = Position(context.engine.status().applied_next.load(Ordering::Relaxed));
    let outcome = match candidates(&context, &audiences, &name, audience).await {
        Err(error) => Err(error),
        Ok(candidates) => {
            let count = candidates.len() as u64;
            context.deliveries.note_work(&destination.name, 0, count);
            let mut people = Members {
                context: Arc::clone(&context),
                destination: destination.clone(),
                audience,
                candidates: candidates.into_iter(),
                looked_at: 0,
            };
            let done = match how {
                How::Differences => audiences.resync(&name, false, position, &mut people).await,
                How::Again => audiences.resync(&name, true, position, &mut people).await,
                How::Replace => audiences.replace(&name, count, position, &mut people).await,
                How::Verify => audiences.verify(&name, &mut people).await,
            };
            done.map_err(|error: ResyncError| error.to_string())
        }
    };
    if let Err(error) = &outcome {
        tracing::warn!(destination = destination.name, audience = name, error, "work on a list did not end");
    }
    context.deliveries.end_work(&destination.name, outcome);
}

/// Everybody who may be in an audience, or in its list.
async fn candidates(
    context: &Arc<Context>,
    audiences: &Audiences,
    name: &str,
    audience: DefinitionId,
) -> Result<BTreeSet<Key>, String> {
    let own = Arc::clone(context);
    let scanned = tokio::task::spawn_blocking(move || members(&own.engine, audience)).await;
    let mut all = scanned.map_err(|error| error.to_string())??;
    let mut after = None;
    loop {
        let told = audiences.people(name, after, TOLD_AT_ONCE).await.map_err(|error| error.to_string())?;
        let Some(last) = told.last() else { return Ok(all) };
        after = Some(*last);
        all.extend(told);
    }
}

/// The members of an audience as of the last checkpoint.
fn members(engine: &Engine<Engage>, audience: DefinitionId) -> Result<BTreeSet<Key>, String> {
    let mut members = BTreeSet::new();
    for row in engine.scan(PROFILES) {
        let (key, bytes): (Key, Vec<u8>) = row.map_err(|error| error.to_string())?;
        if let Ok(ProfileRow::Live(_, Some(membership))) = engine::Value::decode(&bytes)
            && membership.audiences.iter().any(|member| member.audience == audience)
        {
            members.insert(key);
        }
    }
    Ok(members)
}

/// Members of an audience as they are when they are asked for.
struct Members {
    context: Arc<Context>,
    destination: Destination,
    audience: DefinitionId,
    candidates: std::collections::btree_set::IntoIter<Key>,
    looked_at: u64,
}

impl Members {
    async fn some(&mut self, limit: usize) -> Result<Vec<(Key, Contact)>, String> {
        let mut found = Vec::new();
        while found.len() < limit {
            let keys: Vec<Key> =
                self.candidates.by_ref().take(ASKED_AT_ONCE.min(limit - found.len())).collect();
            if keys.is_empty() {
                break;
            }
            self.looked_at += keys.len() as u64;
            let left = self.candidates.len() as u64;
            self.context.deliveries.note_work(&self.destination.name, self.looked_at, self.looked_at + left);
            let asked = keys.into_iter().map(|key| self.ask(key).map(|answer| (key, answer)));
            for asked in asked.collect::<Result<Vec<_>, String>>()? {
                let (key, answer) = asked;
                let answer = answer.await.map_err(|_| "the shard does not answer".to_owned())?;
                let (answer, _) = answer.map_err(|error| error.to_string())?;
                let Told::Profile(Some(read), _) = answer else { continue };
                if let Some(contact) = self.contact(key, &read)? {
                    found.push((key, contact));
                }
            }
        }
        Ok(found)
    }

    fn ask(&self, profile: Key) -> Result<oneshot::Receiver<Answered>, String> {
        let (word, answer) = oneshot::channel();
        let asked = self.context.engine.query(Query::Profile(profile), move |result| {
            let _ = word.send(result);
        });
        asked.map_err(|error| error.to_string())?;
        Ok(answer)
    }

    /// What the platform may be told of a person; nothing of who is not in the audience, or is another one now.
    fn contact(&self, key: Key, read: &ProfileRead) -> Result<Option<Contact>, String> {
        let settings = self.context.engine.view().settings();
        let choice = read.aggregate.consent.choice(self.destination.consent_category(&settings));
        let is_member = read.audiences.iter().any(|member| member.audience == self.audience);
        if read.profile != key || !is_member || self.destination.refusal(choice).is_some() {
            return Ok(None);
        }
        let identifiers = said::identifiers(
            shown_identifiers(read, &self.context.secrets.keys, &settings, true),
            &self.destination.identifiers,
        );
        let mut data = json!({ "identifiers": identifiers });
        if let Some(map) = data.as_object_mut() {
            let fields = self.destination.kind.person();
            map.extend(said::person(fields, &read.aggregate.traits).map(|one| ("person".to_owned(), one)));
        }
        let contact = read_contact(data).map_err(|error| error.to_string())?;
        Ok(Some(contact))
    }
}

impl People for Members {
    fn next(&mut self, limit: usize) -> Later<'_, Result<Vec<(Key, Contact)>, String>> {
        Box::pin(self.some(limit))
    }
}

fn opened(context: &Context, name: &str) -> Result<Arc<Audiences>, Problem> {
    context.deliveries.audiences(name).ok_or_else(|| {
        let message = "it keeps no lists on a platform, or is not open at present: look at its problem";
        Problem::new(Code::Conflict, message)
    })
}

async fn all(context: &Context, destination: &str, audiences: &Audiences) -> Result<ListsShown, Problem> {
    let mut lists = Vec::new();
    for audience in audiences.audiences() {
        let summary = audiences.summary(audience).await.map_err(|error| {
            tracing::error!(destination, audience, %error, "what a platform was told cannot be read");
            Problem::new(
                Code::Internal,
                "what the platform was told cannot be read; the server's log says why",
            )
        })?;
        lists.push(ListShown {
            audience: audience.clone(),
            people: summary.people,
            rows: summary.rows,
            unsettled: summary.unsettled,
        });
    }
    Ok(ListsShown { lists, work: context.deliveries.lock().works.get(destination).cloned() })
}

impl Deliveries {
    /// Notes that work begins, unless other work on the destination's lists is under way.
    fn begin_work(&self, destination: &str, given: &ListGiven, at_us: i64) -> Result<(), Problem> {
        let mut shared = self.lock();
        if shared.works.get(destination).is_some_and(|work| work.ended_at.is_none()) {
            let message = "other work on the lists of this destination is under way: wait until it has ended";
            return Err(Problem::new(Code::Conflict, message));
        }
        let (audience, how, began_at) = (given.audience.clone(), given.how.clone(), iso(at_us));
        let work = ListWork { audience, how, began_at, ..ListWork::default() };
        shared.works.insert(destination.to_owned(), work);
        Ok(())
    }

    /// Notes how far work is.
    fn note_work(&self, destination: &str, looked_at: u64, to_look_at: u64) {
        if let Some(work) = self.lock().works.get_mut(destination) {
            (work.looked_at, work.to_look_at) = (looked_at, to_look_at);
        }
    }

    fn end_work(&self, destination: &str, outcome: Result<Resynced, String>) {
        let mut shared = self.lock();
        let Some(work) = shared.works.get_mut(destination) else { return };
        work.ended_at = Some(iso(now_us()));
        match outcome {
            Ok(done) => {
                work.wanted = Some(done.wanted.people);
                work.told = Some(done.told.people);
                work.sent = Some(done.sent);
                work.unsettled = Some(done.told.unsettled);
                work.agrees = Some(done.wanted.agrees_with(&done.told));
                work.verified = Some(done.is_verified());
            }
            Err(error) => work.problem = Some(error),
        }
    }

    /// Runs beside the lanes; `None` before they run.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> Option<tokio::task::JoinHandle<()>> {
        let handle = self.lock().runtime.clone();
        handle.map(|handle| handle.spawn(work))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_means_something_and_no_other() {
        for (how, word) in How::ALL {
            assert_eq!(How::of(word).unwrap(), how);
        }
        assert!(How::of("all").is_err());
    }
}
