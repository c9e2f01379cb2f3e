//! Small pure helpers, most of which follow Redis to the letter: numbers, patterns, quoting, clocks.

pub mod crc16;
mod decimal;
pub mod extended;
pub mod glob;
pub mod memsize;
pub mod numbers;
pub mod panics;
pub mod quote;
pub mod sorting;
pub mod time;
