//! Definitions as files: what a shop defines, kept in a directory under version control.
//!
//! `kinds.rs` is the one table of what can be in files: a kind of definition more is a row more. `read.rs` reads files
//! and says where something is wrong (`place.rs`), `check.rs` and `rules.rs` hold everything against itself before
//! anything is sent, `plan.rs` compares it with what a server has, `server.rs` speaks with that server, `carry_out.rs`
//! makes the changes, and `write.rs` writes what a server has as files.
//!
//! **Nothing here** decides what a definition means: rules are compiled by the model's own rulebook, and what the server
//! refuses is shown as it says it.

mod carry_out;
mod check;
mod kinds;
mod place;
mod plan;
mod read;
mod rules;
mod server;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use carry_out::{Carried, carry_out, wait_until_found};
pub(crate) use check::check;
pub(crate) use place::Findings;
pub(crate) use plan::{Plan, plan};
pub(crate) use read::{Item, read, read_folder, toml_files};
pub(crate) use server::Server;
pub(crate) use write::{HEAD, write};
