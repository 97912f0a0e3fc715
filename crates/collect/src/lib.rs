//! The ingest door: what SDKs of Segment and RudderStack send comes in here and leaves as event records.
//!
//! Read in this order: [`settings`] says who may send how much, [`rules`] and [`plan`] what each key may send, [`mend`] how an event in quarantine is mended, [`wire`] turns the bytes of a body into records,
//! [`sink`] is where they go, [`http`] is the server around it.
//!
//! **This crate never** decides what an event means for anybody: no identity, no profile, no de-duplication. It never
//! answers 200 before the sink has said that every event is durable and applied, never accepts a part of a request,
//! and never holds more than its limits allow.

pub mod http;
mod instant;
mod json;
pub mod mend;
pub mod plan;
pub mod rules;
pub mod settings;
pub mod sink;
pub mod wire;
