//! Operations on values, without protocol: what a command does once its arguments are read.

pub mod bitmap;
pub mod lcs;
pub mod string;
