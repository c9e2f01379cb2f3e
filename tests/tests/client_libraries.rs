//! Client libraries that applications use, at work while the server's binary is replaced again and
//! again. Each of them is run against Redis too: what it checks has to hold there.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hotredis_tests::binaries;
use hotredis_tests::redis_rs;
use hotredis_tests::server::{Kind, Server, Setup};

const SECONDS: u64 = 6;
const INTERVAL: Duration = Duration::from_millis(300);

/// Upgrades every so often, to the other build in turn, until `done`; how many there were.
fn upgrade_until(done: impl Fn() -> bool, server: &Server) -> u64 {
    if server.kind() == Kind::Redis {
        return 0;
    }
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

/// A program that says `ready`, works for some time, and exits with 0 if all was well.
struct Program {
    interpreter: PathBuf,
    script: &'static str,
    /// Whether the port and the seconds are named (`--port 1 --seconds 2`) or stand alone.
    named: bool,
}

fn python(script: &'static str) -> Program {
    let interpreter = binaries::workspace().join(".venv/bin/python");
    assert!(interpreter.exists(), "{} is not there: run `make setup` first", interpreter.display());
    Program { interpreter, script, named: true }
}

fn node(script: &'static str) -> Program {
    let modules = binaries::workspace().join("tests/node/node_modules");
    assert!(modules.exists(), "{} is not there: run `make setup` first", modules.display());
    Program { interpreter: "node".into(), script, named: false }
}

impl Program {
    fn work_on(&self, server: &Server) -> u64 {
        let (port, seconds) = (server.port().to_string(), SECONDS.to_string());
        let arguments: &[&str] = match self.named {
            true => &["--port", &port, "--seconds", &seconds],
            false => &[&port, &seconds],
        };
        let mut work = Command::new(&self.interpreter)
            .arg(binaries::workspace().join(self.script))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run {}: {e}", self.interpreter.display()));
        let mut output = BufReader::new(work.stdout.take().unwrap());
        let mut errors = work.stderr.take().unwrap();
        let (mut first, mut rest, mut problems) = (String::new(), String::new(), String::new());
        output.read_line(&mut first).unwrap();
        let upgrades = std::thread::scope(|scope| {
            scope.spawn(|| errors.read_to_string(&mut problems));
            // The program ends its output when it ends; until then the server is upgraded.
            let reader = scope.spawn(|| output.read_to_string(&mut rest));
            upgrade_until(|| reader.is_finished(), server)
        });
        let status = work.wait().unwrap();
        assert!(status.success(), "{status}\n{first}{rest}{problems}");
        assert_eq!(first, "ready\n");
        upgrades
    }
}

/// Runs some work on a server that is upgraded meanwhile, and on Redis.
fn sees_nothing_of_upgrades(work_on: impl Fn(&Server) -> u64) {
    let server = Setup::of_binary(&binaries::two_builds()[0]).start();
    let upgrades = work_on(&server);
    assert!(upgrades >= 5, "only {upgrades} upgrades in {SECONDS} s");
    let generation = server.info("handoff_generation").and_then(|text| text.parse().ok());
    assert_eq!(generation, Some(1 + upgrades));
    server.finish();
}

/// The work itself is sound: it finds nothing wrong with Redis.
fn is_content_with_redis(work_on: impl Fn(&Server) -> u64) {
    let server = Setup::redis().start();
    work_on(&server);
    server.finish();
}

fn with_redis_rs(server: &Server) -> u64 {
    std::thread::scope(|scope| {
        let port = server.port();
        let worker = scope.spawn(move || redis_rs::work(port, Duration::from_secs(SECONDS)));
        let upgrades = upgrade_until(|| worker.is_finished(), server);
        let rounds = worker.join().expect("the work ends without a panic");
        assert!(rounds > 0);
        upgrades
    })
}

#[test]
fn redis_py_sees_nothing_of_upgrades() {
    let program = python("tests/python/work_through_upgrades.py");
    sees_nothing_of_upgrades(|server| program.work_on(server));
}

#[test]
fn redis_py_is_content_with_redis() {
    let program = python("tests/python/work_through_upgrades.py");
    is_content_with_redis(|server| program.work_on(server));
}

#[test]
fn redis_py_has_every_type_through_upgrades() {
    let program = python("tests/python/every_type.py");
    sees_nothing_of_upgrades(|server| program.work_on(server));
}

#[test]
fn redis_py_has_every_type_in_redis() {
    let program = python("tests/python/every_type.py");
    is_content_with_redis(|server| program.work_on(server));
}

#[test]
fn ioredis_sees_nothing_of_upgrades() {
    let program = node("tests/node/work_through_upgrades.mjs");
    sees_nothing_of_upgrades(|server| program.work_on(server));
}

#[test]
fn ioredis_is_content_with_redis() {
    let program = node("tests/node/work_through_upgrades.mjs");
    is_content_with_redis(|server| program.work_on(server));
}

#[test]
fn redis_rs_sees_nothing_of_upgrades() {
    sees_nothing_of_upgrades(with_redis_rs);
}

#[test]
fn redis_rs_is_content_with_redis() {
    is_content_with_redis(with_redis_rs);
}
