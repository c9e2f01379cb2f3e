//! hotredis: a Redis-compatible server whose binary is replaced under live traffic.

pub mod commands;
pub mod config;
pub mod executor;
pub mod proto;
pub mod util;
