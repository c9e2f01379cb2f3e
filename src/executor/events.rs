//! What a command tells of the keys that it changed: keyspace notifications.

use shm::{Off, OutOfMemory, Tx};

use super::cx::{Cx, Outcome};
use super::state::State;
use crate::root::Root;
use crate::session::pubsub;

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

/// `K`: messages to the channel of the key.
const TO_KEYSPACE: u32 = 1 << 0;
/// `E`: messages to the channel of the event.
const TO_KEYEVENT: u32 = 1 << 1;

/// What [`State::events`] is for these bits of `notify-keyspace-events`: none, unless the events have
/// a channel to go to.
pub(super) fn wanted(bits: u32) -> u32 {
    if bits & (TO_KEYSPACE | TO_KEYEVENT) == 0 { 0 } else { bits }
}

impl Cx<'_> {
    /// Tells subscribers of keyspace notifications of an event that befell a key of the session's
    /// database. Handlers call it in the order in which Redis does.
    #[inline(always)]
    pub fn notify(&mut self, class: u32, event: &str, name: &[u8]) -> Outcome {
        self.notify_in(self.database_index, class, event, name)
    }

    /// [`notify`](Cx::notify) for a key of another database.
    #[inline(always)]
    pub fn notify_in(&mut self, index: u32, class: u32, event: &str, name: &[u8]) -> Outcome {
        if self.state.events & class == 0 {
            return Ok(());
        }
        self.publish_event(index, event, name)
    }

    #[cold]
    fn publish_event(&mut self, index: u32, event: &str, name: &[u8]) -> Outcome {
        let own = publish(&mut self.tx, self.state, self.root, index, event, name)?;
        self.push_raw(&own);
        Ok(self.reply.sink().check()?)
    }
}

/// Tells subscribers that a key has expired while no command was under way.
pub(super) fn expired(
    tx: &mut Tx<'_>,
    state: &mut State,
    root: Off<Root>,
    index: u32,
    name: &[u8],
) -> Result<(), OutOfMemory> {
    if state.events & class::EXPIRED != 0 {
        // Nobody's turn it is, so nobody's messages wait for the replies.
        publish(tx, state, root, index, "expired", name)?;
    }
    Ok(())
}

/// Publishes an event; gives the messages to the session whose turn it is.
fn publish(
    tx: &mut Tx<'_>,
    state: &mut State,
    root: Off<Root>,
    index: u32,
    event: &str,
    name: &[u8],
) -> Result<Vec<u8>, OutOfMemory> {
    let mut own = Vec::new();
    if state.events & TO_KEYSPACE != 0 {
        let channel = [format!("__keyspace@{index}__:").as_bytes(), name].concat();
        pubsub::publish(tx, state, root, &channel, event.as_bytes(), &mut own)?;
    }
    if state.events & TO_KEYEVENT != 0 {
        let channel = format!("__keyevent@{index}__:{event}");
        pubsub::publish(tx, state, root, channel.as_bytes(), name, &mut own)?;
    }
    Ok(own)
}
