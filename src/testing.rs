//! A server without sockets, for tests within this crate: clients are buffers.

use std::io;

use shm::{Arena, Options};

use crate::config::ConfigValues;
use crate::executor::replies::{Flushed, Streams};
use crate::executor::turn::Served;
use crate::executor::{Action, Carried, Executor, State, Stream};
use crate::root;
use crate::session::{self, Accepted};

/// A client's two directions.
#[derive(Default)]
struct Buffers {
    input: Vec<u8>,
    output: Vec<u8>,
    /// Whether the client takes what it is sent.
    stuck: bool,
}

impl Stream for Buffers {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = self.input.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&self.input[..taken]);
        self.input.drain(..taken);
        Ok(taken)
    }

    fn transmit(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.transmit_pieces(&[bytes])
    }

    fn transmit_pieces(&mut self, pieces: &[&[u8]]) -> io::Result<usize> {
        if self.stuck {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        pieces.iter().for_each(|piece| self.output.extend_from_slice(piece));
        Ok(pieces.iter().map(|piece| piece.len()).sum())
    }

    fn carried(&self) -> Option<Carried> {
        None
    }
}

/// All clients, by their slots.
struct Everybody<'a>(&'a mut [Option<(u32, Buffers)>]);

impl Streams<Buffers> for Everybody<'_> {
    fn stream(&mut self, slot: u32) -> Option<&mut Buffers> {
        let mut clients = self.0.iter_mut().flatten();
        clients.find(|(other, _)| *other == slot).map(|(_, buffers)| buffers)
    }
}

/// A reply that many commands have.
pub const WRONG: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";
/// The same.
pub const SYNTAX: &str = "-ERR syntax error\r\n";
/// The same.
pub const NOT_INTEGER: &str = "-ERR value is not an integer or out of range\r\n";

/// Sends lines of words to a new server, as one client, each with the reply that it is to have.
pub fn dialogue(lines: &[(&str, &str)]) {
    let mut server = Server::new();
    let client = server.connect();
    server.converse(client, lines);
}

/// [`dialogue`] of a client that has asked for RESP3.
pub fn dialogue_in_resp3(lines: &[(&str, &str)]) {
    let mut server = Server::new();
    let client = server.connect();
    server.line(client, "HELLO 3");
    server.converse(client, lines);
}

/// An executor with clients.
pub struct Server {
    /// The executor.
    pub executor: Executor,
    clients: Vec<Option<(u32, Buffers)>>,
    /// What was asked to be done outside of the arena, but for flushing and closing.
    pub asked: Vec<Action>,
}

impl Server {
    /// A server with an empty arena.
    pub fn new() -> Server {
        Server::with_cap(u64::MAX)
    }

    /// A server whose arena may take so many bytes.
    pub fn with_cap(cap: u64) -> Server {
        let (mut arena, _) = Arena::create(&Options { cap, ..Options::default() }).expect("arena");
        let config = ConfigValues::default();
        arena
            .transact(|tx| {
                let root = root::create(tx, 16, 1_000, [b'0'; 40], [0; 16])?;
                root::store_config(tx, root, &config)
            })
            .expect("root");
        let buffers = crate::executor::Buffers::take(&mut arena).expect("buffers");
        let executor = Executor::new(arena, buffers, State::new(config, 1, 1));
        Server { executor, clients: Vec::new(), asked: Vec::new() }
    }

    /// A new connection; gives its number.
    pub fn connect(&mut self) -> usize {
        let number = self.clients.len();
        let slot = self.executor.accept(&Accepted {
            cookie: number as u64,
            transport: session::TCP,
            peer: format!("127.0.0.1:{}", 1000 + number),
            local: "127.0.0.1:6379".into(),
            now_ms: crate::util::time::unix_time_ms(),
            authenticated: true,
        });
        self.clients.push(Some((slot.expect("session"), Buffers::default())));
        number
    }

    /// Sends words as one request, and gives all that the client then has received.
    pub fn ask(&mut self, client: usize, words: &[&[u8]]) -> Vec<u8> {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend(format!("${}\r\n", word.len()).bytes());
            request.extend_from_slice(word);
            request.extend(b"\r\n");
        }
        self.feed(client, &request);
        self.received(client)
    }

    /// Sends a line of words, and gives all that the client then has received, as text.
    pub fn line(&mut self, client: usize, line: &str) -> String {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        String::from_utf8_lossy(&self.ask(client, &words)).into_owned()
    }

    /// Sends lines of words, each with the reply that it is to have.
    fn converse(&mut self, client: usize, lines: &[(&str, &str)]) {
        for (line, expected) in lines {
            assert_eq!(self.line(client, line), *expected, "{line}");
        }
        self.check();
    }

    /// Sends bytes and gives the client its turns.
    pub fn feed(&mut self, client: usize, bytes: &[u8]) {
        let Some((slot, buffers)) = &mut self.clients[client] else { panic!("closed") };
        buffers.input.extend_from_slice(bytes);
        let slot = *slot;
        let mut served = Served::More;
        while matches!(served, Served::More | Served::LookAt { more: true }) {
            served = self.executor.serve(slot, buffers);
        }
        let look = matches!(served, Served::LookAt { .. } | Served::Close);
        self.act(look.then_some(slot));
        if served == Served::Close {
            self.close(client);
        }
    }

    /// What a client has received since it was last asked for.
    pub fn received(&mut self, client: usize) -> Vec<u8> {
        match &mut self.clients[client] {
            Some((_, buffers)) => std::mem::take(&mut buffers.output),
            None => Vec::new(),
        }
    }

    /// The same as text.
    pub fn text(&mut self, client: usize) -> String {
        String::from_utf8_lossy(&self.received(client)).into_owned()
    }

    /// Has a client take nothing any more, or again.
    pub fn stick(&mut self, client: usize, stuck: bool) {
        if let Some((_, buffers)) = &mut self.clients[client] {
            buffers.stuck = stuck;
        }
    }

    /// Whether the connection was closed.
    pub fn is_closed(&self, client: usize) -> bool {
        self.clients[client].is_none()
    }

    /// Closes a connection.
    pub fn close(&mut self, client: usize) {
        if let Some((slot, _)) = self.clients[client].take() {
            self.executor.close(slot).expect("memory");
        }
    }

    /// One round of background work.
    pub fn round(&mut self) {
        self.executor.round();
        self.act(None);
    }

    /// What the event loop does at the end of a tick.
    fn act(&mut self, look_at: Option<u32>) {
        let mut slots: Vec<u32> = look_at.into_iter().collect();
        self.executor.write_replies(&mut Everybody(&mut self.clients), &mut slots);
        let mut resumed = Vec::new();
        for action in self.executor.take_actions() {
            match action {
                Action::Flush(slot) | Action::Close(slot) => slots.push(slot),
                Action::Resume(slot) => resumed.push(slot),
                other => self.asked.push(other),
            }
        }
        for slot in slots {
            let Some(number) = self.number_of(slot) else { continue };
            let Some((_, buffers)) = &mut self.clients[number] else { continue };
            if self.executor.flush_pending(slot, buffers) == Flushed::Close {
                self.close(number);
            }
        }
        for slot in resumed {
            if let Some(number) = self.number_of(slot) {
                self.feed(number, b"");
            }
        }
    }

    fn number_of(&self, slot: u32) -> Option<usize> {
        let of_slot = |client: &Option<(u32, Buffers)>| {
            client.as_ref().is_some_and(|(other, _)| *other == slot)
        };
        self.clients.iter().position(of_slot)
    }

    /// Has the clock of the server stand this much later, and lets blocked clients go whose time is
    /// up by then.
    pub fn time_out(&mut self, later_ms: i64) {
        self.executor.state.read_clock();
        self.executor.state.now_ms += later_ms;
        self.executor.time_out_blocked();
        self.act(None);
    }

    /// Walks the arena and fails unless everything is right.
    pub fn check(&self) {
        let report = crate::check::check_arena(&self.executor.arena);
        assert!(report.clean, "{}", report.text);
    }
}
