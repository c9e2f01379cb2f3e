//! `hotredis rollback`.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::instance::{Instance, Place, eventually, generation_pid};

const LONG: [&str; 2] = ["--probation", "600"];

/// A server on probation: generation 1 of one behaviour stands by, generation 2 of another serves.
fn on_probation(place: &Place, predecessor: &str, successor: &str) -> Instance {
    let server = place.start_with(predecessor, &LONG);
    let (code, result) = server.upgrade(&place.binary("new", successor), &[]);
    assert_eq!(code, 0, "{result}");
    server
}

fn assert_serves_alone(server: &Instance, generation: u64) {
    let status = server.status();
    assert_eq!(status["generation"], generation, "{status}");
    assert!(status["probation"].is_null());
    assert_eq!(status["load"]["keys"], 7, "it answers");
    eventually("the other is reaped", || server.children() == [generation_pid(&status)]);
}

#[test]
fn the_successor_gives_the_server_back() {
    let place = Place::new("gives");
    let mut server = on_probation(&place, "", "build-b");
    let (code, result) = server.run_json(&["rollback"]);
    assert_eq!((code, &result["rolled_back"], &result["given"]), (0, &true.into(), &true.into()));
    assert_eq!((&result["generation"], &result["build"]), (&1.into(), &"".into()), "{result}");
    assert_eq!((&result["freeze_us"], &result["connections"]), (&77.into(), &41.into()));
    server
        .wait_for_line("outcome for generation 1: rolled back: hotredis rollback: as it was told");
    assert_serves_alone(&server, 1);
    assert_eq!(server.status()["rollbacks"], 1);
    let (code, result) = server.upgrade(&place.binaries.join("new"), &[]);
    assert_eq!((code, &result["generation"]), (0, &2.into()), "{result}");
    let output = server.run(&["rollback", "--port", "7777"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("generation 1 serves again") && output.status.success(), "{said}");
}

#[test]
fn without_a_probation_there_is_nothing_to_go_back_to() {
    let place = Place::new("nothing");
    let server = place.start_with("", &["--probation", "0"]);
    let (code, result) = server.run_json(&["rollback"]);
    assert_eq!((code, &result["rolled_back"]), (1, &false.into()));
    let reason = result["reason"].as_str().unwrap();
    assert!(reason.contains("no probation is running: upgrade to the older build"), "{result}");
    assert_eq!(server.status()["rollbacks"], 0);
}

#[test]
fn a_successor_that_does_not_answer_is_killed() {
    let place = Place::new("silent");
    let mut server = on_probation(&place, "", "ignore-goback");
    let first = server.begin(&["rollback"]);
    server.wait_for_line("rolling back to generation 1");
    // Meanwhile nobody knows who will serve.
    let (_, second) = server.run_json(&["rollback"]);
    assert!(second["reason"].as_str().unwrap().contains("is running already"), "{second}");
    let (code, refused) = server.upgrade(&place.binaries.join("new"), &[]);
    let reason = refused["reason"].as_str().unwrap();
    assert!(code == 1 && reason.contains("is about to serve again"), "{refused}");
    let (code, result) = first.answer();
    assert_eq!((code, &result["rolled_back"], &result["given"]), (0, &true.into(), &false.into()));
    let reason = result["reason"].as_str().unwrap();
    assert!(reason.contains("generation 2 did not answer the order to go back within 1s"));
    assert_serves_alone(&server, 1);
}

#[test]
fn a_successor_that_dies_of_it_is_undone_all_the_same() {
    let place = Place::new("dies-of-it");
    let server = on_probation(&place, "", "die-at-goback");
    let (code, result) = server.run_json(&["rollback"]);
    assert_eq!((code, &result["given"]), (0, &false.into()), "{result}");
    assert_serves_alone(&server, 1);
}

#[test]
fn a_successor_may_be_unable_to() {
    let place = Place::new("unable");
    let server = on_probation(&place, "", "fail-goback");
    for _ in 0..2 {
        let (code, result) = server.run_json(&["rollback"]);
        assert_eq!((code, &result["rolled_back"]), (1, &false.into()));
        assert_eq!(
            (&result["reason"], &result["generation"]),
            (&"a client is too busy".into(), &2.into())
        );
    }
    let status = server.status();
    assert_eq!((&status["generation"], &status["probation"]["generation"]), (&2.into(), &1.into()));
    let output = server.run(&["rollback"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("not rolled back: a client is too busy\ngeneration 2"), "{said}");
}

#[test]
fn if_neither_answers_the_upgrade_stands() {
    let place = Place::new("neither");
    let arguments = ["--probation", "600", "--hang-timeout", "0.2"];
    let mut server = place.start_with("ignore-takeback", &arguments);
    server.upgrade(&place.binary("new", "ignore-goback"), &[]);
    let (code, result) = server.run_json(&["rollback"]);
    assert_eq!(
        (code, &result["rolled_back"], &result["generation"]),
        (1, &Value::Bool(false), &2.into())
    );
    server.wait_for_line("generation 1 stands by for too long: killed");
    assert_serves_alone(&server, 2);
}

#[test]
fn it_is_answered_if_both_end() {
    let place = Place::new("both-end");
    let mut server = on_probation(&place, "ignore-takeback stay-away", "ignore-goback");
    let asked = server.begin(&["rollback"]);
    server.wait_for_line("is told to take the server");
    kill(Pid::from_raw(generation_pid(&server.status())), Signal::SIGKILL).unwrap();
    let (code, result) = asked.answer();
    assert_eq!((code, &result["rolled_back"]), (1, &false.into()));
    assert!(result["reason"].as_str().unwrap().contains("nobody serves any more"), "{result}");
    assert_eq!(server.exit_code(), 128 + 9);
}

#[test]
fn a_predecessor_may_say_so_only_when_the_successor_is_reaped() {
    let place = Place::new("late");
    let server = on_probation(&place, "return-late", "ignore-goback");
    let (code, result) = server.run_json(&["rollback"]);
    assert_eq!((code, &result["rolled_back"]), (0, &true.into()), "{result}");
    assert_serves_alone(&server, 1);
}

#[test]
fn a_server_that_is_stopped_amid_a_rollback_stops_after_it() {
    for predecessor in ["", "return-late"] {
        let place = Place::new(&format!("stop-amid{predecessor}"));
        let mut server = on_probation(&place, predecessor, "ignore-goback");
        let asked = server.begin(&["rollback"]);
        server.wait_for_line("rolling back to generation 1");
        server.signal(Signal::SIGTERM);
        server.wait_for_line("SIGTERM: shutting down");
        let (code, result) = asked.answer();
        assert_eq!((code, &result["rolled_back"]), (0, &true.into()), "{result}");
        server.wait_for_line("generation 1 stops: SIGTERM");
        assert_eq!(server.exit_code(), 0);
    }
}
