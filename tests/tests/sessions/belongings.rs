//! Fifty upgrades in a row change nothing of what a process has: descriptors, memory, environment.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use hotredis_tests::blocked::upgrade;
use hotredis_tests::client::Client;
use hotredis_tests::server::{Server, Setup, info_field};

use crate::stage::{Stage, await_clients, only_generation};

const UPGRADES: usize = 50;

/// How much more memory a process may have, and the data of the server: what an allocator keeps differs
/// from one process to the next.
const RESIDENT_SLACK_KIB: u64 = 2048;
const USED_SLACK: u64 = 64 << 10;

/// Clients that are handed from process to process.
const CLIENTS: usize = 41;

/// Sockets of a generation that is alone: beside the clients', two listeners, the keeper's channel and the
/// link over which the keeper is told of them.
const SOCKETS: usize = CLIENTS + 4;

/// Sockets of the keeper: the same, held for the case that the generation dies, and the control socket.
const SOCKETS_OF_KEEPER: usize = SOCKETS + 1;

/// What a process has, by name.
#[derive(Debug, PartialEq, Eq)]
struct Belongings {
    arguments: String,
    environment: String,
    directory: std::path::PathBuf,
    limits: String,
    signals: Vec<String>,
    /// How many descriptors lead to what; numbers of inodes do not count.
    descriptors: BTreeMap<String, usize>,
    threads: usize,
}

fn belongings(pid: u32) -> Belongings {
    let file = |name: &str| format!("/proc/{pid}/{name}");
    let text = |name: &str| {
        String::from_utf8_lossy(&fs::read(file(name)).expect("the process runs")).into_owned()
    };
    let status = text("status");
    let kept = ["SigBlk:", "SigIgn:", "SigCgt:", "Cpus_allowed:", "NoNewPrivs:"];
    let signals = status.lines().filter(|line| kept.iter().any(|name| line.starts_with(name)));
    Belongings {
        // Which descriptor is the keeper's channel depends on who else was connected to the keeper.
        arguments: text("cmdline").replace(|c: char| c.is_ascii_digit(), ""),
        environment: text("environ"),
        directory: fs::read_link(file("cwd")).expect("the process runs"),
        limits: text("limits"),
        signals: signals.map(str::to_owned).collect(),
        descriptors: descriptors(pid),
        threads: fs::read_dir(file("task")).expect("the process runs").count(),
    }
}

fn descriptors(pid: u32) -> BTreeMap<String, usize> {
    let mut descriptors = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).expect("the process runs").flatten() {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        let kind = target.to_string_lossy().replace(|c: char| c.is_ascii_digit(), "");
        *descriptors.entry(kind).or_default() += 1;
    }
    descriptors
}

/// What a process has once it has so many sockets and watches no other process: just after an upgrade it may
/// not have closed the last of it.
fn settled(pid: u32, sockets: usize) -> Belongings {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let found = descriptors(pid);
        let watches = found.keys().any(|kind| kind.contains("pidfd"));
        if found.get("socket:[]") == Some(&sockets) && !watches {
            // A process that is just starting a thread has all signals blocked for an instant.
            let (found, again) = (belongings(pid), belongings(pid));
            if found == again && !found.signals[0].contains("ffffffff") {
                return found;
            }
        }
        assert!(Instant::now() < deadline, "process {pid} has {found:?}, not {sockets} sockets");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// After an upgrade the keeper becomes the program of the generation that serves.
fn await_renewal(keeper: u32, generation: u32) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let program = |pid: u32| fs::read_link(format!("/proc/{pid}/exe")).expect("the process runs");
    let busy = || descriptors(keeper).keys().any(|kind| kind.contains("hotredis-keeper"));
    while program(keeper) != program(generation) || busy() {
        assert!(Instant::now() < deadline, "the keeper stays {:?}", program(keeper));
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn resident_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.split_whitespace().next().and_then(|text| text.parse().ok()).expect("a number")
}

fn used(control: &mut Client) -> u64 {
    let info = control.call(&["INFO", "memory"]);
    let used = info_field(info.text(), "used_memory").and_then(|used| used.parse().ok());
    used.expect("INFO says how much is used")
}

/// The names in the directory of the control socket.
fn runtime_files(server: &Server) -> Vec<String> {
    let entries = fs::read_dir(server.dir().join("run")).expect("it is there");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn fifty_upgrades_leave_everything_as_it_was() {
    let stage = Stage::new(Setup::hotredis(), &[]);
    let server = &stage.server;
    let mut control = stage.control();
    for number in 0..10_000 {
        control.call(&["SET", &format!("key:{number}"), &format!("value:{number}")]);
    }
    let mut clients: Vec<Client> =
        (0..20).flat_map(|_| stage.endpoints.each_ref().map(Client::connect)).collect();
    clients.iter_mut().for_each(|client| drop(client.call(&["PING"])));
    // The first rounds warm up what is allocated once; the same build serves at the end.
    (0..2).for_each(|count| upgrade(server, count));
    let state = |control: &mut Client| {
        await_clients(control, CLIENTS);
        let generation = only_generation(server);
        await_renewal(server.pid(), generation);
        let generation = settled(generation, SOCKETS);
        (generation, settled(server.pid(), SOCKETS_OF_KEEPER), runtime_files(server))
    };
    let before = state(&mut control);
    let memory = [only_generation(server), server.pid()].map(resident_kib);
    let used_before = used(&mut control);
    (0..UPGRADES).for_each(|count| upgrade(server, count));
    assert_eq!(state(&mut control), before);
    let memory_now = [only_generation(server), server.pid()].map(resident_kib);
    for (now, before) in memory_now.into_iter().zip(memory) {
        assert!(now <= before + RESIDENT_SLACK_KIB, "{before} KiB have become {now} KiB");
    }
    let used_now = used(&mut control);
    assert!(used_now <= used_before + USED_SLACK, "{used_before} bytes have become {used_now}");
    clients.iter_mut().for_each(|client| drop(client.call(&["PING"])));
    drop((clients, control));
    stage.finish();
}
