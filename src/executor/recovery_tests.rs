//! Owners die, and what they leave is taken up.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::replies::Flushed;
use super::tests::{Died, World, bulk, echo};
use super::turn::{Served, Turn};
use super::{Death, InFlight, Left};

impl World {
    /// Takes up what the owner before has left; gives the client that has to go.
    fn recover(&mut self) -> Option<u32> {
        self.recover_from(&died(false))
    }

    fn recover_from(&mut self, left: &Left) -> Option<u32> {
        self.executor.recover(&mut self.pipes, left).expect("memory")
    }
}

fn died(own: bool) -> Left {
    Left::Died(Death { own, cause: "of a test".into() })
}

/// An owner dies at each point of a tick: nothing is lost, repeated or reordered.
#[test]
fn what_a_dead_owner_had_done_is_kept() {
    for written in [false, true] {
        let mut world = World::new(u64::MAX);
        let clients: Vec<u32> = (0..3).map(|_| world.connect()).collect();
        for &client in &clients {
            world.pipe(client).window = 0;
            world.turn(client, b"INCR n\r\n");
            world.turn(client, b"INCR n\r\n*2\r\n$4\r\nECHO\r\n$3\r\nx");
        }
        if written {
            world.write();
        }
        let mut world = world.die();
        assert_eq!(world.recover(), None);
        world.check();
        for (i, &client) in clients.iter().enumerate() {
            world.pipe(client).window = usize::MAX;
            world.turn(client, b"yz\r\n");
            world.write();
            assert_eq!(world.flush(client), Flushed::All);
            let expected = format!(":{}\r\n:{}\r\n$3\r\nxyz\r\n", 2 * i + 1, 2 * i + 2);
            assert_eq!(String::from_utf8_lossy(&world.received(client)), expected);
        }
        world.check();
    }
}

#[test]
fn a_turn_that_an_owner_died_in_is_ended() {
    let mut world = World::new(u64::MAX);
    let client = world.connect();
    let session = world.executor.session(client).expect("session");
    // What a turn leaves that has run one of two requests.
    let turn = {
        let input = b"INCR n\r\nINCR n\r\n*1\r\n$4\r\nPI";
        world.executor.input.bytes_mut()[..input.len()].copy_from_slice(input);
        let start = world.executor.output.start();
        crate::proto::reply::Sink::put(&mut world.executor.output, b":1\r\n");
        let end = world.executor.output.len();
        let length = input.len() as u64;
        [8 << 32 | end as u64, session.raw(), length << 32 | start as u64, length]
    };
    world.executor.arena.begin().commit(&turn);
    world.executor.in_flight(session, InFlight::Execute);
    let mut world = world.die();
    assert_eq!(world.recover(), None);
    world.check();
    assert_eq!(world.turn(client, b"NG\r\n"), Served::LookAt { more: true });
    world.turn(client, b"");
    world.write();
    while world.flush(client) == Flushed::More {}
    // The counter was never set: the second request is the first to reach it here.
    assert_eq!(world.received(client), b":1\r\n:1\r\n+PONG\r\n");
    let read = world.executor.arena.get(session).total_in.get().to_native();
    assert_eq!(read, 26 + 4);
    world.check();
}

/// A client that has sent its last and closed its side is answered all the same.
#[test]
fn what_was_read_runs_before_the_end_is_read() {
    let mut world = World::new(u64::MAX);
    let client = world.connect();
    (world.pipe(client).ended, world.pipe(client).dies_in) = (true, Some(0));
    let died = catch_unwind(AssertUnwindSafe(|| world.turn(client, b"INCR n\r\nINCR n\r\n")));
    assert!(died.is_err_and(|why| why.is::<Died>()));
    let mut world = world.die();
    assert_eq!(world.recover(), None);
    assert_eq!(world.turn(client, b""), Served::More);
    world.write();
    assert_eq!(world.received(client), b":1\r\n:2\r\n");
    assert_eq!(world.turn(client, b""), Served::Close);
    world.check();
}

#[test]
fn only_the_session_whose_socket_was_in_use_is_in_doubt() {
    for what in [InFlight::Read, InFlight::Write] {
        let mut world = World::new(u64::MAX);
        let (first, second) = (world.connect(), world.connect());
        world.pipe(first).window = 0;
        world.pipe(second).window = 0;
        world.turn(first, b"PING\r\n");
        world.turn(second, b"PING\r\n");
        let session = world.executor.session(first).expect("session");
        world.executor.in_flight(session, what);
        world.pipe(first).uncounted = true;
        let mut world = world.die();
        assert_eq!(world.recover(), Some(first));
        assert!(!world.executor.has_output(first));
        world.pipe(second).window = usize::MAX;
        assert_eq!(world.flush(second), Flushed::All);
        assert_eq!(world.received(second), b"+PONG\r\n");
        world.executor.close(first).expect("memory");
        world.check();
    }
}

/// Who takes up what was left, and dies after some replies were kept, has not to have them kept again.
#[test]
fn replies_that_were_kept_stay_so_while_a_read_is_settled_again() {
    let mut world = World::new(u64::MAX);
    let (first, second) = (world.connect(), world.connect());
    world.turn(first, b"PING\r\n");
    world.pipe(second).dies_in = Some(0);
    let died = catch_unwind(AssertUnwindSafe(|| world.turn(second, b"PING\r\n")));
    assert!(died.is_err_and(|why| why.is::<Died>()));
    let mut world = world.die();
    // One who has noted what was read, kept the reply to the first client, and died.
    let mut payload = world.executor.arena.payload();
    let mut turn = Turn::left(&world.executor.arena, &payload).expect("a turn");
    (payload[2], payload[3]) = (payload[2] + (6 << 32), 1 << 48 | 1 << 32 | 6);
    world.executor.arena.begin().commit(&payload);
    (turn.length, turn.read_bytes) = (6, 6);
    // Another one, who dies right after it has settled the read.
    world.executor.output.adopt(1, payload[2] as u32 as usize, payload[0] as u32 as usize).unwrap();
    assert_eq!(world.executor.take_up_read(&mut turn, 0), Ok(true));
    assert_eq!(world.executor.arena.payload(), payload);
    let mut world = world.die();
    assert_eq!(world.recover(), None);
    assert!(!world.executor.has_output(first), "its reply was kept twice");
    world.turn(second, b"");
    world.write();
    assert_eq!(world.received(second), b"+PONG\r\n");
    world.check();
}

/// A client that sends requests and knows the replies.
struct Script {
    slot: u32,
    requests: Vec<u8>,
    sent: usize,
    replies: Vec<u8>,
    received: Vec<u8>,
}

impl Script {
    fn new(slot: u32, rng: &mut StdRng) -> Script {
        let (mut requests, mut replies, mut count) = (Vec::new(), Vec::new(), 0);
        for _ in 0..rng.random_range(1..40) {
            if rng.random_bool(0.5) {
                count += 1;
                requests.extend(format!("INCR of:{slot}\r\n").into_bytes());
                replies.extend(format!(":{count}\r\n").into_bytes());
            } else {
                let longest = if rng.random_bool(0.1) { 200_000 } else { 100 };
                let text = "e".repeat(rng.random_range(0..longest));
                requests.extend(echo(&text));
                replies.extend(bulk(&text));
            }
        }
        Script { slot, requests, sent: 0, replies, received: Vec::new() }
    }

    fn is_done(&self) -> bool {
        self.received.len() >= self.replies.len()
    }
}

/// Something that the loop does, during which the owner may die.
fn step(world: &mut World, script: &mut Script, rng: &mut StdRng) {
    let slot = script.slot;
    let more = rng.random_range(0..100_000).min(script.requests.len() - script.sent);
    world.pipe(slot).window = rng.random_range(0..200_000);
    let piece = &script.requests[script.sent..script.sent + more];
    script.sent += more;
    world.turn(slot, piece);
    if rng.random_bool(0.7) {
        world.write();
        if world.executor.has_output(slot) {
            world.flush(slot);
        }
    }
}

#[test]
fn an_owner_may_die_within_any_call_that_moves_bytes() {
    let mut deaths = 0;
    for seed in 0..400 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut world = World::new(u64::MAX);
        let mut scripts: Vec<Script> =
            (0..3).map(|_| Script::new(world.connect(), &mut rng)).collect();
        while !scripts.iter().all(Script::is_done) {
            let index = rng.random_range(0..scripts.len());
            let script = &mut scripts[index];
            world.pipe(script.slot).dies_in = rng.random_bool(0.3).then(|| rng.random_range(0..4));
            let stepped = catch_unwind(AssertUnwindSafe(|| step(&mut world, script, &mut rng)));
            if let Err(panic) = stepped {
                if !panic.is::<Died>() {
                    eprintln!("seed {seed}");
                    resume_unwind(panic);
                }
                deaths += 1;
                world = world.die();
                assert_eq!(world.recover(), None, "seed {seed}: all is counted");
                world.check();
            }
            for script in &mut scripts {
                let received = world.received(script.slot);
                script.received.extend(received);
            }
        }
        for script in scripts {
            assert!(script.received == script.replies, "seed {seed}: not what was asked for");
        }
        world.check();
    }
    assert!(deaths > 400, "{deaths} deaths");
}
