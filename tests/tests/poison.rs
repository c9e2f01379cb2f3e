//! Commands that kill the process in which they run, and commands that panic: what their clients get, and
//! that nobody else notices.

use std::fs;
use std::time::{Duration, Instant};

use hotredis_tests::client::{Client, encode};
use hotredis_tests::counting::Counting;
use hotredis_tests::server::{Server, Setup, TempDir, descendants};
use hotredis_tests::value::Value;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PATIENCE: Duration = Duration::from_secs(30);

fn server(arguments: &[&str]) -> Server {
    Setup::first_build().directive("enable-debug-command", "yes").arguments(arguments).start()
}

fn alone() -> Server {
    server(&["--probation", "0"])
}

/// Sends commands, and gives the replies that come until the connection is closed.
fn killed(client: &mut Client, commands: &[&[&str]]) -> Vec<Value> {
    let bytes: Vec<u8> = commands.iter().flat_map(|command| encode(command)).collect();
    client.send_raw(&bytes);
    client.receive_until_closed()
}

fn stopped() -> Value {
    let text = "ERR the command was stopped because two processes died in running it: it had no effect, \
                and its connection is closed";
    Value::Error(text.as_bytes().to_vec())
}

fn panicked() -> Value {
    Value::Error(b"ERR internal error: the command was stopped, and had no effect".to_vec())
}

fn ok() -> Value {
    Value::Simple(b"OK".to_vec())
}

fn queued() -> Value {
    Value::Simple(b"QUEUED".to_vec())
}

#[track_caller]
fn assert_fields(server: &Server, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(server.info(name).as_deref(), Some(*value), "{name}\n{}", server.log());
    }
}

#[test]
fn a_command_that_kills_is_run_twice_and_not_a_third_time() {
    let server = alone();
    let mut culprit = server.connect();
    assert_eq!(killed(&mut culprit, &[&["DEBUG", "SEGFAULT"]]), [stopped()]);
    assert_fields(
        &server,
        &[
            ("handoff_crashes", "2"),
            ("handoff_last_crash_cause", "SIGSEGV"),
            ("handoff_poisoned_commands", "1"),
            ("handoff_panics", "0"),
        ],
    );
    let outage: u64 = server.info("handoff_last_crash_outage_us").unwrap().parse().unwrap();
    assert!((1..60_000_000).contains(&outage), "{outage}");
    let log = server.log();
    assert!(log.contains(r#"sent "DEBUG" "SEGFAULT""#), "{log}");
    server.finish();
}

#[test]
fn commands_before_it_have_happened_once_and_those_behind_it_have_not() {
    let server = alone();
    let mut culprit = server.connect();
    let incr: &[&str] = &["INCR", "n"];
    let replies = killed(&mut culprit, &[incr, incr, incr, &["DEBUG", "SEGFAULT"], incr, incr]);
    let numbers = (1..=3).map(Value::Integer);
    assert_eq!(replies, numbers.chain([stopped()]).collect::<Vec<_>>());
    assert_eq!(server.connect().call(incr), Value::Integer(4));
    assert_fields(&server, &[("handoff_crashes", "2")]);
    server.finish();
}

#[test]
fn a_transaction_that_kills_has_not_happened() {
    let server = alone();
    let mut culprit = server.connect();
    let incr: &[&str] = &["INCR", "n"];
    let replies =
        killed(&mut culprit, &[&["MULTI"], incr, &["DEBUG", "SEGFAULT"], incr, &["EXEC"], incr]);
    assert_eq!(replies, [ok(), queued(), queued(), queued(), stopped()]);
    assert_eq!(server.connect().call(&["GET", "n"]), Value::NullBulk);
    assert_fields(&server, &[("handoff_crashes", "2"), ("handoff_poisoned_commands", "1")]);
    let log = server.log();
    assert!(log.contains(r#"sent "EXEC" of "INCR" "DEBUG" "INCR""#), "{log}");
    server.finish();
}

/// Even if the commands that kill come one upon the other, from somebody who tries again and again.
#[test]
fn others_notice_nothing() {
    const ATTEMPTS: usize = 8;
    let server = alone();
    let counting = Counting::start(&server, &[1, 1, 3, 50]);
    for _ in 0..ATTEMPTS {
        let mut culprit = server.connect();
        assert_eq!(killed(&mut culprit, &[&["DEBUG", "SEGFAULT"]]), [stopped()]);
    }
    counting.end();
    let deaths = (2 * ATTEMPTS).to_string();
    let commands = ATTEMPTS.to_string();
    assert_fields(
        &server,
        &[("handoff_crashes", &deaths), ("handoff_poisoned_commands", &commands)],
    );
    server.finish();
}

/// The successor dies, its predecessor takes the arena back and dies too, and the third knows.
#[test]
fn deaths_are_counted_on_by_a_predecessor() {
    let server = server(&["--probation", "60"]);
    let mut counting = server.connect();
    for number in 1..=2 {
        server.upgrade_to(1);
        assert_eq!(counting.call(&["INCR", "n"]), Value::Integer(2 * number - 1));
        let mut culprit = server.connect();
        let replies = killed(&mut culprit, &[&["INCR", "c"], &["DEBUG", "SEGFAULT"]]);
        assert_eq!(replies, [Value::Integer(number), stopped()]);
        assert_eq!(counting.call(&["INCR", "n"]), Value::Integer(2 * number));
        let deaths = (2 * number).to_string();
        assert_fields(
            &server,
            &[("handoff_crashes", &deaths), ("handoff_poisoned_commands", &number.to_string())],
        );
    }
    server.finish();
}

/// A command that is too slow for a probation counts as one that kills, but is run again by a generation
/// that nobody watches.
#[test]
fn a_command_that_was_fenced_for_its_length_is_run_to_its_end() {
    let server = server(&["--probation", "60", "--hang-timeout", "1"]);
    server.upgrade_to(1);
    let mut slow = server.connect();
    assert_eq!(slow.call(&["DEBUG", "SLEEP", "2"]), ok());
    assert_fields(
        &server,
        &[
            ("handoff_generation", "1"),
            ("handoff_last_crash_cause", "hang"),
            ("handoff_poisoned_commands", "0"),
        ],
    );
    server.finish();
}

/// A process of the server that sleeps in a command, and is none of those that were killed before.
fn sleeper(server: &Server, killed: &[u32]) -> u32 {
    let end = Instant::now() + PATIENCE;
    let sleeps = |pid: &u32| {
        let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
        let sleeps = call.split(' ').next() == Some(&libc::SYS_clock_nanosleep.to_string());
        sleeps && !killed.contains(pid)
    };
    loop {
        if let Some(pid) = descendants(server.pid()).into_iter().find(sleeps) {
            return pid;
        }
        assert!(Instant::now() < end, "nobody sleeps:\n{}", server.log());
    }
}

#[test]
fn a_kill_from_outside_says_nothing_about_the_command() {
    let server = alone();
    let mut client = server.connect();
    client.send(&["DEBUG", "SLEEP", "0.5"]);
    let mut killed = Vec::new();
    for _ in 0..3 {
        let pid = sleeper(&server, &killed);
        kill(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
        killed.push(pid);
    }
    assert_eq!(client.receive(), ok());
    assert_fields(
        &server,
        &[
            ("handoff_crashes", "3"),
            ("handoff_last_crash_cause", "SIGKILL"),
            ("handoff_poisoned_commands", "0"),
        ],
    );
    server.finish();
}

#[test]
fn a_panic_is_one_client_s_error() {
    let server = alone();
    let (mut client, mut other) = (server.connect(), server.connect());
    let (incr, panic): (&[&str], &[&str]) = (&["INCR", "n"], &["DEBUG", "PANIC"]);
    assert_eq!(client.call(panic), panicked());
    let commands = [incr, panic, incr, panic, panic, incr].map(<[&str]>::to_vec);
    let expected = [
        Value::Integer(1),
        panicked(),
        Value::Integer(2),
        panicked(),
        panicked(),
        Value::Integer(3),
    ];
    assert_eq!(client.pipeline(&commands), expected);
    assert_eq!(other.call(incr), Value::Integer(4));
    let commands = [&["MULTI"], incr, panic, incr, &["EXEC"], &["GET", "n"], &["EXEC"]];
    let expected = [
        ok(),
        queued(),
        queued(),
        queued(),
        panicked(),
        Value::bulk("4"),
        Value::Error(b"ERR EXEC without MULTI".to_vec()),
    ];
    assert_eq!(client.pipeline(&commands.map(<[&str]>::to_vec)), expected);
    assert_fields(
        &server,
        &[("handoff_generation", "1"), ("handoff_panics", "5"), ("handoff_crashes", "0")],
    );
    let log = server.log();
    assert!(log.contains(r#"sent "DEBUG" "PANIC""#), "{log}");
    server.finish();
}

#[test]
fn others_notice_nothing_of_a_panic() {
    let server = alone();
    let mut blocked = server.connect();
    blocked.send(&["BLPOP", "list", "0"]);
    let counting = Counting::start(&server, &[1, 4, 50]);
    let mut culprit = server.connect();
    for _ in 0..200 {
        assert_eq!(culprit.call(&["DEBUG", "PANIC"]), panicked());
    }
    counting.end();
    server.connect().call(&["RPUSH", "list", "v"]);
    assert_eq!(blocked.receive(), Value::Array(vec![Value::bulk("list"), Value::bulk("v")]));
    assert_fields(&server, &[("handoff_generation", "1"), ("handoff_panics", "200")]);
    server.finish();
}

/// Nobody knows what a panic has left half done that was in no command: the process ends at once.
#[test]
fn a_panic_outside_of_commands_ends_the_process() {
    let dir = TempDir::new();
    let file = dir.path().join("failpoint");
    let server = Setup::first_build()
        .environment("HOTREDIS_FAILPOINT", &file)
        .arguments(&["--probation", "60"])
        .start();
    let mut client = server.connect();
    assert_eq!(client.call(&["INCR", "n"]), Value::Integer(1));
    server.upgrade_to(1);
    fs::write(&file, "successor.watched=panic").unwrap();
    let end = Instant::now() + PATIENCE;
    while server.info("handoff_crashes").as_deref() != Some("1") {
        assert!(Instant::now() < end, "nothing has panicked:\n{}", server.log());
    }
    assert_eq!(client.call(&["INCR", "n"]), Value::Integer(2));
    assert_fields(
        &server,
        &[
            ("handoff_generation", "1"),
            ("handoff_last_crash_cause", "SIGABRT"),
            ("handoff_poisoned_commands", "0"),
            ("handoff_panics", "0"),
        ],
    );
    server.finish();
}

#[test]
fn who_may_not_use_debug_crashes_nothing() {
    let server = Setup::first_build().start();
    for name in ["PANIC", "SEGFAULT"] {
        assert!(matches!(server.connect().call(&["DEBUG", name]), Value::Error(_)));
    }
    assert_fields(&server, &[("handoff_generation", "1"), ("handoff_panics", "0")]);
    server.finish();
}
