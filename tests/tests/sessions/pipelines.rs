//! Thousands of requests in flight.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};

use hotredis_tests::blocked::upgrade;
use hotredis_tests::client::encode;
use hotredis_tests::rng::{Rng, SeedOnFailure, seed_or};
use hotredis_tests::server::Setup;
use hotredis_tests::value::Value;

use crate::bytes::{Replies, connect, send};
use crate::stage::{SetWhenDropped, Stage};

const UPGRADES: usize = 40;

/// Requests that are sent by one call.
const BATCH: usize = 4000;

/// The request with this number, and its reply. Each third one counts, the others have a length of their
/// own, some of them that of several reads.
fn exchange(number: u64, counter: &str, rng: &mut Rng) -> (Vec<u8>, Value) {
    if number.is_multiple_of(3) {
        return (encode(&["INCR", counter]), Value::Integer(number as i64 / 3 + 1));
    }
    let length = if rng.percent(1) { rng.below(50_000) } else { rng.below(100) };
    let text = format!("{number} {}", "x".repeat(length));
    (encode(&["ECHO", &text]), Value::bulk(text))
}

/// Sends requests until told to stop, without waiting for a reply.
fn ask(mut to: File, counter: &str, seed: u64, stop: &AtomicBool) {
    let (mut rng, mut number) = (Rng::new(seed), 0);
    while !stop.load(Ordering::Relaxed) {
        let mut batch = Vec::new();
        for _ in 0..BATCH {
            batch.extend_from_slice(&exchange(number, counter, &mut rng).0);
            number += 1;
        }
        send(&mut to, &batch);
    }
    send(&mut to, &encode(&["ECHO", "end"]));
}

/// Checks the replies up to the last one; says how many there were.
fn hear(from: File, counter: &str, seed: u64) -> u64 {
    let (mut rng, mut number) = (Rng::new(seed), 0);
    let mut replies = Replies::new(from);
    loop {
        let reply = replies.next();
        if reply == Value::bulk("end") {
            return number;
        }
        let expected = exchange(number, counter, &mut rng).1;
        assert!(reply == expected, "reply {number} of {counter} is {reply:?}, not {expected:?}");
        number += 1;
    }
}

#[test]
fn thousands_of_requests_in_flight() {
    let seed = seed_or(0x00f1_1947);
    let _seed = SeedOnFailure(seed);
    let stage = Stage::new(Setup::hotredis(), &[]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mut hearing = Vec::new();
        for (number, counter) in ["tcp0", "unix0", "tcp1", "unix1"].into_iter().enumerate() {
            let connection = connect(&stage.endpoints[number % 2]);
            let other = connection.try_clone().expect("a descriptor can be duplicated");
            let (stop, seed) = (&stop, seed + number as u64);
            scope.spawn(move || ask(connection, counter, seed, stop));
            hearing.push(scope.spawn(move || hear(other, counter, seed)));
        }
        let stopping = SetWhenDropped(&stop);
        for count in 0..UPGRADES {
            upgrade(&stage.server, count);
        }
        drop(stopping);
        for heard in hearing {
            let heard = heard.join().expect("all replies are right");
            assert!(heard >= BATCH as u64, "only {heard} requests");
        }
    });
    stage.finish();
}
