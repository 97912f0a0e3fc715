//! Verdicts on their way back to the threads that wait for them.
//!
//! The sink answers from a thread of its own, and waking a task on another thread's runtime costs a system call. A
//! group of requests becomes durable at once, so its verdicts come in a burst: they are laid into one list for each
//! thread of the door, and only the first of a burst wakes that thread.

use crate::sink::SinkError;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, oneshot};

/// What became of a request.
pub(crate) type Verdict = Result<(), SinkError>;
type Waiting = (oneshot::Sender<Verdict>, Verdict);

/// The verdicts of one thread of the door. At most as many as it has requests in flight, which is bounded.
#[derive(Default)]
pub(crate) struct Completions {
    arrived: Mutex<Vec<Waiting>>,
    wake: Notify,
}

impl Completions {
    /// Leaves a verdict for the request that waits with the other end of `word`. From any thread; does not block.
    pub(crate) fn leave(&self, word: oneshot::Sender<Verdict>, verdict: Verdict) {
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        arrived.push((word, verdict));
        let first = arrived.len() == 1;
        drop(arrived);
        if first {
            self.wake.notify_one();
        }
    }

    /// Tells the waiting requests, on the thread that they run on. Never ends.
    pub(crate) async fn deliver(self: Arc<Self>) {
        let mut burst = Vec::new();
        loop {
            self.wake.notified().await;
            std::mem::swap(&mut burst, &mut *self.arrived.lock().unwrap_or_else(PoisonError::into_inner));
            for (word, verdict) in burst.drain(..) {
                // Whoever has given up waiting is not told.
                let _ = word.send(verdict);
            }
        }
    }
}
