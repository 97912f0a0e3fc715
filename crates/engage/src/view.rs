//! What other threads read without the loop: who is suppressed for what, and what operators have set.
//!
//! Every identifier that finds a suppressed profile leads straight to what that profile is suppressed for, so one
//! look-up gives a whole answer and a reader never sees a merge half done.

use crate::line::{Campaigns, Hours, LineHours};
use crate::membership::{Backfill, Tally};
use crate::quarantine::{HeldCounts, HeldRow};
use crate::settings::Settings;
use crate::state::{Counts, Suppressed};
use engine::AsOf;
use model::audience::{DefinitionId, Rulebook};
use model::id::{Key, Position, Timestamp};
use model::line::{Figures, Place};
use model::suppression::{Active, ActiveSet, Difference, Scope};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Parts of the map, so that readers and the writer rarely meet.
const SHARDS: usize = 64;

/// One difference of the view.
#[derive(Clone, Debug)]
pub enum Change {
    /// A profile is suppressed for this, and found by these identifiers, from now on.
    Suppressed {
        /// The profile.
        profile: Key,
        /// Its row.
        row: Suppressed,
    },
    /// What a profile is suppressed for changed, and nothing else.
    Differs {
        /// The profile.
        profile: Key,
        /// How.
        difference: Difference,
    },
    /// A profile is suppressed for nothing, or is no more.
    NotSuppressed {
        /// The profile.
        profile: Key,
    },
    /// Operators changed settings.
    Settings(Arc<Settings>),
    /// Profiles came or went.
    Counts(Counts),
    /// Definitions changed.
    Book(Arc<Rulebook>),
    /// People came into an audience or left it.
    Tally {
        /// Which.
        audience: DefinitionId,
        /// How many there are now.
        tally: Tally,
    },
    /// The line's figures of an hour and a campaign changed by this.
    Line {
        /// Which.
        place: Place,
        /// By so much.
        difference: Box<Figures>,
    },
    /// Figures of long ago are no more.
    LineForgotten(Place),
    /// Campaigns have these names.
    Campaigns(Arc<Campaigns>),
    /// An audience is being found for everybody, or no more.
    Backfill {
        /// The definition.
        definition: DefinitionId,
        /// How far it is; `None`: it is done.
        row: Option<Backfill>,
    },
    /// An event came into quarantine, is judged anew, or is there no more.
    Held {
        /// Its number.
        number: u64,
        /// Its row; `None`: it is gone.
        row: Option<Arc<HeldRow>>,
    },
    /// How many are in quarantine.
    HeldCounts(HeldCounts),
}

/// Why somebody is suppressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Who.
    pub profile: Key,
    /// For what: the product, its category, or everything.
    pub scope: Scope,
    /// Until when.
    pub until: Timestamp,
    /// The order.
    pub order: Key,
    /// The record that reported it.
    pub position: Position,
}

/// Which audience keeps advertising away from somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Who.
    pub profile: Key,
    /// For what: the product, its category, or everything.
    pub scope: Scope,
    /// The audience.
    pub audience: DefinitionId,
}

/// Whether to advertise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Not to this person.
    Suppressed(Cause),
    /// Not to this person, who is in an audience that is not to be reached.
    Held(Held),
    /// The person is suppressed, but not for this.
    NotBought,
    /// The person was suppressed for this until just now.
    WindowOver,
    /// No identifier leads to anybody who is suppressed: the person is unknown or has bought nothing lately. A query
    /// to the loop tells which.
    NobodySuppressed,
}

/// A suppressed profile. What it is suppressed for changes in place, under its own lock.
#[derive(Debug)]
struct Shown {
    profile: Key,
    /// Sorted.
    keys: Vec<Key>,
    active: RwLock<ActiveSet>,
    /// Sorted.
    held: Vec<(Scope, DefinitionId)>,
}

/// See the module.
#[derive(Debug)]
pub struct View {
    /// By identifier.
    shards: Vec<RwLock<HashMap<Key, Arc<Shown>>>>,
    /// What stands in the shards, by profile. Only the publisher looks here.
    published: Mutex<HashMap<Key, Arc<Shown>>>,
    settings: RwLock<Arc<Settings>>,
    book: RwLock<Arc<Rulebook>>,
    tallies: RwLock<BTreeMap<DefinitionId, Tally>>,
    backfills: RwLock<BTreeMap<DefinitionId, Backfill>>,
    line: RwLock<Hours>,
    line_total: RwLock<Figures>,
    campaigns: RwLock<Arc<Campaigns>>,
    held: RwLock<BTreeMap<u64, Arc<HeldRow>>>,
    held_counts: RwLock<HeldCounts>,
    profiles: AtomicU64,
    merges: AtomicU64,
    next_position: AtomicU64,
    log_time: AtomicI64,
}

impl Default for View {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            published: Mutex::default(),
            settings: RwLock::default(),
            book: RwLock::default(),
            tallies: RwLock::default(),
            backfills: RwLock::default(),
            line: RwLock::default(),
            line_total: RwLock::default(),
            campaigns: RwLock::default(),
            held: RwLock::default(),
            held_counts: RwLock::default(),
            profiles: AtomicU64::new(0),
            merges: AtomicU64::new(0),
            next_position: AtomicU64::new(0),
            log_time: AtomicI64::new(0),
        }
    }
}

impl View {
    /// Whether to advertise a product to whoever these identifiers find. `now` is log time.
    pub fn decide(&self, identifiers: &[Key], product: &str, category: &str, now: Timestamp) -> Decision {
        let scopes = scopes(product, category);
        let mut decision = Decision::NobodySuppressed;
        for key in identifiers {
            let Some(shown) = self.find(*key) else { continue };
            if let Some((scope, audience)) = shown.held.iter().find(|(scope, _)| scopes.contains(scope)) {
                let held = Held { profile: shown.profile, scope: *scope, audience: *audience };
                return Decision::Held(held);
            }
            let set = shown.active.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(active) = set.find(&scopes, now) {
                return Decision::Suppressed(cause(shown.profile, active));
            }
            let over = scopes.iter().any(|scope| set.has(*scope));
            match decision {
                Decision::WindowOver => {}
                _ if over => decision = Decision::WindowOver,
                _ => decision = Decision::NotBought,
            }
        }
        decision
    }

    /// What operators have set.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Everything that is defined.
    pub fn book(&self) -> Arc<Rulebook> {
        Arc::clone(&self.book.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many people are in an audience.
    pub fn tally(&self, audience: DefinitionId) -> Tally {
        let tallies = self.tallies.read().unwrap_or_else(PoisonError::into_inner);
        tallies.get(&audience).copied().unwrap_or_default()
    }

    /// Back-fills that are not done.
    pub fn backfills(&self) -> Vec<Backfill> {
        self.backfills.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The line's figures from one hour to another, the last not counted. Nothing is copied: whoever reads for long keeps
    /// nobody waiting.
    pub fn line(&self, hours: std::ops::Range<i32>) -> LineHours {
        self.line.read().unwrap_or_else(PoisonError::into_inner).read(hours)
    }

    /// The first hour that the line has figures of.
    pub fn line_begins(&self) -> Option<i32> {
        self.line.read().unwrap_or_else(PoisonError::into_inner).begins()
    }

    /// Hours before this were let go, so that figures take no more than [`crate::MAX_SHOWN_BYTES`]; `None` if none were.
    pub fn line_let_go_before(&self) -> Option<i32> {
        self.line.read().unwrap_or_else(PoisonError::into_inner).let_go_before()
    }

    /// All figures of the line together that are kept.
    pub fn line_total(&self) -> Figures {
        self.line_total.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The names of campaigns.
    pub fn campaigns(&self) -> Arc<Campaigns> {
        Arc::clone(&self.campaigns.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// An event in quarantine.
    pub fn held(&self, number: u64) -> Option<Arc<HeldRow>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).get(&number).map(Arc::clone)
    }

    /// Every event in quarantine, the newest first, as long as `each` says that it wants more.
    pub fn each_held(&self, each: impl FnMut(&Arc<HeldRow>) -> bool) {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.values().rev().all(each);
    }

    /// How many are in quarantine, and what became of the others.
    pub fn held_counts(&self) -> HeldCounts {
        *self.held_counts.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The point of the log that the view reflects at least.
    pub fn as_of(&self) -> AsOf {
        AsOf {
            next_position: Position(self.next_position.load(Ordering::Acquire)),
            log_time: Timestamp(self.log_time.load(Ordering::Acquire)),
        }
    }

    /// Profiles that are suppressed for something.
    pub fn suppressed_profiles(&self) -> usize {
        self.published.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// How many people there are.
    pub fn counts(&self) -> Counts {
        Counts {
            profiles: self.profiles.load(Ordering::Relaxed),
            merges: self.merges.load(Ordering::Relaxed),
        }
    }

    /// Takes in what is not about one profile; gives back what is.
    fn put_definitions(&self, change: Change) -> Option<Change> {
        match change {
            Change::Settings(settings) => {
                *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
            }
            Change::Book(book) => *self.book.write().unwrap_or_else(PoisonError::into_inner) = book,
            Change::Tally { audience, tally } => {
                self.tallies.write().unwrap_or_else(PoisonError::into_inner).insert(audience, tally);
            }
            Change::Line { place, difference } => {
                self.line_total.write().unwrap_or_else(PoisonError::into_inner).merge(&difference, 1);
                self.line.write().unwrap_or_else(PoisonError::into_inner).change(place, &difference);
            }
            Change::LineForgotten(place) => {
                self.line.write().unwrap_or_else(PoisonError::into_inner).forget(place);
            }
            Change::Campaigns(names) => {
                *self.campaigns.write().unwrap_or_else(PoisonError::into_inner) = names;
            }
            Change::Backfill { definition, row } => {
                let mut backfills = self.backfills.write().unwrap_or_else(PoisonError::into_inner);
                match row {
                    Some(row) => drop(backfills.insert(definition, row)),
                    None => drop(backfills.remove(&definition)),
                }
            }
            Change::Held { number, row } => {
                let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
                match row {
                    Some(row) => drop(held.insert(number, row)),
                    None => drop(held.remove(&number)),
                }
            }
            Change::HeldCounts(counts) => {
                *self.held_counts.write().unwrap_or_else(PoisonError::into_inner) = counts;
            }
            other => return Some(other),
        }
        None
    }

    fn find(&self, key: Key) -> Option<Arc<Shown>> {
        self.shard(key)?.read().unwrap_or_else(PoisonError::into_inner).get(&key).map(Arc::clone)
    }

    fn shard(&self, key: Key) -> Option<&RwLock<HashMap<Key, Arc<Shown>>>> {
        self.shards.get((key.0 >> 64) as usize % SHARDS)
    }

    pub(crate) fn publish(&self, changes: Vec<Change>, as_of: AsOf) {
        for change in changes {
            self.put(change);
        }
        self.log_time.store(as_of.log_time.0, Ordering::Release);
        self.next_position.store(as_of.next_position.0, Ordering::Release);
    }

    /// New identifiers are put in before old ones are taken out, and only those that still lead to this profile: when
    /// one moves to another profile, it finds the one or the other at every moment.
    pub(crate) fn put(&self, change: Change) {
        if let Change::Counts(counts) = change {
            self.profiles.store(counts.profiles, Ordering::Relaxed);
            self.merges.store(counts.merges, Ordering::Relaxed);
            return;
        }
        let Some(change) = self.put_definitions(change) else { return };
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        let (profile, former) = match change {
            Change::NotSuppressed { profile } => (profile, published.remove(&profile)),
            Change::Differs { profile, difference } => {
                if let Some(shown) = published.get(&profile) {
                    shown.active.write().unwrap_or_else(PoisonError::into_inner).apply(&difference);
                }
                return;
            }
            Change::Suppressed { profile, row } => {
                let Suppressed { keys, active, held } = row;
                let shown = Arc::new(Shown { profile, keys, active: RwLock::new(active), held });
                for key in &shown.keys {
                    let Some(shard) = self.shard(*key) else { continue };
                    shard.write().unwrap_or_else(PoisonError::into_inner).insert(*key, Arc::clone(&shown));
                }
                (profile, published.insert(profile, shown))
            }
            _ => return,
        };
        let current = published.get(&profile);
        for key in former.iter().flat_map(|row| &row.keys) {
            if current.is_some_and(|row| row.keys.binary_search(key).is_ok()) {
                continue;
            }
            let Some(shard) = self.shard(*key) else { continue };
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            if shard.get(key).is_some_and(|entry| entry.profile == profile) {
                shard.remove(key);
            }
        }
    }
}

/// What suppresses a product: itself, its category, everything.
pub(crate) fn scopes(product: &str, category: &str) -> [Scope; 3] {
    [Scope::product(product), Scope::category(category), Scope::EVERYTHING]
}

pub(crate) fn cause(profile: Key, active: &Active) -> Cause {
    Cause {
        profile,
        scope: active.scope,
        until: active.until,
        order: active.order,
        position: active.position,
    }
}
