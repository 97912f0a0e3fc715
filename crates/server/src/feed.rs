//! The change feed over HTTP: `GET /feed/v1` and `GET /feed/v1/snapshot` at `listen.profiles`. See `docs/feed.md`.
//!
//! [`kinds`] is the one table of kinds; `render` turns items into lines, reading events from the log; `stream` is a
//! reader's thread; `snapshot` gives the state to begin from; `follow` is the other end, for `throughline follow`.
//! Readers are bounded in number, and each in bytes: one that does not read is disconnected, never buffered for.

mod bodies;
mod client;
mod follow;
mod handlers;
mod kinds;
mod render;
mod snapshot;
mod stream;

pub(crate) use bodies::{BodyError, EventBodies};
pub use client::{Feed, FollowError};
pub use follow::{Follow, follow};
pub(crate) use handlers::{read, snapshot};
pub(crate) use kinds::{FEED_ALL, FEED_FAMILY, KINDS};
pub(crate) use render::detail;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// What all readers of this server share.
#[derive(Debug, Default)]
pub(crate) struct Feeds {
    stopping: AtomicBool,
    /// Readers that are connected.
    pub(crate) readers: AtomicU64,
    /// Items and bytes sent since the start.
    pub(crate) items: AtomicU64,
    pub(crate) bytes: AtomicU64,
    /// Readers that were told that their cursor is gone, and readers that were too slow, since the start.
    pub(crate) gone: AtomicU64,
    pub(crate) slow: AtomicU64,
    /// How far the slowest connected reader was behind when it last looked, in records. See [`Seat`].
    places: std::sync::Mutex<std::collections::BTreeMap<u64, u64>>,
    next_seat: AtomicU64,
}

impl Feeds {
    /// Ends every reader soon.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    /// The position that the reader furthest behind has come to; `None` without readers.
    pub(crate) fn furthest_behind(&self) -> Option<u64> {
        self.places().values().min().copied()
    }

    fn places(&self) -> std::sync::MutexGuard<'_, std::collections::BTreeMap<u64, u64>> {
        self.places.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A reader's place; given back on drop.
pub(crate) struct Seat {
    feeds: std::sync::Arc<Feeds>,
    number: u64,
}

impl Seat {
    /// `None` if there are as many readers as there may be.
    fn take(feeds: &std::sync::Arc<Feeds>, readers_max: u64) -> Option<Self> {
        let taken = feeds.readers.fetch_add(1, Relaxed);
        // Dropped again where it is one too many.
        let seat =
            Self { feeds: std::sync::Arc::clone(feeds), number: feeds.next_seat.fetch_add(1, Relaxed) };
        (taken < readers_max).then_some(seat)
    }

    /// Notes how far the reader has come.
    fn stands_at(&self, position: u64) {
        self.feeds.places().insert(self.number, position);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.feeds.readers.fetch_sub(1, Relaxed);
        self.feeds.places().remove(&self.number);
    }
}
