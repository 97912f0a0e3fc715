//! Every rule of Throughline, pure: facts in, decisions out.
//!
//! One module per capability. A rule gets what it needs as arguments and returns what should change; the loop in
//! `engine` and the machine in `engage` read, store and send.
//!
//! **This crate never** does I/O, reads a clock, draws a random number, iterates over an unordered map, keeps a
//! stored sum in floating point, or depends on another crate of ours. The same facts give the same decision, on every
//! machine, for ever: replay depends on it.

pub mod attribution;
pub mod audience;
pub mod codec;
pub mod commerce;
pub mod consent;
pub mod event;
pub mod feature;
pub mod id;
pub mod identity;
pub mod line;
pub mod money;
pub mod normalise;
pub mod order;
pub mod profile;
pub mod quarantine;
pub mod record;
pub mod seal;
pub mod suppression;
