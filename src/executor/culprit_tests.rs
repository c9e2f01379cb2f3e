//! Commands in which owners die, and commands that panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::replies::Flushed;
use super::tests::World;
use super::turn::Served;
use super::{Death, Left};
use crate::config::Authority;
use crate::root::HandoffState;

const STOPPED: &str = "-ERR the command was stopped because two processes died in running it: it had \
    no effect, and its connection is closed\r\n";

const PANICKED: &str = "-ERR internal error: the command was stopped, and had no effect\r\n";

fn died(own: bool) -> Left {
    Left::Died(Death { own, cause: "SIGSEGV".into() })
}

/// A world in which `DEBUG PANIC` is allowed: where an owner is meant to die in a command, it panics.
fn world() -> World {
    let mut world = World::new(u64::MAX);
    allow_debug(&mut world);
    world
}

fn allow_debug(world: &mut World) {
    let state = &mut world.executor.state;
    let pair: [(&[u8], &[u8]); 1] = [(b"enable-debug-command", b"yes")];
    state.config = state.config.prepare(&pair, Authority::Startup).expect("a value").values;
}

/// Gives a client its turn, in which a command panics.
fn panics(world: &mut World, client: u32, input: &[u8]) {
    let turn = AssertUnwindSafe(|| world.turn(client, input));
    assert!(catch_unwind(turn).is_err(), "nothing has panicked");
}

/// The owner dies in the command at which it stands; the next takes up what it left.
fn next(world: World, left: &Left) -> World {
    let mut world = world.die();
    allow_debug(&mut world);
    assert_eq!(world.executor.recover(&mut world.pipes, left).expect("memory"), None);
    world.check();
    world
}

fn text(world: &mut World, client: u32) -> String {
    while world.flush(client) == Flushed::More {}
    String::from_utf8_lossy(&world.received(client)).into_owned()
}

fn state(world: &World) -> HandoffState {
    world.executor.arena.get(world.executor.root()).handoff
}

#[test]
fn a_command_in_which_two_owners_die_is_stopped() {
    let mut world = world();
    let (client, other) = (world.connect(), world.connect());
    panics(&mut world, client, b"INCR n\r\nDEBUG PANIC\r\nINCR n\r\n");
    let mut world = next(world, &died(true));
    // What others do meanwhile makes no difference.
    world.turn(other, b"INCR n\r\n");
    panics(&mut world, client, b"INCR n\r\n");
    let mut world = next(world, &died(true));
    assert_eq!(text(&mut world, client), format!(":1\r\n{STOPPED}"));
    assert!(world.executor.is_closing(client), "its client is closed");
    assert_eq!(world.turn(client, b""), Served::LookAt { more: false }, "and runs no more");
    world.turn(other, b"INCR n\r\n");
    world.write();
    assert_eq!(text(&mut world, other), ":2\r\n:3\r\n");
    let state = state(&world);
    assert_eq!(state.crashes.get().to_native(), 2);
    assert_eq!(state.poisoned.get().to_native(), 1);
    assert!(state.crash_cause.get().starts_with(b"SIGSEGV\0"));
}

#[test]
fn owners_that_are_killed_from_outside_say_nothing_about_the_command() {
    let mut world = world();
    let client = world.connect();
    panics(&mut world, client, b"DEBUG PANIC\r\n");
    for own in [false, false, true, false, false] {
        world = next(world, &died(own));
        panics(&mut world, client, b"");
    }
    let mut world = next(world, &died(true));
    assert_eq!(text(&mut world, client), STOPPED);
}

#[test]
fn another_command_s_death_begins_anew() {
    let mut world = world();
    let (first, second) = (world.connect(), world.connect());
    panics(&mut world, first, b"DEBUG PANIC\r\n");
    for client in [second, first, second, first] {
        world = next(world, &died(true));
        let input: &[u8] = if client == second { b"DEBUG PANIC\r\n" } else { b"" };
        panics(&mut world, client, input);
    }
    assert_eq!(state(&world).poisoned.get().to_native(), 0);
    let mut world = next(world, &died(true));
    panics(&mut world, first, b"");
    let mut world = next(world, &died(true));
    assert_eq!(text(&mut world, first), STOPPED);
    assert!(!world.executor.is_closing(second));
}

/// Whoever takes up what was left may die too, which counts for itself and not for the command.
#[test]
fn a_death_in_the_recovery_is_no_death_in_the_command() {
    let mut world = world();
    let client = world.connect();
    panics(&mut world, client, b"INCR n\r\nDEBUG PANIC\r\n");
    let mut world = world.die();
    // As far as the first commit of a recovery.
    world.executor.arena.recover();
    let turn = super::turn::Turn::left(&world.executor.arena, &world.executor.arena.payload());
    world.executor.note_suspect(turn.as_ref(), &died(true));
    let mut world = next(world, &died(true));
    assert_eq!(text(&mut world, client), ":1\r\n");
    assert!(!world.executor.is_closing(client), "it has been run once");
    panics(&mut world, client, b"");
    let mut world = next(world, &died(true));
    assert_eq!(text(&mut world, client), STOPPED);
}

#[test]
fn a_request_that_is_not_whole_may_be_the_reason_too() {
    let mut world = world();
    let client = world.connect();
    let session = world.executor.session(client).expect("session");
    for _ in 0..2 {
        world.turn(client, b"");
        // What an owner leaves that dies in looking at the first bytes of a request.
        let input = b"*1\r\n$4\r\nPI";
        world.executor.input.bytes_mut()[..input.len()].copy_from_slice(input);
        let start = world.executor.output.start() as u64;
        let length = input.len() as u64;
        let read = if world.executor.arena.get(session).input.get().is_null() { length } else { 0 };
        world.executor.arena.begin().commit(&[start, session.raw(), length << 32 | start, read]);
        world.executor.in_flight(session, super::InFlight::Execute);
        world = next(world, &died(true));
    }
    assert_eq!(text(&mut world, client), STOPPED);
}

#[test]
fn a_command_that_panics_is_its_client_s_error() {
    let mut world = world();
    let (client, other) = (world.connect(), world.connect());
    world.turn(other, b"INCR n\r\n");
    panics(&mut world, client, b"INCR n\r\nDEBUG PANIC\r\nINCR n\r\n");
    let left = Left::Panicked("of a test".into());
    for _ in 0..2 {
        assert_eq!(world.executor.recover(&mut world.pipes, &left).expect("memory"), None);
        world.check();
        world.turn(client, b"INCR n\r\n");
        world.write();
        panics(&mut world, client, b"INCR n\r\nDEBUG PANIC\r\n");
    }
    assert_eq!(world.executor.recover(&mut world.pipes, &left).expect("memory"), None);
    let expected = format!(":2\r\n{PANICKED}:3\r\n:4\r\n:5\r\n{PANICKED}:6\r\n:7\r\n{PANICKED}");
    assert_eq!(text(&mut world, client), expected);
    assert_eq!(text(&mut world, other), ":1\r\n");
    assert!(!world.executor.is_closing(client));
    assert_eq!(state(&world).panics.get().to_native(), 3);
    assert_eq!(state(&world).crashes.get().to_native(), 0);
    world.check();
}

#[test]
fn a_transaction_in_which_a_command_panics_has_not_happened() {
    let mut world = world();
    let client = world.connect();
    world.turn(client, b"MULTI\r\nINCR n\r\nDEBUG PANIC\r\nINCR n\r\n");
    panics(&mut world, client, b"EXEC\r\nGET n\r\nEXEC\r\n");
    let left = Left::Panicked("of a test".into());
    assert_eq!(world.executor.recover(&mut world.pipes, &left).expect("memory"), None);
    world.check();
    world.turn(client, b"");
    world.write();
    let queued = "+QUEUED\r\n".repeat(3);
    let expected = format!("+OK\r\n{queued}{PANICKED}$-1\r\n-ERR EXEC without MULTI\r\n");
    assert_eq!(text(&mut world, client), expected);
}
