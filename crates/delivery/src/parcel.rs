//! What is carried, and whom the lanes talk to: sources, permits, destinations.

use bytes::Bytes;
use model::id::{EffectId, Key, Timestamp};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use thiserror::Error;

/// The longest body of a parcel, in bytes.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// The longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;
/// What a parcel costs in memory beside its texts, for the bounds on memory.
const PARCEL_OVERHEAD_BYTES: usize = 256;

/// An answer that comes later.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An instant on both clocks: wall time for what is stored, monotonic time for what is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Wall time. May jump.
    pub at: Timestamp,
    /// Microseconds since some fixed point; never goes back.
    pub monotonic_us: u64,
}

/// What may be done after an outcome that nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Better never than twice: not sent again after an unknown outcome.
    Marketing,
    /// Better twice than never: sent again, under the same idempotency key.
    Transactional,
}

/// One effect on its way to one destination.
#[derive(Clone, PartialEq, Eq)]
pub struct Parcel {
    /// The effect; the same on every replay.
    pub id: EffectId,
    /// Log time of the record that caused it.
    pub issued_at: Timestamp,
    /// What it is; numbers belong to whoever issued it.
    pub kind: u16,
    /// What it is about, e.g. an audience; numbers belong to whoever issued it.
    pub about: Option<u32>,
    /// Whom it concerns. Order is kept per subject.
    pub subject: Key,
    /// What an unknown outcome means for it.
    pub class: Class,
    /// The same on every attempt, and different for every parcel of a lane; at most [`IDEMPOTENCY_KEY_BYTES_MAX`].
    pub idempotency_key: String,
    /// What the destination gets; at most [`BODY_BYTES_MAX`].
    pub body: Bytes,
}

impl Parcel {
    /// What it costs in memory, in bytes.
    pub fn size_bytes(&self) -> usize {
        PARCEL_OVERHEAD_BYTES + self.idempotency_key.len() + self.body.len()
    }
}

impl fmt::Debug for Parcel {
    /// Without the body: it may hold personal data, and this ends up in logs.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Parcel")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("class", &self.class)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// A piece of what a source holds.
#[derive(Clone, Debug, Default)]
pub struct Supply {
    /// Parcels in the order of their ids.
    pub parcels: Vec<Parcel>,
    /// The last effect looked at, where that is beyond the last parcel: effects that are not for this destination lie
    /// in between, and the lane's cursor can pass them.
    pub through: Option<EffectId>,
    /// When that was issued, where it is known.
    pub through_at: Option<Timestamp>,
    /// Effects up to here that were not read yet are gone; all parcels lie beyond. The lane takes no notice while
    /// something before them is open, and asks again. Once it has passed them it passes them also if they come back.
    pub lost_through: Option<EffectId>,
}

/// A source that cannot answer now.
#[derive(Debug, Error)]
#[error(
    "the source of effects does not answer: {0}. It is asked again; look at the shard's state if this goes on"
)]
pub struct SourceError(pub String);

/// Where the parcels of one lane come from. It must give the same parcels again after a restart, as long as they lie
/// behind what the lane has settled ([`Core::settled_through`]).
pub trait Source: Send + Sync {
    /// The first parcels after `after`, at most `limit`.
    fn after(&self, after: Option<EffectId>, limit: usize) -> Later<'_, Result<Supply, SourceError>>;
}

/// A request to attempt one parcel.
#[derive(Clone, Debug)]
pub struct PermitRequest {
    /// What is to be sent.
    pub parcel: Parcel,
    /// 1 for the first attempt.
    pub attempt: u32,
}

/// The answer to a [`PermitRequest`]. It holds for this attempt only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permit {
    /// Send it.
    Granted,
    /// Never send it: bought meanwhile, consent withdrawn, over the cap.
    Refused {
        /// A word for the counters.
        reason: String,
    },
    /// Ask again, no earlier than this: quiet hours, or nobody who could decide. What follows of the subject waits.
    Later {
        /// A word for the counters.
        reason: String,
        /// How long to wait, in milliseconds.
        wait_ms: u64,
    },
}

/// Who decides whether an attempt may be made, in log order against purchases, consent, caps and quiet hours.
pub trait Permits: Send + Sync {
    /// One answer for each request, in order. Any other number of answers counts as `Later` for all.
    fn request(&self, destination: &str, requests: Vec<PermitRequest>) -> Later<'_, Vec<Permit>>;

    /// Asked when an attempt has ended: for how many of its parcels the permit would be refused now, by the rule of
    /// [`Permits::request`]. Something was committed while they were on the wire.
    fn crossed(&self, destination: &str, parcels: Arc<[Parcel]>) -> Later<'_, u64>;
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The destination has accepted all parcels of the attempt.
    Delivered,
    /// The destination has accepted none of them, and may do so later.
    Retry {
        /// A stable word, e.g. `http_503`, `connect`.
        reason: String,
        /// How long the destination asks to wait, in milliseconds; the whole lane heeds it.
        after_ms: Option<u64>,
    },
    /// The destination will never accept it. A batch is taken apart, so that one bad parcel costs no other.
    Refused {
        /// A stable word, e.g. `http_400`.
        reason: String,
    },
    /// It may or may not have been accepted: the connection broke, or time ran out, after the request was sent.
    Unknown {
        /// A stable word, e.g. `timeout`.
        reason: String,
    },
}

/// Where parcels go.
pub trait Destination: Send + Sync {
    /// Makes one attempt with all the parcels. `timeout_ms` is how long it may take; after it the future is dropped and
    /// the outcome counts as unknown.
    fn send(&self, parcels: Arc<[Parcel]>, timeout_ms: u64) -> Later<'_, Outcome>;

    /// Called once in a while and at the end, for destinations that hold something open.
    fn tend(&self, _stopping: bool) -> Later<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
