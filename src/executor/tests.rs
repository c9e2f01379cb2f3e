//! The executor with connections that do what a test says: take so many bytes, give so many.

use std::collections::HashMap;
use std::io;

use shm::{Arena, Options, field};

use super::replies::{Flushed, Streams};
use super::turn::Served;
use super::{Buffers, Carried, Executor, State, Stream};
use crate::config::ConfigValues;
use crate::root;
use crate::session::{self, Accepted, Session, flag};

/// A connection.
#[derive(Default)]
pub(super) struct Pipe {
    pub(super) input: Vec<u8>,
    pub(super) output: Vec<u8>,
    /// Bytes that it takes before it blocks.
    pub(super) window: usize,
    /// Bytes that went each way.
    pub(super) carried: Carried,
    /// Nothing counts what it carries.
    pub(super) uncounted: bool,
    /// Behind its input comes the end.
    pub(super) ended: bool,
    /// The owner dies within the call that is so many calls away, when it has done its work.
    pub(super) dies_in: Option<u32>,
}

/// What a test panics with where the owner dies.
pub(super) struct Died;

impl Pipe {
    fn may_die(&mut self) {
        if let Some(left) = &mut self.dies_in {
            match left.checked_sub(1) {
                Some(fewer) => *left = fewer,
                None => {
                    self.dies_in = None;
                    std::panic::resume_unwind(Box::new(Died));
                }
            }
        }
    }
}

impl Stream for Pipe {
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() && self.ended {
            return Ok(0);
        }
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = self.input.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&self.input[..taken]);
        self.input.drain(..taken);
        self.carried.read += taken as u64;
        self.may_die();
        Ok(taken)
    }

    fn transmit(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.window).min(256 << 10);
        if taken == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.window -= taken;
        self.output.extend_from_slice(&bytes[..taken]);
        self.carried.written += taken as u64;
        self.may_die();
        Ok(taken)
    }

    fn transmit_pieces(&mut self, pieces: &[&[u8]]) -> io::Result<usize> {
        self.transmit(&pieces.concat())
    }

    fn carried(&self) -> Option<Carried> {
        (!self.uncounted).then_some(self.carried)
    }
}

#[derive(Default)]
pub(super) struct Pipes(pub(super) HashMap<u32, Pipe>);

impl Streams<Pipe> for Pipes {
    fn stream(&mut self, slot: u32) -> Option<&mut Pipe> {
        self.0.get_mut(&slot)
    }
}

pub(super) struct World {
    pub(super) executor: Executor,
    pub(super) pipes: Pipes,
}

fn executor_on(arena: Arena, mut make_root: impl FnMut(&mut Arena)) -> Executor {
    let mut arena = arena;
    make_root(&mut arena);
    let buffers = Buffers::take(&mut arena).expect("buffers");
    Executor::new(arena, buffers, State::new(ConfigValues::default(), 1, 1))
}

impl World {
    pub(super) fn new(cap: u64) -> World {
        let (arena, _) = Arena::create(&Options { cap, ..Options::default() }).expect("arena");
        let executor = executor_on(arena, |arena| {
            let config = ConfigValues::default();
            arena
                .transact(|tx| {
                    let root = root::create(tx, 16, 1_000, [b'0'; 40], [0; 16])?;
                    root::store_config(tx, root, &config)
                })
                .expect("root");
        });
        World { executor, pipes: Pipes::default() }
    }

    /// What another process makes of this arena after this one has died.
    pub(super) fn die(self) -> World {
        let fd = self.executor.arena.mapping().fd().try_clone_to_owned().expect("descriptor");
        let arena = Arena::from_fd(fd, 0).expect("arena");
        World { executor: executor_on(arena, |_| {}), pipes: self.pipes }
    }

    pub(super) fn connect(&mut self) -> u32 {
        let slot = self.executor.accept(&Accepted {
            cookie: 1,
            transport: session::TCP,
            peer: "127.0.0.1:1".into(),
            local: "127.0.0.1:2".into(),
            now_ms: 1,
            authenticated: true,
        });
        let slot = slot.expect("memory for a session");
        self.pipes.0.insert(slot, Pipe { window: usize::MAX, ..Pipe::default() });
        slot
    }

    pub(super) fn pipe(&mut self, slot: u32) -> &mut Pipe {
        self.pipes.0.get_mut(&slot).expect("connected")
    }

    pub(super) fn turn(&mut self, slot: u32, input: &[u8]) -> Served {
        self.pipe(slot).input.extend_from_slice(input);
        self.executor.serve(slot, self.pipes.0.get_mut(&slot).expect("connected"))
    }

    pub(super) fn write(&mut self) -> Vec<u32> {
        let mut done = Vec::new();
        self.executor.write_replies(&mut self.pipes, &mut done);
        done
    }

    pub(super) fn flush(&mut self, slot: u32) -> Flushed {
        self.executor.flush_pending(slot, self.pipes.0.get_mut(&slot).expect("connected"))
    }

    pub(super) fn received(&mut self, slot: u32) -> Vec<u8> {
        std::mem::take(&mut self.pipe(slot).output)
    }

    pub(super) fn check(&self) {
        let report = crate::check::check_arena(&self.executor.arena);
        assert!(report.clean, "{}", report.text);
    }
}

pub(super) fn echo(text: &str) -> Vec<u8> {
    format!("*2\r\n$4\r\nECHO\r\n${}\r\n{text}\r\n", text.len()).into_bytes()
}

pub(super) fn bulk(text: &str) -> Vec<u8> {
    format!("${}\r\n{text}\r\n", text.len()).into_bytes()
}

#[test]
fn replies_keep_their_order_when_a_client_takes_them_bit_by_bit() {
    for window in 0..40 {
        let mut world = World::new(u64::MAX);
        let (slow, other) = (world.connect(), world.connect());
        world.pipe(slow).window = window;
        // Three turns in one tick, and a message of another client in between.
        world.turn(slow, &echo("one"));
        world.turn(other, &echo("other"));
        world.turn(slow, &echo("two"));
        world.turn(slow, &echo("three"));
        let looked_at = world.write();
        assert_eq!(looked_at.contains(&slow), window < 27 || world.executor.has_output(slow));
        world.turn(slow, &echo("four"));
        world.write();
        world.pipe(slow).window = usize::MAX;
        assert_eq!(world.flush(slow), Flushed::All);
        let expected = [bulk("one"), bulk("two"), bulk("three"), bulk("four")].concat();
        assert_eq!(world.received(slow), expected, "window {window}");
        assert_eq!(world.received(other), bulk("other"));
        world.check();
    }
}

#[test]
fn a_client_that_takes_all_of_a_large_output_is_not_forgotten() {
    let mut world = World::new(u64::MAX);
    let client = world.connect();
    world.pipe(client).window = 0;
    let text = "x".repeat(900_000);
    for _ in 0..4 {
        world.turn(client, &echo(&text));
        while !world.pipe(client).input.is_empty() {
            world.turn(client, b"");
        }
    }
    world.write();
    world.pipe(client).window = usize::MAX;
    let mut rounds = 0;
    // It never blocks, so whoever calls has to be told that there is more.
    while world.flush(client) == Flushed::More {
        rounds += 1;
    }
    assert!(rounds > 0 && !world.executor.has_output(client));
    assert_eq!(world.received(client), bulk(&text).repeat(4));
    world.check();
}

#[test]
fn a_reply_of_which_the_rest_cannot_be_kept_ends_the_connection() {
    let mut world = World::new(u64::MAX);
    let (client, other) = (world.connect(), world.connect());
    world.pipe(client).window = 10;
    world.turn(client, &echo(&"y".repeat(60_000)));
    world.turn(other, b"PING\r\n");
    // Nothing more can be had from here on.
    let arena = &world.executor.arena;
    arena.set_cap(arena.heap_bytes());
    let done = world.write();
    assert!(done.contains(&client));
    assert!(world.executor.closes_at_once(client), "its reply has a gap");
    assert!(!world.executor.is_closing(other));
    assert_eq!(world.received(other), b"+PONG\r\n");
    world.executor.close(client).expect("memory");
    world.check();
}

#[test]
fn one_client_s_silence_is_not_another_s() {
    let mut world = World::new(u64::MAX);
    let (silent, loud) = (world.connect(), world.connect());
    world.turn(silent, b"CLIENT REPLY OFF\r\nPING\r\n");
    world.turn(loud, b"*1\r\nPING\r\n");
    world.write();
    assert_eq!(world.received(loud), b"-ERR Protocol error: expected '$', got 'P'\r\n");
    let mut world = World::new(u64::MAX);
    let (silent, loud) = (world.connect(), world.connect());
    world.turn(silent, b"CLIENT REPLY OFF\r\n");
    world.turn(loud, b"PING\r\n");
    world.turn(silent, b"*1\r\nPING\r\n");
    world.write();
    assert_eq!(world.received(silent), b"");
    assert!(world.executor.is_closing(silent));
}

#[test]
fn nothing_more_is_run_for_a_client_beyond_its_output_limit() {
    let mut world = World::new(u64::MAX);
    let client = world.connect();
    let limit = [(b"client-output-buffer-limit".as_slice(), b"normal 3000000 0 0".as_slice())];
    let update =
        world.executor.state.config.prepare(&limit, crate::config::Authority::Startup).expect("ok");
    world.executor.state.config = update.values;
    world.pipe(client).window = 0;
    let value = "v".repeat(500_000);
    world.turn(client, format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$500000\r\n{value}\r\n").as_bytes());
    while !world.pipe(client).input.is_empty() {
        world.turn(client, b"");
    }
    let served = world.turn(client, &b"GET k\r\n".repeat(5_000));
    assert_eq!(served, Served::Close);
    let used = world.executor.arena.used_bytes();
    assert!(used < 20 << 20, "{used} bytes for a client that was to have 3,000,000");
    world.executor.close(client).expect("memory");
    world.check();
}

#[test]
fn a_closing_client_is_looked_at_whenever_something_happens() {
    let mut world = World::new(u64::MAX);
    let client = world.connect();
    world.pipe(client).window = 0;
    assert_eq!(world.turn(client, b"QUIT\r\nPING\r\n"), Served::LookAt { more: false });
    world.write();
    // Its peer closes: only the event loop knows.
    assert_eq!(world.turn(client, b"more"), Served::LookAt { more: false });
    world.pipe(client).window = usize::MAX;
    assert_eq!(world.flush(client), Flushed::Close);
    assert_eq!(world.received(client), b"+OK\r\n");
}

#[test]
fn a_postponed_client_with_output_does_not_ask_for_turns() {
    let mut world = World::new(u64::MAX);
    let (pauser, client) = (world.connect(), world.connect());
    world.turn(pauser, b"CLIENT PAUSE 100000 ALL\r\n");
    world.write();
    // A message of another client.
    let session = world.executor.session(client).expect("session");
    world
        .executor
        .arena
        .transact(|tx| session::output::append(tx, session, b"+x\r\n"))
        .expect("ok");
    assert_eq!(world.turn(client, b"PING\r\n"), Served::LookAt { more: false });
    assert_eq!(world.turn(client, b""), Served::LookAt { more: false });
    assert_eq!(world.executor.postponed(), [client]);
    world.check();
}

#[test]
fn requests_arrive_whole_however_large_and_however_cut() {
    let mut world = World::new(u64::MAX);
    let client = world.connect();
    for (size, cut) in [(30_000, 7_001), (40_000, 33_000), (300_000, 65_536), (9_000_000, 1 << 20)]
    {
        let value: String = (0..size).map(|i| char::from(b'a' + (i % 23) as u8)).collect();
        let mut input =
            format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${size}\r\n{value}\r\n").into_bytes();
        input.extend(b"GET k\r\nSTRLEN k\r\n*2\r\n$4\r\nECHO\r\n$5\r\nab");
        for piece in input.chunks(cut) {
            world.turn(client, piece);
            while !world.pipe(client).input.is_empty() {
                world.turn(client, b"");
            }
            world.write();
        }
        world.turn(client, b"cde\r\n");
        world.write();
        while world.flush(client) == Flushed::More {}
        let mut expected = format!("+OK\r\n${size}\r\n{value}\r\n:{size}\r\n").into_bytes();
        expected.extend(bulk("abcde"));
        assert!(world.received(client) == expected, "size {size}, cut {cut}");
        world.check();
    }
    let session = world.executor.session(client).expect("session");
    assert!(world.executor.arena.get(session).input.get().is_null());
}

#[test]
fn an_arena_without_room_costs_those_who_need_it() {
    let mut world = World::new(3 << 20);
    let (greedy, modest) = (world.connect(), world.connect());
    world.turn(modest, b"SET k v\r\n");
    // A value that can never be held.
    let mut served = world.turn(greedy, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000000\r\n");
    for _ in 0..200 {
        if served == Served::Close {
            break;
        }
        served = world.turn(greedy, &vec![b'x'; 64 << 10]);
    }
    assert_eq!(served, Served::Close);
    world.write();
    world.executor.close(greedy).expect("memory");
    world.turn(modest, b"GET k\r\n");
    world.write();
    assert_eq!(world.received(modest), b"+OK\r\n$1\r\nv\r\n");
    world.check();
    let session = world.executor.session(modest).expect("session");
    assert!(!world.executor.arena.get(session).is(flag::CLOSE_ASAP));
    let input = field!(session, Session.input);
    assert!(world.executor.arena.read(input).get().is_null());
}
