//! Blocked clients and upgrades, as several tests need them.

use std::time::{Duration, Instant};

use crate::binaries;
use crate::client::Client;
use crate::server::{Kind, Server, info_field};
use crate::value::Value;

/// How long the server may take to count as many blocked clients as there are.
const PATIENCE: Duration = Duration::from_secs(20);

/// Upgrades that a busy machine may have withdrawn, one after another, because the successor was not
/// run within the time for it.
const ATTEMPTS: usize = 5;

/// Replaces the binary, by the other build each time `count` is one more; does nothing to a server that
/// is no hotredis.
///
/// # Panics
/// If the upgrade fails for another reason than that the machine is too slow, or too often.
#[track_caller]
pub fn upgrade(server: &Server, count: usize) {
    if server.kind() != Kind::Hotredis {
        return;
    }
    let builds = binaries::two_builds();
    for attempt in 1..=ATTEMPTS {
        let outcome = server.upgrade(&builds[(count + 1) % 2]);
        if outcome.success {
            return;
        }
        let slow = outcome.output.contains("too slow");
        assert!(slow && attempt < ATTEMPTS, "{}", outcome.output);
    }
}

/// How many clients are blocked, those that `CLIENT PAUSE` holds back among them.
///
/// # Panics
/// If `INFO` does not say.
pub fn blocked_now(control: &mut Client) -> usize {
    let info = control.call(&["INFO", "clients"]);
    let count = info_field(info.text(), "blocked_clients").and_then(|count| count.parse().ok());
    count.expect("INFO says how many are blocked")
}

/// Waits until so many clients are blocked.
///
/// # Panics
/// If that takes too long.
#[track_caller]
pub fn await_blocked(control: &mut Client, count: usize) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = blocked_now(control);
        if now == count {
            return;
        }
        assert!(Instant::now() < deadline, "{now} blocked clients, not {count}");
    }
}

/// Clients that wait with the same command, in this order.
pub fn blocked(
    server: &Server,
    control: &mut Client,
    count: usize,
    command: &[&str],
) -> Vec<Client> {
    let mut clients: Vec<Client> = (0..count).map(|_| server.connect()).collect();
    clients.iter_mut().for_each(|client| block(control, client, command));
    clients
}

/// Has a client wait.
pub fn block(control: &mut Client, client: &mut Client, command: &[&str]) {
    let before = blocked_now(control);
    client.send(command);
    await_blocked(control, before + 1);
}

/// Nothing more has come, once the server has answered somebody else.
///
/// # Panics
/// If something has.
#[track_caller]
pub fn assert_silent(control: &mut Client, clients: &mut [Client]) {
    control.call(&["PING"]);
    for client in clients {
        assert_eq!(client.try_drain().expect("a connection"), []);
        assert!(!client.is_closed());
    }
}

/// The words of a line, sent as a request.
#[track_caller]
pub fn line(client: &mut Client, line: &str) -> Value {
    client.call(&line.split(' ').collect::<Vec<_>>())
}

/// An array of bulk strings: the words of a line.
pub fn words(line: &str) -> Value {
    Value::Array(line.split(' ').map(Value::bulk).collect())
}

/// The id of a client, which is not blocked.
pub fn id_of(client: &mut Client) -> String {
    client.call(&["CLIENT", "ID"]).integer().to_string()
}
