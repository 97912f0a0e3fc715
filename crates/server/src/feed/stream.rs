//! A reader's thread: reads the feed, and hands lines to the connection as fast as that takes them.
//!
//! A thread, not a task: reading files and the log would hold up the listener's other requests. What may wait for a
//! connection is bounded by a few pieces; a connection that takes none for too long is closed.

use super::Seat;
use super::bodies::BodyError;
use super::render::Renderer;
use crate::serve::Instant;
use bytes::Bytes;
use engine::feed::{Bounds, FeedError, Place};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

/// A piece is sent from this size on.
const PIECE_BYTES: usize = 32 << 10;
/// Pieces that may wait for a connection.
pub(super) const PIECES_MAX: usize = 4;
/// How often a thread looks whether the server stops.
const LOOK_MS: u64 = 200;
/// How often a full connection is tried again.
const FULL_PAUSE: Duration = Duration::from_millis(5);

/// What a reader asked for.
pub(super) struct Wanted {
    pub(super) from: Place,
    /// Items after which the answer ends.
    pub(super) limit: u64,
    /// Once it has caught up, the answer ends after this time since its beginning.
    pub(super) wait_ms: u64,
    pub(super) heartbeat_ms: u64,
}

/// A thread's work.
pub(super) struct Reader {
    pub(super) renderer: Renderer,
    pub(super) wanted: Wanted,
    pub(super) pieces: Pieces,
}

/// The way to the connection.
pub(super) struct Pieces {
    pub(super) seat: Seat,
    pub(super) sender: Sender<Bytes>,
    pub(super) stall_ms: u64,
}

/// The connection is gone, or too slow, or the server stops.
pub(super) struct Ended;

impl Pieces {
    pub(super) fn send(&self, text: &mut String) -> Result<(), Ended> {
        if text.is_empty() {
            return if self.sender.is_closed() { Err(Ended) } else { Ok(()) };
        }
        let feeds = &self.seat.feeds;
        feeds.bytes.fetch_add(text.len() as u64, Relaxed);
        let mut piece = Bytes::from(std::mem::take(text));
        let begun = Instant::now();
        loop {
            match self.sender.try_send(piece) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Closed(_)) => return Err(Ended),
                Err(TrySendError::Full(back)) => piece = back,
            }
            if begun.elapsed_ms() > self.stall_ms || feeds.is_stopping() {
                feeds.slow.fetch_add(1, Relaxed);
                return Err(Ended);
            }
            std::thread::sleep(FULL_PAUSE);
        }
    }
}

impl Reader {
    pub(super) fn run(mut self) {
        // Whatever the reason, the connection ends here, and its reader goes on from its last cursor.
        let _ = self.read();
    }

    fn read(&mut self) -> Result<(), Ended> {
        let engine = self.renderer.engine.clone();
        let feed = engine.feed();
        let begun = Instant::now();
        let mut next = self.wanted.from;
        let mut left = self.wanted.limit;
        let mut silent = Instant::now();
        let mut text = String::new();
        loop {
            let bounds = feed.bounds();
            self.pieces.seat.stands_at(next.position.0);
            let batch = match feed.read(next) {
                Ok(batch) => batch,
                Err(error) => return self.refuse(&error, text),
            };
            for item in &batch.items {
                let shown = match self.renderer.item(item, &mut text) {
                    Ok(shown) => shown,
                    Err(BodyError::Trimmed) => return self.gone("the event log does not reach back", text),
                    Err(BodyError::Log(error)) => {
                        tracing::error!(error = %error, "an event could not be read for a follower");
                        return Err(Ended);
                    }
                };
                next = Place::after(item.id);
                if shown {
                    left -= 1;
                    self.pieces.seat.feeds.items.fetch_add(1, Relaxed);
                }
                if text.len() >= PIECE_BYTES {
                    self.pieces.send(&mut text)?;
                    silent = Instant::now();
                }
                if left == 0 {
                    return self.end(&bounds, next, text);
                }
            }
            next = next.max(batch.next);
            if !text.is_empty() {
                self.pieces.send(&mut text)?;
                silent = Instant::now();
            }
            if !batch.at_end {
                // A long way without an item of the kinds chosen: the reader must not take it for silence.
                if silent.elapsed_ms() >= self.wanted.heartbeat_ms {
                    self.renderer.heartbeat(&bounds, next, &mut text);
                    self.pieces.send(&mut text)?;
                    silent = Instant::now();
                }
                continue;
            }
            let passed_ms = begun.elapsed_ms();
            if passed_ms >= self.wanted.wait_ms || feed.is_stopped() || self.pieces.seat.feeds.is_stopping() {
                return self.end(&feed.bounds(), next, text);
            }
            if silent.elapsed_ms() >= self.wanted.heartbeat_ms {
                self.renderer.heartbeat(&bounds, next, &mut text);
                self.pieces.send(&mut text)?;
                silent = Instant::now();
            }
            let beat_ms = self.wanted.heartbeat_ms.saturating_sub(silent.elapsed_ms());
            let wait_ms = LOOK_MS.min(self.wanted.wait_ms - passed_ms).min(beat_ms).max(1);
            feed.wait(next, Duration::from_millis(wait_ms));
            self.pieces.send(&mut text)?;
        }
    }

    fn end(&self, bounds: &Bounds, next: Place, mut text: String) -> Result<(), Ended> {
        self.renderer.heartbeat(bounds, next, &mut text);
        self.pieces.send(&mut text)
    }

    fn refuse(&self, error: &FeedError, text: String) -> Result<(), Ended> {
        match error {
            FeedError::Gone { .. } | FeedError::Damaged { .. } | FeedError::NoKey { .. } => {
                self.gone(&error.to_string(), text)
            }
            _ => {
                tracing::error!(error = %error, "the feed could not be read");
                Err(Ended)
            }
        }
    }

    fn gone(&self, message: &str, mut text: String) -> Result<(), Ended> {
        self.pieces.seat.feeds.gone.fetch_add(1, Relaxed);
        self.renderer.gone(message, &mut text);
        self.pieces.send(&mut text)
    }
}
