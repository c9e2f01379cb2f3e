//! Upgrades that fail at each step, and what happens amid one.

use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::instance::{Instance, Place, eventually, generation_pid};

/// Starts an upgrade that hangs and waits until it has reached the phase.
fn hang(server: &Instance, binary: &Path, phase: &str) -> std::process::Child {
    let waiting = std::process::Command::new(env!("CARGO_BIN_EXE_fake-generation"))
        .args(["upgrade", "--socket"])
        .arg(server.socket())
        .arg("--binary")
        .arg(binary)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    eventually("the upgrade hangs", || server.status()["upgrading"] == phase);
    waiting
}

fn assert_upgrades(server: &Instance, binary: &Path) {
    let before = server.status()["generation"].as_u64().unwrap();
    let (code, result) = server.upgrade(binary, &[]);
    assert_eq!((code, &result["generation"]), (0, &(before + 1).into()), "{result}");
    assert_eq!((&result["connections"], &result["freeze_us"]), (&42.into(), &123.into()));
    let now = server.status();
    assert_eq!(now["generation"], before + 1);
    eventually("the predecessor is reaped", || server.children() == [generation_pid(&now)]);
}

#[test]
fn a_successor_that_does_not_make_it_leaves_the_old_one_serving() {
    let place = Place::new("steps");
    let server = place.start("");
    let steps = [("at-start", "start"), ("at-precopy", "pre-copy"), ("at-freeze", "freeze")];
    for (place_name, phase) in steps {
        let fails = |way: &str, more: &[&str], reason: &str| {
            let name = format!("{way}-{place_name}");
            server.assert_fails(&place.binary(&name, &name), more, phase, reason);
        };
        fails("exit", &[], "the successor exited with code 6");
        fails("abort", &[], "the successor was killed by SIGABRT");
        fails("hang", &["--timeout", "0.5"], "not done within 500ms");
    }
    server.assert_fails(&place.binary("refuse", "refuse"), &[], "start", "not enough memory");
    assert_eq!(server.status()["failures"], 10);
    assert_upgrades(&server, &place.binary("good", ""));
    assert_eq!(server.status()["upgrades"], 1);
}

#[test]
fn a_predecessor_may_refuse() {
    let place = Place::new("refuse");
    let server = place.start("predecessor-refuse");
    server.assert_fails(&place.binary("good", ""), &[], "pre-copy", "too busy");
}

#[test]
fn a_predecessor_that_dies_takes_the_server_with_it() {
    let place = Place::new("dies");
    let mut server = place.start("predecessor-crash");
    let (code, result) = server.upgrade(&place.binary("good", ""), &[]);
    assert_eq!(code, 1);
    assert!(
        result["reason"].as_str().unwrap().contains("the successor exited with code 8"),
        "{result}"
    );
    server.wait_for_line("was killed by SIGABRT: nobody serves any more");
    assert_eq!(server.exit_code(), 128 + 6);
}

#[test]
fn a_second_upgrade_is_refused_while_one_runs() {
    let place = Place::new("second");
    let mut server = place.start("");
    let mut first = hang(&server, &place.binary("hang", "hang-at-precopy"), "pre-copy");
    let (code, result) = server.upgrade(&place.binary("good", ""), &[]);
    assert_eq!(code, 1);
    assert!(result["reason"].as_str().unwrap().contains("running already, in phase pre-copy"));
    server.signal(Signal::SIGUSR2);
    server.wait_for_line("refused to upgrade");
    server.wait_for_line("refused to upgrade");
    let check = server.run(&["check"]);
    assert_eq!(check.status.code(), Some(2));
    for pid in server.children() {
        if pid != generation_pid(&server.status()) {
            kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        }
    }
    assert_eq!(first.wait().unwrap().code(), Some(1));
    assert_upgrades(&server, &place.binaries.join("good"));
}

#[test]
fn who_asked_may_go_and_the_upgrade_goes_on() {
    let place = Place::new("gone");
    let server = place.start("");
    let mut first = hang(&server, &place.binary("hang", "hang-at-precopy"), "pre-copy");
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(server.status()["upgrading"], "pre-copy");
    assert_eq!(server.children().len(), 2);
}

#[test]
fn sigterm_amid_an_upgrade_ends_both() {
    for (behaviour, phase) in [
        ("preflight-hang", "preflight"),
        ("hang-at-start", "start"),
        ("hang-at-precopy", "pre-copy"),
    ] {
        let place = Place::new(behaviour);
        let mut server = place.start("");
        let mut first = hang(&server, &place.binary("hang", behaviour), phase);
        let children = server.children();
        assert_eq!(children.len(), 2);
        server.signal(Signal::SIGTERM);
        assert_eq!(server.exit_code(), 0);
        assert_eq!(first.wait().unwrap().code(), Some(1));
        for pid in children {
            eventually("it is gone", || kill(Pid::from_raw(pid), None).is_err());
        }
    }
}

#[test]
fn sigterm_amid_a_freeze_waits_for_its_end() {
    let place = Place::new("freeze");
    let mut server = place.start("");
    let binary = place.binary("hang", "hang-at-freeze");
    let mut first = hang(&server, &binary, "freeze");
    server.signal(Signal::SIGTERM);
    server.wait_for_line("SIGTERM: shutting down");
    let successor = *server.children().last().unwrap();
    kill(Pid::from_raw(successor), Signal::SIGKILL).unwrap();
    server.wait_for_line("upgrade failed in phase freeze");
    assert_eq!(server.exit_code(), 0);
    assert_eq!(first.wait().unwrap().code(), Some(1));
}

#[test]
fn a_successor_that_dies_when_it_serves_is_a_crash() {
    let place = Place::new("late");
    let mut server = place.start_with("", &["--probation", "0"]);
    let (code, _) = server.upgrade(&place.binary("dies", "die-after-serving"), &[]);
    assert_eq!(code, 0, "it did serve");
    server.wait_for_line("exited with code 5: nobody serves any more");
    assert_eq!(server.exit_code(), 5);
}

#[test]
fn predecessors_that_do_not_exit_are_limited_and_go_with_the_keeper() {
    let place = Place::new("linger");
    let mut server = place.start_with("linger", &["--probation", "0"]);
    let binary = place.binary("new", "linger");
    for _ in 0..8 {
        assert_eq!(server.upgrade(&binary, &[]).0, 0);
    }
    let (code, result) = server.upgrade(&binary, &[]);
    assert_eq!(code, 1);
    assert!(result["reason"].as_str().unwrap().contains("8 earlier generations"), "{result}");
    let children = server.children();
    assert_eq!(children.len(), 9);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.exit_code(), 0);
    for pid in children {
        eventually("it is gone", || kill(Pid::from_raw(pid), None).is_err());
    }
}

#[test]
fn a_symbolic_link_is_followed_to_the_new_version() {
    let place = Place::new("link");
    let (one, two) = (place.binary("one", ""), place.binary("two", "build-b"));
    let link = place.binaries.join("current");
    std::os::unix::fs::symlink(&one, &link).unwrap();
    let mut server = Instance::spawn(&place, &link, &[]);
    server.wait_for_line("Ready to accept connections");
    let next = place.binaries.join("next");
    std::os::unix::fs::symlink(&two, &next).unwrap();
    std::fs::rename(&next, &link).unwrap();
    server.signal(Signal::SIGUSR2);
    server.wait_for_line("generation 2 serves");
    assert_eq!(server.status()["build"], "b");
}

#[test]
fn sigusr2_takes_the_file_that_is_there_now() {
    let place = Place::new("usr2");
    let mut server = place.start("");
    let new = place.binary("new", "build-b");
    place.behave("server", "build-b");
    std::fs::rename(new, place.binaries.join("server")).unwrap();
    server.signal(Signal::SIGUSR2);
    server.wait_for_line("generation 2 serves");
    let status = server.status();
    assert_eq!((&status["generation"], &status["build"]), (&2.into(), &"b".into()));
    std::fs::remove_file(place.binaries.join("server")).unwrap();
    server.signal(Signal::SIGUSR2);
    server.wait_for_line("No such file");
}
