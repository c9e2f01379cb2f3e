//! The poll, the connections behind its tokens, and the queue of those that may have more to read.
//!
//! Sockets are registered edge-triggered, for reading only; writing is added while output waits. An
//! edge is reported once, so a connection that was not read to the end stands in the queue.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use handoff::message::Ticket;
use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::alarm::Alarm;
use super::connection::Connection;
use super::listener::Listener;
use crate::executor::replies::Streams;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The client in this slot, if its connection has this tag: slots are used again, and an event
    /// may be older than the connection that stands there when its turn comes.
    Client(u32, u32),
    /// The listener of this number.
    Listener(usize),
    /// The keeper's channel.
    Keeper,
    /// The link to the other generation.
    Link,
}

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// What it is about.
    pub source: Source,
    /// It may be read (or has ended).
    pub readable: bool,
    /// It may be written.
    pub writable: bool,
    /// The peer has closed its side.
    pub peer_closed: bool,
}

/// A client's token: its slot, and its tag above.
const TAG_SHIFT: u32 = 32;
/// Bits of a tag: the lowest of the socket's cookie, which the kernel counts up.
const TAG_MASK: u64 = (1 << 30) - 1;
const LISTENERS: usize = 1 << 62;
const KEEPER: Token = Token(1 << 63);
const LINK: Token = Token(1 << 63 | 1);
const ALARM: Token = Token(1 << 63 | 2);

fn token_of(slot: u32, connection: &Connection) -> Token {
    Token(slot as usize | (tag_of(connection) as usize) << TAG_SHIFT)
}

fn tag_of(connection: &Connection) -> u32 {
    (connection.cookie & TAG_MASK) as u32
}

/// The poll and everything it watches.
pub struct Poller {
    poll: Poll,
    events: Events,
    /// None if the system has none to give: then each wait has a timeout.
    alarm: Option<Alarm>,
    connections: Vec<Option<Connection>>,
    listeners: Vec<Listener>,
    queue: VecDeque<u32>,
    open: u32,
}

impl Poller {
    /// An empty one, able to report `capacity` events at a time.
    pub fn new(capacity: usize) -> io::Result<Poller> {
        let poll = Poll::new()?;
        let watch = |alarm: &Alarm| {
            let fd = alarm.as_fd().as_raw_fd();
            poll.registry().register(&mut SourceFd(&fd), ALARM, Interest::READABLE)
        };
        let alarm = Alarm::new().and_then(|alarm| watch(&alarm).map(|()| alarm)).ok();
        Ok(Poller {
            poll,
            alarm,
            events: Events::with_capacity(capacity),
            connections: Vec::new(),
            listeners: Vec::new(),
            queue: VecDeque::new(),
            open: 0,
        })
    }

    /// Appends the events that are there to `ready`.
    pub fn look(&mut self, ready: &mut Vec<Ready>) -> io::Result<()> {
        self.poll(Some(Duration::ZERO), ready)
    }

    /// Waits for events, until a time at the longest, and appends them to `ready`. Times are microseconds of the monotonic
    /// clock. It may come back earlier with none.
    pub fn wait(&mut self, now_us: u64, until_us: u64, ready: &mut Vec<Ready>) -> io::Result<()> {
        if until_us <= now_us {
            return self.look(ready);
        }
        let alarm = self.alarm.as_mut();
        if alarm.is_some_and(|alarm| alarm.ring_by(now_us, until_us).is_ok()) {
            return self.poll(None, ready);
        }
        self.poll(Some(Duration::from_micros(until_us - now_us)), ready)
    }

    fn poll(&mut self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        let events = self.events.iter().filter(|event| event.token() != ALARM);
        ready.extend(events.map(read_event));
        Ok(())
    }

    /// Adds a listener and watches it.
    pub fn add_listener(&mut self, listener: Listener) -> io::Result<()> {
        let token = Token(LISTENERS + self.listeners.len());
        let fd = listener.as_fd().as_raw_fd();
        self.poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE)?;
        self.listeners.push(listener);
        Ok(())
    }

    /// Drops all listeners, and gives them back.
    pub fn take_listeners(&mut self) -> Vec<Listener> {
        for listener in &self.listeners {
            let fd = listener.as_fd().as_raw_fd();
            let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
        }
        std::mem::take(&mut self.listeners)
    }

    /// All listeners.
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// Watches the keeper's channel.
    pub fn watch_keeper(&self, fd: &impl AsRawFd) -> io::Result<()> {
        self.poll.registry().register(&mut SourceFd(&fd.as_raw_fd()), KEEPER, Interest::READABLE)
    }

    /// Stops watching the keeper's channel.
    pub fn forget_keeper(&self, fd: &impl AsRawFd) {
        let _ = self.poll.registry().deregister(&mut SourceFd(&fd.as_raw_fd()));
    }

    /// Watches the link to the other generation.
    pub fn watch_link(&self, fd: impl AsFd) -> io::Result<()> {
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut SourceFd(&fd.as_fd().as_raw_fd()), LINK, both)
    }

    /// Stops watching the link.
    pub fn forget_link(&self, fd: impl AsFd) {
        let _ = self.poll.registry().deregister(&mut SourceFd(&fd.as_fd().as_raw_fd()));
    }

    /// Adds a connection in a slot and watches it for reading.
    pub fn insert(&mut self, slot: u32, mut connection: Connection) -> io::Result<()> {
        let token = token_of(slot, &connection);
        let registry = self.poll.registry();
        registry.register(connection.socket.source(), token, Interest::READABLE)?;
        let at = slot as usize;
        if at >= self.connections.len() {
            self.connections.resize_with((at + 1).next_power_of_two(), || None);
        }
        self.open += u32::from(self.connections[at].is_none());
        self.connections[at] = Some(connection);
        Ok(())
    }

    /// The connection in a slot.
    #[inline]
    pub fn get_mut(&mut self, slot: u32) -> Option<&mut Connection> {
        self.connections.get_mut(slot as usize)?.as_mut()
    }

    /// The connection that an event is about, if it is still there.
    #[inline]
    pub fn addressee(&mut self, slot: u32, tag: u32) -> Option<&mut Connection> {
        self.get_mut(slot).filter(|connection| tag_of(connection) == tag)
    }

    /// The connection in a slot.
    pub fn get(&self, slot: u32) -> Option<&Connection> {
        self.connections.get(slot as usize)?.as_ref()
    }

    /// Number of connections.
    pub fn open(&self) -> u32 {
        self.open
    }

    /// One more than the highest slot that can be in use.
    pub fn slots(&self) -> u32 {
        self.connections.len() as u32
    }

    /// Stops watching a connection and gives it up.
    pub fn remove(&mut self, slot: u32) -> Option<Connection> {
        let mut connection = self.connections.get_mut(slot as usize)?.take()?;
        self.open -= 1;
        let registry = self.poll.registry();
        // Deregistering before the close: with a duplicate elsewhere, a close alone would leave the
        // registration behind.
        let _ = registry.deregister(connection.socket.source());
        Some(connection)
    }

    /// Watches a connection for writing too, or no more.
    pub fn want_write(&mut self, slot: u32, wanted: bool) -> io::Result<()> {
        let registry = self.poll.registry();
        let Some(connection) =
            self.connections.get_mut(slot as usize).and_then(|connection| connection.as_mut())
        else {
            return Ok(());
        };
        if connection.wants_write == wanted {
            return Ok(());
        }
        Self::register_again(registry, slot, connection, wanted)
    }

    /// Watches a connection for writing, and has the poll report it even if it could be written all
    /// the time.
    pub fn want_write_again(&mut self, slot: u32) -> io::Result<()> {
        let registry = self.poll.registry();
        match self.connections.get_mut(slot as usize) {
            Some(Some(connection)) => Self::register_again(registry, slot, connection, true),
            _ => Ok(()),
        }
    }

    fn register_again(
        registry: &mio::Registry,
        slot: u32,
        connection: &mut Connection,
        wanted: bool,
    ) -> io::Result<()> {
        let interest =
            if wanted { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        let token = token_of(slot, connection);
        registry.reregister(connection.socket.source(), token, interest)?;
        connection.wants_write = wanted;
        Ok(())
    }

    /// Puts a connection into the queue of those that may have more to read.
    pub fn enqueue(&mut self, slot: u32) {
        if let Some(Some(connection)) = self.connections.get_mut(slot as usize)
            && !connection.queued
        {
            connection.queued = true;
            self.queue.push_back(slot);
        }
    }

    /// Takes the next connection from that queue.
    pub fn dequeue(&mut self) -> Option<u32> {
        loop {
            let slot = self.queue.pop_front()?;
            if let Some(connection) = self.get_mut(slot)
                && std::mem::take(&mut connection.queued)
            {
                return Some(slot);
            }
        }
    }

    /// How many stand in that queue, at most.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// The ticket of the connection in a slot.
    pub fn ticket(&self, slot: u32) -> Option<Ticket> {
        self.get(slot).map(|connection| Ticket { slot, cookie: connection.cookie })
    }
}

impl Streams<Connection> for Poller {
    fn stream(&mut self, slot: u32) -> Option<&mut Connection> {
        self.get_mut(slot)
    }
}

fn read_event(event: &Event) -> Ready {
    let source = match event.token() {
        KEEPER => Source::Keeper,
        LINK => Source::Link,
        Token(number) if number >= LISTENERS => Source::Listener(number - LISTENERS),
        Token(client) => Source::Client(client as u32, (client >> TAG_SHIFT) as u32),
    };
    Ready {
        source,
        readable: event.is_readable() || event.is_read_closed() || event.is_error(),
        writable: event.is_writable(),
        peer_closed: event.is_read_closed() || event.is_error(),
    }
}
