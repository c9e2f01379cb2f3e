//! What the server owes its clients: slow readers, limits of unread output, silenced replies,
//! MONITOR.

use hotredis_tests::client::{Client, encode};
use hotredis_tests::server::{Server, Setup};
use hotredis_tests::value::Value;

fn fence(control: &mut Client) {
    for _ in 0..2 {
        assert_eq!(control.call(&["PING"]).text(), "PONG");
    }
}

#[test]
fn a_slow_reader_gets_megabytes_in_order_and_holds_nobody_up() {
    const COUNT: usize = 40;
    const SIZE: usize = 1 << 20;
    let server = Setup::candidate().start();
    let mut other = server.connect();
    for n in 0..4u8 {
        let value = vec![b'a' + n; SIZE];
        let set = [b"SET".to_vec(), format!("big{n}").into_bytes(), value];
        assert_eq!(other.call(&set), Value::ok());
    }
    let mut slow = server.connect();
    let gets: Vec<u8> =
        (0..COUNT).flat_map(|n| encode(&["GET", &format!("big{}", n % 4)])).collect();
    slow.send_raw(&gets);
    fence(&mut other);
    for n in 1..=1000 {
        assert_eq!(other.call(&["INCR", "n"]), Value::Integer(n));
    }
    for n in 0..COUNT {
        let Value::Bulk(bytes) = slow.receive() else { panic!("reply {n} is no string") };
        assert_eq!(bytes.len(), SIZE);
        let letter = b'a' + (n % 4) as u8;
        assert!(bytes.iter().all(|b| *b == letter), "reply {n} is another one's");
    }
    assert_eq!(slow.call(&["PING"]).text(), "PONG");
    server.finish();
}

#[test]
fn a_reader_that_goes_away_takes_its_unread_output_along() {
    let server = Setup::candidate().start();
    let mut other = server.connect();
    other.call(&[b"SET".to_vec(), b"big".to_vec(), vec![b'x'; 1 << 20]]);
    let before = server.resident();
    for _ in 0..20 {
        let mut slow = server.connect();
        let gets: Vec<u8> = (0..30).flat_map(|_| encode(&["GET", "big"])).collect();
        slow.send_raw(&gets);
        fence(&mut other);
    }
    // Each left about 30 MB unread.
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 200 << 20, "{grown} bytes stayed");
    server.finish();
}

/// Publishes until the subscriber is gone; how many megabytes that took.
fn publish_until_closed(server: &Server, publisher: &mut Client) -> usize {
    let message = vec![b'm'; 1 << 20];
    for sent in 1..200 {
        let command = [b"PUBLISH".to_vec(), b"channel".to_vec(), message.clone()];
        if publisher.call(&command) == Value::Integer(0) {
            return sent;
        }
    }
    panic!("the subscriber was never closed; {:?}", server.info("client_recent_max_output_buffer"))
}

#[test]
fn a_subscriber_that_does_not_read_is_closed_at_its_limit() {
    let server =
        Setup::candidate().directive("client-output-buffer-limit", "pubsub 20971520 0 0").start();
    let mut subscriber = server.connect();
    subscriber.send(&["SUBSCRIBE", "channel"]);
    assert_eq!(subscriber.receive().elements().len(), 3);
    let mut publisher = server.connect();
    let sent = publish_until_closed(&server, &mut publisher);
    assert!(sent > 20, "closed after {sent} MiB, below its limit of 20");
    assert_eq!(publisher.call(&["PUBSUB", "NUMSUB", "channel"]).elements()[1], Value::Integer(0));
    server.finish();
}

#[test]
fn an_ordinary_client_has_its_own_limit() {
    let server =
        Setup::candidate().directive("client-output-buffer-limit", "normal 8388608 0 0").start();
    let mut other = server.connect();
    other.call(&[b"SET".to_vec(), b"big".to_vec(), vec![b'x'; 1 << 20]]);
    let mut slow = server.connect();
    let gets: Vec<u8> = (0..60).flat_map(|_| encode(&["GET", "big"])).collect();
    slow.send_raw(&gets);
    fence(&mut other);
    // What it reads now ends before the sixtieth reply.
    let mut whole = 0;
    while slow.try_receive().is_ok() {
        whole += 1;
    }
    assert!(whole < 60, "all {whole} replies came: nothing was limited");
    assert_eq!(other.call(&["PING"]).text(), "PONG");
    server.finish();
}

#[test]
fn replies_can_be_silenced() {
    let server = Setup::candidate().start();
    let (mut client, mut control) = (server.connect(), server.connect());
    client.send(&["CLIENT", "REPLY", "SKIP"]);
    client.send(&["SET", "a", "1"]);
    assert_eq!(client.call(&["GET", "a"]), Value::bulk("1"));
    client.send(&["CLIENT", "REPLY", "OFF"]);
    client.send(&["SET", "a", "2"]);
    client.send(&["NOSUCH"]);
    client.send(&["GET", "a"]);
    fence(&mut control);
    assert_eq!(client.try_drain().unwrap(), []);
    assert_eq!(client.call(&["CLIENT", "REPLY", "ON"]), Value::ok());
    assert_eq!(client.call(&["GET", "a"]), Value::bulk("2"));
    server.finish();
}

/// The part of a line of MONITOR behind the time, and whether the time is one.
fn monitored(value: &Value) -> String {
    let text = value.text();
    let (time, rest) = text.split_once(' ').expect("a time and the rest");
    let (seconds, micros) = time.split_once('.').expect("seconds and microseconds");
    assert!(seconds.parse::<u64>().unwrap() > 1_700_000_000, "{time}");
    assert!(micros.len() == 6 && micros.parse::<u64>().is_ok(), "{time}");
    rest.to_owned()
}

#[test]
fn monitor_shows_what_others_do() {
    let server = Setup::candidate().start();
    let mut monitor = server.connect();
    assert_eq!(monitor.call(&["MONITOR"]), Value::ok());
    let mut client = server.connect();
    let from = format!("[0 {}]", client.local_addr().unwrap());
    let commands: [&[&str]; 10] = [
        &["set", "k", "a \"b\"\n\0\u{e4}"],
        &["AUTH", "user", "password"],
        &["GET"],
        &["NOSUCH", "x"],
        &["CONFIG", "GET", "timeout"],
        &["HELLO", "2", "AUTH", "default", "x"],
        &["MULTI"],
        &["GET", "k"],
        &["EXEC"],
        &["PING"],
    ];
    for command in commands {
        client.call(command);
    }
    // Requests that were refused and administrators' commands are not shown, passwords neither.
    for expected in [
        r#""set" "k" "a \"b\"\n\x00\xc3\xa4""#,
        r#""AUTH" "(redacted)" "(redacted)""#,
        r#""HELLO" "2" "AUTH" "(redacted)" "(redacted)""#,
        r#""MULTI""#,
        r#""GET" "k""#,
        r#""EXEC""#,
        r#""PING""#,
    ] {
        assert_eq!(monitored(&monitor.receive()), format!("{from} {expected}"));
    }
    // The database is the one in use after the command.
    client.call(&["SELECT", "3"]);
    let line = monitored(&monitor.receive());
    assert!(line.starts_with("[3 ") && line.ends_with(r#""SELECT" "3""#), "{line}");
    assert_eq!(monitor.call(&["RESET"]).text(), "RESET");
    client.call(&["PING"]);
    fence(&mut client);
    assert_eq!(monitor.try_drain().unwrap(), []);
    server.finish();
}
