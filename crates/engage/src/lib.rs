//! The customer machine: what the loop runs on a shard of people.
//!
//! [`Engage`] applies events and commands to the tables of [`State`]: who is who, what they did and bought, what they
//! agreed to, and what they are not to be advertised. The rules are `model`'s; this crate fetches the rows they need,
//! stores what they decide, and says what changed: effects for the outside, differences for the [`View`] that other
//! threads read in memory.
//!
//! The path of one event, file by file: `machine` decodes it, `resolve` finds or makes its nodes and joins them,
//! `purchase` takes in its order, `consent` says if they chose otherwise of advertising, `line` what it changes of throughput, cycle time and scrap, `reckon` finds the
//! audiences that it changed, `suppress` brings the profile's suppression up to date. `command` is what an operator can
//! ask for, `define` takes in audiences and features, `amend` parts and erases, `quarantine` keeps what a plan
//! does not like, `query` reads, `view` answers without
//! the loop.
//!
//! **This crate never** reads a clock, draws a random number, touches a disk or a socket, or opens a sealed value. It
//! holds no key: e-mail addresses and phone numbers pass through it sealed.

mod amend;
mod command;
mod consent;
mod define;
mod destination;
pub mod effect;
mod key_rules;
mod line;
mod machine;
mod membership;
mod purchase;
mod quarantine;
mod query;
mod reckon;
mod redact;
mod resolve;
mod settings;
mod state;
mod suppress;
mod view;

pub use command::{Command, CommandError, Operation, Parting, Reply, WhoToErase};
pub use define::{
    Draft, Drafted, Gathered, Gathering, MAX_CHUNK, MAX_TOGETHER, PARTS, Stretch, erased_by, part_of,
};
pub use destination::{
    ConsentNeed, Destination, DestinationKind, MAX_CONCURRENCY, MAX_DESTINATIONS, PERSON_FIELDS,
    SendingClass, SendingLimits,
};
pub use engine::{AsOf, Machine, Outcome};
pub use key_rules::{KeyRules, MAX_LISTED};
pub use line::{
    Campaigns, KEPT_US, LineHours, LineRow, MAX_CAMPAIGNS, MAX_CLAIMED_CAMPAIGNS, MAX_SHOWN_BYTES,
    OTHER_CAMPAIGNS,
};
pub use machine::Engage;
pub use membership::{Backfill, Member, Membership, Tally};
pub use quarantine::{HeldCounts, HeldRow, MAX_NAMED, QuarantineChange};
pub use query::{Answer, AudienceRead, Explanation, IdentifierRead, ProfileRead, Query};
pub use redact::{Counted, ErasedNode, Extent, redact};
pub use settings::{MAX_TOKENS, MAX_WRITE_KEYS, Settings, Token, WriteKey, WriteKeyKind};
pub use state::{Counts, Node, PROFILES, ProfileRow, SUPPRESSIONS, State, Suppressed};
pub use view::{Cause, Change, Decision, Held, View};

/// Changes with every change of a rule that could make the same log give another state.
pub const RULES_VERSION: u32 = 1;
