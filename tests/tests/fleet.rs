//! `hotredis upgrade --all` on a machine with several hundred small instances, each with a client that
//! counts.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

use hotredis_tests::binaries;
use hotredis_tests::client::Client;
use hotredis_tests::server::{Server, Setup, TempDir, text_of};
use hotredis_tests::value::Value;

const INSTANCES: usize = 300;

/// Which one fails when it is told to.
const FAILING: usize = 123;

#[test]
fn three_hundred_instances_are_upgraded_a_few_at_a_time() {
    let [old, new] = binaries::two_builds();
    let dir = TempDir::new();
    let (runtime, failpoint) = (dir.path().join("run"), dir.path().join("failpoint"));
    let start = |number: usize| {
        let setup = Setup::of_binary(&old).runtime_dir(&runtime).arguments(&["--probation", "0"]);
        match number {
            FAILING => setup.environment("HOTREDIS_FAILPOINT", &failpoint).start(),
            _ => setup.start(),
        }
    };
    let servers: Vec<Server> = (0..INSTANCES).map(start).collect();
    let all = |binary: &Path| {
        let mut command = Command::new(&old);
        command.args(["upgrade", "--all", "--jobs", "4", "--binary"]).arg(binary);
        command.arg("--runtime-dir").arg(&runtime).output().unwrap()
    };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let counting = scope.spawn(|| count(&servers, &done));
        let output = all(&new);
        assert_summary(&output, true, &format!("{INSTANCES} of {INSTANCES} upgraded in "));
        assert!(servers.iter().all(|server| generation(server) == 2));
        fs::write(&failpoint, "successor.ready=exit").unwrap();
        let output = all(&old);
        assert_summary(&output, false, " upgraded, 1 failed, ");
        let upgraded = servers.iter().filter(|server| generation(server) == 3).count();
        assert_eq!(generation(&servers[FAILING]), 2);
        assert_summary(&output, false, &format!("{upgraded} upgraded, 1 failed, "));
        let untouched = INSTANCES - 1 - upgraded;
        assert_summary(&output, false, &format!(" 1 failed, {untouched} untouched in "));
        done.store(true, Ordering::Relaxed);
        assert!(counting.join().unwrap() > INSTANCES as u64);
    });
    for server in servers {
        server.finish();
    }
}

/// Has a client of each instance count, in turn. Returns how far all of them have come together.
fn count(servers: &[Server], done: &AtomicBool) -> u64 {
    let mut clients: Vec<Client> = servers.iter().map(Server::connect).collect();
    let (mut round, mut all) = (0, 0);
    while !done.load(Ordering::Relaxed) {
        round += 1;
        for client in &mut clients {
            assert_eq!(client.call(&["INCR", "counter"]), Value::Integer(round));
            all += 1;
        }
    }
    all
}

fn generation(server: &Server) -> u64 {
    server.info("handoff_generation").unwrap().parse().unwrap()
}

#[track_caller]
fn assert_summary(output: &Output, success: bool, summary: &str) {
    let text = text_of(output);
    let last =
        String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().to_owned();
    assert_eq!(output.status.success(), success, "{text}");
    assert!(last.contains(summary), "{summary:?} is not in {last:?}; all of it:\n{text}");
}
