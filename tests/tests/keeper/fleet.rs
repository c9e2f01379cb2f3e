//! `hotredis upgrade` for several instances at a time.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::instance::{Instance, Place};

const FIRST_PORT: usize = 7800;

/// Instances on ports one after the other, in the order of their keepers' pids.
fn fleet(place: &Place, binaries: &[&Path]) -> Vec<Instance> {
    let ports = FIRST_PORT..;
    let mut servers: Vec<Instance> = binaries
        .iter()
        .zip(ports)
        .map(|(binary, port)| Instance::spawn(place, binary, &["--set", &format!("port={port}")]))
        .collect();
    for server in &mut servers {
        server.wait_for_line("Ready to accept connections");
    }
    servers.sort_by_key(Instance::pid);
    servers
}

/// Runs `hotredis upgrade --json`: its code, and the line of each instance by its keeper's pid.
fn upgrade(server: &Instance, binary: &Path, more: &[&str]) -> (Option<i32>, BTreeMap<i64, Value>) {
    let words = ["upgrade", "--json", "--binary", binary.to_str().unwrap()];
    let output = server.run(&[&words, more].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let by_pid = lines.map(|line| (line["pid"].as_i64().unwrap(), line)).collect();
    (output.status.code(), by_pid)
}

/// The generation that each instance serves with, by its keeper's pid.
fn generations(server: &Instance) -> Vec<u64> {
    let (_, found) = server.run_json(&["status"]);
    found.as_array().unwrap().iter().map(|it| it["generation"].as_u64().unwrap()).collect()
}

#[test]
fn all_are_upgraded_a_few_at_a_time() {
    let place = Place::new("fleet");
    let binary = place.binary("server", "");
    let servers = fleet(&place, &[binary.as_path(); 12]);
    let new = place.binary("new", "build-b");
    let (code, lines) = upgrade(&servers[0], &new, &["--all", "--dry-run"]);
    assert_eq!((code, lines.len()), (Some(0), 12));
    assert_eq!(generations(&servers[0]), [1; 12]);
    let (code, lines) = upgrade(&servers[0], &new, &["--all", "--jobs", "3"]);
    assert_eq!((code, lines.len()), (Some(0), 12), "{lines:?}");
    for line in lines.values() {
        assert_eq!((&line["outcome"], &line["reason"]), (&"upgraded".into(), &Value::Null));
        assert_eq!(
            (&line["result"]["generation"], &line["result"]["freeze_us"]),
            (&2.into(), &123.into())
        );
    }
    assert_eq!(generations(&servers[0]), [2; 12]);
    let words = ["upgrade", "--all", "--binary", new.to_str().unwrap()];
    let output = servers[0].run(&words);
    let said = String::from_utf8(output.stdout).unwrap();
    let last = said.lines().last().unwrap();
    assert!(
        last.starts_with("12 of 12 upgraded in ") && last.ends_with("was 123\u{b5}s"),
        "{said}"
    );
    assert_eq!(said.matches("generation 3 serves").count(), 12, "{said}");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn after_a_failure_the_rest_is_left_alone() {
    let place = Place::new("fleet-stops");
    let (good, bad) = (place.binary("good", ""), place.binary("bad", "predecessor-refuse"));
    let binaries: [&Path; 7] = std::array::from_fn(|at| if at == 3 { &*bad } else { &*good });
    let servers = fleet(&place, &binaries);
    let failing = servers.iter().position(|server| server.binary == bad).unwrap();
    let new = place.binary("new", "");
    let (code, lines) = upgrade(&servers[0], &new, &["--all", "--jobs", "1"]);
    assert_eq!((code, lines.len()), (Some(1), 7));
    for (at, server) in servers.iter().enumerate() {
        let line = &lines[&i64::from(server.pid())];
        let expected = match at.cmp(&failing) {
            std::cmp::Ordering::Less => "upgraded",
            std::cmp::Ordering::Equal => "failed",
            std::cmp::Ordering::Greater => "untouched",
        };
        assert_eq!(line["outcome"], expected, "{line}");
        let reason = line["reason"].as_str().unwrap_or_default();
        assert_eq!(reason.contains("too busy"), at == failing, "{line}");
    }
    let expected: Vec<u64> = (0..7).map(|at| if at < failing { 2 } else { 1 }).collect();
    assert_eq!(generations(&servers[0]), expected);
    let output =
        servers[0].run(&["upgrade", "--all", "--jobs", "1", "--binary", new.to_str().unwrap()]);
    let said = String::from_utf8(output.stdout).unwrap();
    let summary = format!("{failing} upgraded, 1 failed, {} untouched in ", 6 - failing);
    assert!(said.lines().last().unwrap().starts_with(&summary), "{said}");
    assert_eq!(said.matches(": untouched").count(), 6 - failing, "{said}");
}

#[test]
fn several_can_be_named_by_their_ports() {
    let place = Place::new("fleet-ports");
    let binary = place.binary("server", "");
    let servers = fleet(&place, &[binary.as_path(); 3]);
    let new = place.binary("new", "");
    let missing = ["--port", "7800", "--port", "9"];
    let (code, lines) = upgrade(&servers[0], &new, &missing);
    assert_eq!((code, lines.len()), (Some(1), 0), "nothing is touched");
    let (code, lines) = upgrade(&servers[0], &new, &["--port", "7800", "--port", "7802"]);
    assert_eq!((code, lines.len()), (Some(0), 2));
    let mut found = generations(&servers[0]);
    found.sort_unstable();
    assert_eq!(found, [1, 2, 2]);
    let both = servers[0].run_json(&["status", "--port", "7800", "--port", "7801"]).1;
    assert_eq!(both.as_array().map(Vec::len), Some(2));
    let ambiguous = servers[0].run(&["rollback", "--port", "7800", "--port", "7802"]);
    let said = String::from_utf8_lossy(&ambiguous.stderr);
    assert!(said.contains("several instances are meant"), "{said}");
    let both_ways = servers[0].run(&["upgrade", "--all", "--port", "7800", "--binary", "x"]);
    assert_eq!(both_ways.status.code(), Some(2), "contradicts itself");
}

#[test]
fn one_that_does_not_answer_stops_all_before_anything_begins() {
    let place = Place::new("fleet-silent");
    let binary = place.binary("server", "");
    let servers = fleet(&place, &[binary.as_path(); 2]);
    // Its keeper cannot answer, and is no dead one's socket either.
    servers[1].signal(nix::sys::signal::Signal::SIGSTOP);
    let new = place.binary("new", "");
    let words = ["upgrade", "--all", "--binary", new.to_str().unwrap()];
    let output = servers[0].run(&words);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("nothing was touched: 1 of the instances gave no answer"), "{said}");
    assert_eq!(output.status.code(), Some(1));
    servers[1].signal(nix::sys::signal::Signal::SIGCONT);
    assert_eq!(generations(&servers[0]), [1, 1]);
}
