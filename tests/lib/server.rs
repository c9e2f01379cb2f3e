//! Servers under test: started on a port of their own, watched, checked and ended.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::binaries;
use crate::client::{Client, Endpoint};
use crate::ports::Port;
pub use crate::processes::descendants;
use crate::processes::is_alive;

/// How long a server may take to answer after its start, and to end after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The reference.
    Redis,
    /// The server under test.
    Hotredis,
}

/// How a server is to be started. Directives are given by their Redis names.
#[derive(Debug, Clone)]
pub struct Setup {
    kind: Kind,
    binary: PathBuf,
    directives: Vec<(String, String)>,
    arguments: Vec<String>,
    environment: Vec<(String, PathBuf)>,
    descriptors: Option<u64>,
    runtime: Option<PathBuf>,
}

impl Setup {
    /// The reference: redis-server without persistence.
    pub fn redis() -> Self {
        Self::of(Kind::Redis, binaries::redis_server()).directive("save", "")
    }

    /// The hotredis under test, told the same: it has no persistence, but shows the directive.
    pub fn hotredis() -> Self {
        Self::of(Kind::Hotredis, binaries::hotredis()).directive("save", "")
    }

    /// hotredis, or Redis if `HOTREDIS_CANDIDATE=redis-server`: for tests that hold for both.
    pub fn candidate() -> Self {
        if binaries::candidate_is_redis() { Self::redis() } else { Self::hotredis() }
    }

    /// A given build of hotredis.
    pub fn of_binary(binary: &Path) -> Self {
        Self::of(Kind::Hotredis, binary.to_path_buf()).directive("save", "")
    }

    fn of(kind: Kind, binary: PathBuf) -> Self {
        Self {
            kind,
            binary,
            directives: Vec::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            descriptors: None,
            runtime: None,
        }
    }

    /// Sets a directive. Values of several words are several arguments.
    pub fn directive(mut self, name: &str, value: &str) -> Self {
        self.directives.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds arguments as they are (for flags that only hotredis has).
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|a| (*a).to_owned()));
        self
    }

    /// Sets a variable of the server's environment.
    pub fn environment(mut self, name: &str, value: impl AsRef<Path>) -> Self {
        self.environment.push((name.to_owned(), value.as_ref().to_path_buf()));
        self
    }

    /// Limits the server's open descriptors (`ulimit -n`).
    pub fn descriptors(mut self, limit: u64) -> Self {
        self.descriptors = Some(limit);
        self
    }

    /// Shares a runtime directory with other instances, instead of one of its own.
    pub fn runtime_dir(mut self, dir: &Path) -> Self {
        self.runtime = Some(dir.to_path_buf());
        self
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Panics
    /// If it does not within the deadline; its stderr is shown.
    pub fn start(self) -> Server {
        for _ in 0..5 {
            match self.try_start() {
                Ok(server) => return server,
                Err(StartError::PortTaken) => {}
                Err(StartError::Other(why)) => panic!("{why}"),
            }
        }
        panic!("{}: five ports in a row were taken by others", self.binary.display())
    }

    fn command(&self, port: u16, dir: &Path, runtime: &Path) -> Command {
        let mut words: Vec<String> = Vec::new();
        if self.kind == Kind::Hotredis {
            let runtime = runtime.to_string_lossy().into_owned();
            words.extend(["serve".to_owned(), "--runtime-dir".to_owned(), runtime]);
        } else {
            words.extend(["--dir".to_owned(), dir.to_string_lossy().into_owned()]);
        }
        words.extend(["--port".to_owned(), port.to_string()]);
        if !self.directives.iter().any(|(name, _)| name == "bind") {
            words.extend(["--bind".to_owned(), "127.0.0.1".to_owned()]);
        }
        for (name, value) in &self.directives {
            let parts = value.split(' ').map(str::to_owned);
            match (self.kind, name.as_str()) {
                (Kind::Redis, _) => words.extend([format!("--{name}")].into_iter().chain(parts)),
                (Kind::Hotredis, "bind") => {
                    words.extend(parts.flat_map(|addr| ["--bind".to_owned(), addr]));
                }
                (Kind::Hotredis, _) if value.is_empty() => {
                    words.extend(["--set".to_owned(), format!("{name}=\"\"")]);
                }
                (Kind::Hotredis, _) => {
                    words.extend(["--set".to_owned(), format!("{name}={value}")]);
                }
            }
        }
        words.extend(self.arguments.iter().cloned());
        let mut command = match self.descriptors {
            None => Command::new(&self.binary),
            Some(limit) => {
                let mut shell = Command::new("/bin/sh");
                let script = format!("ulimit -n {limit} && exec \"$0\" \"$@\"");
                shell.arg("-c").arg(script).arg(&self.binary);
                shell
            }
        };
        command.args(words).envs(self.environment.iter().cloned());
        command
    }

    fn try_start(&self) -> Result<Server, StartError> {
        let port = Port::reserve();
        let dir = TempDir::new();
        let log = dir.path().join("stderr");
        let output = File::create(&log).expect("a log can be made in a fresh directory");
        let runtime = self.runtime.clone().unwrap_or_else(|| dir.path().join("run"));
        let mut command = self.command(port.number(), dir.path(), &runtime);
        command.stdin(Stdio::null());
        command.stdout(output.try_clone().expect("a descriptor can be duplicated"));
        command.stderr(output);
        let child = command.spawn().unwrap_or_else(|e| {
            panic!("cannot start {}: {e}; is it built and installed?", self.binary.display())
        });
        let bind = self.directives.iter().find(|(name, _)| name == "bind");
        let ip = bind.and_then(|(_, value)| value.split(' ').next()?.parse().ok());
        let address = SocketAddr::new(ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), port.number());
        let mut server = Server {
            kind: self.kind,
            binary: self.binary.clone(),
            keeper: AtomicU32::new(child.id()),
            child,
            endpoint: Endpoint::Tcp(address),
            port,
            dir,
            runtime,
            finished: false,
        };
        server.await_ready()?;
        Ok(server)
    }
}

enum StartError {
    PortTaken,
    Other(String),
}

/// A running server. Call [`Server::finish`] at the end of every test: it runs the checker and
/// ends the server in an orderly way. A server that is dropped without it fails the test.
#[derive(Debug)]
pub struct Server {
    kind: Kind,
    binary: PathBuf,
    child: Child,
    /// The pid of the keeper, or of redis-server: that of `child` until that is killed.
    keeper: AtomicU32,
    endpoint: Endpoint,
    port: Port,
    dir: TempDir,
    runtime: PathBuf,
    finished: bool,
}

/// What `hotredis upgrade` said.
#[derive(Debug)]
pub struct UpgradeOutcome {
    /// Whether the new generation serves.
    pub success: bool,
    /// stdout and stderr.
    pub output: String,
}

impl Server {
    fn await_ready(&mut self) -> Result<(), StartError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let failed = |server: &mut Self, why: &str| {
                server.finished = true;
                let log = server.log();
                server.end_by_force();
                if ["ddress already in use", "ddress in use"].iter().any(|text| log.contains(text))
                {
                    return StartError::PortTaken;
                }
                let binary = server.binary.display();
                StartError::Other(format!("{binary} {why}; its output:\n{log}"))
            };
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(failed(self, &format!("ended at once with {status}")));
            }
            if let Ok(mut client) = Client::try_connect(&self.endpoint) {
                // Any answer will do: the server may want a password.
                if client.try_call(&["PING"]).is_ok() && self.has_control_socket() {
                    return Ok(());
                }
            }
            if Instant::now() > deadline {
                return Err(failed(self, "did not answer in time"));
            }
            // Nothing signals "about to listen" for both kinds of server.
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The keeper shows its control socket once the first generation has told it that it serves, when
    /// that has answered clients already.
    fn has_control_socket(&self) -> bool {
        let socket = format!("{}.sock", self.pid());
        self.kind == Kind::Redis || self.runtime.join(socket).exists()
    }

    /// What this server is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The pid that users know: redis-server's own, or the keeper's.
    pub fn pid(&self) -> u32 {
        self.keeper.load(Ordering::Relaxed)
    }

    /// Kills the keeper, and waits until the server has another one.
    ///
    /// # Panics
    /// If it does not get one.
    #[track_caller]
    pub fn kill_keeper(&self) {
        self.signal(Signal::SIGKILL);
        self.await_new_keeper();
    }

    /// Waits until the server has another keeper than the one that was killed, and that holds everything.
    ///
    /// # Panics
    /// If it does not get one.
    #[track_caller]
    pub fn await_new_keeper(&self) {
        let old = self.pid();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let new = self.info("handoff_keeper_pid").and_then(|pid| pid.parse().ok());
            if let Some(new) = new.filter(|new| *new != old) {
                self.keeper.store(new, Ordering::Relaxed);
                break;
            }
            assert!(Instant::now() < deadline, "there is no new keeper:\n{}", self.log());
        }
        while !self.has_control_socket() || self.status()["held"] == false {
            assert!(Instant::now() < deadline, "the keeper is not ready:\n{}", self.log());
        }
    }

    /// Whether the keeper is still the process that was started.
    fn is_kept_by_child(&self) -> bool {
        self.pid() == self.child.id()
    }

    /// Its TCP port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Where it listens (the first address it was told to bind).
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// A directory of its own, removed with it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A new connection.
    #[track_caller]
    pub fn connect(&self) -> Client {
        Client::connect(&self.endpoint)
    }

    /// Resident memory in bytes of the server and the processes it started.
    pub fn resident(&self) -> u64 {
        let pids = std::iter::once(self.pid()).chain(descendants(self.pid()));
        pids.map(|pid| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or("0");
            let kib = line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok());
            kib.unwrap_or(0) * 1024
        })
        .sum()
    }

    /// What the server has written to stdout and stderr so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.dir.path().join("stderr")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether its process (the keeper's, for hotredis) still runs.
    pub fn is_running(&mut self) -> bool {
        match self.is_kept_by_child() {
            true => matches!(self.child.try_wait(), Ok(None)),
            false => is_alive(self.pid()),
        }
    }

    /// Sends a signal to the pid that users know.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid() as i32), signal).expect("a child can be signalled");
    }

    /// Asks for an upgrade to the file at the path the server was started from.
    /// Returns at once: watch `handoff_generation`.
    pub fn usr2(&self) {
        self.signal(Signal::SIGUSR2);
    }

    /// Runs `hotredis SUBCOMMAND ... --pid PID --runtime-dir DIR` of the binary that was started.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        self.command(arguments)
            .output()
            .unwrap_or_else(|e| panic!("cannot run {}: {e}", self.binary.display()))
    }

    /// What [`cli`](Self::cli) runs.
    pub fn command(&self, arguments: &[&str]) -> Command {
        assert_eq!(self.kind, Kind::Hotredis, "redis-server has no subcommands");
        let mut command = Command::new(&self.binary);
        command.args(arguments).arg("--pid").arg(self.pid().to_string());
        command.arg("--runtime-dir").arg(&self.runtime).stdin(Stdio::null());
        command
    }

    /// Upgrades to `binary` and waits for the outcome.
    pub fn upgrade(&self, binary: &Path) -> UpgradeOutcome {
        let output = self.cli(&["upgrade", "--binary", &binary.to_string_lossy()]);
        UpgradeOutcome { success: output.status.success(), output: text_of(&output) }
    }

    /// What `hotredis status --json` says.
    ///
    /// # Panics
    /// If the keeper does not answer.
    #[track_caller]
    pub fn status(&self) -> serde_json::Value {
        let text = text_of(&self.cli(&["status", "--json"]));
        let status: Result<serde_json::Value, _> = serde_json::from_str(&text);
        status.unwrap_or_else(|e| panic!("no status: {e}: {text}"))[0].take()
    }

    /// The number and the pid of the generation that serves, as the keeper knows them.
    ///
    /// # Panics
    /// If the keeper does not answer.
    #[track_caller]
    pub fn serving(&self) -> (u64, u32) {
        let status = self.status();
        let number = |name: &str| status[name].as_u64().unwrap_or_default();
        (number("generation"), number("generation_pid") as u32)
    }

    /// Kills the generation that serves and waits until another one does: a new one, or its predecessor
    /// if that has not left yet.
    ///
    /// # Panics
    /// If nobody does.
    #[track_caller]
    pub fn kill_serving(&self) {
        let (generation, pid) = self.serving();
        kill(Pid::from_raw(pid as i32), Signal::SIGKILL).expect("it has been serving just now");
        let deadline = Instant::now() + PATIENCE;
        while self.serving().0 == generation {
            assert!(Instant::now() < deadline, "nobody serves:\n{}", self.log());
        }
    }

    /// Runs `hotredis check` on the live server.
    ///
    /// # Panics
    /// If it finds anything.
    #[track_caller]
    pub fn check(&self) {
        let output = self.cli(&["check"]);
        let status = output.status;
        assert!(status.success(), "hotredis check: {status}\n{}", text_of(&output));
    }

    /// A field of `INFO`, over a new connection: another one if its generation dies in the tick in which it
    /// accepted that, as long as there is patience.
    #[track_caller]
    pub fn info(&self, field: &str) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.connect().try_call(&["INFO", "everything"]) {
                Ok(info) => return info_field(info.text(), field),
                Err(error) => assert!(Instant::now() < deadline, "no answer to INFO: {error}"),
            }
        }
    }

    /// Ends the test's use of this server: it must still serve and must not have panicked, the
    /// checker must find nothing, and SIGTERM must end it with exit status 0.
    ///
    /// # Panics
    /// If any of this does not hold.
    #[track_caller]
    pub fn finish(mut self) {
        assert!(self.is_running(), "the server is gone; its output:\n{}", self.log());
        if self.kind == Kind::Hotredis {
            self.check();
            let log = self.log();
            let asked_for =
                |line: &str| line.contains("DEBUG PANIC was called") || line.contains("on purpose");
            let mut panics = log.lines().filter(|line| line.contains("panicked at"));
            assert!(panics.all(asked_for), "the server panicked:\n{log}");
        }
        self.finished = true;
        let family = self.processes();
        self.signal(Signal::SIGTERM);
        if self.is_kept_by_child() {
            let status = self.await_exit();
            let success = status.is_some_and(|s| s.success());
            assert!(success, "after SIGTERM: {status:?}; its output:\n{}", self.log());
        }
        // One that was killed is there until its memory is taken apart.
        let deadline = Instant::now() + PATIENCE;
        while let Some(left) = family.iter().find(|pid| is_alive(**pid)) {
            assert!(Instant::now() < deadline, "process {left} has outlived the server");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends the server without any check: for a test that has its own reason to fail, or whose
    /// server is meant to be broken.
    pub fn abandon(mut self) {
        self.finished = true;
        self.end_by_force();
    }

    fn await_exit(&mut self) -> Option<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        None
    }

    /// All processes of the server. A keeper that carries on for another one is not the parent of its
    /// generation: they are known by the log that they write.
    pub fn processes(&self) -> Vec<u32> {
        if self.is_kept_by_child() && is_alive(self.pid()) {
            let own = std::iter::once(self.pid());
            return own.chain(descendants(self.pid())).collect();
        }
        let log = self.dir.path().join("stderr");
        let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let writes = |pid: &u32| {
            std::fs::read_link(format!("/proc/{pid}/fd/2")).is_ok_and(|target| target == log)
        };
        pids.filter(writes).collect()
    }

    /// SIGKILL for every process of the server.
    fn end_by_force(&mut self) {
        let family = loop {
            let all = self.processes();
            for pid in &all {
                let _ = kill(Pid::from_raw(*pid as i32), Signal::SIGKILL);
            }
            if self.is_kept_by_child() || all.is_empty() {
                break all;
            }
        };
        let _ = self.child.wait();
        // What they hold, the lock of an arena file say, is free once all of them are gone.
        let deadline = Instant::now() + PATIENCE;
        while family.iter().any(|pid| is_alive(*pid)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.finished && self.child.try_wait().is_ok_and(|s| s.is_some()) {
            return;
        }
        self.end_by_force();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            eprintln!("--- output of {} (port {}) ---", self.binary.display(), self.port());
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        } else if !self.finished {
            panic!("a test must call finish() on its server, so that the checker runs");
        }
    }
}

/// The value of `field` in the text of an `INFO` reply.
pub fn info_field(info: &str, field: &str) -> Option<String> {
    let line = info.lines().find(|l| l.strip_prefix(field).is_some_and(|r| r.starts_with(':')))?;
    Some(line[field.len() + 1..].to_owned())
}

/// What a command wrote to stdout, and after it what it wrote to stderr.
pub fn text_of(output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    format!("{stdout}{stderr}")
}

/// A directory that is removed when dropped.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// Makes one. Its path is short: a Unix socket's path has room for about 100 bytes.
    ///
    /// # Panics
    /// If the system refuses.
    #[allow(clippy::new_without_default, reason = "making a directory is no default")]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("hotredis-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // A leftover of a killed run with the same pid is nobody's.
        let _ = std::fs::remove_dir_all(&path);
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.expect("a temporary directory can be made");
        Self(path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
