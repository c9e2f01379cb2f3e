//! The control socket and the commands that use it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::instance::{Instance, Place, eventually};

fn connect(server: &Instance) -> BufReader<UnixStream> {
    let stream = UnixStream::connect(server.socket()).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    BufReader::new(stream)
}

fn line(stream: &mut BufReader<UnixStream>) -> Value {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in '{line}'"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn requests_may_come_in_pieces_or_behind_each_other() {
    let place = Place::new("pieces");
    let server = place.start("");
    let mut stream = connect(&server);
    for piece in [r#"{"op":"#, r#""status"}"#, "\n{\"op\":\"check\"}\n{\"op\":\"dance\"}\n"] {
        stream.get_mut().write_all(piece.as_bytes()).unwrap();
        server.status();
    }
    assert_eq!(line(&mut stream)["type"], "status");
    assert_eq!(
        line(&mut stream),
        json!({"type": "check", "clean": true, "ran": true, "stall_us": 1500, "text": "3 blocks"})
    );
    assert_eq!(line(&mut stream)["type"], "error");
}

#[test]
fn the_socket_is_private() {
    let place = Place::new("private");
    let server = place.start("");
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&server.socket()), 0o600);
    assert_eq!(mode(&place.runtime), 0o700);
}

#[test]
fn a_client_of_another_user_is_turned_away() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not root: no other user to be");
        return;
    }
    let place = Place::new("user");
    let server = place.start("");
    // What the file system would not let in, were it not opened for the test.
    for (path, mode) in [(place.runtime.clone(), 0o711), (server.socket(), 0o666)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    use std::os::unix::process::CommandExt;
    let script = "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n\
                  s.sendall(b'{\"op\":\"status\"}\\n')\nsys.stdout.buffer.write(s.recv(100))";
    let asked = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(server.socket())
        .uid(65534)
        .output()
        .unwrap();
    assert_eq!(text(&asked.stdout), "", "{}", text(&asked.stderr));
    assert_eq!(server.status()["generation"], 1);
}

#[test]
fn clients_that_misbehave_hold_nobody_up() {
    let place = Place::new("rude");
    let server = place.start("");
    // More than are let in at a time, silent.
    let silent: Vec<_> = (0..20).map(|_| connect(&server)).collect();
    // One that never ends its line.
    let mut endless = connect(&server);
    let _ = endless.get_mut().write_all(&vec![b'x'; 1 << 20]);
    let mut answer = Vec::new();
    // The end, or a reset because of what the keeper has not read: no answer either way.
    let _ = endless.read_to_end(&mut answer);
    assert_eq!(text(&answer), "");
    // One that asks without end and never reads.
    let mut deaf = connect(&server);
    deaf.get_mut().set_nonblocking(true).unwrap();
    while deaf.get_mut().write(b"{\"op\":\"status\"}\n").is_ok() {}
    assert_eq!(server.status()["generation"], 1);
    let new = place.binary("new", "");
    assert_eq!(server.upgrade(&new, &[]).0, 0);
    drop((silent, deaf));
    // Too many: closed at once, and room again when some are gone.
    let many: Vec<_> = (0..40).map(|_| connect(&server)).collect();
    let mut last = many.into_iter().next_back().unwrap();
    let _ = last.get_mut().write_all(b"{\"op\":\"status\"}\n");
    eventually("there is room again", || {
        server.run(&["status", "--port", "7777"]).status.success()
    });
}

#[test]
fn status_shows_an_instance_that_does_not_answer() {
    let place = Place::new("mute");
    let server = place.start("mute");
    let status = server.status();
    assert_eq!((&status["generation"], &status["load"]), (&1.into(), &Value::Null));
    let table = text(&server.run(&["status"]).stdout);
    assert!(table.contains("CLIENTS") && table.contains("127.0.0.1:7777"), "{table}");
}

#[test]
fn status_tells_of_the_last_upgrade() {
    let place = Place::new("last");
    let server = place.start("");
    assert!(server.status()["last_upgrade"].is_null());
    server.upgrade(&place.binary("b", "build-b"), &[]);
    let status = server.status();
    assert_eq!(status["build"], "b");
    assert_eq!((&status["load"]["clients"], &status["load"]["memory"]), (&5.into(), &4096.into()));
    assert_eq!(status["last_upgrade"]["result"], "ok");
    server.upgrade(&place.binaries.join("none"), &[]);
    let last = server.status()["last_upgrade"].clone();
    assert!(last["result"].as_str().unwrap().starts_with("preflight: cannot open"), "{last}");
}

#[test]
fn upgrade_shows_phases_and_the_outcome() {
    let place = Place::new("phases");
    let server = place.start("");
    let new = place.binary("b", "build-b");
    let output = server.run(&["upgrade", "--port", "7777", "--binary", new.to_str().unwrap()]);
    assert_eq!(text(&output.stderr), "preflight\nstart\npre-copy 10/10\nfreeze 0/10\n");
    let said = text(&output.stdout);
    assert!(
        said.contains("generation 2 serves") && said.contains("42 connections moved"),
        "{said}"
    );
    assert!(output.status.success());
}

#[test]
fn check_says_by_its_code_what_it_found() {
    for (behaviour, code, said) in [
        ("", 0, "3 blocks\nthe server stood still for 1.5ms\n"),
        ("check-findings", 1, "block 7 is lost\nthe server stood still for 1.5ms\n"),
        ("check-failed", 2, ""),
    ] {
        let place = Place::new(&format!("check-{code}"));
        let server = place.start(behaviour);
        let output = server.run(&["check", "--pid", &server.pid().to_string()]);
        assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(code), said));
    }
}

#[test]
fn an_instance_is_found_or_the_choice_is_shown() {
    let place = Place::new("choice");
    let binary = place.binary("server", "");
    let arguments: [&[&str]; 2] = [&[], &["--set", "port=7778"]];
    let mut servers = arguments.map(|arguments| Instance::spawn(&place, &binary, arguments));
    for server in &mut servers {
        server.wait_for_line("Ready to accept connections");
    }
    let [one, other] = &servers;
    let ambiguous = one.run(&["check"]);
    assert_eq!(ambiguous.status.code(), Some(2));
    let said = text(&ambiguous.stderr);
    for server in &servers {
        assert!(said.contains(&format!("pid {}", server.pid())), "{said}");
    }
    let missing = one.run(&["upgrade", "--binary", "x", "--port", "9"]);
    assert!(text(&missing.stderr).contains("no running instance serves port 9"), "{missing:?}");
    for selector in [
        ["--port", "7778"],
        ["--pid", &other.pid().to_string()],
        ["--socket", other.socket().to_str().unwrap()],
    ] {
        let (_, found) = one.run_json(&["status", selector[0], selector[1]]);
        assert_eq!(found[0]["pid"], other.pid(), "{selector:?}");
    }
}

#[test]
fn sockets_of_the_dead_are_cleared_away() {
    let place = Place::new("stale");
    let binary = place.binary("server", "");
    let mut first = Instance::spawn(&place, &binary, &[]);
    first.wait_for_line("Ready to accept connections");
    first.signal(nix::sys::signal::Signal::SIGKILL);
    first.wait();
    assert!(first.socket().exists());
    assert_eq!(text(&first.run(&["status"]).stdout), "no running instance\n");
    let mut second = Instance::spawn(&place, &binary, &[]);
    second.wait_for_line("Ready to accept connections");
    assert!(!first.socket().exists() && second.socket().exists());
}

#[test]
fn shutdown_by_the_socket() {
    let place = Place::new("shutdown");
    let mut server = place.start("");
    let mut stream = connect(&server);
    stream.get_mut().write_all(b"{\"op\":\"shutdown\"}\n").unwrap();
    assert_eq!(line(&mut stream), json!({"type": "stopping"}));
    assert_eq!(server.exit_code(), 0);
}
