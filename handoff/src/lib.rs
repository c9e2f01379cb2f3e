//! Moving descriptors and ownership between processes.

pub mod keeper_channel;
