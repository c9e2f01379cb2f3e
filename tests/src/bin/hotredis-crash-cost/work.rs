//! What is asked of the servers.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hotredis_tests::client::{Client, encode};
use hotredis_tests::server::Setup;

use crate::stepper::{Counted, Stepper};

/// The words of the request with a number.
type Request = fn(u64) -> Vec<String>;

/// A command under measurement.
pub struct Case {
    /// By which it is asked for.
    pub name: &'static str,
    /// What is counted.
    request: Request,
    /// What is asked before, once for each number below the one given.
    before: Option<(u64, Request)>,
}

/// Keys and elements out of which requests choose, evenly.
const KEYS: u64 = 10_000;
const ELEMENTS: u64 = 1_000_000;

fn scattered(number: u64, range: u64) -> u64 {
    // A multiplier without a factor in common with either range: no number comes twice before all have.
    number * 7_919 % range
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).into()
}

fn key(number: u64) -> String {
    format!("key:{:012}", scattered(number, KEYS))
}

fn element(number: u64) -> String {
    format!("element:{:012}", scattered(number, ELEMENTS))
}

fn set(number: u64) -> Vec<String> {
    words(["SET", &key(number), "xxx"])
}

fn fill_list(_: u64) -> Vec<String> {
    let mut words = words(["RPUSH", "mylist"]);
    words.extend((0..1_000).map(|_| "xxx".to_owned()));
    words
}

/// The commands of redis-benchmark that read or write one thing: its words, keys from 10,000, elements from a
/// million, hence mostly new.
pub const CASES: [Case; 9] = [
    Case { name: "get", request: |n| words(["GET", &key(n)]), before: Some((KEYS, set)) },
    Case { name: "set", request: set, before: Some((KEYS, set)) },
    Case {
        name: "incr",
        request: |n| words(["INCR", &key(n)]),
        before: Some((KEYS, |n| words(["SET", &key(n), "1000"]))),
    },
    Case {
        name: "lpush",
        request: |_| words(["LPUSH", "mylist", "xxx"]),
        before: Some((10, fill_list)),
    },
    Case { name: "rpush", request: |_| words(["RPUSH", "mylist", "xxx"]), before: None },
    Case { name: "lpop", request: |_| words(["LPOP", "mylist"]), before: Some((50, fill_list)) },
    Case { name: "hset", request: |n| words(["HSET", "myhash", &element(n), "xxx"]), before: None },
    Case {
        name: "zadd",
        request: |n| words(["ZADD", "myzset", &scattered(n, 65_537).to_string(), &element(n)]),
        before: None,
    },
    Case { name: "sadd", request: |n| words(["SADD", "myset", &element(n)]), before: None },
];

/// How many ask how much at once.
pub struct Load {
    /// Connections.
    pub clients: usize,
    /// Requests that each sends at once.
    pub pipeline: usize,
    /// How often they do so while instructions are counted.
    pub rounds: usize,
}

/// Rounds before anything is counted: containers have their large form, buffers their size.
const ROUNDS_BEFORE: usize = 5;

impl Load {
    /// Requests of all connections together.
    pub fn requests_of_a_round(&self) -> usize {
        self.clients * self.pipeline
    }
}

/// Starts a server, has it work, and counts its instructions.
///
/// # Errors
/// If the server or the tracing fails.
pub fn count(binary: &Path, case: &Case, load: &Load) -> anyhow::Result<Counted> {
    // What is done by the clock, as seldom as possible: a thread that is stepped lives slowly.
    let server = Setup::of_binary(binary).directive("hz", "1").start();
    let mut clients: Vec<Client> = (0..load.clients).map(|_| server.connect()).collect();
    if let Some((times, request)) = case.before {
        let all: Vec<_> = (0..times).map(request).collect();
        for part in all.chunks(100) {
            clients[0].pipeline(part);
        }
    }
    let mut number = 0;
    for _ in 0..ROUNDS_BEFORE {
        send(&mut clients, case, load, &mut number)?;
        for client in &mut clients {
            (0..load.pipeline).try_for_each(|_| client.try_receive().map(drop))?;
        }
    }
    let mut stepper = Stepper::seize(server.serving().1)?;
    let mut counted = Counted::default();
    for _ in 0..load.rounds {
        send(&mut clients, case, load, &mut number)?;
        let deadline = Instant::now() + Duration::from_secs(300);
        let mut left = vec![load.pipeline; clients.len()];
        stepper.count(&mut counted, || {
            ensure!(Instant::now() < deadline, "not all requests are answered after 5 minutes");
            all_answered(&mut clients, &mut left)
        })?;
    }
    stepper.release()?;
    drop(clients);
    server.finish();
    Ok(counted)
}

fn send(clients: &mut [Client], case: &Case, load: &Load, number: &mut u64) -> anyhow::Result<()> {
    for client in clients {
        let mut bytes = Vec::new();
        for _ in 0..load.pipeline {
            bytes.extend(encode(&(case.request)(*number)));
            *number += 1;
        }
        client.try_send_raw(&bytes).context("sending requests")?;
    }
    Ok(())
}

/// Takes what is there of the replies; says whether that were the last ones.
fn all_answered(clients: &mut [Client], left: &mut [usize]) -> anyhow::Result<bool> {
    for (client, left) in clients.iter_mut().zip(left.iter_mut()).filter(|(_, left)| **left > 0) {
        *left -= client.try_drain()?.len();
    }
    Ok(left.iter().all(|left| *left == 0))
}
