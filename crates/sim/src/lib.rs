//! Seeded simulation of a shard: the same code as in production, on a machine made from a seed.
//!
//! A run is a function of its seed. It appends, applies, checkpoints, merges, seals and trims in an order that the
//! seed chooses, while the seeded disk tears writes, refuses syncs, fills up and loses power, the clock steps back
//! and forth, and clients repeat and reorder their messages. After every start and at the end the
//! invariants of [`scenario`] are checked: against a [`truth`] computed from the log alone by other code (the
//! [`ledger`]), or against a second shard that never crashed (the [`people`]). [`customers`] live with what is
//! [`outside`]: destinations behind the real lanes, on a seeded [`network`]. [`shrink`] makes a failure small.
//!
//! **This crate never** runs in production, and never reads the real clock or disk.

pub mod classes;
pub mod customers;
pub mod ledger;
pub mod network;
pub mod outside;
pub mod people;
pub mod promises;
pub mod scenario;
pub mod shrink;
pub mod subject;
pub mod truth;
