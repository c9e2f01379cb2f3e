//! `--no-keeper`: one process, which upgrades itself and changes its pid.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use hotredis_tests::binaries;
use hotredis_tests::client::Client;
use hotredis_tests::counting::Counting;
use hotredis_tests::server::{Server, Setup, TempDir};
use hotredis_tests::value::Value;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PATIENCE: Duration = Duration::from_secs(30);

fn server(arguments: &[&str]) -> Server {
    let arguments = [&["--no-keeper"], arguments].concat();
    Setup::first_build().arguments(&arguments).start()
}

#[track_caller]
fn await_that(what: &str, server: &Server, holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}:\n{}", server.log());
    }
}

fn read_pid(file: &Path) -> Option<u32> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[test]
fn one_process_serves_upgrades_itself_and_stops() {
    let dir = TempDir::new();
    let pidfile = dir.path().join("pid");
    let server = server(&["--probation", "0", "--pidfile", &pidfile.to_string_lossy()]);
    let mut idle: Vec<Client> = (0..100).map(|_| server.connect()).collect();
    let counting = Counting::start(&server, &[1, 1, 3, 16, 100]);
    assert_eq!(server.processes().len(), 1);
    for round in 0..5 {
        let before = server.pid();
        if round == 4 {
            // To the file from which generation 1 was started.
            server.usr2();
        } else {
            server.upgrade_to((round + 1) % 2);
        }
        server.await_new_keeper();
        assert_ne!(server.pid(), before);
        await_that("the pid file", &server, || read_pid(&pidfile) == Some(server.pid()));
        await_that("one process", &server, || server.processes() == [server.pid()]);
        assert_eq!(server.info("process_id"), Some(server.pid().to_string()));
        idle.truncate(90);
        idle.extend((0..10).map(|_| server.connect()));
    }
    assert_eq!(server.info("handoff_upgrades").as_deref(), Some("5"));
    counting.end();
    for client in &mut idle {
        assert_eq!(client.call(&["PING"]), Value::Simple(b"PONG".to_vec()));
    }
    server.finish();
    assert!(!pidfile.exists());
}

#[test]
fn the_process_stands_by_for_its_successor() {
    let server = server(&["--probation", "60"]);
    let counting = Counting::start(&server, &[1, 10]);
    server.upgrade_to(1);
    assert_eq!(server.info("hotredis_build").as_deref(), Some("b"));
    assert!(server.cli(&["rollback"]).status.success());
    assert_eq!(server.info("hotredis_build").as_deref(), Some("a"));
    // One that crashes is replaced by it, too.
    server.upgrade_to(1);
    let (generation, pid) = server.serving();
    assert_eq!(generation, 2);
    kill(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
    await_that("it serves again", &server, || server.serving().0 == 1);
    // And so is the one that stands by: the successor goes on by itself.
    server.upgrade_to(1);
    server.kill_keeper();
    counting.end();
    server.upgrade_to(0);
    server.finish();
}

#[test]
fn what_is_refused_changes_nothing() {
    let server = server(&[]);
    let outcome = server.upgrade(Path::new("/bin/true"));
    assert!(!outcome.success);
    assert_eq!(server.serving(), (1, server.pid()));
    server.finish();
}

#[test]
fn a_client_may_shut_it_down() {
    let dir = TempDir::new();
    let pidfile = dir.path().join("pid");
    let mut server = server(&["--pidfile", &pidfile.to_string_lossy()]);
    server.connect().send(&["SHUTDOWN", "NOSAVE"]);
    let end = Instant::now() + PATIENCE;
    while server.is_running() {
        assert!(Instant::now() < end, "{}", server.log());
    }
    assert!(!pidfile.exists());
    server.abandon();
}

#[test]
fn a_start_that_fails_says_why() {
    let server = server(&[]);
    let output = std::process::Command::new(binaries::hotredis())
        .args(["serve", "--no-keeper", "--bind", "127.0.0.1", "--port", &server.port().to_string()])
        .arg("--runtime-dir")
        .arg(server.dir().join("other"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("ddress already in use"), "{log}");
    server.finish();
}
