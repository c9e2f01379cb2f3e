//! The Debian package and the unit: what is in them, and that installing a new version of the
//! package upgrades the server that runs, which is shown with dpkg itself in a directory of its own.
//!
//! Needs dpkg and binutils, as on any Debian; elsewhere the tests say that they are skipped.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use hotredis_tests::binaries::{self, two_builds};
use hotredis_tests::client::{Client, Endpoint};
use hotredis_tests::ports::Port;
use hotredis_tests::server::{TempDir, descendants, info_field};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longer than anything that is waited for takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn packaging(name: &str) -> PathBuf {
    binaries::workspace().join("packaging").join(name)
}

fn text_of(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// Runs a program to a good end; its stdout and stderr.
#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| {
        panic!("cannot run {command:?}: {error}");
    });
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, text_of(&output));
    text_of(&output)
}

/// Whether the programs are there; if one is not, it is said that the test is skipped.
fn has(programs: &[&str]) -> bool {
    let missing =
        programs.iter().find(|program| Command::new(program).arg("--version").output().is_err());
    if let Some(missing) = missing {
        eprintln!("SKIPPED: {missing} is not installed");
    }
    missing.is_none()
}

const TOOLS: [&str; 4] = ["dpkg", "dpkg-deb", "objdump", "strip"];

fn build(binary: &Path, version: &str, out: &Path) -> PathBuf {
    let mut command = Command::new(packaging("build-deb.sh"));
    command.arg("--binary").arg(binary).args(["--version", version]).arg("--out").arg(out);
    PathBuf::from(run(&mut command).trim())
}

#[test]
fn the_scripts_are_well_formed() {
    for script in ["postinst", "prerm", "postrm"] {
        let path = packaging("debian").join(script);
        run(Command::new("sh").arg("-n").arg(&path));
        assert!(fs::read_to_string(&path).unwrap().contains("\nset -eu\n"), "{script}");
    }
    run(Command::new("bash").arg("-n").arg(packaging("build-deb.sh")));
}

#[test]
fn the_unit_is_well_formed() {
    if !has(&["systemd-analyze"]) {
        return;
    }
    // The program must be where the unit says: below a root of its own.
    let root = TempDir::new();
    let unit = root.path().join("etc/systemd/system/hotredis.service");
    for directory in ["etc/systemd/system", "usr/bin", "usr/lib/systemd", "lib/systemd/system"] {
        fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    fs::copy(packaging("hotredis.service"), &unit).unwrap();
    fs::copy("/bin/true", root.path().join("usr/bin/hotredis")).unwrap();
    for target in ["network", "multi-user", "sysinit", "basic", "shutdown", "umount"] {
        let text = "[Unit]\nDescription=there only to be found\n";
        let path = format!("etc/systemd/system/{target}.target");
        fs::write(root.path().join(path), text).unwrap();
    }
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--recursive-errors=yes", "--man=no"]);
    command.arg(format!("--root={}", root.path().display())).arg("hotredis.service");
    let said = run(&mut command);
    let about_it: Vec<&str> = said.lines().filter(|line| line.contains("hotredis")).collect();
    assert!(about_it.is_empty(), "{said}");
}

#[test]
fn the_package_holds_what_it_should() {
    if !has(&TOOLS) {
        return;
    }
    let [a, _] = two_builds();
    let out = TempDir::new();
    let package = build(&a, "1.2.3", out.path());
    let listing = run(Command::new("dpkg-deb").arg("-c").arg(&package));
    for (mode, file) in [
        ("-rwxr-xr-x", "./usr/bin/hotredis"),
        ("-rw-r--r--", "./lib/systemd/system/hotredis.service"),
        ("-rw-r--r--", "./usr/lib/sysusers.d/hotredis.conf"),
        ("-rw-r--r--", "./etc/hotredis/hotredis.conf"),
        ("-rw-r--r--", "./usr/share/doc/hotredis/copyright"),
        ("-rw-r--r--", "./usr/share/doc/hotredis/operations.md"),
    ] {
        let line = listing.lines().find(|line| line.ends_with(&format!(" {file}")));
        let line = line.unwrap_or_else(|| panic!("the package misses {file}:\n{listing}"));
        assert!(line.starts_with(&format!("{mode} root/root ")), "{line}");
    }
    let field = |name: &str| {
        run(Command::new("dpkg-deb").arg("-f").arg(&package).arg(name)).trim().to_owned()
    };
    assert_eq!(field("Version"), "1.2.3");
    assert!(field("Depends").starts_with("libc6 (>= 2."), "{}", field("Depends"));
    let again = TempDir::new();
    let same = fs::read(build(&a, "1.2.3", again.path())).unwrap();
    assert!(fs::read(&package).unwrap() == same, "built twice it differs");
}

/// A system of its own, as far as dpkg can tell. Removed at the end, with the server that runs.
struct System {
    root: TempDir,
    port: Port,
    server: Option<Child>,
}

impl System {
    fn new() -> Self {
        let root = TempDir::new();
        for directory in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        fs::write(root.path().join("var/lib/dpkg/status"), "").unwrap();
        fs::DirBuilder::new().mode(0o755).create(root.path().join("run")).unwrap();
        Self { root, port: Port::reserve(), server: None }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.root.path().join(below)
    }

    /// `dpkg` for this system, whose packages' scripts run with `DPKG_ROOT`.
    fn dpkg(&self, arguments: &[&str], package: &Path) -> String {
        let mut command = Command::new("dpkg");
        command
            .arg(format!("--root={}", self.root.path().display()))
            .args(["--force-not-root", "--force-depends", "--force-script-chrootless"])
            .args(["--force-confold", "--log=/dev/null", "--no-pager"])
            .args(arguments)
            .arg(package)
            .env("PATH", std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin");
        run(&mut command)
    }

    /// Starts a server as the unit does, from the packaged binary or from a copy.
    fn start_server(&mut self, binary: &str) {
        let mut command = Command::new(self.path(binary));
        command
            .arg("serve")
            .arg(self.path("etc/hotredis/hotredis.conf"))
            .args(["--port", &self.port.number().to_string(), "--runtime-dir"])
            .arg(self.path("run/hotredis"))
            .stdin(Stdio::null())
            .stderr(fs::File::create(self.path("log")).unwrap());
        let server = command.spawn().unwrap();
        let socket = self.path(&format!("run/hotredis/{}.sock", server.id()));
        self.server = Some(server);
        let end = Instant::now() + PATIENCE;
        while UnixStream::connect(&socket).is_err() {
            let log = || fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(Instant::now() < end, "the server does not start:\n{}", log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn connect(&self) -> Client {
        Client::connect(&Endpoint::Tcp(([127, 0, 0, 1], self.port.number()).into()))
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            for pid in descendants(server.id()).into_iter().chain([server.id()]) {
                let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
            }
            let _ = server.wait();
        }
    }
}

/// What `INFO` says over this connection.
fn info(client: &mut Client, field: &str) -> String {
    info_field(client.call(&["INFO", "everything"]).text(), field).unwrap()
}

#[test]
fn a_new_version_of_the_package_upgrades_the_server_that_runs() {
    if !has(&TOOLS) {
        return;
    }
    let [a, b] = two_builds();
    let packages = TempDir::new();
    let first = build(&a, "1.0", packages.path());
    let second = build(&b, "1.1", packages.path());
    let third = build(&a, "1.2", packages.path());
    let mut system = System::new();
    system.dpkg(&["--install"], &first);
    system.start_server("usr/bin/hotredis");
    let mut client = system.connect();
    assert_eq!(info(&mut client, "hotredis_build"), "a");
    client.call(&["SET", "key", "value"]);

    let said = system.dpkg(&["--install"], &second);
    assert!(said.contains("Upgrading the running hotredis server"), "{said}");
    assert_eq!(info(&mut client, "hotredis_build"), "b", "over the same connection");
    assert_eq!(info(&mut client, "handoff_generation"), "2");

    // A policy that forbids packages to touch services is heeded.
    fs::create_dir_all(system.path("usr/sbin")).unwrap();
    let policy = system.path("usr/sbin/policy-rc.d");
    fs::write(&policy, "#!/bin/sh\nexit 101\n").unwrap();
    run(Command::new("chmod").arg("755").arg(&policy));
    system.dpkg(&["--install"], &third);
    assert_eq!(info(&mut client, "handoff_generation"), "2");
    fs::remove_file(&policy).unwrap();

    // An older version, too.
    system.dpkg(&["--install"], &second);
    assert_eq!(info(&mut client, "handoff_generation"), "3");
    assert_eq!(client.call(&["GET", "key"]).text(), "value");

    system.dpkg(&["--purge"], Path::new("hotredis"));
    assert!(!system.path("usr/bin/hotredis").exists());
    assert!(!system.path("etc/hotredis").exists());
    assert_eq!(client.call(&["GET", "key"]).text(), "value", "systemd stops it, not dpkg");
}

#[test]
fn a_version_that_is_refused_installs_all_the_same_and_says_what_to_do() {
    if !has(&TOOLS) {
        return;
    }
    let [a, _] = two_builds();
    let packages = TempDir::new();
    let mut system = System::new();
    system.dpkg(&["--install"], &build(&a, "1.0", packages.path()));
    system.start_server("usr/bin/hotredis");
    let mut client = system.connect();
    client.call(&["SET", "key", "value"]);
    let other = Path::new(env!("CARGO_BIN_EXE_fake-generation"));
    fs::write(system.path("usr/bin/hotredis.behaviour"), "other-fingerprint").unwrap();
    let said = system.dpkg(&["--install"], &build(other, "2.0", packages.path()));
    assert!(said.contains("fingerprint"), "the reason is shown: {said}");
    assert!(said.contains("was NOT upgraded"), "{said}");
    assert!(said.contains("systemctl reload hotredis"), "{said}");
    assert!(said.contains("systemctl restart hotredis"), "{said}");
    let state = fs::read_to_string(system.path("var/lib/dpkg/status")).unwrap();
    assert!(state.contains("Status: install ok installed"), "{state}");
    assert!(state.contains("Version: 2.0"), "{state}");
    assert_eq!(client.call(&["GET", "key"]).text(), "value");
    assert_eq!(info(&mut client, "handoff_generation"), "1");
}

#[test]
fn a_server_of_another_binary_is_left_alone() {
    if !has(&TOOLS) {
        return;
    }
    let [a, b] = two_builds();
    let packages = TempDir::new();
    let mut system = System::new();
    system.dpkg(&["--install"], &build(&a, "1.0", packages.path()));
    fs::copy(&a, system.path("usr/bin/another")).unwrap();
    system.start_server("usr/bin/another");
    let mut client = system.connect();
    let said = system.dpkg(&["--install"], &build(&b, "1.1", packages.path()));
    assert!(!said.contains("Upgrading"), "{said}");
    assert_eq!(info(&mut client, "handoff_generation"), "1");
}
