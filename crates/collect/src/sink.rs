//! Where parsed events go.

use model::id::Timestamp;
use thiserror::Error;

/// Called once, from any thread, when the events are durable and applied, or will not be.
pub type Done = Box<dyn FnOnce(Result<(), SinkError>) + Send>;

/// Takes what the door has read. The server implements it over the engine.
pub trait Sink: Send + Sync + 'static {
    /// Hands over `count` records, a sequence written by [`model::record::encode_record`]: all of them are taken, or
    /// none. `done` is called once, from any thread, after all are durable and applied, or have been refused. An
    /// error returned here means that nothing was taken and `done` will not be called.
    fn submit(&self, records: Vec<u8>, count: u32, done: Done) -> Result<(), SinkError>;

    /// The same, with the log time that the request came with. Called instead of [`Sink::submit`] only where
    /// [`crate::http::DoorOptions::heed_log_time`] is set and the request has one.
    fn submit_at(
        &self,
        log_time: Timestamp,
        records: Vec<u8>,
        count: u32,
        done: Done,
    ) -> Result<(), SinkError> {
        let _ = log_time;
        self.submit(records, count, done)
    }
}

/// Why events were not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SinkError {
    /// The queue is full. Clients should wait and send again.
    #[error("the server is busy; send the request again in {retry_after_s} s")]
    Full {
        /// How long to wait.
        retry_after_s: u32,
    },
    /// The log takes nothing at present: it is poisoned, its disk is full, or it is closing.
    #[error("events cannot be stored at present; send the request again in {retry_after_s} s")]
    Unavailable {
        /// How long to wait.
        retry_after_s: u32,
    },
    /// These events are not wanted; sending them again will not help.
    #[error("{message}")]
    Refused {
        /// A stable word for programs.
        code: String,
        /// A sentence for people.
        message: String,
    },
}
