//! What a command tells of the keys that it changed: keyspace notifications.

use shm::{Off, OutOfMemory, Tx};

use super::blocking;
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
        blocking::before_message(self)?;
        let own = publish(&mut self.tx, self.state, self.root, index, event, name)?;
        blocking::own_messages(self, &own);
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

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    /// A server whose second client hears every event of these classes.
    fn server(classes: &str) -> (Server, usize, usize) {
        let mut server = Server::new();
        let (client, listener) = (server.connect(), server.connect());
        server.line(client, &format!("CONFIG SET notify-keyspace-events {classes}"));
        server.line(listener, "PSUBSCRIBE __key*__:*");
        (server, client, listener)
    }

    /// The channels and messages that a client has received, in short.
    fn heard(server: &mut Server, client: usize) -> Vec<String> {
        let text = server.text(client);
        let words: Vec<&str> = text.split("\r\n").filter(|w| !w.starts_with(['*', '$'])).collect();
        let messages = words.split(|word| *word == "pmessage").skip(1);
        messages.map(|m| format!("{} {}", m[1].trim_start_matches("__key"), m[2])).collect()
    }

    #[test]
    fn events_go_to_the_key_and_then_to_the_event() {
        let (mut server, client, listener) = server("KEA");
        server.line(client, "SET k v EX 100");
        let expected =
            ["space@0__:k set", "event@0__:set k", "space@0__:k expire", "event@0__:expire k"];
        assert_eq!(heard(&mut server, listener), expected);
        server.line(client, "MOVE k 3");
        let expected = [
            "space@0__:k move_from",
            "event@0__:move_from k",
            "space@3__:k move_to",
            "event@3__:move_to k",
        ];
        assert_eq!(heard(&mut server, listener), expected);
        server.check();
    }

    #[test]
    fn what_was_not_asked_for_is_not_told() {
        for (classes, told) in [("Eg", true), ("E$", false), ("A", false), ("", false)] {
            let (mut server, client, listener) = server(classes);
            server.line(client, "SET k v");
            heard(&mut server, listener);
            server.line(client, "DEL k");
            assert_eq!(!heard(&mut server, listener).is_empty(), told, "{classes}");
        }
    }

    #[test]
    fn exec_tells_of_each_command_and_discard_of_none() {
        let (mut server, client, listener) = server("EAmn");
        for line in ["MULTI", "SET k 1", "INCRBY k x", "GET none", "EXEC"] {
            server.line(client, line);
        }
        let expected = ["event@0__:new k", "event@0__:set k", "event@0__:keymiss none"];
        assert_eq!(heard(&mut server, listener), expected);
        for line in ["MULTI", "DEL k", "DISCARD"] {
            server.line(client, line);
        }
        assert_eq!(heard(&mut server, listener), [""; 0]);
    }

    #[test]
    fn a_command_that_fails_has_found_what_it_found() {
        let (mut server, client, listener) = server("EAm");
        server.line(client, "SET text x");
        server.line(client, "SET old v PX 1");
        let set_at = crate::util::time::unix_time_ms();
        heard(&mut server, listener);
        while crate::util::time::unix_time_ms() <= set_at + 1 {}
        let reply = server.line(client, "LCS old text IDX LEN");
        assert!(reply.starts_with("-ERR"), "{reply}");
        let told = heard(&mut server, listener);
        assert_eq!(told, ["event@0__:expired old", "event@0__:keymiss old"]);
        server.check();
    }

    #[test]
    fn keys_that_expire_by_themselves_are_told_of() {
        let (mut server, client, listener) = server("Ex");
        server.line(client, "SET k v PX 1");
        let mut told = Vec::new();
        while told.is_empty() {
            server.round();
            told = heard(&mut server, listener);
        }
        assert_eq!(told, ["event@0__:expired k"]);
        server.check();
    }

    #[test]
    fn a_listener_hears_of_its_own_doings_before_their_reply() {
        let (mut server, client, _) = server("EA");
        server.line(client, "HELLO 3");
        server.line(client, "PSUBSCRIBE *");
        let text = server.line(client, "SET k v");
        assert!(text.starts_with(">4\r\n$8\r\npmessage") && text.ends_with("+OK\r\n"), "{text}");
    }
}
