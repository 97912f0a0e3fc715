//! Audiences on platforms: a destination that keeps lists as they should be, and says only what changed.
//!
//! It takes `audience.entered` and `audience.exited`; `consent.changed` takes a person out of every list or puts them into
//! those of their audiences, `profile.erased` takes them out of every list, and `profile.merged` moves what the absorbed
//! profile left there. What a platform can do with a list is a [`Lists`].

mod awaited;
mod forget;
mod repeat;
mod resync;
mod tell;

pub use awaited::Settled;
pub use forget::Forgotten;
pub use resync::{Part, People, ResyncError, Resynced};

use super::Keeping;
use super::answer::{Verdict, Verdicts};
use super::api::Counters;
use super::contact::Contact;
use super::message::{Choice, PersonMessage};
use super::shadow::{PEOPLE_MAX, Row, Shadow, ShadowError, ShadowOptions, Summary, Wish};
use crate::error::ConfigError;
use awaited::Awaited;
use delivery::env::{Clock, Env};
use delivery::{Destination, LaneOptions, Later, Outcome, Parcel};
use model::id::{Key, Position};
use repeat::Repeating;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Lists of one destination.
const LISTS_MAX: usize = 256;
/// How long one attempt of a lane may take, in milliseconds.
const ATTEMPT_TIMEOUT_MS: u64 = 120_000;
/// How long a lane waits for a re-sync that is under way, in milliseconds.
const RESYNC_WAIT_MS: u64 = 30_000;

/// What a platform can do with its lists.
pub trait Lists: Send + Sync {
    /// The rows by which the platform would find a person, in its own form. None if it could not.
    fn rows(&self, contact: &Contact) -> Vec<Row>;

    /// What one call may hold: people, rows, or whatever the platform counts; see [`Lists::weight`].
    fn call_max(&self) -> usize;

    /// What a person with so many rows counts against [`Lists::call_max`].
    fn weight(&self, rows: usize) -> usize;

    /// Puts people's rows into a list, or takes them out. One call; it does the same when it is made twice.
    fn tell<'a>(&'a self, list: &'a str, add: bool, people: Vec<Vec<Row>>) -> Later<'a, Answered>;

    /// One part of putting people in place of everything that the list holds. `None` where the platform cannot.
    fn replace<'a>(
        &'a self,
        _list: &'a str,
        _part: Part,
        _people: Vec<Vec<Row>>,
    ) -> Option<Later<'a, Answered>> {
        None
    }

    /// Whether a replacement ends with a part of its own, in which there is nobody.
    fn ends_apart(&self) -> bool {
        false
    }

    /// Called once in a while, for platforms that answer later: what became of requests since.
    fn settled(&self) -> Later<'_, Vec<Settled>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    /// What was counted.
    fn counters(&self) -> Arc<Counters>;
}

/// What a platform answered to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// What it means.
    pub verdict: Verdict,
    /// The number under which the platform says later what became of it, where it does not say so at once.
    pub request: Option<String>,
}

impl From<Verdict> for Answered {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, request: None }
    }
}

/// Lists of a platform as a destination.
pub struct Audiences {
    lists: Arc<dyn Lists>,
    /// The name of an audience to the platform's id of its list.
    names: BTreeMap<String, String>,
    shadow: Arc<Mutex<Shadow>>,
    verdicts: Verdicts,
    clock: Arc<dyn Clock>,
    /// One change at a time: what overtakes another one on the wire would undo it.
    turn: tokio::sync::Mutex<()>,
    awaited: Mutex<Awaited>,
    repeating: Mutex<Repeating>,
}

impl std::fmt::Debug for Audiences {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Audiences").field("lists", &self.names.len()).finish_non_exhaustive()
    }
}

/// Wishes of a batch, with the parcels that each stands for.
struct Wished {
    wish: Wish,
    verdict: Verdict,
}

impl Audiences {
    /// Opens the shadow of this name. `names` says which list of the platform an audience is.
    pub fn open(
        env: &Env,
        keeping: &Keeping<'_>,
        name: &str,
        names: BTreeMap<String, String>,
        lists: Arc<dyn Lists>,
        people_max: Option<usize>,
    ) -> Result<Self, AudiencesError> {
        let plain = |id: &str| {
            !id.is_empty()
                && id.len() <= 64
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if names.is_empty() || names.len() > LISTS_MAX {
            return Err(ConfigError::new("lists", "must name 1 to 256 audiences with their lists").into());
        }
        if let Some((audience, _)) = names.iter().find(|(_, id)| !plain(id)) {
            let what = format!("has an id for `{audience}` that is not 1 to 64 letters, digits or `_`");
            return Err(ConfigError::new("lists", what).into());
        }
        let people_max = people_max.unwrap_or(PEOPLE_MAX);
        let options = ShadowOptions { people_max, keys: keeping.keys.clone() };
        let shadow = Shadow::open(env, keeping.folder, name, options)?;
        Ok(Self {
            lists,
            names,
            shadow: Arc::new(Mutex::new(shadow)),
            verdicts: Verdicts::default(),
            clock: Arc::clone(&env.clock),
            turn: tokio::sync::Mutex::new(()),
            awaited: Mutex::default(),
            repeating: Mutex::default(),
        })
    }

    /// The lane that suits it: one attempt at a time, and batches that wait a little to be full.
    pub fn lane(name: &str, batch_parcels_max: usize) -> LaneOptions {
        LaneOptions {
            concurrency_max: 1,
            batch_parcels_max,
            batch_bytes_max: 32 * 1024 * 1024,
            flush_after_ms: 1_000,
            attempt_timeout_ms: ATTEMPT_TIMEOUT_MS,
            window_parcels_max: batch_parcels_max.saturating_mul(2).max(4_096),
            window_bytes_max: 64 * 1024 * 1024,
            ..LaneOptions::named(name)
        }
    }

    /// The audiences that have a list.
    pub fn audiences(&self) -> impl Iterator<Item = &String> {
        self.names.keys()
    }

    /// What the platform was told of an audience's list.
    pub async fn summary(&self, audience: &str) -> Result<Summary, ShadowError> {
        let list = self.names.get(audience).cloned().unwrap_or_default();
        self.on_shadow(move |shadow| Ok(shadow.summary(&list))).await
    }

    /// How many people the platform was told of, in all lists together, and of how many of them something is not
    /// acknowledged.
    pub async fn standing(&self) -> Result<(u64, u64), ShadowError> {
        self.on_shadow(|shadow| Ok((shadow.total() as u64, shadow.unsettled() as u64))).await
    }

    /// What it has done.
    pub fn counters(&self) -> Arc<Counters> {
        self.lists.counters()
    }

    /// Works where waiting for the disk holds up no connection.
    async fn on_shadow<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Shadow) -> Result<T, ShadowError> + Send + 'static,
    ) -> Result<T, ShadowError> {
        let (shadow, counters) = (Arc::clone(&self.shadow), self.lists.counters());
        let done = tokio::task::spawn_blocking(move || {
            // A panic in here leaves the shadow as it was told the disk is.
            let mut shadow = shadow.lock().unwrap_or_else(PoisonError::into_inner);
            let done = work(&mut shadow);
            Counters::set(&counters.people, shadow.total() as u64);
            Counters::set(&counters.unsettled, shadow.unsettled() as u64);
            done
        });
        done.await.unwrap_or(Err(ShadowError::Panicked))
    }

    /// What a message wishes for, or why it cannot be heeded.
    async fn wishes(&self, message: &PersonMessage, position: Position) -> Result<Vec<Wish>, Verdict> {
        let person = message.person;
        match message.kind.as_str() {
            "audience.entered" | "audience.exited" => {
                let list = message.audience.as_ref().and_then(|audience| self.names.get(audience));
                let list = list.ok_or_else(|| Verdict::refused("no_list_for_audience"))?.clone();
                let denied = message.consent.ad_user_data == Some(Choice::Denied);
                // Who withdrew the consent does not stay in the list either.
                let enters = message.kind == "audience.entered" && !denied;
                if denied && message.kind == "audience.entered" {
                    Counters::add(&self.lists.counters().refused_here, 1);
                }
                let rows = if enters { self.lists.rows(&message.contact) } else { Vec::new() };
                if enters && rows.is_empty() {
                    return Err(Verdict::refused("nothing_to_match"));
                }
                Ok(vec![Wish { list, person, rows, again: false, position }])
            }
            "consent.changed" if message.consent.ad_user_data == Some(Choice::Denied) => {
                self.leave_all(person, None, position).await
            }
            "consent.changed" => {
                let rows = self.lists.rows(&message.contact);
                let lists = message.audiences.iter().filter_map(|audience| self.names.get(audience)).cloned();
                let wish = |list| Wish { list, person, rows: rows.clone(), again: false, position };
                // Who is in none of them, or cannot be found there, need not be told of.
                Ok(lists.filter(|_| !rows.is_empty()).map(wish).collect())
            }
            "profile.erased" => self.leave_all(person, None, position).await,
            "profile.merged" => match message.merged_from {
                Some(from) => self.leave_all(from, Some(person), position).await,
                None => Err(Verdict::refused("no_merged_profile")),
            },
            _ => Err(Verdict::refused("kind_not_for_lists")),
        }
    }

    /// Takes a person out of every list; `into` gets their rows in lists that it is in itself.
    async fn leave_all(
        &self,
        person: Key,
        into: Option<Key>,
        position: Position,
    ) -> Result<Vec<Wish>, Verdict> {
        let wishes = self.on_shadow(move |shadow| {
            let mut wishes = Vec::new();
            for list in shadow.lists() {
                let own = shadow.wanted(&list, person)?;
                if let Some(into) = into {
                    let mut rows = shadow.wanted(&list, into)?;
                    if !rows.is_empty() && !own.is_empty() {
                        rows.extend(own);
                        rows.sort();
                        rows.dedup();
                        rows.truncate(super::shadow::ROWS_MAX);
                        wishes.push(Wish { list: list.clone(), person: into, rows, again: false, position });
                    }
                }
                wishes.push(Wish { list, person, rows: Vec::new(), again: false, position });
            }
            Ok(wishes)
        });
        wishes.await.map_err(|error| Verdict::later(error.code()))
    }

    async fn attempt(&self, parcels: &[Parcel], timeout_ms: u64) -> Outcome {
        let patience = Duration::from_millis(timeout_ms / 4);
        let Ok(_turn) = tokio::time::timeout(patience, self.turn.lock()).await else {
            return Outcome::Retry { reason: "resync_under_way".to_owned(), after_ms: Some(RESYNC_WAIT_MS) };
        };
        let deadline_ns = self.clock.monotonic_ns().saturating_add(timeout_ms.saturating_mul(500_000));
        let clock = Arc::clone(&self.clock);
        let out_of_time = move || clock.monotonic_ns() >= deadline_ns;
        let mut verdicts: Vec<Option<Verdict>> = self.verdicts.recall(parcels);
        let mut gathered = Gathered::default();
        for (number, parcel) in parcels.iter().enumerate() {
            if verdicts.get(number).is_some_and(Option::is_some) {
                continue;
            }
            let message = match PersonMessage::read(&parcel.body) {
                Ok(message) => message,
                Err(error) => {
                    set(&mut verdicts, number, Verdict::refused(error.why));
                    continue;
                }
            };
            if matches!(message.kind.as_str(), "consent.changed" | "profile.erased" | "profile.merged") {
                // What it takes along is read from the shadow: what came before must be in it.
                if let Err(error) = self.flush(&mut gathered, &mut verdicts, &out_of_time).await {
                    return failed(&error);
                }
            }
            match self.wishes(&message, parcel.id.position).await {
                Ok(wishes) => gathered.add(number, wishes),
                Err(verdict) => set(&mut verdicts, number, verdict),
            }
        }
        if let Err(error) = self.flush(&mut gathered, &mut verdicts, &out_of_time).await {
            return failed(&error);
        }
        let all = verdicts.into_iter().map(|verdict| verdict.unwrap_or(Verdict::Accepted));
        self.verdicts.settle(parcels, all.collect())
    }

    /// Tells the platform what was gathered, and notes what became of each parcel.
    async fn flush(
        &self,
        gathered: &mut Gathered,
        verdicts: &mut [Option<Verdict>],
        out_of_time: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), ShadowError> {
        let Gathered { mut wished, stands_for, .. } = std::mem::take(gathered);
        if wished.is_empty() {
            return Ok(());
        }
        self.tell(&mut wished, out_of_time).await?;
        for (number, places) in stands_for {
            let fates = places.iter().filter_map(|place| wished.get(*place)).map(|one| &one.verdict);
            let bad = fates.into_iter().find(|verdict| **verdict != Verdict::Accepted).cloned();
            set(verdicts, number, bad.unwrap_or(Verdict::Accepted));
        }
        Ok(())
    }
}

/// Wishes of a batch. The last word about a person in a list counts; what came before it shares its fate.
#[derive(Default)]
struct Gathered {
    wished: Vec<Wished>,
    places: BTreeMap<(String, Key), usize>,
    /// Parcels by number, and the wishes that each stands for.
    stands_for: Vec<(usize, Vec<usize>)>,
}

impl Gathered {
    fn add(&mut self, number: usize, wishes: Vec<Wish>) {
        let mut own = Vec::with_capacity(wishes.len());
        for wish in wishes {
            let key = (wish.list.clone(), wish.person);
            let place = *self.places.entry(key).or_insert(self.wished.len());
            match self.wished.get_mut(place) {
                Some(earlier) => earlier.wish = wish,
                None => self.wished.push(Wished { wish, verdict: Verdict::Accepted }),
            }
            own.push(place);
        }
        self.stands_for.push((number, own));
    }
}

fn set(verdicts: &mut [Option<Verdict>], number: usize, verdict: Verdict) {
    if let Some(slot) = verdicts.get_mut(number) {
        *slot = Some(verdict);
    }
}

fn failed(error: &ShadowError) -> Outcome {
    tracing::warn!(code = error.code(), %error, "the shadow of a platform's lists failed");
    Outcome::Retry { reason: error.code().to_owned(), after_ms: None }
}

impl Destination for Audiences {
    fn send(&self, parcels: Arc<[Parcel]>, timeout_ms: u64) -> Later<'_, Outcome> {
        Box::pin(async move { self.attempt(&parcels, timeout_ms).await })
    }

    fn tend(&self, stopping: bool) -> Later<'_, ()> {
        Box::pin(async move {
            if !stopping {
                self.settle_and_repeat().await;
            }
        })
    }
}

/// Why audiences on a platform did not open.
#[derive(Debug, thiserror::Error)]
pub enum AudiencesError {
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The shadow did not open.
    #[error(transparent)]
    Shadow(#[from] ShadowError),
}

impl AudiencesError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(error) => error.code(),
            Self::Shadow(error) => error.code(),
        }
    }
}
