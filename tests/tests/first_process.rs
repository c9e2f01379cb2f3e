//! hotredis as process 1 of a container: a pid namespace of its own with a /proc of its own.
//!
//! The kernel treats process 1 differently: signals without a handler do nothing to it, orphans
//! become its children, and its end is everybody's. Needs `unshare` and `nsenter` of util-linux and
//! a kernel that lets this user make namespaces; otherwise each test says why it is skipped.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use hotredis_tests::binaries::{hotredis, two_builds};
use hotredis_tests::client::{Client, Endpoint};
use hotredis_tests::ports::Port;
use hotredis_tests::server::{TempDir, info_field};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

/// Longer than anything that is waited for takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// `unshare` with what this user needs to make namespaces.
fn unshare(flags: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    if !geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(flags);
    command
}

/// Whether namespaces can be made here; if not it is said why the test is skipped.
fn possible(flags: &[&str]) -> bool {
    let why = match unshare(flags).arg("true").output() {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => format!("cannot run unshare: {error}"),
    };
    eprintln!("SKIPPED: no namespaces can be made here: {why}");
    false
}

/// Waits until a condition holds.
#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn children_of(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(|word| word.parse().unwrap()).collect()
}

const NAMESPACES: [&str; 3] = ["--pid", "--fork", "--mount-proc"];

/// A container as far as process 1 can tell.
struct Container {
    /// Waits outside for process 1 and exits with its code.
    unshare: Child,
    binary: PathBuf,
    port: Port,
    dir: TempDir,
}

impl Container {
    fn start(binary: &Path) -> Self {
        Self::start_in(TempDir::new(), binary)
    }

    fn start_in(dir: TempDir, binary: &Path) -> Self {
        let port = Port::reserve();
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let unshare = unshare(&NAMESPACES)
            .arg(binary)
            .args(["serve", "--bind", "127.0.0.1", "--port", &port.number().to_string()])
            .arg("--runtime-dir")
            .arg(dir.path().join("run"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("unshare can be run");
        let container = Self { unshare, binary: binary.into(), port, dir };
        eventually("it can be asked", || UnixStream::connect(container.control_socket()).is_ok());
        container
    }

    fn control_socket(&self) -> PathBuf {
        self.dir.path().join("run/1.sock")
    }

    fn connect(&self) -> Client {
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.port.number());
        Client::connect(&Endpoint::Tcp(address))
    }

    fn info(&self, field: &str) -> String {
        let mut client = self.connect();
        let reply = client.call(&["INFO", "everything"]);
        info_field(reply.text(), field).unwrap_or_else(|| panic!("INFO has no {field}"))
    }

    /// Process 1, as it is called outside.
    fn keeper(&self) -> u32 {
        children_of(self.unshare.id())[0]
    }

    /// Runs a script inside, as `docker exec` does.
    fn try_exec(&self, script: &str) -> ExitStatus {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.keeper().to_string(), "--pid", "--mount"]);
        if !geteuid().is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.args(["sh", "-c", script]).status().expect("nsenter can be run")
    }

    fn exec(&self, script: &str) {
        let status = self.try_exec(script);
        assert!(status.success(), "{script}: {status}");
    }

    fn upgrade(&self, binary: &Path) -> Output {
        let mut command = Command::new(&self.binary);
        command.arg("upgrade").arg("--binary").arg(binary);
        command.arg("--socket").arg(self.control_socket()).output().unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // The end of process 1 is the end of all.
        for pid in children_of(self.unshare.id()) {
            let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
        }
        let _ = self.unshare.wait();
        if std::thread::panicking() {
            eprintln!("--- its output ---\n{}", self.log());
        }
    }
}

#[test]
fn it_serves_upgrades_and_stops() {
    if !possible(&NAMESPACES) {
        return;
    }
    let [a, b] = two_builds();
    let mut container = Container::start(&a);
    let mut client = container.connect();
    assert_eq!(client.call(&["SET", "key", "value"]).text(), "OK");
    let upgraded = container.upgrade(&b);
    assert!(upgraded.status.success(), "{upgraded:?}");
    assert_eq!(client.call(&["GET", "key"]).text(), "value", "over the same connection");
    assert_eq!(container.info("hotredis_build"), "b");

    // From inside, a signal reaches process 1 only because it is expected.
    container.exec("kill -USR2 1");
    eventually("SIGUSR2 upgrades", || container.info("handoff_generation") == "3");
    assert_eq!(container.info("hotredis_build"), "a", "the file that was started");
    for harmless in ["HUP", "PIPE", "QUIT", "USR1"] {
        container.exec(&format!("kill -{harmless} 1"));
    }
    assert_eq!(client.call(&["GET", "key"]).text(), "value");
    // The end of process 1 may overtake that of the shell.
    container.try_exec("kill -TERM 1");
    let status = container.unshare.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{}", container.log());
    assert!(!container.control_socket().exists(), "nothing is left");
}

#[test]
fn orphans_are_reaped() {
    if !possible(&NAMESPACES) {
        return;
    }
    let container = Container::start(&hotredis());
    let keeper = container.keeper();
    let generations = children_of(keeper);
    assert_eq!(generations.len(), 1);
    // The shell ends and leaves two children to process 1: one that ends by itself, one that waits.
    container.exec("sleep 0 >/dev/null 2>&1 & sleep 1000 >/dev/null 2>&1 & exit 0");
    let orphans = || -> Vec<u32> {
        children_of(keeper).into_iter().filter(|pid| !generations.contains(pid)).collect()
    };
    eventually("the one that waits is left", || {
        orphans().iter().any(|pid| {
            fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|it| it == b"sleep\x001000\0")
        }) && orphans().len() == 1
    });
    kill(Pid::from_raw(orphans()[0] as i32), Signal::SIGKILL).unwrap();
    eventually("no zombie is left", || orphans().is_empty());
    assert_eq!(
        container.info("handoff_generation"),
        "1",
        "the end of an orphan is not the server's"
    );
}

#[test]
fn a_second_start_in_the_same_place_replaces_what_the_first_one_left() {
    if !possible(&NAMESPACES) {
        return;
    }
    // A container that is killed and started again finds its files, and has the same pid.
    let dir = TempDir::new();
    let run = dir.path().join("run");
    fs::DirBuilder::new().mode(0o700).create(&run).unwrap();
    drop(UnixListener::bind(run.join("1.sock")).unwrap());
    drop(UnixListener::bind(run.join(".1.new")).unwrap());
    let container = Container::start_in(dir, &hotredis());
    assert!(container.upgrade(&hotredis()).status.success());
    let names = fs::read_dir(&run).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["1.sock"]);
}

#[test]
fn without_proc_it_says_what_is_missing() {
    if !possible(&["--mount"]) {
        return;
    }
    let script = "mount -t tmpfs none /proc && exec \"$0\" serve --port 0 --runtime-dir /nowhere";
    let output = unshare(&["--mount"]).args(["sh", "-c", script]).arg(hotredis()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("Is /proc mounted?"), "{said}");
}
