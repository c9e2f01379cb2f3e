//! A client library at work while the server's binary is replaced again and again.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hotredis_tests::binaries;
use hotredis_tests::server::{Kind, Server, Setup};

const SECONDS: u64 = 6;
const INTERVAL: Duration = Duration::from_millis(300);

/// Upgrades every so often, to the other build in turn, until `done`; how many there were.
fn upgrade_until(done: impl Fn() -> bool, server: &Server) -> u64 {
    let builds = binaries::two_builds();
    let mut count = 0;
    while !done() {
        let due = Instant::now() + INTERVAL;
        count += 1;
        let outcome = server.upgrade(&builds[count as usize % 2]);
        assert!(outcome.success, "upgrade {count}: {}", outcome.output);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    count
}

fn work_on(server: &Server) -> u64 {
    let root = binaries::workspace();
    let python = root.join(".venv/bin/python");
    assert!(python.exists(), "{} is not there: run `make setup` first", python.display());
    let mut work = Command::new(python)
        .arg(root.join("tests/python/work_through_upgrades.py"))
        .args(["--port", &server.port().to_string(), "--seconds", &SECONDS.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(work.stdout.take().unwrap());
    let mut errors = work.stderr.take().unwrap();
    let (mut first, mut rest, mut problems) = (String::new(), String::new(), String::new());
    output.read_line(&mut first).unwrap();
    let upgrades = std::thread::scope(|scope| {
        scope.spawn(|| errors.read_to_string(&mut problems));
        // The script ends its output when it ends; until then the server is upgraded.
        let reader = scope.spawn(|| output.read_to_string(&mut rest));
        match server.kind() {
            Kind::Hotredis => upgrade_until(|| reader.is_finished(), server),
            Kind::Redis => 0,
        }
    });
    let status = work.wait().unwrap();
    assert!(status.success(), "{status}\n{first}{rest}{problems}");
    assert_eq!(first, "ready\n");
    upgrades
}

#[test]
fn redis_py_sees_nothing_of_upgrades() {
    let server = Setup::of_binary(&binaries::two_builds()[0]).start();
    let upgrades = work_on(&server);
    assert!(upgrades >= 5, "only {upgrades} upgrades in {SECONDS} s");
    let generation = server.info("handoff_generation").and_then(|text| text.parse().ok());
    assert_eq!(generation, Some(1 + upgrades));
    server.finish();
}

/// The script itself is sound: it finds nothing wrong with Redis.
#[test]
fn redis_py_is_content_with_redis() {
    let server = Setup::redis().start();
    work_on(&server);
    server.finish();
}
