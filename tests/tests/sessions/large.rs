//! A hundred megabytes on their way in, or out, and readers that take their time.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};

use hotredis_tests::blocked::upgrade;
use hotredis_tests::client::encode;
use hotredis_tests::server::Setup;
use hotredis_tests::value::Value;
use nix::sys::signal::Signal;

use crate::bytes::{connect, expect_bytes, noise, send};
use crate::stage::{SetWhenDropped, Stage};

const SIZE: usize = 100 << 20;

/// Upgrades while bytes flow.
const UPGRADES: usize = 12;

/// A server on which a command of a hundred megabytes is no hang, however busy the machine is.
fn stage() -> Stage {
    Stage::new(Setup::hotredis().arguments(&["--hang-timeout", "60"]), &[])
}

/// What `SET KEY VALUE` sends.
fn set(key: &str, value: &[u8]) -> Vec<u8> {
    encode(&[b"SET", key.as_bytes(), value])
}

/// What the reply to `GET` is.
fn bulk(value: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
}

/// Ends of pieces in which something of this length is moved: in its first bytes, where the server begins to
/// keep it in another way, and in its last ones.
fn cuts(length: usize) -> Vec<usize> {
    let cuts = [1, 4, 13, 30, 100, 16_384, 32_767, 32_768, 65_537, 1 << 20, (10 << 20) + 7];
    let last = [length / 2, length - (1 << 20), length - 3, length - 2, length - 1, length];
    cuts.into_iter().chain(last).collect()
}

#[test]
fn in_the_midst_of_sending_it() {
    let stage = stage();
    let value = noise(SIZE, 1);
    let mut senders = stage.endpoints.each_ref().map(connect);
    let requests = ["tcp", "unix"].map(|key| set(key, &value));
    let mut sent = 0;
    for (count, cut) in cuts(requests[0].len()).into_iter().enumerate() {
        for (sender, request) in senders.iter_mut().zip(&requests) {
            let end = cut.min(request.len());
            send(sender, &request[sent.min(end)..end]);
        }
        sent = cut;
        upgrade(&stage.server, count);
    }
    send(&mut senders[1], &requests[1][sent..]);
    let reply = bulk(&value);
    for (sender, key) in senders.iter_mut().zip(["tcp", "unix"]) {
        expect_bytes(sender, b"+OK\r\n", key);
        send(sender, &encode(&["GET", key]));
        expect_bytes(sender, &reply, key);
    }
    drop(senders);
    stage.finish();
}

#[test]
fn in_the_midst_of_receiving_it() {
    let stage = stage();
    let value = noise(SIZE, 2);
    let mut readers = stage.endpoints.each_ref().map(connect);
    send(&mut readers[0], &set("big", &value));
    expect_bytes(&mut readers[0], b"+OK\r\n", "SET");
    for reader in &mut readers {
        send(reader, &encode(&["GET", "big"]));
    }
    let reply = bulk(&value);
    let mut read = 0;
    for (count, cut) in cuts(reply.len()).into_iter().enumerate() {
        upgrade(&stage.server, count);
        for reader in &mut readers {
            expect_bytes(reader, &reply[read..cut], "GET");
        }
        read = cut;
    }
    for reader in &mut readers {
        send(reader, &encode(&["PING"]));
        expect_bytes(reader, b"+PONG\r\n", "PING");
    }
    drop(readers);
    stage.finish();
}

/// Sets and gets a value over and over until told to stop.
fn to_and_fro(mut connection: File, key: &str, value: &[u8], stop: &AtomicBool) {
    let (request, reply) = (set(key, value), bulk(value));
    while !stop.load(Ordering::Relaxed) {
        send(&mut connection, &request);
        expect_bytes(&mut connection, b"+OK\r\n", key);
        send(&mut connection, &encode(&["GET", key]));
        expect_bytes(&mut connection, &reply, key);
    }
}

#[test]
fn while_it_flows() {
    let stage = stage();
    let stop = AtomicBool::new(false);
    let values = [noise(SIZE, 3), noise(SIZE, 4)];
    std::thread::scope(|scope| {
        let mut flows = Vec::new();
        for (number, value) in values.iter().enumerate() {
            let (connection, stop) = (connect(&stage.endpoints[number]), &stop);
            flows.push(
                scope.spawn(move || to_and_fro(connection, ["tcp", "unix"][number], value, stop)),
            );
        }
        let _stop = SetWhenDropped(&stop);
        for count in 0..UPGRADES {
            upgrade(&stage.server, count);
            assert!(flows.iter().all(|flow| !flow.is_finished()), "a flow has ended early");
        }
    });
    stage.finish();
}

/// The predecessor had unsent output of its own when it handed over. The sockets have room again by the time
/// that it finds its successor hung.
#[test]
fn who_reads_goes_on_when_the_predecessor_serves_again() {
    let arguments = ["--probation", "600", "--hang-timeout", "0.5"];
    let stage = Stage::new(Setup::hotredis().arguments(&arguments), &[]);
    let value = noise(20 << 20, 5);
    let mut readers = stage.endpoints.each_ref().map(connect);
    send(&mut readers[0], &set("big", &value));
    expect_bytes(&mut readers[0], b"+OK\r\n", "SET");
    let reply = bulk(&value);
    let half = reply.len() / 2;
    for reader in &mut readers {
        send(reader, &encode(&["GET", "big"]));
        expect_bytes(reader, &reply[..1], "GET");
    }
    upgrade(&stage.server, 0);
    for reader in &mut readers {
        expect_bytes(reader, &reply[1..half], "GET");
    }
    // Once somebody else was served a few times, the sockets are full and nothing is being written.
    let mut control = stage.control();
    (0..100).for_each(|_| drop(control.call(&["PING"])));
    stage.signal_serving(Signal::SIGSTOP);
    for reader in &mut readers {
        expect_bytes(reader, &reply[half..], "GET");
    }
    drop((readers, control));
    stage.finish();
}

/// Replies of a megabyte each, far more than sockets hold, of which little is read between upgrades.
#[test]
fn a_slow_reader_with_megabytes_unsent() {
    const VALUES: usize = 24;
    let stage = stage();
    let mut control = stage.control();
    let values: Vec<Vec<u8>> =
        (0..VALUES).map(|number| noise((1 << 20) + 31 * number, number as u64)).collect();
    let mut readers = stage.endpoints.each_ref().map(connect);
    let mut expected = Vec::new();
    for (number, value) in values.iter().enumerate() {
        let key = format!("key{number}");
        assert_eq!(control.call(&[b"SET", key.as_bytes(), value]), Value::ok());
        readers.iter_mut().for_each(|reader| send(reader, &encode(&["GET", &key])));
        expected.extend_from_slice(&bulk(value));
    }
    // Requests and replies behind them, while the first are unread.
    readers.iter_mut().for_each(|reader| send(reader, &encode(&["INCR", "n"])));
    let pieces = expected.chunks(expected.len() / 7 + 1);
    for (count, piece) in pieces.enumerate() {
        upgrade(&stage.server, count);
        readers.iter_mut().for_each(|reader| expect_bytes(reader, piece, "GET"));
    }
    let mut counts = [0; 2];
    for (reader, count) in readers.iter_mut().zip(&mut counts) {
        *count =
            crate::bytes::Replies::new(reader.try_clone().expect("a descriptor")).next().integer();
    }
    counts.sort_unstable();
    assert_eq!(counts, [1, 2]);
    drop((readers, control));
    stage.finish();
}
