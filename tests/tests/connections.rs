//! What idle connections cost: their records in the arena, and what the processes know of them privately.

use std::time::{Duration, Instant};

use hotredis_tests::binaries;
use hotredis_tests::client::{Client, encode};
use hotredis_tests::server::{Server, Setup, descendants, info_field};

/// What a connection may cost, in bytes.
const BAR: u64 = 1024;
const CONNECTIONS: u64 = 2000;
/// Of so many, one sends and gets a large value.
const LARGE_EACH: usize = 40;
const LARGE: usize = 1 << 20;
/// How much of the data in the arena may come and go by itself: a table that a key has made larger.
const SLACK: u64 = 16 << 10;
/// What the directory of so many sessions takes.
const DIRECTORY: u64 = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes of private memory of a process; 0 if it is gone.
fn private(pid: u32) -> u64 {
    let rollup = format!("/proc/{pid}/smaps_rollup");
    let rollup = std::fs::read_to_string(rollup).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss_Anon:")).unwrap_or("0");
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Bytes of private memory of all processes.
fn all_private(server: &Server) -> u64 {
    std::iter::once(server.pid()).chain(descendants(server.pid())).map(private).sum()
}

fn used_memory(client: &mut Client) -> u64 {
    let info = client.call(&["INFO", "memory"]);
    info_field(info.text(), "used_memory").expect("INFO has it").parse().expect("a number")
}

/// Requests of ordinary size: single ones, and a pipeline.
fn usual_requests() -> Vec<Vec<Vec<u8>>> {
    let (set, get) = (vec!["SET", "key", "0123456789abcdef0123456789abcdef"], vec!["GET", "key"]);
    let pipeline: Vec<_> = [set.clone(), get.clone()].into_iter().cycle().take(16).collect();
    let batches = [vec![vec!["PING"]], vec![set], vec![get], pipeline];
    let encode_all = |batch: Vec<Vec<&str>>| batch.iter().map(|words| encode(words)).collect();
    batches.into_iter().map(encode_all).collect()
}

/// Each client sends all of it, and has its replies.
fn use_all(clients: &mut [Client]) {
    for batch in usual_requests() {
        for some in clients.chunks_mut(250) {
            some.iter_mut().for_each(|client| client.send_raw(&batch.concat()));
            for client in some {
                batch.iter().for_each(|_| assert!(!client.receive().is_error()));
            }
        }
    }
}

fn send_large_values(clients: &mut [Client]) {
    let value = vec![b'x'; LARGE];
    for client in clients.iter_mut().step_by(LARGE_EACH) {
        client.send(&[b"SET".as_slice(), b"large", &value]);
        client.send(&["GET", "large"]);
    }
    for client in clients.iter_mut().step_by(LARGE_EACH) {
        assert_eq!(client.receive().text(), "OK");
        assert_eq!(client.receive().text().len(), LARGE);
    }
    clients[0].call(&["DEL", "large"]);
}

/// Waits until the arena holds no more than so many bytes: what is freed in the background takes its time.
#[track_caller]
fn await_used(control: &mut Client, most: u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let used = used_memory(control);
        if used <= most {
            return;
        }
        assert!(Instant::now() < deadline, "the arena still holds {used} bytes, not {most}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn an_idle_connection_costs_a_kibibyte_at_most() {
    let server = Setup::hotredis().arguments(&["--probation", "0"]).start();
    let mut control = server.connect();
    // What comes with the first clients, or with the first generation that is a successor, is nobody's share.
    let upgrade = || {
        let done = server.upgrade(&binaries::hotredis());
        assert!(done.success, "{}", done.output);
        let deadline = Instant::now() + PATIENCE;
        while descendants(server.pid()).len() > 1 {
            assert!(Instant::now() < deadline, "the predecessor does not go");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let mut first: Vec<Client> = (0..50).map(|_| server.connect()).collect();
    send_large_values(&mut first);
    upgrade();
    use_all(&mut first);
    let (used, private) = (used_memory(&mut control), all_private(&server));
    let check = |control: &mut Client, stage: &str| {
        let data = used_memory(control) - used;
        let cost = data + all_private(&server).saturating_sub(private);
        let each = cost / CONNECTIONS;
        assert!(
            each <= BAR,
            "{stage}: {each} bytes each, {} of them in the arena",
            data / CONNECTIONS
        );
        data
    };

    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| server.connect()).collect();
    use_all(&mut clients);
    let data = check(&mut control, "after ordinary requests");
    // Not so little that something has not been counted: a session's record is larger than this.
    assert!(data / CONNECTIONS > 100, "{data}");

    send_large_values(&mut clients);
    await_used(&mut control, used + data + SLACK);
    check(&mut control, "after large values");

    upgrade();
    use_all(&mut clients);
    check(&mut control, "after an upgrade");
    await_used(&mut control, used + data + SLACK);

    drop(clients);
    // What is left is room in the directory of sessions, a block of one span.
    await_used(&mut control, used + DIRECTORY + SLACK);
    server.finish();
}
