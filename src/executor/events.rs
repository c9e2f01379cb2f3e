//! What a command tells of the keys that it changed: keyspace notifications.

use super::cx::{Cx, Outcome};

/// Classes of events: the bits of `notify-keyspace-events`.
pub mod class {
    /// `g`: commands that work on keys of any type.
    pub const GENERIC: u32 = 1 << 2;
    /// `$`: strings.
    pub const STRING: u32 = 1 << 3;
    /// `l`: lists.
    pub const LIST: u32 = 1 << 4;
    /// `s`: sets.
    pub const SET: u32 = 1 << 5;
    /// `h`: hashes.
    pub const HASH: u32 = 1 << 6;
    /// `z`: sorted sets.
    pub const ZSET: u32 = 1 << 7;
    /// `x`: keys that expired.
    pub const EXPIRED: u32 = 1 << 8;
    /// `e`: keys that were evicted.
    pub const EVICTED: u32 = 1 << 9;
    /// `t`: streams.
    pub const STREAM: u32 = 1 << 10;
    /// `m`: keys that were looked for in vain.
    pub const KEY_MISS: u32 = 1 << 11;
    /// `n`: keys that are new.
    pub const NEW: u32 = 1 << 14;
}

impl Cx<'_> {
    /// Tells subscribers of keyspace notifications of an event that befell a key of the session's
    /// database. Handlers call it in the order in which Redis does.
    #[inline(always)]
    pub fn notify(&mut self, class: u32, event: &str, name: &[u8]) -> Outcome {
        let _ = (class, event, name);
        Ok(())
    }
}
