//! The keeper dies: the generation that serves goes on, starts another one and hands it everything; no
//! client notices, and upgrades, crashes and a shutdown work as before.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use hotredis_tests::binaries;
use hotredis_tests::client::Client;
use hotredis_tests::counting::Counting;
use hotredis_tests::server::{Server, Setup, TempDir};
use hotredis_tests::value::Value;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const PATIENCE: Duration = Duration::from_secs(30);

fn server(arguments: &[&str]) -> Server {
    Setup::first_build().arguments(arguments).start()
}

#[test]
fn clients_that_count_notice_nothing() {
    let server = server(&["--probation", "0"]);
    let idle: Vec<Client> = (0..300).map(|_| server.connect()).collect();
    let counting = Counting::start(&server, &[1, 1, 3, 16, 100]);
    for round in 0..12 {
        server.kill_keeper();
        match round % 4 {
            1 => server.kill_serving(),
            2 => server.upgrade_to(round / 4),
            3 => {
                server.upgrade_to(round / 4);
                server.kill_serving();
            }
            _ => {}
        }
    }
    counting.end();
    for mut client in idle {
        assert_eq!(client.call(&["PING"]), Value::Simple(b"PONG".to_vec()));
    }
    server.finish();
}

/// Whom a signal, the pid file and the command line find.
#[test]
fn the_new_keeper_is_found_like_the_old_one() {
    let dir = TempDir::new();
    let pidfile = dir.path().join("pid");
    let server = server(&["--pidfile", &pidfile.to_string_lossy(), "--probation", "0"]);
    server.upgrade_to(1);
    let first = server.pid();
    server.kill_keeper();
    assert_ne!(server.pid(), first);
    assert_eq!(fs::read_to_string(&pidfile).unwrap(), format!("{}\n", server.pid()));
    let sockets: Vec<PathBuf> =
        fs::read_dir(server.dir().join("run")).unwrap().flatten().map(|it| it.path()).collect();
    assert_eq!(sockets, [server.dir().join("run").join(format!("{}.sock", server.pid()))]);
    assert_eq!(server.serving().0, 2);
    // SIGUSR2 takes the file from which the first one was started.
    server.usr2();
    let end = Instant::now() + PATIENCE;
    while server.info("handoff_generation").as_deref() != Some("3") {
        assert!(Instant::now() < end, "{}", server.log());
    }
    assert_eq!(server.info("hotredis_build").as_deref(), Some("a"));
    assert_eq!(server.info("handoff_upgrades").as_deref(), Some("2"));
    server.finish();
    assert!(!pidfile.exists());
}

/// What a keeper that carries on for another one was never the parent of may exit as it likes.
#[test]
fn a_generation_stops_as_it_was_told_to() {
    let server = server(&[]);
    server.kill_keeper();
    let log = server.dir().join("stderr");
    let text = || fs::read_to_string(&log).unwrap_or_default();
    server.connect().send(&["SHUTDOWN", "NOSAVE"]);
    let end = Instant::now() + PATIENCE;
    while !text().contains("the keeper exits too") {
        assert!(Instant::now() < end, "{}", text());
    }
    assert!(!text().contains("starting generation"), "{}", text());
    server.abandon();
}

fn is_stopped(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
}

/// In the midst of an upgrade, at each point where one of the two generations is held up.
#[test]
fn the_keeper_dies_in_an_upgrade() {
    let dir = TempDir::new();
    let file = dir.path().join("failpoint");
    let server = Setup::first_build()
        .arguments(&["--probation", "30"])
        .environment("HOTREDIS_FAILPOINT", &file)
        .start();
    let mut client = server.connect();
    let points = [
        "successor.start",
        "successor.arena",
        "successor.ready",
        "successor.taken",
        "successor.serving",
        "predecessor.arena",
        "predecessor.sockets",
        "predecessor.offer",
        "predecessor.offered",
        "predecessor.standby",
    ];
    for (number, point) in points.into_iter().enumerate() {
        fs::write(&file, format!("{point}=stop")).unwrap();
        let binary = binaries::two_builds()[number % 2].clone();
        thread::scope(|scope| {
            scope.spawn(|| server.upgrade(&binary));
            let end = Instant::now() + PATIENCE;
            while file.exists() || !server.processes().into_iter().any(is_stopped) {
                assert!(Instant::now() < end, "{point} is never reached");
                thread::sleep(Duration::from_millis(1));
            }
            server.signal(Signal::SIGKILL);
            for pid in server.processes() {
                let _ = kill(Pid::from_raw(pid as i32), Signal::SIGCONT);
            }
            server.await_new_keeper();
        });
        let count = Value::Integer(number as i64 + 1);
        assert_eq!(client.call(&["INCR", "counter"]), count, "{point}");
        // Whoever serves now can be replaced.
        server.upgrade_to(number + 1);
    }
    server.finish();
}
