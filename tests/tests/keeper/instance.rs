//! A keeper under test, in directories of its own.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Longer than anything that is waited for takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Directories of one test; removed at its end.
pub struct Place {
    /// For executables: on the file system of the build, so that they can be links.
    pub binaries: PathBuf,
    /// For sockets: a path that is short enough.
    pub runtime: PathBuf,
}

impl Place {
    pub fn new(test: &str) -> Self {
        let name = format!("hotredis-keeper-{}-{test}", std::process::id());
        let binaries = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&name);
        let runtime = std::env::temp_dir().join(&name);
        fs::create_dir_all(&binaries).unwrap();
        Self { binaries, runtime }
    }

    /// An executable that behaves in the given way.
    pub fn binary(&self, name: &str, behaviour: &str) -> PathBuf {
        let path = self.binaries.join(name);
        fs::hard_link(env!("CARGO_BIN_EXE_fake-generation"), &path).unwrap();
        self.behave(name, behaviour);
        path
    }

    /// Changes how an executable behaves from now on.
    pub fn behave(&self, name: &str, behaviour: &str) {
        fs::write(self.binaries.join(format!("{name}.behaviour")), behaviour).unwrap();
    }

    /// Starts a keeper whose first generation behaves in the given way, without waiting for it.
    pub fn spawn(&self, behaviour: &str, arguments: &[&str]) -> Instance {
        let binary = self.binary("server", behaviour);
        Instance::spawn(self, &binary, arguments)
    }

    /// Starts a keeper and waits until it is ready.
    pub fn start(&self, behaviour: &str) -> Instance {
        self.start_with(behaviour, &[])
    }

    /// The same with arguments for the keeper.
    pub fn start_with(&self, behaviour: &str, arguments: &[&str]) -> Instance {
        let mut instance = self.spawn(behaviour, arguments);
        instance.wait_for_line("Ready to accept connections");
        instance
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.binaries);
        let _ = fs::remove_dir_all(&self.runtime);
    }
}

/// A running keeper. Killed, with its generations, when dropped.
pub struct Instance {
    child: Child,
    lines: Receiver<String>,
    log: Vec<String>,
    runtime: PathBuf,
    pub binary: PathBuf,
}

impl Instance {
    pub fn spawn(place: &Place, binary: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(binary)
            .args(["serve", "--port", "7777", "--runtime-dir"])
            .arg(&place.runtime)
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let (runtime, binary) = (place.runtime.clone(), binary.to_path_buf());
        Self { child, lines, log: Vec::new(), runtime, binary }
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    pub fn socket(&self) -> PathBuf {
        self.runtime.join(format!("{}.sock", self.pid()))
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Waits for a log line that contains the text and was not waited for before.
    pub fn wait_for_line(&mut self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.log.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("no log line with '{text}', only:\n{}", self.log.join("\n"))
                }
            }
        }
    }

    /// Runs `hotredis SUBCOMMAND ARGUMENTS` for this runtime directory.
    pub fn run(&self, words: &[&str]) -> Output {
        Command::new(&self.binary)
            .args(words)
            .arg("--runtime-dir")
            .arg(&self.runtime)
            .output()
            .unwrap()
    }

    /// Runs a subcommand with `--json`: its exit code and what it printed.
    pub fn run_json(&self, words: &[&str]) -> (i32, Value) {
        let output = self.run(&[words, &["--json"]].concat());
        let text = String::from_utf8_lossy(&output.stdout);
        let value = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{words:?}: {error} in '{text}', {output:?}"));
        (output.status.code().unwrap(), value)
    }

    pub fn upgrade(&self, binary: &Path, more: &[&str]) -> (i32, Value) {
        let binary = binary.to_str().unwrap();
        self.run_json(&[&["upgrade", "--binary", binary], more].concat())
    }

    /// Runs a subcommand with `--json` in the background.
    pub fn begin(&self, words: &[&str]) -> Asked {
        let child = Command::new(&self.binary)
            .args(words)
            .args(["--json", "--runtime-dir"])
            .arg(&self.runtime)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Asked { child }
    }

    /// Begins an upgrade in the background.
    pub fn begin_upgrade(&self, binary: &Path, more: &[&str]) -> Asked {
        self.begin(&[&["upgrade", "--binary", binary.to_str().unwrap()], more].concat())
    }

    /// Asserts that an upgrade fails for this reason, and that the same generation serves on.
    pub fn assert_fails(&self, binary: &Path, more: &[&str], phase: &str, reason: &str) {
        let before = self.status();
        let (code, result) = self.upgrade(binary, more);
        let given = result["reason"].as_str().unwrap_or_default();
        assert!(given.contains(reason), "not '{reason}': {result}");
        assert_eq!(result["phase"], phase, "{result}");
        assert_eq!((code, &result["succeeded"]), (1, &Value::Bool(false)));
        let after = self.status();
        assert_eq!(before["generation_pid"], after["generation_pid"]);
        assert_eq!(after["load"]["keys"], 7, "the old generation answers");
        assert_eq!(self.children(), [generation_pid(&after)], "the rest is reaped");
    }

    /// The instance's status.
    pub fn status(&self) -> Value {
        let (code, mut found) = self.run_json(&["status"]);
        assert_eq!(code, 0);
        assert_eq!(found.as_array().map(Vec::len), Some(1), "{found}");
        found[0].take()
    }

    /// The keeper's children, zombies too.
    pub fn children(&self) -> Vec<i32> {
        children_of(self.pid())
    }

    /// Waits for the keeper's end.
    pub fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "the keeper does not exit");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for the keeper's end and returns its exit code.
    pub fn exit_code(&mut self) -> i32 {
        let status = self.wait();
        status.code().unwrap_or_else(|| panic!("killed by signal {:?}", status.signal()))
    }
}

/// A subcommand that runs in the background.
pub struct Asked {
    child: Child,
}

impl Asked {
    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end: its exit code and what it printed.
    pub fn answer(mut self) -> (i32, Value) {
        let mut text = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        let code = self.child.wait().unwrap().code().unwrap();
        (code, serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e} in '{text}'")))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        for pid in self.children() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn generation_pid(status: &Value) -> i32 {
    i32::try_from(status["generation_pid"].as_i64().unwrap()).unwrap()
}

/// Waits until a condition holds.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn children_of(pid: i32) -> Vec<i32> {
    let tasks = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    tasks.split_whitespace().map(|word| word.parse().unwrap()).collect()
}
