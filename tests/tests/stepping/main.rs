//! The generation that serves, as it was built, dies at every place: before and after each system call
//! that moves bytes, and between any two instructions of commands of every kind.
//!
//! | module | what |
//! | --- | --- |
//! | [`plays`] | what clients send, and must receive |
//! | [`cast`] | connections that play it |
//! | [`tracee`] | the process that is traced |
//! | [`calls`] | deaths at system calls: the process is killed, the keeper starts another |
//! | [`steps`] | deaths at instructions: the arena is copied, or the process is killed there too |
//! | [`heir`] | takes a copy of the arena up as a new generation does, and plays on to the end |
//!
//! `make test` takes a sample of the instructions; `make stepping` takes all of them, of the release
//! build.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod calls;
mod cast;
mod heir;
mod plays;
mod steps;
mod tracee;

use hotredis_tests::binaries;
use hotredis_tests::rng::{Rng, SeedOnFailure, seed_or};
use hotredis_tests::server::{Server, Setup};

/// Instructions from one death to the next in a short run: a prime, so that it keeps no step with loops.
const STRIDE: u64 = 173;

/// The same of plays in which most instructions copy bytes.
const LONG_STRIDE: u64 = 1_511;

/// Instructions within which the keeper is put to work in a short run.
const WITHIN: usize = 30_000;

/// Whether every instruction is to be tried, which `make stepping` asks for.
fn is_complete() -> bool {
    std::env::var_os("HOTREDIS_STEPPING").is_some_and(|value| value == "all")
}

/// A server that may be traced; `None`, and a message, if this user may not trace it.
fn server() -> Option<Server> {
    let server = Setup::of_binary(&binaries::hotredis()).arguments(&["--probation", "0"]).start();
    match tracee::Tracee::seize(server.serving().1) {
        Ok(tracee) => {
            tracee.release();
            Some(server)
        }
        Err(nix::errno::Errno::EPERM) => {
            eprintln!(
                "skipped: this user may not trace another process; see kernel.yama.ptrace_scope, or run \
                 the test as root"
            );
            server.finish();
            None
        }
        Err(errno) => panic!("the generation cannot be traced: {errno}"),
    }
}

#[test]
fn deaths_at_system_calls_that_move_bytes() {
    let Some(server) = server() else { return };
    let mut deaths = 0;
    for play in plays::all().into_iter().chain([plays::huge_reply()]) {
        let found = calls::walk(&server, &|endpoint| cast::prepare(endpoint, &play));
        // At least a read and a write, each before and after.
        assert!(found >= 4, "{}: only {found} places", play.name);
        println!("{}: {found} deaths", play.name);
        deaths += found;
    }
    println!("{deaths} deaths at system calls");
    server.finish();
}

#[test]
fn deaths_at_system_calls_as_connections_come_and_go() {
    let Some(server) = server() else { return };
    let found = calls::walk(&server, &cast::come_and_go);
    println!("{found} deaths at system calls");
    assert!(found >= 8, "only {found} places");
    server.finish();
}

#[test]
fn deaths_at_instructions() {
    let Some(server) = server() else { return };
    let mut total = steps::Census::default();
    for play in plays::all() {
        let stride = match play.is_large() {
            _ if is_complete() => 1,
            false => STRIDE,
            true => LONG_STRIDE,
        };
        let census = steps::walk(&server, &play, stride);
        println!("{}: {census}", play.name);
        assert!(census.proved >= 20, "{}: {census}", play.name);
        total.add(&census);
    }
    println!("all plays: {total}");
    server.finish();
}

#[test]
fn deaths_at_instructions_with_the_keeper_at_work() {
    let Some(server) = server() else { return };
    let seed = seed_or(707);
    let _shown = SeedOnFailure(seed);
    let mut rng = Rng::new(seed);
    let (mut deaths, mut tried) = (0, 0);
    for play in plays::all() {
        for _ in 0..if is_complete() { 100 } else { 1 } {
            tried += 1;
            deaths += usize::from(steps::die(&server, &play, 1 + rng.below(WITHIN) as u64));
        }
    }
    println!("{deaths} deaths at instructions, taken up by the keeper");
    // Some plays have fewer instructions.
    assert!(deaths * 3 >= tried, "only {deaths} of {tried}");
    server.finish();
}
