//! Connections that wait for their next request, by pinned address and host.

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::OwnedSemaphorePermit;

/// Connections that wait for one address and host.
const IDLE_PER_KEY_MAX: usize = 64;

/// A connection is used again only for the same address, the same host (its certificate was checked for that name) and
/// the same scheme.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) address: SocketAddr,
    pub(super) host: String,
    pub(super) tls: bool,
}

/// A connection, and its place among those that may be open. Dropping it closes it.
pub(super) struct Open {
    pub(super) sender: SendRequest<Full<Bytes>>,
    pub(super) _place: OwnedSemaphorePermit,
}

struct Idle {
    open: Open,
    since_us: u64,
}

#[derive(Default)]
pub(super) struct Pool {
    idle: Mutex<BTreeMap<Key, Vec<Idle>>>,
}

impl Pool {
    fn idle(&self) -> MutexGuard<'_, BTreeMap<Key, Vec<Idle>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection that waited least. Those that waited too long, or were closed by the other side, are dropped.
    pub(super) fn take(&self, key: &Key, not_before_us: u64) -> Option<Open> {
        let mut idle = self.idle();
        let waiting = idle.get_mut(key)?;
        let mut found = None;
        while let Some(candidate) = waiting.pop() {
            if candidate.since_us >= not_before_us && candidate.open.sender.is_ready() {
                found = Some(candidate.open);
                break;
            }
        }
        if waiting.is_empty() {
            idle.remove(key);
        }
        found
    }

    pub(super) fn put(&self, key: Key, open: Open, now_us: u64) {
        let mut idle = self.idle();
        let waiting = idle.entry(key).or_default();
        if waiting.len() < IDLE_PER_KEY_MAX {
            waiting.push(Idle { open, since_us: now_us });
        }
    }

    /// Closes what has waited since before an instant, and with `one` at least one connection if there is any.
    pub(super) fn trim(&self, not_before_us: u64, one: bool) {
        let mut idle = self.idle();
        let mut closed = false;
        idle.retain(|_, waiting| {
            let before = waiting.len();
            waiting.retain(|candidate| {
                candidate.since_us >= not_before_us && !candidate.open.sender.is_closed()
            });
            closed |= waiting.len() < before;
            !waiting.is_empty()
        });
        if one && !closed {
            let oldest = idle.iter().min_by_key(|(_, waiting)| waiting.first().map(|first| first.since_us));
            let oldest = oldest.map(|(key, _)| key.clone());
            if let Some(key) = oldest
                && let Some(waiting) = idle.get_mut(&key)
            {
                if !waiting.is_empty() {
                    waiting.remove(0);
                }
                if waiting.is_empty() {
                    idle.remove(&key);
                }
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.idle().values().map(Vec::len).sum()
    }
}
