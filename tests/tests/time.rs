//! What happens by itself: keys that expire without being asked for, pauses that end.

use std::time::{Duration, Instant};

use hotredis_tests::client::Client;
use hotredis_tests::server::Setup;
use hotredis_tests::value::Value;

fn fence(control: &mut Client) {
    for _ in 0..2 {
        assert!(!control.call(&["CLIENT", "LIST"]).is_error());
    }
}

/// Waits until `done`, which nothing announces.
#[track_caller]
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "still not: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn expired_keys_go_without_being_asked_for() {
    let server = Setup::candidate().start();
    let mut client = server.connect();
    let sets: Vec<Vec<String>> = (0..2000)
        .map(|n| ["SET", &format!("key:{n}"), "x", "PX", "100"].map(str::to_owned).to_vec())
        .collect();
    client.pipeline(&sets);
    client.call(&["SET", "stays", "x"]);
    eventually("one key left", || client.call(&["DBSIZE"]) == Value::Integer(1));
    server.finish();
}

#[test]
fn a_watched_key_that_expires_does_not_break_the_transaction() {
    let server = Setup::candidate().start();
    let mut client = server.connect();
    client.call(&["SET", "k", "x", "PX", "30"]);
    assert_eq!(client.call(&["WATCH", "k"]), Value::ok());
    let mut other = server.connect();
    eventually("the key has expired", || other.call(&["GET", "k"]) == Value::NullBulk);
    client.call(&["MULTI"]);
    client.call(&["PING"]);
    let expected = client.call(&["EXEC"]);
    assert_eq!(expected, Value::NullArray, "a key that was alive when watched has changed");
    server.finish();
}

#[test]
fn paused_writes_wait_and_reads_do_not() {
    let server = Setup::candidate().start();
    let (mut control, mut client) = (server.connect(), server.connect());
    assert_eq!(control.call(&["SET", "k", "v"]), Value::ok());
    assert_eq!(control.call(&["CLIENT", "PAUSE", "100000", "WRITE"]), Value::ok());
    assert_eq!(client.call(&["GET", "k"]), Value::bulk("v"));
    for command in [&["SET", "k", "w"][..], &["PUBLISH", "c", "x"], &["FLUSHALL"]] {
        let mut blocked = server.connect();
        blocked.send(command);
        fence(&mut control);
        assert_eq!(blocked.try_drain().unwrap(), [], "{command:?} did not wait");
        drop(blocked);
    }
    client.send(&["INCR", "n"]);
    client.send(&["INCR", "n"]);
    fence(&mut control);
    assert_eq!(client.try_drain().unwrap(), []);
    assert_eq!(control.call(&["GET", "n"]), Value::NullBulk);
    assert_eq!(control.call(&["CLIENT", "UNPAUSE"]), Value::ok());
    assert_eq!(client.receive(), Value::Integer(1));
    assert_eq!(client.receive(), Value::Integer(2));
    server.finish();
}

#[test]
fn a_pause_of_everything_ends_by_itself() {
    let server = Setup::candidate().start();
    let (mut control, mut client) = (server.connect(), server.connect());
    let start = Instant::now();
    assert_eq!(control.call(&["CLIENT", "PAUSE", "150"]), Value::ok());
    assert_eq!(client.call(&["PING"]).text(), "PONG");
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(140), "PING waited {waited:?} only");
    server.finish();
}
