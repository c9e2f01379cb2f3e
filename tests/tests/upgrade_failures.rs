//! Every failure at every step of an upgrade, under load: whatever one side does, clients notice nothing,
//! one generation serves, nothing is left over, and the next upgrade works.
//!
//! The points are those of `handoff/src/failpoint.rs`; the table of what each of them means for the two
//! sides is in `docs/handoff.md`.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use hotredis_tests::binaries;
use hotredis_tests::client::{Client, Endpoint};
use hotredis_tests::server::{Server, Setup, TempDir, descendants};
use hotredis_tests::value::Value;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

/// What a process may do to itself, and to the other one.
const ALL: &[&str] = &[
    "exit",
    "abort",
    "kill",
    "hang",
    "stop",
    "rubbish",
    "too-long",
    "too-many-descriptors",
    "no-descriptors",
    "no-memory",
];

/// What does not end the process that serves: its death is a crash, with or without an upgrade.
const SURVIVED: &[&str] = &["rubbish", "too-long", "too-many-descriptors", "no-descriptors"];

/// Deaths and hangs of a process that is needed no more, or not yet.
const DEATHS: &[&str] = &["exit", "abort", "kill"];

/// Where a predecessor comes while it serves alone.
const BEFORE_THE_OFFER: &[&str] = &[
    "predecessor.hello",
    "predecessor.arena",
    "predecessor.listeners",
    "predecessor.sockets",
    "predecessor.freeze",
];

/// Who serves after an upgrade.
enum Side {
    Predecessor,
    Successor,
}

/// Who has to, where it is not a matter of who is faster.
fn who_has_to_serve(point: &str, failure: &str) -> Option<Side> {
    let gone = DEATHS.contains(&failure) || ["hang", "stop"].contains(&failure);
    if ["no-descriptors", "no-memory"].contains(&failure) {
        // Enough may be left for what it still has to do.
        return (point == "predecessor.standby").then_some(Side::Successor);
    }
    match point {
        // After the offer it is for the successor to take it, if that has heard of it.
        "predecessor.offer" if gone => None,
        "predecessor.offered" if gone => Some(Side::Successor),
        "predecessor.standby" => Some(Side::Successor),
        _ if gone => Some(Side::Predecessor),
        // What comes over the link before the take is looked at before the take.
        "successor.start"
        | "successor.hello"
        | "successor.arena"
        | "successor.listeners"
        | "successor.sockets" => Some(Side::Predecessor),
        "predecessor.hello" | "predecessor.arena" | "predecessor.listeners" => {
            Some(Side::Predecessor)
        }
        _ => None,
    }
}

const PATIENCE: Duration = Duration::from_secs(40);

/// For an upgrade.
const TIMEOUT: Duration = Duration::from_millis(1500);

/// Clients that count, each on a key of its own, and one that comes and goes.
struct Load {
    stop: std::sync::Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<u64, String>>>,
}

impl Load {
    fn put_on(server: &Server) -> Self {
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let mut threads: Vec<_> = (0..3)
            .map(|number| {
                let (client, stop) = (server.connect(), stop.clone());
                thread::spawn(move || count(client, &format!("busy:{number}"), &stop))
            })
            .collect();
        let (endpoint, until) = (server.endpoint().clone(), stop.clone());
        threads.push(thread::spawn(move || come_and_go(&endpoint, &until)));
        Self { stop, threads }
    }

    /// # Panics
    /// If any of them was dropped, or got another number than the next.
    fn take_off(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            match thread.join().unwrap() {
                Ok(replies) => assert!(replies > 0),
                Err(what) => panic!("{what}"),
            }
        }
    }
}

fn next(client: &mut Client, key: &str, number: u64) -> io::Result<Result<(), String>> {
    let reply = client.try_call(&["INCR", key])?;
    if reply == Value::Integer(number as i64) {
        return Ok(Ok(()));
    }
    Ok(Err(format!("{key}: {reply:?} instead of {number}")))
}

fn count(mut client: Client, key: &str, stop: &AtomicBool) -> Result<u64, String> {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        next(&mut client, key, number)
            .map_err(|e| format!("{key}: dropped at {number}: {e}"))??;
        thread::sleep(Duration::from_micros(200));
    }
    Ok(number)
}

/// A new connection each time. One that dies between its `accept` and the news of it is dropped before
/// it has run a command; anything else is a loss.
fn come_and_go(endpoint: &Endpoint, stop: &AtomicBool) -> Result<u64, String> {
    let (mut number, mut dropped) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        let mut client =
            Client::try_connect(endpoint).map_err(|e| format!("no connection: {e}"))?;
        number += 1;
        match next(&mut client, "fleeting", number) {
            Ok(answer) => answer?,
            Err(_) => {
                dropped += 1;
                number -= 1;
            }
        }
        next(&mut client, "fleeting", number + 1)
            .map_or(Ok(()), |answer| answer.map(|()| number += 1))?;
        thread::sleep(Duration::from_millis(2));
    }
    println!(
        "{number} replies to fleeting connections, {dropped} of which were dropped in their accept"
    );
    Ok(number)
}

/// A server whose processes look into a file for what to do to themselves.
struct Trial {
    server: Server,
    file: PathBuf,
    turn: usize,
    /// Of the file.
    _dir: TempDir,
}

impl Trial {
    fn start() -> Self {
        let dir = TempDir::new();
        let file = dir.path().join("failpoint");
        let server = Setup::of_binary(&binaries::two_builds()[0])
            .arguments(&["--probation", "0.4", "--hang-timeout", "0.4"])
            .environment("HOTREDIS_FAILPOINT", &file)
            .start();
        Self { server, file, turn: 0, _dir: dir }
    }

    fn upgrade(&mut self) -> Result<(), String> {
        self.turn += 1;
        upgrade_once(&self.server, &binaries::two_builds()[self.turn % 2])
    }

    /// Waits until one generation is left, which serves, and nothing of another.
    #[track_caller]
    fn settle(&self, what: &str) {
        let end = Instant::now() + PATIENCE;
        while descendants(self.server.pid()) != [self.server.serving().1] {
            assert!(Instant::now() < end, "{what}: {:?} are left", descendants(self.server.pid()));
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// What the server takes up, once that is `wanted`, or stays the same for a while.
    #[track_caller]
    fn footprint(&self, wanted: Option<Footprint>) -> Footprint {
        let end = Instant::now() + PATIENCE;
        let mut last = Footprint::of(&self.server);
        let mut since = Instant::now();
        loop {
            let steady = since.elapsed() > Duration::from_millis(300);
            if wanted.as_ref().map_or(steady, |wanted| *wanted == last) {
                return last;
            }
            assert!(Instant::now() < end, "{wanted:?} has become {last:?}");
            thread::sleep(Duration::from_millis(5));
            let now = Footprint::of(&self.server);
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
    }

    /// One attempt that fails so at that point, and one that has to work.
    #[track_caller]
    fn play(&mut self, point: &str, failure: &str) {
        let what = format!("{point}={failure}");
        fs::write(&self.file, &what).unwrap();
        let outcome = self.upgrade();
        println!("{what}: {outcome:?}");
        match who_has_to_serve(point, failure) {
            Some(Side::Successor) => assert_eq!(outcome, Ok(()), "{what}"),
            Some(Side::Predecessor) => assert!(outcome.is_err(), "{what}"),
            None => {}
        }
        let end = Instant::now() + PATIENCE;
        while self.file.exists() {
            assert!(Instant::now() < end, "{what}: the point is never reached");
            thread::sleep(Duration::from_millis(2));
        }
        self.settle(&what);
        self.upgrade().unwrap_or_else(|why| panic!("{what}: the next upgrade fails: {why}"));
        self.settle(&what);
    }

    #[track_caller]
    fn end(self, load: Load) {
        load.take_off();
        self.server.finish();
    }
}

/// An upgrade that is given little time; the reason if it fails.
fn upgrade_once(server: &Server, binary: &Path) -> Result<(), String> {
    let timeout = TIMEOUT.as_secs_f64().to_string();
    let binary = binary.to_string_lossy();
    let output =
        server.cli(&["upgrade", "--timeout", &timeout, "--wait-probation", "--binary", &binary]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(text) }
}

/// Plays every failure at every point, one after another on one server.
#[track_caller]
fn play_all(points: &[&str], failures: &[&str]) {
    let mut trial = Trial::start();
    let load = Load::put_on(&trial.server);
    // What the first upgrade brings is not counted: buffers, the second generation's descriptors.
    trial.upgrade().unwrap();
    trial.settle("the first");
    let before = trial.footprint(None);
    for point in points {
        for failure in failures {
            trial.play(point, failure);
        }
    }
    trial.footprint(Some(before));
    trial.end(load);
}

/// What an upgrade must not add to.
#[derive(Debug, PartialEq, Eq)]
struct Footprint {
    keeper_descriptors: usize,
    generation_descriptors: usize,
    files: Vec<PathBuf>,
}

impl Footprint {
    fn of(server: &Server) -> Self {
        let generation = descendants(server.pid())[0];
        Self {
            // Those of clients that come and go are not the upgrade's, and the keeper holds them too.
            keeper_descriptors: descriptors(server.pid()),
            generation_descriptors: descriptors(generation),
            files: files(server.dir()),
        }
    }
}

/// Those that are no sockets.
fn descriptors(pid: u32) -> usize {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let targets = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.filter(|to| !to.to_string_lossy().starts_with("socket:")).count()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> =
        fs::read_dir(dir.join("run")).unwrap().flatten().map(|entry| entry.path()).collect();
    all.sort();
    all
}

#[test]
fn a_successor_that_fails_before_it_is_sent_anything() {
    play_all(&["successor.start", "successor.hello"], ALL);
}

#[test]
fn a_successor_that_fails_while_it_is_sent_the_rest() {
    play_all(&["successor.arena", "successor.listeners", "successor.sockets"], ALL);
}

#[test]
fn a_successor_that_fails_when_it_is_ready() {
    play_all(&["successor.ready"], ALL);
}

#[test]
fn a_successor_that_fails_around_the_take() {
    play_all(&["successor.offer", "successor.taken", "successor.tick"], ALL);
}

#[test]
fn a_successor_that_fails_in_probation() {
    play_all(&["successor.serving", "successor.watched"], ALL);
}

#[test]
fn a_predecessor_that_misbehaves_while_it_serves() {
    play_all(&[BEFORE_THE_OFFER, &["predecessor.offered"]].concat(), SURVIVED);
}

/// The keeper starts another generation on the arena, and the next upgrade works.
#[test]
fn a_predecessor_that_dies_while_it_serves() {
    play_all(&[BEFORE_THE_OFFER, &["predecessor.offer"]].concat(), DEATHS);
}

/// A process whose end nobody hears of but this thread, which traces it: neither its parent nor a pidfd.
struct Unreported(Pid);

impl Unreported {
    fn serving(server: &Server) -> Self {
        let pid = Pid::from_raw(server.serving().1 as i32);
        ptrace::seize(pid, ptrace::Options::empty()).unwrap();
        Self(pid)
    }

    #[track_caller]
    fn report(self) {
        let ended = waitpid(self.0, None).unwrap();
        assert_eq!(ended, WaitStatus::Signaled(self.0, Signal::SIGKILL, false));
    }
}

/// The exit of a large process is reported long after its death: nobody waits for that.
#[test]
fn a_predecessor_that_dies_is_missed_at_once() {
    let mut trial = Trial::start();
    let load = Load::put_on(&trial.server);
    for point in BEFORE_THE_OFFER {
        fs::write(&trial.file, format!("{point}=kill")).unwrap();
        let dead = Unreported::serving(&trial.server);
        let outcome = trial.upgrade();
        assert!(outcome.is_err(), "{point}");
        assert_eq!(trial.server.connect().call(&["INCR", *point]), Value::Integer(1), "{point}");
        dead.report();
        trial.settle(point);
    }
    // While the new binary is still examined.
    let hanging = trial.file.with_file_name("hanging");
    fs::copy(env!("CARGO_BIN_EXE_fake-generation"), &hanging).unwrap();
    fs::write(hanging.with_extension("behaviour"), "preflight-hang").unwrap();
    thread::scope(|scope| {
        let server = &trial.server;
        let examining = scope.spawn(|| upgrade_once(server, &hanging));
        while server.status()["upgrading"] != "preflight" {
            assert!(!examining.is_finished());
        }
        let dead = Unreported::serving(server);
        kill(dead.0, Signal::SIGKILL).unwrap();
        assert_eq!(server.connect().call(&["INCR", "preflight"]), Value::Integer(1));
        dead.report();
        assert!(examining.join().unwrap().is_err());
    });
    trial.settle("preflight");
    trial.upgrade().unwrap();
    trial.settle("the last");
    trial.end(load);
}

/// Nobody is served while it is held up, whatever runs besides; nothing is lost for that.
#[test]
fn a_predecessor_that_is_held_up_for_longer_than_the_upgrade_may_take() {
    let mut trial = Trial::start();
    let load = Load::put_on(&trial.server);
    let later = ["predecessor.offer", "predecessor.offered", "predecessor.standby"];
    for point in BEFORE_THE_OFFER.iter().copied().chain(later) {
        fs::write(&trial.file, format!("{point}=stop")).unwrap();
        let outcome = thread::scope(|scope| {
            let (server, file) = (&trial.server, &trial.file);
            scope.spawn(|| wake_later(server, file));
            upgrade_once(server, &binaries::two_builds()[1])
        });
        println!("{point}: {outcome:?}");
        let serves = matches!(point, "predecessor.offered" | "predecessor.standby");
        assert_eq!(outcome.is_ok(), serves, "{point}: {outcome:?}");
        trial.settle(point);
        trial.upgrade().unwrap_or_else(|why| panic!("{point}: the next upgrade fails: {why}"));
        trial.settle(point);
    }
    trial.end(load);
}

/// Has a process that stops itself go on when the upgrade's time is over.
fn wake_later(server: &Server, file: &Path) {
    let end = Instant::now() + PATIENCE;
    while file.exists() {
        assert!(Instant::now() < end, "the point is never reached");
        thread::sleep(Duration::from_millis(2));
    }
    thread::sleep(TIMEOUT + Duration::from_millis(500));
    for pid in descendants(server.pid()) {
        let _ = kill(Pid::from_raw(pid as i32), Signal::SIGCONT);
    }
}

#[test]
fn a_predecessor_that_dies_when_it_is_needed_no_more() {
    play_all(&["predecessor.offered", "predecessor.standby"], DEATHS);
}

#[test]
fn a_predecessor_that_misbehaves_while_it_stands_by() {
    play_all(&["predecessor.standby"], SURVIVED);
}
