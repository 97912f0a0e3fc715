//! From the bytes of a request to records of the log, in one pass over them.
//!
//! [`Envelope::read`] walks the body once and keeps slices of it; [`Encoding::encode`] judges what was read and
//! writes one [`model::event::Event`] per item. Nothing is accepted in part: the first event that is wrong refuses
//! its batch and is named. What the rules are:
//!
//! - **Who**: `userId` or `anonymousId` must be there; see `wire/identify.rs` for the others. Values that name nobody
//!   (`null`, zeros) are dropped, and the event is still accepted, as Segment does.
//! - **When**: received − (sent − original), see `instant.rs`. `originalTimestamp` comes before `timestamp`, and an
//!   item's `sentAt` before its envelope's.
//! - **Which**: `messageId`, or a fresh one where none was sent; then a repeat cannot be recognised.
//! - **What**: orders and products in `wire/goods.rs`, money in [`model::money`].
//! - `properties`, `traits` and `context` are stored as they were spelled. `integrations` is kept inside `context`
//!   unless all it says is `true`. An item's own members come before the envelope's, one level deep.
//! - Of members with the same name, the last one counts.
//! - **Wanted**: what the rules of the key do not list, and what its plan blocks, is set aside: not stored, and named in
//!   the result. What its plan quarantines is a record of another kind. Neither fails the others.

mod again;
mod encode;
mod envelope;
mod facts;
mod goods;
mod identify;
mod item;
mod problem;

pub use again::{Again, Stays};
pub use encode::{Encoded, Encoding, Sender, SetAside};
pub use envelope::{Call, Envelope};
pub use problem::{Problem, WireError};
