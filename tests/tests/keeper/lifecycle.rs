//! Start, stop and unexpected ends.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::instance::{Place, eventually, generation_pid};

#[test]
fn it_starts_says_so_and_stops_at_sigterm() {
    let place = Place::new("stop");
    let pidfile = place.binaries.join("pid");
    let mut server = place.spawn("", &["--pidfile", pidfile.to_str().unwrap()]);
    let line = server.wait_for_line("Ready to accept connections");
    assert!(line.contains("127.0.0.1:7777"), "{line}");
    assert_eq!(fs::read_to_string(&pidfile).unwrap(), format!("{}\n", server.pid()));
    let status = server.status();
    assert_eq!(
        (status["pid"].as_i64(), status["generation"].as_i64()),
        (Some(server.pid().into()), Some(1))
    );
    assert!(server.socket().exists());
    server.signal(Signal::SIGTERM);
    assert_eq!(server.exit_code(), 0);
    assert!(!server.socket().exists() && !pidfile.exists(), "nothing is left");
}

#[test]
fn log_lines_can_be_json() {
    let place = Place::new("json");
    let mut server = place.spawn("", &["--log-format", "json"]);
    let line = server.wait_for_line("Ready to accept connections");
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["level"], "INFO");
}

#[test]
fn a_failed_start_is_explained() {
    let place = Place::new("failed");
    let mut server = place.spawn("start-failed", &[]);
    server.wait_for_line("the port is in use");
    assert_eq!(server.exit_code(), 1);
    assert!(!server.socket().exists());
}

#[test]
fn a_death_at_start_is_reported() {
    let place = Place::new("dead");
    let mut server = place.spawn("start-exit", &[]);
    server.wait_for_line("exited with code 9 before it was ready");
    assert_eq!(server.exit_code(), 9);
}

#[test]
fn a_start_that_hangs_can_be_ended() {
    let place = Place::new("hang");
    let mut server = place.spawn("start-hang", &[]);
    server.wait_for_line("starts, keeper");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.exit_code(), 0);
}

#[test]
fn a_crash_ends_the_keeper_with_a_reason() {
    let place = Place::new("crash");
    let mut server = place.start("");
    let pid = generation_pid(&server.status());
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    server.wait_for_line("was killed by SIGKILL: nobody serves any more");
    assert_eq!(server.exit_code(), 128 + 9);
}

#[test]
fn an_exit_that_was_not_announced_is_no_success() {
    let place = Place::new("unsaid");
    let mut server = place.start("exit-unsaid");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.exit_code(), 4);
}

#[test]
fn interrupted_once_it_stops_and_twice_it_kills() {
    let place = Place::new("once");
    let mut server = place.start("");
    server.signal(Signal::SIGINT);
    assert_eq!(server.exit_code(), 0);

    let place = Place::new("twice");
    let mut server = place.spawn("start-hang", &[]);
    server.wait_for_line("starts, keeper");
    let generation = server.children()[0];
    // A process that is stopped does not die of SIGTERM, but it does of SIGKILL.
    kill(Pid::from_raw(generation), Signal::SIGSTOP).unwrap();
    let status = format!("/proc/{generation}/status");
    eventually("it is stopped", || {
        fs::read_to_string(&status).is_ok_and(|status| status.contains("State:\tT"))
    });
    server.signal(Signal::SIGINT);
    server.wait_for_line("SIGINT: shutting down");
    server.signal(Signal::SIGINT);
    assert_eq!(server.exit_code(), 1);
    eventually("the generation is gone", || kill(Pid::from_raw(generation), None).is_err());
}

#[test]
fn a_hangup_changes_nothing() {
    let place = Place::new("hangup");
    let server = place.start("");
    server.signal(Signal::SIGHUP);
    let generation = generation_pid(&server.status());
    for harmless in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGUSR2] {
        kill(Pid::from_raw(generation), harmless).unwrap();
    }
    assert_eq!(generation_pid(&server.status()), generation);
    assert_eq!(server.status()["load"]["clients"], 5);
}

#[test]
fn bad_settings_are_refused_before_anything_starts() {
    let place = Place::new("settings");
    let mut server = place.spawn("", &["--set", "port=much"]);
    server.wait_for_line("'port' wants a number up to 65535, not 'much'");
    assert_eq!(server.exit_code(), 1);
    assert!(!place.runtime.exists());
}
