//! The feeding thread: writes the change feed to disk. Nobody waits for it but checkpoints, and these not for ever.

use crate::feed::{Feed, FeedError, Writer};
use eventlog::LogHandle;
use std::time::Duration;

/// How often retention is looked at when nothing is to be written.
const PACE: Duration = Duration::from_millis(100);
/// How long to wait after the disk refused.
const RETRY: Duration = Duration::from_secs(1);

pub(crate) struct Feeder {
    pub(crate) writer: Writer,
    pub(crate) feed: Feed,
    pub(crate) log: LogHandle,
}

impl Feeder {
    pub(crate) fn run(mut self) {
        let mut refused = false;
        loop {
            self.feed.log_begins_at(self.log.first_position());
            let goes_on = match self.writer.step() {
                Ok(true) => {
                    refused = false;
                    !self.writer.is_stopped()
                }
                Ok(false) => self.writer.wait(PACE),
                Err(error) => {
                    if !refused && matches!(error, FeedError::DiskFull) {
                        tracing::warn!(error = %error, "the feed cannot be written for now");
                    }
                    refused = true;
                    self.writer.pause(RETRY)
                }
            };
            if !goes_on {
                return;
            }
        }
    }
}
