//! A limit of open files that is just too low for a successor.

use std::process::Command;

use hotredis_tests::binaries;
use hotredis_tests::blocked::upgrade;
use hotredis_tests::client::Client;
use hotredis_tests::server::{Server, Setup};
use hotredis_tests::value::Value;

use crate::stage::await_clients;

const LIMIT: u64 = 300;

/// Lowers the limit, soft and hard, of the keeper: it is what a successor inherits. Says whether it
/// could be done, which raising it again cannot without a capability.
fn limit(server: &Server, descriptors: u64) -> bool {
    let limits = format!("--nofile={descriptors}:{descriptors}");
    let pid = server.pid().to_string();
    let done = Command::new("prlimit").args(["--pid", &pid, &limits]).output();
    done.expect("prlimit, of util-linux, is needed").status.success()
}

/// Has an upgrade refused; how many descriptors it says are needed.
#[track_caller]
fn needed(server: &Server, limit: u64) -> u64 {
    let [_, new] = binaries::two_builds();
    let outcome = server.upgrade(&new);
    assert!(!outcome.success, "{}", outcome.output);
    let (before, behind) = outcome.output.split_once(" descriptors are needed").expect("a reason");
    assert!(behind.contains(&format!("the hard limit is {limit}:")), "{}", outcome.output);
    let needed = before.rsplit(' ').next().and_then(|number| number.parse().ok());
    needed.expect("the number of descriptors")
}

/// Each client is served, and counts.
#[track_caller]
fn assert_served(clients: &mut [Client], count: &mut i64) {
    for client in clients {
        *count += 1;
        assert_eq!(client.call(&["INCR", "n"]), Value::Integer(*count));
    }
}

#[test]
fn a_limit_too_low_by_one_is_told_and_hurts_nobody() {
    let server = Setup::hotredis().start();
    let mut clients: Vec<Client> = (0..200).map(|_| server.connect()).collect();
    let mut count = 0;
    assert_served(&mut clients, &mut count);
    await_clients(&mut clients[0], 200);
    assert!(limit(&server, LIMIT));
    let too_many = needed(&server, LIMIT) - LIMIT;
    assert!(too_many > 1, "{too_many}");
    // All but one of those that are too many leave: it is too low by one.
    clients.truncate(201 - too_many as usize);
    let left = clients.len();
    await_clients(&mut clients[0], left);
    for _ in 0..3 {
        assert_eq!(needed(&server, LIMIT), LIMIT + 1);
        assert_served(&mut clients, &mut count);
    }
    clients.pop();
    await_clients(&mut clients[0], left - 1);
    upgrade(&server, 0);
    assert_served(&mut clients, &mut count);
    // What serves now has as much room as the limit allows, and its successor too.
    clients.pop();
    await_clients(&mut clients[0], left - 2);
    upgrade(&server, 1);
    assert_served(&mut clients, &mut count);
    server.finish();
}

#[test]
fn a_limit_that_was_too_low_can_be_raised() {
    let server = Setup::hotredis().start();
    let mut clients: Vec<Client> = (0..200).map(|_| server.connect()).collect();
    let mut count = 0;
    assert!(limit(&server, LIMIT));
    let enough = needed(&server, LIMIT);
    assert_served(&mut clients, &mut count);
    if !limit(&server, enough + 50) {
        eprintln!("without CAP_SYS_RESOURCE: the limit of another process cannot be raised");
        return server.finish();
    }
    upgrade(&server, 0);
    assert_served(&mut clients, &mut count);
    server.finish();
}
