//! `--hugepages`: what the system grants is used and told, what it refuses is told too, and either way the server
//! serves, is upgraded, and gives memory back.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hotredis_tests::binaries;
use hotredis_tests::client::Client;
use hotredis_tests::server::{Server, Setup, TempDir, info_field};
use hotredis_tests::value::Value;
use nix::sched::{CloneFlags, unshare};

const GRANTED: &str = "huge pages for the arena: granted";
const REFUSED: &str = "no huge pages for the arena";
const PATIENCE: Duration = Duration::from_secs(20);
const HUGE_PAGE: u64 = 2 << 20;
const KEYS: usize = 20_000;
const LENGTH: usize = 1000;

/// Some 20 MB.
fn fill(client: &mut Client) {
    for at in (0..KEYS).step_by(1000) {
        let set = |n: usize| vec!["SET".to_owned(), format!("key:{n}"), "x".repeat(LENGTH)];
        let batch: Vec<_> = (at..at + 1000).map(set).collect();
        assert!(client.pipeline(&batch).iter().all(|reply| *reply == Value::ok()));
    }
}

fn number(server: &Server, field: &str) -> u64 {
    server.info(field).expect("INFO has the field").parse().expect("a number")
}

fn said(server: &Server, text: &str) -> usize {
    server.log().matches(text).count()
}

#[track_caller]
fn upgrade(server: &Server) {
    let done = server.upgrade(&binaries::hotredis());
    assert!(done.success, "{}", done.output);
}

#[test]
fn a_server_says_what_it_is_granted_and_serves_in_any_case() {
    let server = Setup::hotredis().arguments(&["--hugepages", "transparent"]).start();
    let mut client = server.connect();
    fill(&mut client);
    upgrade(&server);
    fill(&mut client);
    assert_eq!(client.call(&["GET", "key:0"]).text().len(), LENGTH);
    // The second generation has spoken when the upgrade is over, or will at once.
    let deadline = Instant::now() + PATIENCE;
    while said(&server, GRANTED) + said(&server, REFUSED) < 2 {
        assert!(Instant::now() < deadline, "it does not say what it is granted:\n{}", server.log());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(server.info("hotredis_hugepages").as_deref(), Some("transparent"));
    let granted = number(&server, "hotredis_hugepages_granted");
    assert_eq!(granted > 0, said(&server, GRANTED) > 0, "{granted}:\n{}", server.log());
    server.finish();
}

#[test]
fn nothing_is_asked_for_unless_it_is_wanted() {
    let server = Setup::hotredis().start();
    fill(&mut server.connect());
    assert_eq!(server.info("hotredis_hugepages").as_deref(), Some("no"));
    assert_eq!(number(&server, "hotredis_hugepages_granted"), 0);
    assert_eq!(said(&server, GRANTED) + said(&server, REFUSED), 0, "{}", server.log());
    server.finish();
}

/// Mounts a tmpfs that grants huge pages, for this thread and the processes that it starts. False if that is not
/// allowed here, or the kernel has none.
fn mount_generous_tmpfs(folder: &Path) -> bool {
    let mount = |arguments: &[&str]| {
        let done = Command::new("mount").args(arguments).output();
        done.is_ok_and(|output| output.status.success())
    };
    unshare(CloneFlags::CLONE_NEWNS).is_ok()
        && mount(&["--make-rprivate", "/"])
        && mount(&["-t", "tmpfs", "-o", "huge=advise", "none", &folder.to_string_lossy()])
}

/// Bytes that the generation that serves has mapped by huge pages.
fn mapped(server: &Server) -> u64 {
    let path = format!("/proc/{}/smaps_rollup", server.serving().1);
    let text = std::fs::read_to_string(path).expect("the generation is there");
    let kib = info_field(&text, "ShmemPmdMapped").unwrap_or_default();
    kib.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}

/// Bytes that the arena takes, and that the server says it does.
fn taken(server: &Server, file: &Path) -> (u64, u64) {
    let blocks = file.metadata().expect("the file is there").blocks() * 512;
    (blocks, number(server, "allocator_resident"))
}

#[test]
fn a_tmpfs_that_grants_them_is_used_through_upgrades_and_given_back() {
    let dir = TempDir::new();
    if !mount_generous_tmpfs(dir.path()) {
        println!("skipped: such a tmpfs cannot be mounted here");
        return;
    }
    let file = dir.path().join("arena");
    let arguments = ["--hugepages", "transparent", "--arena-file", &file.to_string_lossy()];
    let server = Setup::hotredis().arguments(&arguments).start();
    assert_eq!(said(&server, GRANTED), 1, "{}", server.log());
    let mut client = server.connect();
    fill(&mut client);
    let granted = number(&server, "hotredis_hugepages_granted");
    assert!(granted >= 5 * HUGE_PAGE, "{granted}");
    assert!(mapped(&server) >= 5 * HUGE_PAGE, "{}", mapped(&server));
    // What is ready beyond the data, and the areas beside the heap, are a few MiB, whatever the size of pages.
    let (blocks, said_so) = taken(&server, &file);
    assert!(blocks <= said_so + (16 << 20), "{blocks} bytes for {said_so}");

    upgrade(&server);
    assert!(mapped(&server) >= 5 * HUGE_PAGE, "{} after the upgrade", mapped(&server));
    assert!(number(&server, "hotredis_hugepages_granted") >= granted);
    assert_eq!(client.call(&["GET", "key:1"]).text().len(), LENGTH);
    client.call(&["FLUSHALL"]);
    let deadline = Instant::now() + PATIENCE;
    while taken(&server, &file).0 > blocks / 2 {
        let left = taken(&server, &file);
        assert!(Instant::now() < deadline, "{left:?} of {blocks} are left");
        std::thread::sleep(Duration::from_millis(20));
    }
    fill(&mut client);
    server.finish();
}
