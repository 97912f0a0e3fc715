//! A bounded queue between two threads. Full is an answer.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) struct Mailbox<T> {
    inner: Mutex<Inner<T>>,
    arrived: Condvar,
    room: Condvar,
    items_max: usize,
    weight_max: usize,
}

struct Inner<T> {
    items: VecDeque<(usize, T)>,
    weight: usize,
    closed: bool,
}

/// Why an item was not taken; it is handed back.
pub(crate) enum Refused<T> {
    Full(T),
    Closed(T),
}

impl<T> Mailbox<T> {
    /// A queue of at most `items_max` items that weigh at most `weight_max` together (one item may weigh more).
    pub(crate) fn new(items_max: usize, weight_max: usize) -> Self {
        Self {
            inner: Mutex::new(Inner { items: VecDeque::new(), weight: 0, closed: false }),
            arrived: Condvar::new(),
            room: Condvar::new(),
            items_max,
            weight_max,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self, inner: &Inner<T>, weight: usize) -> bool {
        inner.items.is_empty()
            || (inner.items.len() < self.items_max && inner.weight.saturating_add(weight) <= self.weight_max)
    }

    /// Adds an item unless the queue is full or closed.
    pub(crate) fn try_push(&self, item: T, weight: usize) -> Result<(), Refused<T>> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(Refused::Closed(item));
        }
        if !self.has_room(&inner, weight) {
            return Err(Refused::Full(item));
        }
        self.add(&mut inner, item, weight);
        Ok(())
    }

    /// Adds an item, waiting for room. Hands it back if the queue is closed.
    pub(crate) fn push(&self, item: T, weight: usize) -> Result<(), T> {
        let mut inner = self.lock();
        while !inner.closed && !self.has_room(&inner, weight) {
            inner = self.room.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        if inner.closed {
            return Err(item);
        }
        self.add(&mut inner, item, weight);
        Ok(())
    }

    /// Adds an item in front of all others, whatever the room: for control messages, which are few.
    pub(crate) fn push_control(&self, item: T) {
        let mut inner = self.lock();
        inner.items.push_front((0, item));
        drop(inner);
        self.arrived.notify_one();
    }

    fn add(&self, inner: &mut Inner<T>, item: T, weight: usize) {
        inner.weight += weight;
        inner.items.push_back((weight, item));
        // Only the change from empty can have a sleeper: a wake-up per item would cost a system call per request.
        if inner.items.len() == 1 {
            self.arrived.notify_one();
        }
    }

    /// Takes the oldest item, waiting up to `timeout` for one. `None` after the timeout, or when closed and empty.
    pub(crate) fn pop(&self, timeout: Duration) -> Option<T> {
        let mut inner = self.lock();
        if inner.items.is_empty() && !inner.closed && !timeout.is_zero() {
            let waited = self
                .arrived
                .wait_timeout_while(inner, timeout, |inner| inner.items.is_empty() && !inner.closed);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let (weight, item) = inner.items.pop_front()?;
        inner.weight -= weight;
        drop(inner);
        self.room.notify_one();
        Some(item)
    }

    /// Takes the oldest item, waiting for one even if the queue is closed: control messages still come.
    pub(crate) fn pop_control(&self, timeout: Duration) -> Option<T> {
        let inner = self.lock();
        let waited = self.arrived.wait_timeout_while(inner, timeout, |inner| inner.items.is_empty());
        let mut inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        let (weight, item) = inner.items.pop_front()?;
        inner.weight -= weight;
        Some(item)
    }

    /// Takes the oldest items that weigh at most `weight_max` together, at least one if there is any.
    pub(crate) fn drain(&self, weight_max: usize, into: &mut Vec<T>) {
        let mut inner = self.lock();
        let mut taken = 0_usize;
        while let Some((weight, _)) = inner.items.front() {
            if !into.is_empty() && taken.saturating_add(*weight) > weight_max {
                break;
            }
            let Some((weight, item)) = inner.items.pop_front() else { break };
            inner.weight -= weight;
            taken = taken.saturating_add(weight);
            into.push(item);
        }
        drop(inner);
        self.room.notify_all();
    }

    /// Lets more arrive: returns after `timeout`, or at once if `weight_min` waits already or the queue is closed.
    pub(crate) fn linger(&self, weight_min: usize, timeout: Duration) {
        let inner = self.lock();
        let waited = self
            .arrived
            .wait_timeout_while(inner, timeout, |inner| inner.weight < weight_min && !inner.closed);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether nothing more will be taken.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Takes no more items; those inside can still be popped.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
        self.room.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_and_closed_are_answers_and_order_is_kept() {
        let mailbox = Mailbox::new(2, 10);
        assert!(mailbox.try_push(1, 4).is_ok());
        assert!(mailbox.try_push(2, 4).is_ok());
        assert!(matches!(mailbox.try_push(3, 1), Err(Refused::Full(3))));
        assert_eq!(mailbox.pop(Duration::ZERO), Some(1));
        assert!(matches!(mailbox.try_push(3, 7), Err(Refused::Full(3))), "too heavy beside what waits");
        assert!(mailbox.try_push(3, 6).is_ok());
        mailbox.close();
        assert!(matches!(mailbox.try_push(4, 0), Err(Refused::Closed(4))));
        let mut rest = Vec::new();
        mailbox.drain(100, &mut rest);
        assert_eq!(rest, [2, 3]);
        assert_eq!(mailbox.pop(Duration::from_secs(60)), None, "closed and empty answers at once");
    }

    #[test]
    fn one_item_may_weigh_more_than_the_limit() {
        let mailbox = Mailbox::new(2, 10);
        assert!(mailbox.try_push(1, 1_000).is_ok());
        let mut taken = Vec::new();
        mailbox.drain(10, &mut taken);
        assert_eq!(taken, [1]);
    }
}
