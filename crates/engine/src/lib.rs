//! The loop, generic over a [`Machine`]: read, prefetch, step, apply, views, answer.
//!
//! - [`machine`]: the contract between the loop and the rules.
//!
//! **This crate never** knows what an event means, speaks HTTP, or delivers an effect.

pub mod machine;

pub use machine::{AsOf, Effect, IssuedEffect, Machine, Outcome};
pub use store::{AnyTable, Peek, Table, TableId, Tables, Value, Wanted};
