//! After an upgrade the keeper is the new program too, with the same pid, and holds what it held.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hotredis_tests::binaries;
use hotredis_tests::client::Client;
use hotredis_tests::counting::Counting;
use hotredis_tests::server::{Server, Setup};
use hotredis_tests::value::Value;
use nix::sys::signal::Signal;

const PATIENCE: Duration = Duration::from_secs(30);

fn server(arguments: &[&str]) -> Server {
    Setup::first_build().arguments(arguments).start()
}

fn program(server: &Server) -> PathBuf {
    fs::read_link(format!("/proc/{}/exe", server.pid())).unwrap()
}

#[track_caller]
fn await_program(server: &Server, build: usize) {
    let end = Instant::now() + PATIENCE;
    while program(server) != binaries::two_builds()[build].canonicalize().unwrap() {
        assert!(Instant::now() < end, "the keeper stays {:?}:\n{}", program(server), server.log());
    }
    // It answers, so it has taken everything up.
    server.serving();
}

#[test]
fn it_holds_what_it_held() {
    let server = server(&["--probation", "0"]);
    let pid = server.pid();
    let mut idle: Vec<Client> = (0..300).map(|_| server.connect()).collect();
    let counting = Counting::start(&server, &[1, 1, 3, 16, 100]);
    for round in 0..6 {
        let build = (round + 1) % 2;
        server.upgrade_to(build);
        await_program(&server, build);
        assert_eq!(server.pid(), pid);
        // It knows of connections that were there, that are new, and that have closed.
        idle.truncate(250);
        idle.extend((0..50).map(|_| server.connect()));
        if round % 2 == 0 {
            server.kill_serving();
        }
    }
    counting.end();
    for client in &mut idle {
        assert_eq!(client.call(&["PING"]), Value::Simple(b"PONG".to_vec()));
    }
    let history = server.cli(&["history"]);
    assert_eq!(String::from_utf8_lossy(&history.stdout).lines().count(), 1 + 6);
    server.finish();
}

#[test]
fn not_before_the_probation_is_over() {
    let server = server(&["--probation", "60"]);
    server.upgrade_to(1);
    let first = binaries::two_builds()[0].canonicalize().unwrap();
    assert_eq!(program(&server), first);
    assert!(server.cli(&["rollback"]).status.success());
    assert_eq!(server.serving().0, 1);
    assert_eq!(program(&server), first);
    server.finish();
}

/// One that was started in place of another is renewed like any other, and one that was renewed can be
/// replaced.
#[test]
fn keepers_may_change_in_any_way() {
    let server = server(&["--probation", "0"]);
    let counting = Counting::start(&server, &[1, 10]);
    for round in 0..4 {
        server.kill_keeper();
        server.upgrade_to((round + 1) % 2);
        await_program(&server, (round + 1) % 2);
    }
    server.kill_serving();
    server.kill_keeper();
    server.kill_serving();
    counting.end();
    server.finish();
}

/// A keeper that stops while it becomes another program has not forgotten that.
#[test]
fn a_signal_that_comes_meanwhile_is_heeded() {
    for _ in 0..10 {
        let server = server(&["--probation", "0"]);
        server.upgrade_to(1);
        server.signal(Signal::SIGTERM);
        let end = Instant::now() + PATIENCE;
        while !server.log().contains("the keeper exits too") {
            assert!(Instant::now() < end, "{}", server.log());
        }
        server.abandon();
    }
}
