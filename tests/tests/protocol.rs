//! The protocol from outside: requests in any split, broken frames, bytes that are no requests.

use std::time::Duration;

use hotredis_tests::client::{Client, encode};
use hotredis_tests::rng::{Rng, SeedOnFailure, seed_or};
use hotredis_tests::server::{Server, Setup};
use hotredis_tests::value::{Value, quoted};

/// Waits until the server has taken in what was sent on other connections: its loop has gone
/// round twice.
fn fence(control: &mut Client) {
    for _ in 0..2 {
        assert_eq!(control.call(&["PING"]).text(), "PONG");
    }
}

/// Requests of every form, and how many replies they have.
fn conversation() -> (Vec<u8>, usize) {
    let mut bytes = encode(&["SET", "k", "a\r\nb\0"]);
    bytes.extend_from_slice(b"PING\r\n");
    bytes.extend(encode(&["GET", "k"]));
    bytes.extend_from_slice(b"ECHO \"q \\x41\"\n");
    bytes.extend_from_slice(b"*0\r\n\r\n");
    bytes.extend(encode(&["MULTI"]));
    bytes.extend(encode(&["APPEND", "k", ""]));
    bytes.extend(encode(&["EXEC"]));
    bytes.extend(encode(&["NOSUCH", "x"]));
    (bytes, 8)
}

fn replies(client: &mut Client, count: usize) -> Vec<Value> {
    (0..count).map(|_| client.receive()).collect()
}

#[test]
fn requests_may_be_cut_at_every_byte() {
    let server = Setup::candidate().start();
    let mut control = server.connect();
    let (bytes, count) = conversation();
    let mut client = server.connect();
    client.send_raw(&bytes);
    let expected = replies(&mut client, count);
    assert_eq!(expected[2], Value::bulk("a\r\nb\0"));
    assert_eq!(expected[3], Value::bulk("q A"));
    for cut in 1..bytes.len() {
        client.send_raw(&bytes[..cut]);
        fence(&mut control);
        client.send_raw(&bytes[cut..]);
        assert_eq!(replies(&mut client, count), expected, "cut at byte {cut}");
    }
    server.finish();
}

#[test]
fn requests_may_come_byte_by_byte() {
    let server = Setup::candidate().start();
    let mut control = server.connect();
    let (bytes, count) = conversation();
    let mut client = server.connect();
    client.send_raw(&bytes);
    let expected = replies(&mut client, count);
    for byte in &bytes {
        client.send_raw(&[*byte]);
        fence(&mut control);
    }
    assert_eq!(replies(&mut client, count), expected);
    server.finish();
}

#[test]
fn a_long_bulk_string_may_come_in_any_pieces() {
    let server = Setup::candidate().start();
    let seed = seed_or(21);
    let _shown = SeedOnFailure(seed);
    let mut rng = Rng::new(seed);
    let mut client = server.connect();
    for size in [16 * 1024 - 1, 16 * 1024, 32 * 1024 + 1, 300_000, 3_000_000] {
        let value = rng.bytes(size);
        let bytes = encode(&[b"SET".as_slice(), b"big", &value]);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at((1 + rng.below(100_000)).min(rest.len()));
            client.send_raw(piece);
            rest = tail;
        }
        assert_eq!(client.receive(), Value::ok());
        assert!(client.call(&["GET", "big"]) == Value::Bulk(value), "{size} bytes came back");
    }
    server.finish();
}

/// Sends bytes; the error that came last before the connection was closed.
#[track_caller]
fn refused(server: &Server, bytes: &[u8], expected: &str) {
    let mut client = server.connect();
    client.send_raw(bytes);
    let all = client.receive_until_closed();
    let shown = quoted(&bytes[..bytes.len().min(60)]);
    assert_eq!(all.last(), Some(&Value::error(expected)), "after {shown}");
}

#[test]
fn broken_frames_get_the_error_and_a_closed_connection() {
    let server = Setup::candidate().start();
    for (bytes, expected) in [
        (&b"*1\r\n:5\r\n"[..], "ERR Protocol error: expected '$', got ':'"),
        (b"*abc\r\n", "ERR Protocol error: invalid multibulk length"),
        (b"*2147483648\r\n", "ERR Protocol error: invalid multibulk length"),
        (b"*1\r\n$abc\r\n", "ERR Protocol error: invalid bulk length"),
        (b"*1\r\n$-1\r\n", "ERR Protocol error: invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "ERR Protocol error: invalid bulk length"),
        (b"PING\r\nSET a \"b\r\n", "ERR Protocol error: unbalanced quotes in request"),
        (b"SET a 'b'c\r\n", "ERR Protocol error: unbalanced quotes in request"),
    ] {
        refused(&server, bytes, expected);
    }
    refused(&server, &[b'x'; 70_000], "ERR Protocol error: too big inline request");
    let endless = |head: &[u8]| [head, &[b'1'; 70_000]].concat();
    refused(&server, &endless(b"*"), "ERR Protocol error: too big mbulk count string");
    refused(&server, &endless(b"*1\r\n$"), "ERR Protocol error: too big bulk count string");
    server.finish();
}

#[test]
fn browsers_are_hung_up_on_without_a_word() {
    let server = Setup::candidate().start();
    for bytes in [&b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nFLUSHALL\r\n"[..], b"Host: x\r\n"]
    {
        let mut client = server.connect();
        client.send_raw(bytes);
        assert_eq!(client.receive_until_closed(), []);
    }
    server.finish();
}

#[test]
fn what_was_answered_before_a_broken_frame_arrives() {
    let server = Setup::candidate().start();
    let mut client = server.connect();
    client.send_raw(b"PING\r\n*1\r\n$4\r\nPING\r\n*x\r\nPING\r\n");
    let pong = Value::Simple(b"PONG".to_vec());
    let error = Value::error("ERR Protocol error: invalid multibulk length");
    assert_eq!(client.receive_until_closed(), [pong.clone(), pong, error]);
    server.finish();
}

/// A client that has not given the password may not make the server hold much.
#[test]
fn strangers_may_send_little() {
    let server = Setup::candidate().directive("requirepass", "secret").start();
    refused(&server, b"*11\r\n", "ERR Protocol error: unauthenticated multibulk length");
    refused(&server, b"*1\r\n$16385\r\n", "ERR Protocol error: unauthenticated bulk length");
    server.finish();
}

/// Bytes that look like requests often enough to get past the first check.
fn garbage(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..1 + rng.below(8) {
        match rng.below(5) {
            0 => {
                let len = rng.below(300);
                bytes.extend(rng.bytes(len));
            }
            1 => bytes.extend_from_slice(format!("*{}\r\n", rng.within(-2..=2_000_000)).as_bytes()),
            2 => bytes.extend_from_slice(format!("${}\r\n", rng.within(-2..=600)).as_bytes()),
            3 => bytes.extend(encode(&["SET", "garbage", "x"])),
            _ => bytes.extend_from_slice(b"\r\n"),
        }
    }
    bytes
}

#[test]
fn garbage_disturbs_nobody_and_leaves_no_memory_behind() {
    /// What an allocator may keep for itself.
    const SLACK: u64 = 64 << 20;
    let server = Setup::candidate().start();
    let seed = seed_or(22);
    let _shown = SeedOnFailure(seed);
    let mut rng = Rng::new(seed);
    let mut good = server.connect();
    let mut before = 0;
    for round in 0..2_000i64 {
        let mut bad = server.connect();
        // The server may close the connection while this is still being sent.
        let _ = bad.try_send_raw(&garbage(&mut rng));
        if rng.percent(20) {
            let _ = bad.set_timeout(Duration::from_millis(1));
            let _ = bad.try_receive();
        }
        assert_eq!(good.call(&["INCR", "counter"]), Value::Integer(round + 1));
        if round == 500 {
            before = server.resident();
        }
    }
    let after = server.resident();
    assert!(after < before + SLACK, "resident memory went from {before} to {after} bytes");
    server.finish();
}

#[test]
fn a_frame_that_announces_much_takes_nothing_until_it_comes() {
    let server = Setup::candidate().start();
    let before = server.resident();
    let mut clients: Vec<Client> = (0..50).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send_raw(b"*2\r\n$3\r\nGET\r\n$536870912\r\nabc");
    }
    fence(&mut server.connect());
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 100 << 20, "50 announcements of 512 MiB took {grown} bytes");
    let mut many = server.connect();
    many.send_raw(b"*1048576\r\n$3\r\nDEL\r\n");
    fence(&mut server.connect());
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 120 << 20, "an announcement of a million arguments took {grown} bytes");
    server.finish();
}
