//! String commands.

pub mod basic;
pub mod counters;
pub mod lcs;
pub mod ranges;
