//! Connections that wait in the accept queue, or come while nobody serves.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};

use hotredis_tests::blocked::upgrade;
use hotredis_tests::client::{Client, Endpoint};
use hotredis_tests::server::Setup;
use hotredis_tests::value::Value;

use crate::stage::{SetWhenDropped, Stage, await_clients};

const UPGRADES: usize = 60;

/// Connects over and over, with a request each; the last few connections stay open for a while.
fn come_and_go(endpoint: &Endpoint, stop: &AtomicBool) -> Vec<i64> {
    let (mut numbers, mut open) = (Vec::new(), VecDeque::new());
    while !stop.load(Ordering::Relaxed) {
        let mut client = Client::connect(endpoint);
        numbers.push(client.call(&["INCR", "n"]).integer());
        open.push_back(client);
        if open.len() > 20 {
            // It was served, and is not forgotten.
            let mut oldest: Client = open.pop_front().expect("there are some");
            assert_eq!(oldest.call(&["PING"]), Value::Simple(b"PONG".to_vec()));
        }
    }
    numbers
}

/// Connects at once, as many as the queue holds, with a request each that is answered later.
fn come_together(endpoint: &Endpoint, stop: &AtomicBool) -> Vec<i64> {
    let mut numbers = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let mut crowd: Vec<Client> = (0..100).map(|_| Client::connect(endpoint)).collect();
        crowd.iter_mut().for_each(|client| client.send(&["INCR", "n"]));
        numbers.extend(crowd.iter_mut().map(|client| client.receive().integer()));
    }
    numbers
}

#[test]
fn who_connects_during_upgrades_is_served() {
    let stage = Stage::new(Setup::hotredis(), &[]);
    let stop = AtomicBool::new(false);
    let mut numbers = std::thread::scope(|scope| {
        let mut coming = Vec::new();
        for endpoint in &stage.endpoints {
            coming.push(scope.spawn(|| come_and_go(endpoint, &stop)));
            coming.push(scope.spawn(|| come_together(endpoint, &stop)));
        }
        let stopping = SetWhenDropped(&stop);
        (0..UPGRADES).for_each(|count| upgrade(&stage.server, count));
        drop(stopping);
        let joined = coming.into_iter().map(|thread| thread.join().expect("each has its reply"));
        joined.flatten().collect::<Vec<i64>>()
    });
    // Each request was run once, and answered.
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=numbers.len() as i64).collect::<Vec<_>>());
    assert!(numbers.len() > 10 * UPGRADES, "only {} connections", numbers.len());
    let mut control = stage.control();
    await_clients(&mut control, 1);
    let info = control.call(&["INFO", "stats"]);
    assert!(info.text().contains("rejected_connections:0"), "{}", info.text());
    drop(control);
    stage.finish();
}
