//! The load generator notices what it is there to notice: a server that does one thing wrong, once.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hotredis_tests::client::Endpoint;
use hotredis_tests::load::report::Faults;
use hotredis_tests::load::{self, Control, Options, Report};
use hotredis_tests::server::Setup;
use hotredis_tests::value::Value;

/// What the fake server does wrong with the `WHEN`th `INCR` of its second busy client, or with the
/// second idle client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Nothing,
    LosesReply,
    LosesCommand,
    RepeatsReply,
    ExecutesTwice,
    SwapsReplies,
    SendsAnothersReply,
    RepliesWithError,
    Disconnects,
    SendsRubbish,
    Stalls,
    ClosesIdle,
    ForgetsDatabase,
    ForgetsName,
    ChangesId,
    SpeaksUnasked,
}

const WHEN: u64 = 60;
const DURATION: Duration = Duration::from_millis(300);
const STALL: Duration = Duration::from_millis(400);

/// Just enough of a server for the load, with one fault.
struct Fake {
    wrong: Wrong,
    keys: Mutex<HashMap<(String, String), String>>,
    next_id: AtomicU64,
}

/// What the fake server knows about a connection.
struct Connection {
    id: u64,
    name: String,
    database: String,
    increments: u64,
    kept_back: Option<Vec<u8>>,
}

impl Fake {
    fn start(wrong: Wrong) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let fake = Arc::new(Self { wrong, keys: Mutex::default(), next_id: AtomicU64::new(1) });
        // The threads end with the test's process; they hold nothing but their sockets.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (fake, stream) = (Arc::clone(&fake), stream.unwrap());
                std::thread::spawn(move || fake.serve(stream));
            }
        });
        addr
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut client = Connection {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            name: String::new(),
            database: "0".into(),
            increments: 0,
            kept_back: None,
        };
        let (mut input, mut chunk) = (Vec::new(), [0; 4096]);
        loop {
            match stream.read(&mut chunk) {
                Ok(0) => return,
                Ok(count) => input.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return,
            }
            let mut output = Vec::new();
            while let Some((request, length)) = Value::decode(&input).unwrap() {
                input.drain(..length);
                let words: Vec<_> = request.elements().iter().map(Value::text).collect();
                let Some(reply) = self.answer(&words, &mut client) else { return };
                output.extend(reply);
            }
            if stream.write_all(&output).is_err() {
                return;
            }
            if client.name == "load-idle-1" && self.misbehave_later(&mut stream) {
                return;
            }
        }
    }

    /// What an idle client suffers in the midst of the run. Returns whether it is to be closed.
    fn misbehave_later(&self, stream: &mut TcpStream) -> bool {
        // In the midst, not while the connections are set up: nothing tells the server when.
        std::thread::sleep(DURATION / 2);
        if self.wrong == Wrong::SpeaksUnasked {
            let _ = stream.write_all(b"+HI\r\n");
        }
        self.wrong == Wrong::ClosesIdle
    }

    /// The bytes to send; `None` closes the connection.
    fn answer(&self, words: &[&str], client: &mut Connection) -> Option<Vec<u8>> {
        let mut keys = self.keys.lock().unwrap();
        let bulk = |text: Option<&String>| match text {
            Some(text) => format!("${}\r\n{text}\r\n", text.len()),
            None => "$-1\r\n".to_owned(),
        };
        let key = |name: &str| (client.database.clone(), name.to_owned());
        let reply = match words {
            ["CLIENT", "ID"] => format!(":{}\r\n", client.id),
            ["CLIENT", "GETNAME"] => bulk(Some(&client.name)),
            ["CLIENT", "SETNAME", name] => {
                client.name = (*name).to_owned();
                "+OK\r\n".into()
            }
            ["SELECT", database] => {
                client.database = (*database).to_owned();
                return self.after_select(client);
            }
            ["SET", name, value] => {
                keys.insert(key(name), (*value).to_owned());
                "+OK\r\n".into()
            }
            ["GET", name] => bulk(keys.get(&key(name))),
            ["DEL", name] => format!(":{}\r\n", u8::from(keys.remove(&key(name)).is_some())),
            ["INCR", name] => {
                let value = keys.get_mut(&key(name)).unwrap();
                return self.increment(value, client);
            }
            _ => panic!("the load sent {words:?}"),
        };
        Some(reply.into_bytes())
    }

    fn increment(&self, value: &mut String, client: &mut Connection) -> Option<Vec<u8>> {
        let before: u64 = value.parse().unwrap();
        *value = (before + 1).to_string();
        client.increments += 1;
        let reply = format!(":{}\r\n", before + 1).into_bytes();
        if let Some(late) = client.kept_back.take() {
            return Some([reply, late].concat());
        }
        if client.name != "load-busy-1" || client.increments != WHEN {
            return Some(reply);
        }
        match self.wrong {
            Wrong::LosesReply => Some(Vec::new()),
            Wrong::LosesCommand => {
                *value = before.to_string();
                Some(Vec::new())
            }
            Wrong::RepeatsReply => Some([reply.clone(), reply].concat()),
            Wrong::ExecutesTwice => {
                *value = (before + 2).to_string();
                Some(format!(":{}\r\n", before + 2).into_bytes())
            }
            Wrong::SwapsReplies => {
                client.kept_back = Some(reply);
                Some(Vec::new())
            }
            Wrong::SendsAnothersReply => Some(b":17\r\n".to_vec()),
            Wrong::RepliesWithError => {
                *value = before.to_string();
                Some(b"-ERR something\r\n".to_vec())
            }
            Wrong::Disconnects => None,
            Wrong::SendsRubbish => Some(b"hello\r\n".to_vec()),
            Wrong::Stalls => {
                // With the keys locked: nobody gets an answer.
                std::thread::sleep(STALL);
                Some(reply)
            }
            _ => Some(reply),
        }
    }

    /// `SELECT` is the last command of an idle client's opening (and common in set-up).
    fn after_select(&self, client: &mut Connection) -> Option<Vec<u8>> {
        let ok = b"+OK\r\n".to_vec();
        if client.name != "load-idle-1" {
            return Some(ok);
        }
        match self.wrong {
            Wrong::ForgetsDatabase => client.database = "0".into(),
            Wrong::ForgetsName => client.name.clear(),
            Wrong::ChangesId => client.id += 1_000,
            _ => {}
        }
        Some(ok)
    }
}

fn options(addr: SocketAddr) -> Options {
    Options {
        idle: 3,
        waiting: 0,
        busy: 2,
        pipeline: 8,
        split_ratio: 0.2,
        duration: DURATION,
        drain: Duration::from_secs(1),
        plain_idle: true,
        ..Options::new(addr)
    }
}

fn report_on(wrong: Wrong) -> Report {
    load::run(&options(Fake::start(wrong)), &Control::new()).unwrap()
}

/// The faults found have to be these.
#[track_caller]
fn expect(wrong: Wrong, faults: Faults) {
    let report = report_on(wrong);
    assert_eq!(report.faults, faults, "{wrong:?}\n{report}");
    assert_eq!(report.errors, faults.total(), "{report}");
    assert!(!report.problems.is_empty(), "{report}");
}

#[test]
fn a_faultless_server_has_no_faults() {
    let report = report_on(Wrong::Nothing);
    assert_eq!(report.errors, 0, "{report}");
    assert_eq!((report.idle_kept, report.busy_kept), (3, 2), "{report}");
    assert_eq!(report.requests, report.replies, "{report}");
    assert!(
        report.replies > 2 * WHEN,
        "the faults of the other tests would not have come: {report}"
    );
}

#[test]
fn a_lost_reply_is_noticed() {
    expect(Wrong::LosesReply, Faults { unanswered: 1, skipped: 1, ..Faults::default() });
}

#[test]
fn a_lost_command_is_noticed() {
    expect(Wrong::LosesCommand, Faults { unanswered: 1, wrong_at_end: 1, ..Faults::default() });
}

#[test]
fn a_repeated_reply_is_noticed() {
    let report = report_on(Wrong::RepeatsReply);
    assert_eq!(report.faults.repeated, 1, "{report}");
    // From then on each reply is taken for that of the request before, up to the last one.
    assert_eq!(report.faults.unsolicited, 1, "{report}");
    assert_eq!(report.errors, 1, "{report}");
}

#[test]
fn a_command_done_twice_is_noticed() {
    expect(Wrong::ExecutesTwice, Faults { skipped: 1, wrong_at_end: 1, ..Faults::default() });
}

#[test]
fn replies_in_the_wrong_order_are_noticed() {
    expect(Wrong::SwapsReplies, Faults { reordered: 1, ..Faults::default() });
}

#[test]
fn the_reply_of_another_connection_is_noticed() {
    expect(Wrong::SendsAnothersReply, Faults { foreign: 1, skipped: 1, ..Faults::default() });
}

#[test]
fn an_error_reply_is_noticed() {
    expect(
        Wrong::RepliesWithError,
        Faults { error_replies: 1, wrong_at_end: 1, ..Faults::default() },
    );
}

#[test]
fn a_closed_connection_is_noticed() {
    let report = report_on(Wrong::Disconnects);
    assert_eq!(report.faults.disconnected, 1, "{report}");
    assert!(report.faults.unanswered > 0, "{report}");
    assert_eq!(report.busy_kept, 1, "{report}");
}

#[test]
fn rubbish_is_noticed() {
    let report = report_on(Wrong::SendsRubbish);
    assert_eq!(report.faults.malformed, 1, "{report}");
    assert_eq!(report.busy_kept, 1, "{report}");
}

#[test]
fn a_stall_is_the_longest_gap() {
    let report = report_on(Wrong::Stalls);
    assert_eq!(report.errors, 0, "{report}");
    let stall = STALL.as_micros() as u64;
    assert!(report.longest_gap_us >= stall * 9 / 10, "{report}");
    assert!(report.latency.max_us >= stall * 9 / 10, "{report}");
    assert!(report.timeline.iter().any(|bucket| bucket.max_gap_us >= stall * 9 / 10), "{report}");
}

#[test]
fn an_idle_connection_that_changed_is_noticed() {
    use Wrong::*;
    for wrong in [ClosesIdle, ForgetsDatabase, ForgetsName, ChangesId, SpeaksUnasked] {
        let report = report_on(wrong);
        assert_eq!(report.idle_kept, 2, "{wrong:?}\n{report}");
        assert_eq!(report.errors, 1, "{wrong:?}\n{report}");
        assert!(report.problems[0].starts_with("idle connection 1 "), "{wrong:?}\n{report}");
    }
}

#[test]
fn redis_passes_with_every_kind_of_session_state() {
    let server = Setup::redis().start();
    let Endpoint::Tcp(addr) = *server.endpoint() else { unreachable!() };
    load::preload(addr, 12_345).unwrap();
    let load = Options { idle: 300, waiting: 60, plain_idle: false, ..options(addr) };
    for rate in [None, Some(5_000.0)] {
        let report = load::run(&Options { rate, ..load.clone() }, &Control::new()).unwrap();
        assert_eq!(report.errors, 0, "{report}");
        assert_eq!((report.idle_kept, report.busy_kept), (300, 2), "{report}");
        assert_eq!((report.waiting, report.waiting_lost), (60, 0), "{report}");
        assert!(report.delivered > 10, "{report}");
    }
    let left = server.connect().call(&["DBSIZE"]);
    assert_eq!(left.integer(), 12_345, "the load leaves the keys as it found them");
    server.finish();
}

/// Somebody else feeds a key, or lets waiters go: they get what is not theirs.
#[test]
fn what_comes_to_the_wrong_waiter_is_noticed() {
    let meddle: [&[&str]; 3] = [
        &["RPUSH", "load:waiting:0", "stray"],
        &["ZADD", "load:waiting:1", "1", "stray"],
        &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"],
    ];
    for (database, command) in meddle.into_iter().enumerate() {
        let server = Setup::redis().start();
        let Endpoint::Tcp(addr) = *server.endpoint() else { unreachable!() };
        let load = Options { waiting: 100, duration: DURATION, ..options(addr) };
        let control = Control::new();
        let report = std::thread::scope(|scope| {
            let run = scope.spawn(|| load::run(&load, &control));
            let mut client = server.connect();
            client.call(&["SELECT", &database.to_string()]);
            assert!(control.wait_running());
            assert!(control.sleep_until(Instant::now() + DURATION / 3));
            client.call(command);
            run.join().unwrap().unwrap()
        });
        assert!(report.waiting_lost > 0, "{command:?}\n{report}");
        assert!(report.errors >= report.waiting_lost, "{command:?}\n{report}");
        server.finish();
    }
}

#[test]
fn a_load_without_a_server_says_so_and_frees_whoever_waits() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let control = Control::new();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| control.wait_running());
        let error = load::run(&options(closed), &control).unwrap_err();
        assert!(error.to_string().contains("connecting to"), "{error}");
        assert!(!waiter.join().unwrap());
    });
}
