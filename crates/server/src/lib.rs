//! The binary `throughline` as a library: configuration, wiring, the private listeners and the command line.
//!
//! [`config`] is one table of keys, from which parsing, checking and the documentation come. [`serve`] opens a data
//! directory and starts everything on it; [`api`] is one table of routes, from which routing and the OpenAPI document
//! come. [`commands`] is the command line.
//!
//! **This crate never** decides anything about customers, orders or suppression (`model` and `engage` do), keeps a
//! token in clear, writes a personal value into a log line, or changes state except through a record.

pub mod api;
mod backup;
pub mod bench;
pub mod calendar;
pub mod commands;
pub mod config;
mod definitions_files;
pub mod deliver;
pub mod demo;
mod doctor;
pub mod feed;
pub mod figures;
pub mod http_client;
pub mod import;
mod line;
mod page;
pub mod process;
mod quarantine;
pub mod send;
pub mod serve;
pub mod shop;
mod telemetry;
mod terminal;
