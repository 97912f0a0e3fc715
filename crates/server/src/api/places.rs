//! The places for connections of one listener. When all are taken, the connection that has been idle the longest makes
//! room: whoever opens connections and says nothing cannot shut others out.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The places of a listener.
pub(super) struct Places {
    taken: Mutex<BTreeMap<u64, Arc<Place>>>,
    places_max: usize,
    /// Counts openings and answers: a clock that tells only what came before what.
    ticks: AtomicU64,
}

/// One connection's place.
#[derive(Default)]
pub(super) struct Place {
    /// Requests that are being answered.
    busy: AtomicU32,
    /// When the last thing happened, in ticks.
    last: AtomicU64,
    /// Whether a whole head ever came.
    heard: AtomicBool,
    evicted: Notify,
}

/// A place while it is taken; given back on drop.
pub(super) struct Seat {
    places: Arc<Places>,
    number: u64,
    place: Arc<Place>,
}

/// A request while it is being answered, up to the end of its answer's body.
pub(super) struct Answered {
    places: Arc<Places>,
    place: Arc<Place>,
}

impl Places {
    pub(super) fn new(places_max: usize) -> Arc<Self> {
        Arc::new(Self { taken: Mutex::default(), places_max, ticks: AtomicU64::new(0) })
    }

    /// Takes a place, if need be the one of the connection that has been idle the longest. `None` if all are busy.
    pub(super) fn take(self: &Arc<Self>) -> Option<Seat> {
        let number = self.ticks.fetch_add(1, Relaxed);
        let place = Arc::new(Place { last: AtomicU64::new(number), ..Place::default() });
        let mut taken = self.taken();
        if taken.len() >= self.places_max {
            let idle = taken.iter().filter(|(_, place)| place.busy.load(Relaxed) == 0);
            let oldest = idle.min_by_key(|(_, place)| place.last.load(Relaxed)).map(|(number, _)| *number)?;
            if let Some(evicted) = taken.remove(&oldest) {
                evicted.evicted.notify_one();
            }
        }
        taken.insert(number, Arc::clone(&place));
        drop(taken);
        Some(Seat { places: Arc::clone(self), number, place })
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Place>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Says that a request has begun; it ends when the value is dropped.
    pub(super) fn answering(&self) -> Answered {
        self.place.heard.store(true, Relaxed);
        self.place.busy.fetch_add(1, Relaxed);
        Answered { places: Arc::clone(&self.places), place: Arc::clone(&self.place) }
    }

    /// Whether a whole head ever came.
    pub(super) fn was_heard(&self) -> bool {
        self.place.heard.load(Relaxed)
    }

    /// Waits until somebody else gets the place.
    pub(super) async fn evicted(&self) {
        self.place.evicted.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.places.taken().remove(&self.number);
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        self.place.last.store(self.places.ticks.fetch_add(1, Relaxed), Relaxed);
        self.place.busy.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_idle_makes_room_and_the_busy_stay() {
        let places = Places::new(2);
        let (first, second) = (places.take().unwrap(), places.take().unwrap());
        let busy = first.answering();
        let third = places.take().unwrap();
        let numbers = || places.taken().keys().copied().collect::<Vec<_>>();
        assert_eq!(numbers(), [first.number, third.number], "the second was idle");
        drop(second);
        let also_busy = third.answering();
        assert!(places.take().is_none(), "nobody is idle");
        drop(also_busy);
        drop(busy);
        let fourth = places.take().unwrap();
        assert_eq!(numbers(), [first.number, fourth.number], "the first answered last");
        drop((first, fourth));
        assert!(numbers().is_empty());
    }
}
