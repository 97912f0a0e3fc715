//! Buffers for the bodies of frames, used again: a fresh buffer of a megabyte costs the kernel more than filling it.

use std::sync::{Mutex, PoisonError};

/// Buffers kept for later.
const KEPT: usize = 8;
/// Smaller ones are not worth keeping.
const BYTES_MIN: usize = 256 * 1024;
/// Larger ones were an exception.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// A few empty buffers.
#[derive(Debug, Default)]
pub(crate) struct Bodies(Mutex<Vec<Vec<u8>>>);

impl Bodies {
    /// An empty buffer, with room where one was kept.
    pub(crate) fn take(&self) -> Vec<u8> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| Vec::with_capacity(BYTES_MIN))
    }

    /// Keeps a buffer for later if it is worth it.
    pub(crate) fn give(&self, mut body: Vec<u8>) {
        if !(BYTES_MIN..=BYTES_MAX).contains(&body.capacity()) {
            return;
        }
        body.clear();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(body);
        }
    }
}
