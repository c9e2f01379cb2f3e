//! The commands: one file per family, with the rows of the table beside the handlers that run them.
//!
//! | file | what |
//! | --- | --- |
//! | [`spec`] | the words of which rows are made |
//! | [`table`] | all families joined: lookup by name, arity |
//! | [`key_search`] | the keys among a command's arguments |
//! | `docs` | generated documentation for `COMMAND DOCS` |
//! | [`help`] | generated texts for `HELP` of the containers |
//! | [`arguments`] | arguments that several families read in the same way |
//! | [`errors`] | errors about requests that never reach a handler |
//!
//! Nothing here knows a socket. A new family is a file with a `COMMANDS` slice and a line in
//! [`table`].

pub mod arguments;
mod bitfields;
pub mod bitmaps;
pub mod blocking;
pub mod client;
pub mod command;
pub mod command_replies;
pub mod config;
pub mod connection;
pub mod databases;
pub mod debug;
mod docs;
pub mod errors;
pub mod expire;
pub mod geo;
pub mod hashes;
pub mod help;
pub mod hyperloglog;
pub mod info;
pub mod key_search;
pub mod keys;
pub mod lists;
pub mod lolwut;
pub mod memory;
pub mod monitor;
pub mod object;
pub mod pubsub;
pub mod scan;
pub mod serialized;
pub mod server;
pub mod sets;
pub mod shutdown;
pub mod sort;
pub mod spec;
pub mod streams;
pub mod strings;
pub mod table;
pub mod transactions;
pub mod zsets;

use crate::executor::{Cx, Fail, Outcome};

/// The handler of containers: lookup never returns it for anything but a bare name, which the arity
/// refuses.
fn not_a_command(_cx: &mut Cx<'_>) -> Outcome {
    Err(Fail::Err("ERR unknown subcommand".into()))
}

#[cfg(test)]
mod bounds_tests;
