//! What systemd hears of a server with `Type=notify`: this test is the service manager.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hotredis_tests::binaries;
use hotredis_tests::binaries::two_builds;
use hotredis_tests::server::{Server, Setup, TempDir, descendants};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longer than anything that is waited for takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The service manager's end: each message is the lines of one datagram.
struct Manager {
    socket: UnixDatagram,
    /// What `NOTIFY_SOCKET` is to say.
    name: String,
    _dir: Option<TempDir>,
}

impl Manager {
    fn at_a_path() -> Self {
        let dir = TempDir::new();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { socket, name: path.to_str().unwrap().into(), _dir: Some(dir) }
    }

    fn at_an_abstract_name() -> Self {
        let name = format!("hotredis-test-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        Self { socket, name: format!("@{name}"), _dir: None }
    }

    /// The next message before the deadline.
    fn before(&self, deadline: Instant) -> Option<Vec<String>> {
        let left = deadline.checked_duration_since(Instant::now()).filter(|it| !it.is_zero())?;
        self.socket.set_read_timeout(Some(left)).unwrap();
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).ok()?;
        let text = std::str::from_utf8(&buffer[..length]).expect("messages are UTF-8");
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        Some(lines)
    }

    /// The next message that tells more than a status or a ping.
    #[track_caller]
    fn next_event(&self) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let lines = self.before(deadline).expect("nothing more is told");
            if !lines[0].starts_with("STATUS=") && lines[0] != "WATCHDOG=1" {
                return lines;
            }
        }
    }

    #[track_caller]
    fn expect(&self, event: &str, status: &str) {
        let lines = self.next_event();
        assert_eq!(lines[0], event, "{lines:?}");
        assert!(lines.last().unwrap().contains(status), "not '{status}': {lines:?}");
    }

    #[track_caller]
    fn expect_reloading(&self) {
        let lines = self.next_event();
        assert_eq!(lines[0], "RELOADING=1", "{lines:?}");
        let clock = lines[1].strip_prefix("MONOTONIC_USEC=").expect("the clock comes with it");
        assert!(clock.parse::<u64>().unwrap() > 0);
        assert!(lines[2].contains("upgrading"), "{lines:?}");
    }

    /// The time until the next ping, if one comes in time.
    fn next_ping(&self, patience: Duration) -> Option<Duration> {
        let start = Instant::now();
        while let Some(lines) = self.before(start + patience) {
            if lines[0] == "WATCHDOG=1" {
                return Some(start.elapsed());
            }
        }
        None
    }

    /// Whatever has arrived by now is looked at no more.
    fn forget(&self) {
        self.socket.set_nonblocking(true).unwrap();
        while self.socket.recv(&mut [0; 4096]).is_ok() {}
        self.socket.set_nonblocking(false).unwrap();
    }
}

fn generation(server: &Server) -> String {
    server.info("handoff_generation").expect("INFO says which generation serves")
}

fn generation_pid(server: &Server) -> u32 {
    server.info("process_id").expect("INFO has the pid").parse().unwrap()
}

#[test]
fn it_hears_of_the_start_of_upgrades_and_of_the_end() {
    let [a, b] = two_builds();
    let manager = Manager::at_a_path();
    let server = Setup::of_binary(&a)
        .environment("NOTIFY_SOCKET", &manager.name)
        .environment("WATCHDOG_USEC", "10000000")
        .start();
    let port = server.port().to_string();
    manager.expect("READY=1", &format!("serves 127.0.0.1:{port}"));
    assert!(server.upgrade(&b).success);
    manager.expect_reloading();
    manager.expect("READY=1", "STATUS=generation 2, ");
    let generations = descendants(server.pid());
    assert!(!generations.is_empty());
    for pid in generations {
        // One that is about to exit may be gone.
        let variables = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let variables = String::from_utf8_lossy(&variables);
        assert!(!variables.contains("NOTIFY_SOCKET"), "a generation could speak for the keeper");
        assert!(!variables.contains("WATCHDOG_USEC"), "a generation could take itself for watched");
    }
    let refused = server.cli(&["upgrade", "--dry-run", "--binary", &a.to_string_lossy()]);
    assert!(refused.status.success(), "a dry run is nothing to tell: what comes next is another's");
    assert!(!server.upgrade(Path::new("/bin/true")).success);
    manager.expect_reloading();
    manager.expect("READY=1", "the last upgrade failed: preflight: ");
    server.usr2();
    manager.expect_reloading();
    manager.expect("READY=1", "STATUS=generation 3, ");
    assert_eq!(generation(&server), "3");
    server.finish();
    manager.expect("STOPPING=1", "SIGTERM");
    assert_eq!(manager.before(Instant::now() + Duration::from_millis(1)), None, "that was all");
}

#[test]
fn its_socket_may_have_an_abstract_name() {
    let manager = Manager::at_an_abstract_name();
    let server = Setup::hotredis().environment("NOTIFY_SOCKET", &manager.name).start();
    manager.expect("READY=1", "STATUS=generation 1, ");
    let _ = server.connect().try_call(&["SHUTDOWN", "NOSAVE"]);
    manager.expect("STOPPING=1", "asked by a client");
    server.abandon();
}

#[test]
fn a_manager_that_is_gone_stops_nothing() {
    for name in ["/nonexistent/socket", "vsock:2:1234", "relative"] {
        let server = Setup::hotredis().environment("NOTIFY_SOCKET", name).start();
        assert!(server.log().contains("cannot tell the service manager"), "{}", server.log());
        server.finish();
    }
}

/// The keeper's pid changes only with its death; and it goes on telling.
#[test]
fn a_keeper_that_carries_on_says_that_it_is_the_main_process() {
    let manager = Manager::at_a_path();
    let server = Setup::hotredis().environment("NOTIFY_SOCKET", &manager.name).start();
    manager.expect("READY=1", "");
    server.kill_keeper();
    let lines = manager.next_event();
    assert_eq!(lines[..2], [format!("MAINPID={}", server.pid()), "READY=1".to_string()]);
    let outcome = server.upgrade(&binaries::hotredis());
    assert!(outcome.success, "{}", outcome.output);
    manager.expect_reloading();
    manager.expect("READY=1", "generation 2");
    server.finish();
}

#[test]
fn a_death_is_told_with_its_reason() {
    let manager = Manager::at_a_path();
    let server = Setup::hotredis().environment("NOTIFY_SOCKET", &manager.name).start();
    manager.expect("READY=1", "");
    let (first, _) = server.serving();
    kill(Pid::from_raw(generation_pid(&server) as i32), Signal::SIGKILL).unwrap();
    while server.serving().0 == first {}
    // Each as soon as it is there: at last the keeper gives up.
    let told = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let end = Instant::now() + PATIENCE;
            while !told.load(Ordering::Relaxed) && Instant::now() < end {
                for generation in descendants(server.pid()) {
                    let _ = kill(Pid::from_raw(generation as i32), Signal::SIGABRT);
                }
            }
        });
        manager.expect("STOPPING=1", "was killed by SIGABRT");
        told.store(true, Ordering::Relaxed);
    });
    server.abandon();
}

#[test]
fn it_is_pinged_as_long_as_somebody_serves() {
    const INTERVAL: Duration = Duration::from_secs(2);
    let manager = Manager::at_a_path();
    let usec = INTERVAL.as_micros().to_string();
    let server = Setup::hotredis()
        .environment("NOTIFY_SOCKET", &manager.name)
        .environment("WATCHDOG_USEC", &usec)
        .start();
    assert!(manager.next_ping(PATIENCE).is_some());

    // Asked of somebody who hangs, the keeper says nothing, though it lives itself.
    let pid = Pid::from_raw(generation_pid(&server) as i32);
    kill(pid, Signal::SIGSTOP).unwrap();
    manager.forget();
    assert_eq!(manager.next_ping(INTERVAL * 2), None, "nobody has shown that it lives");
    kill(pid, Signal::SIGCONT).unwrap();
    assert!(manager.next_ping(PATIENCE).is_some(), "it lives again");

    // Upgrades do not come in between.
    let [a, b] = two_builds();
    for binary in [&b, &a, &b] {
        assert!(server.upgrade(binary).success);
        let ping = manager.next_ping(PATIENCE).expect("pings go on");
        assert!(ping < INTERVAL, "{ping:?} without a ping: the manager would have killed it");
    }
    assert_eq!(generation(&server), "4");
    server.finish();
}

#[test]
fn no_pings_are_sent_that_are_meant_for_another() {
    let manager = Manager::at_a_path();
    let server = Setup::hotredis()
        .environment("NOTIFY_SOCKET", &manager.name)
        .environment("WATCHDOG_USEC", "100000")
        .environment("WATCHDOG_PID", "1")
        .start();
    manager.expect("READY=1", "");
    assert_eq!(manager.next_ping(Duration::from_millis(300)), None);
    server.finish();
}
