//! A predecessor that stands by after an upgrade: how that ends, and what ends it.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::instance::{Instance, Place, eventually, generation_pid};

/// Longer than any test takes: it ends for another reason.
const LONG: [&str; 2] = ["--probation", "600"];

fn kill_serving(server: &Instance) {
    kill(Pid::from_raw(generation_pid(&server.status())), Signal::SIGKILL).unwrap();
}

/// Waits until nobody stands by and the generation that serves is the keeper's only child.
fn assert_alone(server: &Instance, generation: u64) {
    eventually("nobody stands by", || server.status()["probation"].is_null());
    let status = server.status();
    assert_eq!(status["generation"], generation, "{status}");
    eventually("the others are reaped", || server.children() == [generation_pid(&status)]);
    assert_eq!(status["load"]["keys"], 7, "it answers");
}

#[test]
fn the_predecessor_stands_by_and_leaves() {
    let place = Place::new("stands");
    let mut server = place.start_with("", &["--probation", "1"]);
    let (code, result) = server.upgrade(&place.binary("new", "build-b"), &[]);
    assert_eq!((code, &result["generation"]), (0, &2.into()), "{result}");
    assert_eq!((&result["probation_ms"], &result["rolled_back"]), (&1000.into(), &false.into()));
    let status = server.status();
    let probation = &status["probation"];
    assert_eq!((&probation["generation"], &probation["released"]), (&1.into(), &false.into()));
    assert!(probation["left_ms"].as_u64().unwrap() <= 1000, "{status}");
    let children = server.children();
    assert!(children.contains(&generation_pid(probation)) && children.len() == 2, "{status}");
    let table = server.run(&["status"]).stdout;
    let table = String::from_utf8_lossy(&table);
    assert!(table.contains("generation 1 stands by") && table.contains("1 ok"), "{table}");
    server.wait_for_line("generation 1 has stood by");
    assert_alone(&server, 2);
    assert_eq!((&status["upgrades"], &status["rollbacks"]), (&1.into(), &0.into()));
}

#[test]
fn who_wants_to_wait_is_told_at_the_end() {
    let place = Place::new("waits");
    let server = place.start_with("", &LONG);
    let new = place.binary("new", "");
    let words = ["upgrade", "--wait-probation", "--probation", "0.3", "--binary"];
    let output = server.run(&[&words[..], &[new.to_str().unwrap()]].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.ends_with("freeze 0/10\nprobation\n"), "{stderr}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("generation 2 serves") && stdout.contains("probation 3"), "{stdout}");
    assert_eq!(output.status.code(), Some(0));
    assert!(server.status()["probation"].is_null());
}

#[test]
fn there_may_be_no_probation() {
    let place = Place::new("none");
    // Would be found out by an order to stand by.
    let server = place.start_with("die-standing-by", &["--probation", "0"]);
    let new = place.binary("new", "");
    let (code, result) = server.upgrade(&new, &["--wait-probation"]);
    assert_eq!((code, &result["probation_ms"]), (0, &0.into()));
    assert!(server.status()["probation"].is_null());
    assert_alone(&server, 2);
    let (code, result) = server.upgrade(&new, &["--probation", "600"]);
    assert_eq!((code, &result["probation_ms"]), (0, &600_000.into()));
    assert_eq!(server.status()["probation"]["generation"], 2);
}

#[test]
fn a_predecessor_that_dies_changes_nothing() {
    let place = Place::new("dies");
    let mut server = place.start_with("die-standing-by", &LONG);
    let (code, result) = server.upgrade(&place.binary("new", ""), &["--wait-probation"]);
    assert_eq!((code, &result["succeeded"]), (0, &true.into()), "{result}");
    server.wait_for_line("generation 1, which stood by, was killed by SIGABRT: the upgrade stands");
    assert_alone(&server, 2);
}

#[test]
fn a_predecessor_that_does_not_leave_is_killed() {
    let place = Place::new("stays");
    let mut server =
        place.start_with("ignore-probation", &["--probation", "0.1", "--hang-timeout", "0.2"]);
    let (code, _) = server.upgrade(&place.binary("new", ""), &["--wait-probation"]);
    assert_eq!(code, 0);
    server.wait_for_line("generation 1 stands by for too long: killed");
    server.wait_for_line("was killed by SIGKILL: the upgrade stands");
    assert_alone(&server, 2);
}

#[test]
fn another_upgrade_ends_it() {
    let place = Place::new("another");
    let server = place.start_with("", &LONG);
    let new = place.binary("new", "");
    let mut first = server.begin_upgrade(&new, &["--wait-probation"]);
    eventually("it is on probation", || !server.status()["probation"].is_null());
    // What cannot even be tried, or is only tried, does not end it.
    assert_eq!(server.upgrade(&place.binaries.join("missing"), &[]).0, 1);
    assert_eq!(server.upgrade(&new, &["--dry-run"]).0, 0);
    assert_eq!(server.status()["probation"]["released"], false);
    assert!(!first.has_ended());
    let (code, result) = server.upgrade(&new, &[]);
    assert_eq!((code, &result["generation"]), (0, &3.into()), "{result}");
    let (code, result) = first.answer();
    assert_eq!((code, &result["to"], &result["succeeded"]), (0, &2.into(), &true.into()));
    assert_eq!(server.status()["probation"]["generation"], 2);
}

#[test]
fn sigusr2_ends_it_too() {
    let place = Place::new("usr2");
    let mut server = place.start_with("", &LONG);
    for generation in 2..5 {
        server.signal(Signal::SIGUSR2);
        server.wait_for_line(&format!("generation {generation} serves"));
        server.wait_for_line("stands by for 600s");
    }
    let status = server.status();
    assert_eq!(status["probation"]["generation"], 3);
    eventually("the rest is reaped", || server.children().len() == 2);
}

#[test]
fn a_predecessor_that_leaves_without_a_word_does_not_hold_up_the_next_upgrade() {
    let place = Place::new("unsaid");
    let server = place.start_with("leave-unsaid", &LONG);
    let new = place.binary("new", "");
    assert_eq!(server.upgrade(&new, &[]).0, 0);
    let (code, result) = server.upgrade(&new, &[]);
    assert_eq!((code, &result["generation"]), (0, &3.into()), "{result}");
}

#[test]
fn an_upgrade_waits_for_the_predecessor_until_its_deadline() {
    let place = Place::new("parting");
    let server = place.start_with("ignore-release", &LONG);
    let new = place.binary("new", "");
    assert_eq!(server.upgrade(&new, &[]).0, 0);
    let (code, result) = server.upgrade(&new, &["--timeout", "0.5"]);
    let reason = result["reason"].as_str().unwrap();
    assert!(code == 1 && reason.contains("has not left within 500ms"), "{result}");
    let status = server.status();
    assert_eq!(
        (&status["generation"], &status["probation"]["released"]),
        (&2.into(), &true.into())
    );
    let (code, result) = server.run_json(&["rollback"]);
    assert_eq!((code, &result["rolled_back"]), (1, &false.into()));
    assert!(result["reason"].as_str().unwrap().contains("another upgrade has ended"), "{result}");
}

#[test]
fn an_upgrade_is_refused_if_the_predecessor_returns_instead_of_leaving() {
    let place = Place::new("instead");
    let server = place.start_with("return-on-release", &LONG);
    let new = place.binary("new", "");
    assert_eq!(server.upgrade(&new, &[]).0, 0);
    let (code, result) = server.upgrade(&new, &[]);
    let reason = result["reason"].as_str().unwrap();
    assert_eq!((code, &result["phase"]), (1, &"preflight".into()), "{result}");
    assert!(reason.contains("generation 1 has taken the server back"), "{result}");
    assert_eq!(result["generation"], 1);
    assert_alone(&server, 1);
    let status = server.status();
    assert_eq!((&status["failures"], &status["rollbacks"]), (&1.into(), &1.into()));
}

#[test]
fn the_predecessor_serves_again_when_the_successor_dies() {
    let place = Place::new("again");
    // A word about another upgrade is no word about this one.
    let mut server = place.start_with("return-wrongly", &LONG);
    let new = place.binary("new", "build-b");
    let waiting = server.begin_upgrade(&new, &["--wait-probation"]);
    eventually("it is on probation", || !server.status()["probation"].is_null());
    assert_eq!(server.status()["build"], "b");
    kill_serving(&server);
    let (code, result) = waiting.answer();
    assert_eq!(
        (code, &result["succeeded"], &result["rolled_back"]),
        (1, &false.into(), &true.into())
    );
    assert_eq!((&result["phase"], &result["generation"]), (&"probation".into(), &1.into()));
    assert_eq!(result["reason"], "the successor has ended");
    server.wait_for_line("upgrade rolled back: generation 1 serves again: the successor has ended");
    server.wait_for_line("outcome for generation 1: rolled back: the successor has ended");
    assert_alone(&server, 1);
    let status = server.status();
    assert_eq!((&status["build"], &status["rollbacks"]), (&"".into(), &1.into()));
    let last = &status["last_upgrade"];
    assert_eq!((&last["succeeded"], &last["rolled_back"]), (&false.into(), &true.into()));
    let table = String::from_utf8(server.run(&["status"]).stdout).unwrap();
    assert!(table.contains("1 ok, 1 rolled back") && table.contains("ago rolled back"), "{table}");
    // And again: the number is free.
    place.behave("server", "");
    let (code, result) = server.upgrade(&new, &[]);
    assert_eq!((code, &result["generation"]), (0, &2.into()), "{result}");
}

#[test]
fn a_successor_that_hangs_is_undone() {
    let place = Place::new("hangs");
    let server = place.start_with("return-at-once", &LONG);
    let (code, result) = server.upgrade(&place.binary("new", ""), &["--wait-probation"]);
    assert_eq!((code, &result["reason"]), (1, &"the successor hangs".into()), "{result}");
    assert_alone(&server, 1);
}

#[test]
fn a_predecessor_may_not_believe_that_the_successor_serves() {
    let place = Place::new("disbelief");
    let server = place.start_with("disbelieve", &LONG);
    let new = place.binary("new", "");
    let (code, result) = server.upgrade(&new, &["--wait-probation"]);
    assert_eq!((code, &result["rolled_back"]), (1, &true.into()), "{result}");
    assert_eq!(result["reason"], "no such message");
    assert_eq!(server.status()["generation"], 1);
}

#[test]
fn without_a_predecessor_that_can_serve_a_crash_is_a_crash() {
    for (behaviour, said) in [
        ("goodbye-at-death", "was killed by SIGKILL: nobody serves any more"),
        ("stay-away", "has not begun to serve within 5s"),
    ] {
        let place = Place::new(behaviour);
        let mut server = place.start_with(behaviour, &LONG);
        let waiting = server.begin_upgrade(&place.binary("new", ""), &["--wait-probation"]);
        eventually("it is on probation", || !server.status()["probation"].is_null());
        let children = server.children();
        kill_serving(&server);
        server.wait_for_line(said);
        assert_eq!(server.exit_code(), 128 + 9);
        let (code, result) = waiting.answer();
        // A predecessor that leaves may be heard before the successor is reaped: then the upgrade
        // did come off.
        if behaviour == "stay-away" {
            assert_eq!((code, &result["generation"]), (1, &0.into()), "{result}");
            let reason = result["reason"].as_str().unwrap();
            assert!(reason.contains("nobody serves any more"), "{result}");
        }
        for pid in children {
            eventually("it is gone", || kill(Pid::from_raw(pid), None).is_err());
        }
    }
}

#[test]
fn both_may_die() {
    let place = Place::new("both");
    let mut server = place.start_with("stay-away", &LONG);
    server.upgrade(&place.binary("new", ""), &[]);
    let status = server.status();
    kill_serving(&server);
    server.wait_for_line("waiting for generation 1 to serve again");
    // Nobody serves: what is asked for now has to wait.
    let (code, result) = server.upgrade(&place.binaries.join("new"), &[]);
    let reason = result["reason"].as_str().unwrap();
    assert!(code == 1 && reason.contains("is about to serve again"), "{result}");
    kill(Pid::from_raw(generation_pid(&status["probation"])), Signal::SIGKILL).unwrap();
    server.wait_for_line("generation 2 was killed by SIGKILL: nobody serves any more");
    assert_eq!(server.exit_code(), 128 + 9);
}

/// Stops the server in some way while a predecessor stands by; everything must go, and end well.
fn assert_stops(name: &str, stop: impl Fn(&Instance)) {
    let place = Place::new(name);
    let mut server = place.start_with("", &LONG);
    let waiting = server.begin_upgrade(&place.binary("new", ""), &["--wait-probation"]);
    eventually("it is on probation", || !server.status()["probation"].is_null());
    let children = server.children();
    assert_eq!(children.len(), 2);
    stop(&server);
    assert_eq!(server.exit_code(), 0);
    let (code, result) = waiting.answer();
    assert_eq!((code, &result["succeeded"]), (0, &Value::Bool(true)), "{result}");
    for pid in children {
        eventually("it is gone", || kill(Pid::from_raw(pid), None).is_err());
    }
    assert!(!server.socket().exists());
}

#[test]
fn the_server_can_be_stopped_meanwhile() {
    assert_stops("term", |server| server.signal(Signal::SIGTERM));
    assert_stops("int", |server| server.signal(Signal::SIGINT));
    assert_stops("request", |server| {
        use std::io::Write;
        let mut stream = std::os::unix::net::UnixStream::connect(server.socket()).unwrap();
        stream.write_all(b"{\"op\":\"shutdown\"}\n").unwrap();
    });
}

#[test]
fn a_second_interrupt_kills_whoever_stands_by_too() {
    let place = Place::new("twice");
    let mut server = place.start_with("ignore-release", &LONG);
    server.upgrade(&place.binary("new", ""), &[]);
    let children = server.children();
    // It does not stop by itself.
    let serving = Pid::from_raw(generation_pid(&server.status()));
    kill(serving, Signal::SIGSTOP).unwrap();
    server.signal(Signal::SIGINT);
    server.wait_for_line("SIGINT: shutting down");
    server.signal(Signal::SIGINT);
    assert_eq!(server.exit_code(), 1);
    for pid in children {
        eventually("it is gone", || kill(Pid::from_raw(pid), None).is_err());
    }
}

#[test]
fn a_successor_that_stops_on_purpose_is_not_undone() {
    for behaviour in ["", "return-on-release"] {
        let place = Place::new(&format!("purpose{behaviour}"));
        let mut server = place.start_with(behaviour, &LONG);
        server.upgrade(&place.binary("new", "stop-after-serving"), &[]);
        server.wait_for_line("generation 2 stops: SHUTDOWN");
        assert_eq!(server.exit_code(), 0);
    }
}

#[test]
fn a_successor_that_does_not_stop_is_undone_and_its_predecessor_stopped() {
    for behaviour in ["return-on-release", "return-on-release return-late"] {
        let place = Place::new(&behaviour.replace(' ', "-"));
        let mut server = place.start_with(behaviour, &LONG);
        server.upgrade(&place.binary("new", "ignore-shutdown"), &[]);
        server.signal(Signal::SIGTERM);
        server.wait_for_line("generation 1 serves again");
        server.wait_for_line("generation 1 stops: SIGTERM");
        assert_eq!(server.exit_code(), 0);
    }
}

#[test]
fn a_server_that_is_stopped_while_the_predecessor_returns_stops() {
    let place = Place::new("returning");
    let mut server = place.start_with("stay-away", &LONG);
    server.upgrade(&place.binary("new", ""), &[]);
    kill_serving(&server);
    server.wait_for_line("waiting for generation 1 to serve again");
    server.signal(Signal::SIGTERM);
    // It never returns here: the crash is what the keeper's exit tells.
    assert_eq!(server.exit_code(), 128 + 9);
}
