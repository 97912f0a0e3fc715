//! Destinations: where parcels go, and in what form.
//!
//! - [`webhook`]: one message to one HTTPS address, signed as Standard Webhooks describe;
//! - [`http`]: a request whose parts operators write as templates;
//! - [`ndjson`]: files with a line per message, finished by an atomic rename;
//! - [`platform`]: lists of people and events on ad platforms, hashed by each platform's own rules.
//!
//! All implement [`Destination`]; `delivery` decides when they are called, how often, and what becomes of a failure.
//! [`template`] is the words of an operator around one.
//! [`render`] is the form of a message; what is in it comes from outside. [`bench`] measures a lane to a local receiver.
//!
//! **This crate never** opens a connection but through `delivery`'s egress client, retries, keeps order, asks whether
//! something may be sent, or writes a secret anywhere.

pub mod bench;
pub mod http;
pub mod ndjson;
pub mod platform;
pub mod render;
pub mod template;
pub mod webhook;

mod error;

pub use delivery::Destination;
pub use error::ConfigError;
