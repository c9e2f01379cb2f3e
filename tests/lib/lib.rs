//! Shared helpers of the black-box tests.
//!
//! - [`server`] starts and ends servers, [`binaries`] finds what to start, [`ports`] where, [`builds`]
//!   upgrades them, [`processes`] follows them;
//! - [`blocked`] has clients wait, [`counting`] has them count; [`spare`] says how far the spare is;
//! - [`client`] speaks RESP to them, [`value`] holds what they answer;
//! - [`differential`] drives hotredis and Redis with the same commands and compares, [`generate`]
//!   makes the commands up;
//! - [`coverage`] knows what of all commands, options and encodings was tried;
//! - [`load`] puts many clients on a server and checks every reply;
//! - [`redis_rs`] is a well-known client library at work;
//! - [`proofs`] say what has to hold of any bytes that are sent as a packed value;
//! - [`rng`] makes every random choice repeatable.

pub mod binaries;
pub mod blocked;
pub mod builds;
pub mod client;
pub mod counting;
pub mod coverage;
pub mod differential;
pub mod generate;
pub mod load;
pub mod ports;
pub mod processes;
pub mod proofs;
pub mod redis_rs;
pub mod rng;
pub mod server;
pub mod spare;
pub mod value;
