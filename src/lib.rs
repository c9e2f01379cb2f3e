//! hotredis: a Redis-compatible server whose binary is replaced under live traffic.

pub mod check;
pub mod cli;
pub mod commands;
pub mod config;
pub mod executor;
pub mod generation;
pub mod identity;
pub mod inherited;
pub mod keeper;
pub mod keeper_state;
pub mod keyspace;
pub mod logging;
pub mod net;
pub mod proto;
pub mod rdb;
pub mod role;
pub mod root;
pub mod session;
pub mod settings;
pub mod statistics;
#[cfg(test)]
mod testing;
pub mod util;
pub mod values;
pub mod version;
pub mod words;
