//! What was permitted and what was sent, and what promise 8 says of it. Each rule stands here once, in words and in code.

use delivery::{Class, Outcome, Parcel, Permit};
use model::id::{EffectId, Key, Position};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a permit said, to be held against what the shard knew at that moment.
#[derive(Clone, Debug)]
pub struct Decision {
    /// For which parcel.
    pub parcel: Parcel,
    /// It was granted; or, of a look back, nothing crossed the attempt.
    pub granted: bool,
    /// Why not, where a permit said so.
    pub reason: Option<String>,
}

/// One attempt.
#[derive(Clone, Debug)]
struct Sent {
    boot: u32,
    /// What the lane was told; nothing if the attempt was cut.
    outcome: Option<Outcome>,
}

#[derive(Default)]
struct Book {
    lanes: Vec<String>,
    boot: u32,
    /// Grants that were not used yet.
    grants: BTreeMap<(usize, EffectId), u32>,
    sent: BTreeMap<(usize, EffectId), Vec<Sent>>,
    /// Subjects with an attempt on the wire.
    flying: BTreeSet<(usize, Key)>,
    last: BTreeMap<(usize, Key), EffectId>,
    /// What permits refused for good, and in which boot.
    refused: BTreeMap<(usize, EffectId), u32>,
    resent: BTreeSet<(usize, EffectId)>,
    lost: BTreeMap<usize, Position>,
    decisions: Vec<Decision>,
    /// Attempts that ended in this boot, and those that were looked back at.
    ended: u64,
    looked_back: u64,
    /// What looking back counted, by lane, in this boot.
    crossed: BTreeMap<usize, u64>,
    crossed_ever: u64,
    /// Digest of everything that was written here.
    trace: u64,
    trouble: Option<String>,
}

/// The books of a life. Clones share them.
#[derive(Clone, Default)]
pub struct Books(Arc<Mutex<Book>>);

/// An attempt on the wire; dropping it without an outcome cuts it.
pub(super) struct Flight {
    books: Books,
    lane: usize,
    parcels: Vec<(EffectId, Key)>,
    place: Vec<usize>,
    boot: u32,
}

impl Books {
    /// Books of lanes with these names.
    pub fn new(lanes: Vec<String>) -> Self {
        Self(Arc::new(Mutex::new(Book { lanes, ..Book::default() })))
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lane(&self, name: &str) -> usize {
        self.lock().lanes.iter().position(|known| known == name).unwrap_or(usize::MAX)
    }

    /// The process has ended: what was granted and not sent is void.
    pub(super) fn boot(&self) {
        let mut book = self.lock();
        book.boot += 1;
        book.grants.clear();
        book.flying.clear();
        book.crossed.clear();
        (book.ended, book.looked_back) = (0, 0);
    }

    /// The first rule that was broken.
    pub fn trouble(&self) -> Option<String> {
        self.lock().trouble.clone()
    }

    /// What was decided since the last call.
    pub fn take_decisions(&self) -> Vec<Decision> {
        std::mem::take(&mut self.lock().decisions)
    }

    /// Digest of all that happened, to tell two lives apart.
    pub fn trace(&self) -> u64 {
        self.lock().trace
    }

    /// Attempts that were ever begun.
    pub fn attempts(&self) -> u64 {
        self.lock().sent.values().map(|sent| sent.len() as u64).sum()
    }

    /// What was ever counted as crossed.
    pub fn crossed(&self) -> u64 {
        self.lock().crossed_ever
    }

    /// What looking back counted for a lane since the process began.
    pub(super) fn crossed_now(&self, lane: usize) -> u64 {
        self.lock().crossed.get(&lane).copied().unwrap_or(0)
    }

    /// Parcels that permits refused.
    pub fn refusals(&self) -> usize {
        self.lock().refused.len()
    }

    /// A parcel needs not arrive: a permit refused it, or the feed began behind it before the lane had read it.
    pub fn is_excused(&self, lane: usize, id: EffectId) -> bool {
        let book = self.lock();
        let lost = book.lost.get(&lane).is_some_and(|start| id.position < *start);
        lost || book.refused.contains_key(&(lane, id))
    }

    pub(super) fn lost(&self, destination: &str, start: Position) {
        let lane = self.lane(destination);
        let mut book = self.lock();
        let known = book.lost.entry(lane).or_default();
        *known = start.max(*known);
        book.note(&("lost", lane, start.0));
    }

    pub(super) fn resend(&self, lane: usize, id: EffectId) {
        let mut book = self.lock();
        book.resent.insert((lane, id));
        book.note(&("resend", lane, id.position.0, id.ordinal));
    }

    /// A permit was given or not.
    pub(super) fn decided(&self, lane: usize, parcel: &Parcel, permit: &Permit) {
        let mut book = self.lock();
        let granted = *permit == Permit::Granted;
        book.note(&("permit", lane, parcel.id.position.0, parcel.id.ordinal, granted));
        match permit {
            Permit::Granted => *book.grants.entry((lane, parcel.id)).or_default() += 1,
            Permit::Refused { .. } => {
                let boot = book.boot;
                book.refused.insert((lane, parcel.id), boot);
            }
            Permit::Later { .. } => return,
        }
        if book.resent.contains(&(lane, parcel.id)) {
            return;
        }
        let reason = match permit {
            Permit::Refused { reason } => Some(reason.clone()),
            _ => None,
        };
        book.decisions.push(Decision { parcel: parcel.clone(), granted, reason });
    }

    /// Whether an operator sent a parcel again.
    pub fn is_resent(&self, lane: usize, id: EffectId) -> bool {
        self.lock().resent.contains(&(lane, id))
    }

    /// An attempt that has ended was looked back at.
    pub(super) fn looked_back(&self, lane: usize, parcels: &[Parcel], crossed: u64) {
        let mut book = self.lock();
        book.looked_back += 1;
        book.crossed_ever += crossed;
        *book.crossed.entry(lane).or_default() += crossed;
        book.note(&("crossed", lane, crossed));
        if let [parcel] = parcels {
            book.decisions.push(Decision { parcel: parcel.clone(), granted: crossed == 0, reason: None });
        }
    }

    /// An attempt begins.
    pub(super) fn begin(&self, lane: usize, parcels: &[Parcel]) -> Flight {
        let mut book = self.lock();
        let mut place = Vec::new();
        for parcel in parcels {
            let id = parcel.id;
            book.note(&("send", lane, id.position.0, id.ordinal));
            if let Err(broken) = book.may_send(lane, parcel) {
                let name = book.lanes.get(lane).cloned().unwrap_or_default();
                book.trouble.get_or_insert(format!("promise 8: {name}, {id}: {broken}"));
            }
            book.flying.insert((lane, parcel.subject));
            book.last.insert((lane, parcel.subject), id);
            let boot = book.boot;
            let sent = book.sent.entry((lane, id)).or_default();
            place.push(sent.len());
            sent.push(Sent { boot, outcome: None });
        }
        let boot = book.boot;
        drop(book);
        let parcels = parcels.iter().map(|parcel| (parcel.id, parcel.subject)).collect();
        Flight { books: self.clone(), lane, parcels, place, boot }
    }

    /// Every attempt that ended was looked back at, and the lanes counted what that found. Asked when nothing is under
    /// way.
    pub(super) fn check_looked_back(&self) -> Result<(), String> {
        let book = self.lock();
        let (ended, looked_back) = (book.ended, book.looked_back);
        if ended != looked_back {
            return Err(format!("promise 8: {ended} attempts ended, {looked_back} were looked back at"));
        }
        Ok(())
    }
}

impl Book {
    fn note(&mut self, what: &impl std::hash::Hash) {
        let mut hasher = DefaultHasher::new();
        (self.trace, what).hash(&mut hasher);
        self.trace = hasher.finish();
    }

    /// The rules of an attempt.
    fn may_send(&mut self, lane: usize, parcel: &Parcel) -> Result<(), String> {
        let (id, key) = (parcel.id, (lane, parcel.id));
        // Each attempt begins with a permit, and a retry needs a new one.
        match self.grants.get_mut(&key).filter(|left| **left > 0) {
            Some(left) => *left -= 1,
            None => return Err("sent without a permit".to_owned()),
        }
        // A crash may forget the refusal; then the same rule was asked again.
        if self.refused.get(&key) == Some(&self.boot) && !self.resent.contains(&key) {
            return Err("sent although a permit refused it for good".to_owned());
        }
        if parcel.idempotency_key != id.to_string() {
            return Err(format!("sent under the key {:?}", parcel.idempotency_key));
        }
        if self.flying.contains(&(lane, parcel.subject)) {
            return Err("two attempts of one subject at a time".to_owned());
        }
        // What an operator sends again leaves the order, and may go although nobody knows what became of it.
        if self.resent.contains(&key) {
            return Ok(());
        }
        let overtaken = self.last.get(&(lane, parcel.subject)).filter(|last| **last > id);
        if let Some(last) = overtaken.filter(|last| !self.resent.contains(&(lane, **last))) {
            return Err(format!("sent after {last} of the same subject"));
        }
        for before in self.sent.get(&key).into_iter().flatten() {
            match (&before.outcome, parcel.class) {
                (Some(Outcome::Retry { .. }), _) => {}
                (outcome, Class::Marketing) => {
                    return Err(format!("marketing is sent again after {outcome:?}"));
                }
                (Some(Outcome::Delivered | Outcome::Refused { .. }), _) if before.boot == self.boot => {
                    return Err(format!("sent again after {:?}, without a crash", before.outcome));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Flight {
    /// The destination has answered, or the client knows that it will not.
    pub(super) fn land(&self, outcome: &Outcome) {
        let mut book = self.books.lock();
        book.note(&("land", self.lane, format!("{outcome:?}")));
        for ((id, _), place) in self.parcels.iter().zip(&self.place) {
            let sent = book.sent.get_mut(&(self.lane, *id)).and_then(|sent| sent.get_mut(*place));
            sent.into_iter().for_each(|sent| sent.outcome = Some(outcome.clone()));
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut book = self.books.lock();
        if book.boot != self.boot {
            return;
        }
        book.ended += 1;
        for (_, subject) in &self.parcels {
            book.flying.remove(&(self.lane, *subject));
        }
    }
}
