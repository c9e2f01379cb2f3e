//! Servers that listen at a port and at a Unix socket, and what is done to them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hotredis_tests::blocked::id_of;
use hotredis_tests::client::{Client, Endpoint};
use hotredis_tests::server::{Server, Setup, TempDir, descendants};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longer than anything that is waited for takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Ids of connections are larger than this, and the numbers in plays smaller: one is not taken for the other.
const SMALLEST_ID: i64 = 1000;

/// A server that listens at a port and at a Unix socket.
pub struct Stage {
    pub server: Server,
    pub endpoints: [Endpoint; 2],
    password: Option<String>,
    // Removed when the server is gone.
    _dir: TempDir,
}

impl Stage {
    /// Starts it with these directives.
    pub fn new(setup: Setup, directives: &[(&str, &str)]) -> Self {
        let dir = TempDir::new();
        let path = dir.path().join("socket");
        let setup = setup.directive("unixsocket", &path.to_string_lossy());
        let setup =
            directives.iter().fold(setup, |setup, (name, value)| setup.directive(name, value));
        let server = setup.start();
        let endpoints = [server.endpoint().clone(), Endpoint::Unix(path)];
        let password = directives.iter().find(|(name, _)| *name == "requirepass");
        let password = password.map(|(_, password)| (*password).to_owned());
        Self { server, endpoints, password, _dir: dir }
    }

    /// A server for plays, in which numbers are compared: one that gives no small ids any more.
    pub fn for_plays(setup: Setup, directives: &[(&str, &str)]) -> Self {
        let stage = Self::new(setup, directives);
        while id_of(&mut stage.control()).parse().is_ok_and(|id: i64| id < SMALLEST_ID) {}
        stage
    }

    /// A connection that may do anything.
    pub fn control(&self) -> Client {
        let mut control = self.server.connect();
        if let Some(password) = &self.password {
            control.call(&["AUTH", password]);
        }
        control
    }

    /// Has the predecessor, which stands by, serve again: it is told so, or finds its successor killed. Or,
    /// if nobody stands by, has another generation take the place of one that is killed.
    pub fn go_back(&self, how: Return) {
        match how {
            Return::Told => {
                let output = self.server.cli(&["rollback"]);
                assert!(output.status.success(), "{output:?}");
            }
            Return::Killed | Return::Replaced => {
                let killed = self.signal_serving(Signal::SIGKILL);
                let deadline = Instant::now() + PATIENCE;
                while self.serving() == killed {
                    assert!(Instant::now() < deadline, "nobody serves in its place");
                }
            }
        }
    }

    /// Sends a signal to the generation that serves, and gives its pid.
    pub fn signal_serving(&self, signal: Signal) -> i32 {
        let pid = self.serving();
        kill(Pid::from_raw(pid), signal).expect("it runs");
        pid
    }

    /// The pid of the generation that serves, as the keeper knows it.
    fn serving(&self) -> i32 {
        let output = self.server.cli(&["status", "--json"]);
        let status: serde_json::Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
        let pid = status[0]["generation_pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        pid.unwrap_or_else(|| panic!("nobody serves: {status}"))
    }

    /// All clients have left: waits until the server has no session but that of the one who asks, and
    /// ends it.
    pub fn finish(self) {
        await_clients(&mut self.control(), 1);
        self.server.finish();
    }
}

/// How a predecessor that stands by comes to serve again.
#[derive(Debug, Clone, Copy)]
pub enum Return {
    /// By `hotredis rollback`.
    Told,
    /// By the death of its successor.
    Killed,
    /// It does not: it has left, and a new generation takes the place of the one that dies.
    Replaced,
}

/// Waits until the server has so many clients.
#[track_caller]
pub fn await_clients(control: &mut Client, count: usize) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let list = control.call(&["CLIENT", "LIST"]);
        let listed = list.text().lines().count();
        if listed == count {
            return;
        }
        assert!(Instant::now() < deadline, "{listed} clients, not {count}:\n{}", list.text());
    }
}

/// Waits until the keeper has one child, which is the one that serves.
#[track_caller]
pub fn only_generation(server: &Server) -> u32 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let children = descendants(server.pid());
        if let [generation] = children[..] {
            return generation;
        }
        assert!(Instant::now() < deadline, "the keeper has the children {children:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// So that nobody waits for a thread that has panicked.
pub struct SetWhenDropped<'a>(pub &'a AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
