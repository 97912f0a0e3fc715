//! How anything leaves: in order per subject, with a permit for every attempt, and never twice where that would annoy.
//!
//! [`Core`] is a state machine without threads, clock or sockets: it is told what came in ([`Core::supply`],
//! [`Core::on_permits`], [`Core::on_answer`]) and says what to do ([`Core::poll`]). [`Journal`] keeps what must
//! survive a crash; [`run`] drives both with real destinations. [`egress`] is the one client through which anything
//! that somebody configured or sent as a URL is fetched or posted.
//!
//! What holds, and is tested under every fault of the seeded disk:
//! - **Nothing is lost**: a parcel leaves the lane delivered, refused by a permit, or as a dead letter that is listed.
//! - **Order per subject**: of one subject at most one parcel or batch is under way, and a later parcel is sent only
//!   when what became of the earlier one is durable. A crash may repeat what was under way, under the same idempotency
//!   key, and nothing older: delivery is at least once. Only a re-send by command leaves the order.
//! - **A marketing parcel is never sent again after an unknown outcome**, a crash during the attempt included.
//! - **A dead destination delays only itself**: lanes share nothing but the journal.
//!
//! **This crate never** decides whether something may be sent (a [`Permits`] does), looks into a body, follows a
//! redirect without checking it, or connects to an address that it did not check.

mod core;
pub mod egress;
mod error;
mod journal;
mod ledger;
mod options;
mod parcel;
mod run;

pub use crate::core::{
    Action, AttemptId, BreakerState, Core, Forgotten, Hold, LAG_BUCKETS, LAG_KINDS_MAX, Lag, LaneStatus,
    Step, Supplies,
};
pub use crate::error::{CommandError, JournalError, OptionsError};
pub use crate::journal::{Journal, JournalKeys, JournalOptions};
pub use crate::ledger::{DeadLetter, DeadReason, Entry, Ledger, Tries};
pub use crate::options::{
    BreakerOptions, DeadLetterOptions, LANES_MAX, LaneOptions, RateOptions, RetryOptions,
};
pub use crate::parcel::{
    BODY_BYTES_MAX, Class, Destination, IDEMPOTENCY_KEY_BYTES_MAX, Later, Moment, Outcome, Parcel, Permit,
    PermitRequest, Permits, Source, SourceError, Supply,
};
pub use crate::run::{LaneParts, OpenError, RunError, Runner, RunnerOptions, run};

/// The machine, for destinations that write files: a destination may use what this crate uses, and nothing else.
pub use env;

/// Bytes of bodies.
pub use bytes::Bytes;
