//! Many upgrades in a row leave nothing behind and change nothing that a process inherits.

use std::fs;

use crate::instance::{Place, eventually, generation_pid};

/// What a process has inherited, and how much it holds.
#[derive(Debug, PartialEq, Eq)]
struct Inheritance {
    /// But for the number of the channel's descriptor.
    arguments: String,
    environment: Vec<u8>,
    directory: std::path::PathBuf,
    limits: String,
    /// Signal masks and allowed processors.
    status: Vec<String>,
    descriptors: usize,
}

fn inheritance(pid: i32) -> Inheritance {
    let file = |name: &str| format!("/proc/{pid}/{name}");
    let status = fs::read_to_string(file("status")).unwrap();
    let arguments = fs::read_to_string(file("cmdline")).unwrap();
    let kept = ["Name:", "SigBlk:", "SigIgn:", "SigCgt:", "Cpus_allowed:", "NoNewPrivs:"];
    let status = status.lines().filter(|line| kept.iter().any(|name| line.starts_with(name)));
    Inheritance {
        arguments: arguments.trim_end_matches(|c: char| c.is_ascii_digit() || c == '\0').into(),
        environment: fs::read(file("environ")).unwrap(),
        directory: fs::read_link(file("cwd")).unwrap(),
        limits: fs::read_to_string(file("limits")).unwrap(),
        status: status.map(str::to_string).collect(),
        descriptors: descriptors(pid),
    }
}

fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

fn resident_kib(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn twenty_upgrades_and_as_many_failures_leave_nothing() {
    let place = Place::new("chain");
    let server = place.start("");
    let binaries = [place.binary("a", ""), place.binary("b", "build-b")];
    let bad = place.binary("bad", "exit-at-precopy");
    // The first round warms up what is allocated once.
    assert_eq!(server.upgrade(&binaries[0], &[]).0, 0);
    assert_eq!(server.upgrade(&bad, &[]).0, 1);
    let first = inheritance(generation_pid(&server.status()));
    eventually("one child", || server.children().len() == 1);
    let (keeper, memory) = (descriptors(server.pid()), resident_kib(server.pid()));
    for round in 0..20 {
        assert_eq!(server.upgrade(&binaries[round % 2], &[]).0, 0);
        assert_eq!(server.upgrade(&bad, &[]).0, 1);
    }
    let status = server.status();
    assert_eq!(status["generation"], 22);
    assert_eq!((&status["upgrades"], &status["failures"]), (&21.into(), &21.into()));
    eventually("no zombie, one child", || server.children() == [generation_pid(&status)]);
    assert_eq!(inheritance(generation_pid(&status)), first);
    // At most: when it was counted first, the last client may not have been closed yet.
    eventually("no descriptor leaks", || descriptors(server.pid()) <= keeper);
    let grown = resident_kib(server.pid()).saturating_sub(memory);
    assert!(grown < 512, "the keeper grew by {grown} KiB");
}

#[test]
fn a_generation_inherits_only_what_it_needs() {
    let place = Place::new("inherits");
    let server = place.start("");
    let generation = generation_pid(&server.status());
    // stdin, stdout, stderr, the keeper's channel, and the link over which it is told of descriptors.
    assert_eq!(descriptors(generation), 5);
    let found = inheritance(generation);
    assert!(found.status.contains(&"SigBlk:\t0000000000000000".into()), "{:?}", found.status);
    assert!(found.status.contains(&"Name:\thotredis".into()), "{:?}", found.status);
    assert_eq!(found.arguments, "hotredis\0generation\0--channel-fd");
}
